"""The machine that the server runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lmstudio._abort import check_signal, on_abort
from lmstudio._endpoints import Rpc
from lmstudio._endpoints.system import (
    ALIVE,
    GET_EXPERIMENT_FLAGS,
    INFO,
    LIST_DOWNLOADED_MODEL_VARIANTS,
    LIST_DOWNLOADED_MODELS,
    NOTIFY,
    REQUEST_SHUTDOWN,
    SET_EXPERIMENT_FLAG,
    START_HTTP_SERVER,
    STOP_HTTP_SERVER,
    VERSION,
)
from lmstudio._ops.models import check_key
from lmstudio._port import aborted
from lmstudio._sdk_models import (
    BackendNotification,
    SystemRpcInfoReturns,
    SystemRpcListDownloadedModelVariantsParameter,
    SystemRpcSetExperimentFlagParameter,
    SystemRpcStartHttpServerParameter,
    SystemRpcVersionReturns,
)
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioValueError,
    LMStudioWebsocketError,
)

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._port import Port
    from lmstudio._sdk_models import ModelInfo

LMStudioVersion: TypeAlias = SystemRpcVersionReturns
ServiceInfo: TypeAlias = SystemRpcInfoReturns

MAX_PORT: Final = 65535


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


async def get_version(port: Port) -> LMStudioVersion:
    """The server's version. Protocol: rpc system/version."""
    return await port.call(VERSION, None, "get the server's version")


async def get_info(port: Port) -> ServiceInfo:
    """The server's process. Protocol: rpc system/info."""
    return await port.call(INFO, None, "get information about the server")


async def request_shutdown(port: Port) -> None:
    """Ask the server to end. Protocol: rpc system/requestShutdown."""
    await port.call(REQUEST_SHUTDOWN, None, "shut the server down")


def http_server_options(
    port: int | None, cors: bool | None, network_interface: str | None
) -> SystemRpcStartHttpServerParameter:
    """How the HTTP server shall listen, as the wire has it.

    Raises:
        LMStudioValueError: no server could do so.
    """
    is_whole_number = isinstance(port, int) and not isinstance(port, bool)
    if port is not None and not (is_whole_number and 1 <= port <= MAX_PORT):
        raise LMStudioValueError(f"port must be a whole number from 1 to {MAX_PORT}, got {port!r:.80}.")
    if network_interface is not None:
        check_key(network_interface, "network interface")
    return SystemRpcStartHttpServerParameter(
        port=port, cors=None if cors is None else check_flag(cors, "cors"), network_interface=network_interface
    )


async def start_http_server(port: Port, opts: SystemRpcStartHttpServerParameter) -> None:
    """Let the server answer HTTP. Protocol: rpc system/startHttpServer."""
    await port.call(START_HTTP_SERVER, opts, "start the HTTP server")


async def stop_http_server(port: Port) -> None:
    """Let it do so no longer. Protocol: rpc system/stopHttpServer."""
    await port.call(STOP_HTTP_SERVER, None, "stop the HTTP server")


def notification(title: str, description: str | None, no_auto_dismiss: bool | None) -> BackendNotification:
    """What to tell whoever sits in front of the server, as the wire has it.

    Raises:
        LMStudioValueError: something in it has another type.
    """
    for name, text in (("title", title), ("description", description)):
        if not isinstance(text, str) and (name == "title" or text is not None):
            raise LMStudioValueError(f"The {name} of a notification must be a string, got {type(text).__name__}.")
    if no_auto_dismiss is not None:
        check_flag(no_auto_dismiss, "no_auto_dismiss")
    return BackendNotification(title=title, description=description, no_auto_dismiss=no_auto_dismiss)


async def notify(port: Port, notification: BackendNotification) -> None:
    """Show it. Protocol: rpc system/notify."""
    await port.call(NOTIFY, notification, "show a notification")


async def set_experiment_flag(port: Port, code: str, value: bool) -> None:
    """Switch an experiment on or off. Protocol: rpc system/setExperimentFlag."""
    parameter = SystemRpcSetExperimentFlagParameter(code=check_key(code, "code"), value=check_flag(value, "value"))
    await port.call(SET_EXPERIMENT_FLAG, parameter, f"set the experiment flag {code!r}")


async def get_experiment_flags(port: Port) -> list[str]:
    """The experiments that are switched on. Protocol: rpc system/getExperimentFlags."""
    return await port.call(GET_EXPERIMENT_FLAGS, None, "get the experiment flags")


async def remote_call(port: Port, endpoint: str, parameter: Any) -> Any:
    """Call any rpc of the port's namespace by its wire name; the result comes as plain data.

    *parameter* is a struct of this package, or plain JSON-compatible data in the wire's camelCase; None for void.
    """
    rpc: Rpc[Any, Any] = Rpc(check_key(endpoint, "endpoint"), Any, Any)
    return await port.call(rpc, parameter, f"call {port.namespace}.{endpoint}")


def check_flag(value: object, name: str) -> bool:
    """True or False, and nothing that only counts as one of them.

    Raises:
        LMStudioValueError: it is something else.
    """
    if not isinstance(value, bool):
        raise LMStudioValueError(f"{name} must be True or False, got {value!r:.80}.")
    return value
