"""The machine that the server runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio._endpoints import Rpc
from lmstudio._endpoints.system import LIST_DOWNLOADED_MODELS
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from lmstudio._sdk_models import ModelInfo
    from lmstudio.json_api import Port


async def list_downloaded_models(port: Port) -> list[ModelInfo]:
    """All models on the server's disk, language and embedding models. Protocol: rpc system/listDownloadedModels."""
    return await port.call(LIST_DOWNLOADED_MODELS, None, "list downloaded models")


async def remote_call(port: Port, endpoint: str, parameter: Any) -> Any:
    """Call any rpc of the port's namespace by its wire name; the result comes as plain data.

    *parameter* is a struct of this package, or plain JSON-compatible data in the wire's camelCase; None for void.
    """
    if not isinstance(endpoint, str) or not endpoint:
        raise LMStudioValueError(f"The endpoint must be a non-empty string, got {endpoint!r}.")
    rpc: Rpc[Any, Any] = Rpc(endpoint, Any, Any)
    return await port.call(rpc, parameter, f"call {port.namespace}.{endpoint}")
