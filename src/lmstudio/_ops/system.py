"""The machine that the server runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio._abort import check_signal, on_abort
from lmstudio._endpoints import Rpc
from lmstudio._endpoints.system import ALIVE, LIST_DOWNLOADED_MODEL_VARIANTS, LIST_DOWNLOADED_MODELS
from lmstudio._ops.models import check_key
from lmstudio._sdk_models import SystemRpcListDownloadedModelVariantsParameter
from lmstudio.errors import LMStudioCancelledError, LMStudioChannelClosedError, LMStudioWebsocketError
from lmstudio.json_api import aborted

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._sdk_models import ModelInfo
    from lmstudio.json_api import Port


async def list_downloaded_models(port: Port) -> list[ModelInfo]:
    """All models on the server's disk, language and embedding models. Protocol: rpc system/listDownloadedModels."""
    return await port.call(LIST_DOWNLOADED_MODELS, None, "list downloaded models")


async def list_downloaded_model_variants(port: Port, model_key: str) -> list[ModelInfo]:
    """The variants of a downloaded model. Protocol: rpc system/listDownloadedModelVariants."""
    parameter = SystemRpcListDownloadedModelVariantsParameter(model_key=check_key(model_key, "model key"))
    return await port.call(LIST_DOWNLOADED_MODEL_VARIANTS, parameter, f"list the variants of model {model_key!r}")


async def when_disconnected(port: Port, signal: AbortSignal | None = None) -> None:
    """Return when the connection has ended, for whatever reason. Protocol: channel system/alive."""
    attempted = "watch the connection"
    check_signal(signal)
    if signal is not None and signal.aborted:
        raise aborted(signal, attempted)
    channel = port.channel(ALIVE, None, attempted)
    channel.limits = port.new_limits(attempted, is_patient=True)
    try:
        channel.open()
        with on_abort(signal, channel.close):
            while True:
                await channel.receive()
    except (LMStudioChannelClosedError, LMStudioWebsocketError):
        return
    except BaseException as error:
        channel.close()
        if isinstance(error, LMStudioCancelledError) and signal is not None and signal.aborted:
            raise aborted(signal, attempted) from None
        raise


async def remote_call(port: Port, endpoint: str, parameter: Any) -> Any:
    """Call any rpc of the port's namespace by its wire name; the result comes as plain data.

    *parameter* is a struct of this package, or plain JSON-compatible data in the wire's camelCase; None for void.
    """
    rpc: Rpc[Any, Any] = Rpc(check_key(endpoint, "endpoint"), Any, Any)
    return await port.call(rpc, parameter, f"call {port.namespace}.{endpoint}")
