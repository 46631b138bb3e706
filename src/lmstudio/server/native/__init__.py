"""The namespaces of LM Studio's native API, one module each, bound to the declarations in `lmstudio._endpoints`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from lmstudio.server.native import diagnostics, embedding, files, llm, plugins, repository, runtime, system

if TYPE_CHECKING:
    from lmstudio.server._port import Handlers
    from lmstudio.server.core import ServerCore

__all__ = ["BINDERS"]

Binder: TypeAlias = Callable[["Handlers", "ServerCore"], None]

BINDERS: Final[dict[str, Binder]] = {
    "llm": llm.bind,
    "embedding": embedding.bind,
    "files": files.bind,
    "system": system.bind,
    "diagnostics": diagnostics.bind,
    "runtime": runtime.bind,
    "repository": repository.bind,
    "plugins": plugins.bind,
}
"""By namespace: what fills its handlers."""
