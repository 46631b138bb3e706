"""A server that speaks LM Studio's protocol, for tests and for machines without LM Studio.

`pip install 'lmstudio[server]'`, then either `python -m lmstudio serve`, or inside a program:

    from lmstudio.server import Server

    with Server() as server:
        client = lmstudio.Client(server.api_host)

Nothing is imported before it is used: `import lmstudio.server` needs none of the extra packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._lazy import lazy_names

if TYPE_CHECKING:
    from .connection import ConnectionLimits as ConnectionLimits
    from .embedded import Server as Server
    from .engine.base import Engine as Engine
    from .engine.base import EngineError as EngineError
    from .engine.base import ModelFile as ModelFile
    from .engine.llama_cpp import LlamaCppEngine as LlamaCppEngine
    from .engine.scripted import BrokenToolCall as BrokenToolCall
    from .engine.scripted import Gate as Gate
    from .engine.scripted import Reasoning as Reasoning
    from .engine.scripted import Reply as Reply
    from .engine.scripted import ScriptedEngine as ScriptedEngine
    from .engine.scripted import ToolCall as ToolCall
    from .engine.scripted import scripted_models as scripted_models
    from .errors import ServerStartError as ServerStartError
    from .home import default_models_folder as default_models_folder
    from .http.settings import HttpSettings as HttpSettings

_MODULE_OF = {
    "BrokenToolCall": ".engine.scripted",
    "ConnectionLimits": ".connection",
    "Engine": ".engine.base",
    "EngineError": ".engine.base",
    "Gate": ".engine.scripted",
    "HttpSettings": ".http.settings",
    "LlamaCppEngine": ".engine.llama_cpp",
    "ModelFile": ".engine.base",
    "Reasoning": ".engine.scripted",
    "Reply": ".engine.scripted",
    "ScriptedEngine": ".engine.scripted",
    "Server": ".embedded",
    "ServerStartError": ".errors",
    "ToolCall": ".engine.scripted",
    "default_models_folder": ".home",
    "scripted_models": ".engine.scripted",
}

__all__ = [
    "BrokenToolCall",
    "ConnectionLimits",
    "Engine",
    "EngineError",
    "Gate",
    "HttpSettings",
    "LlamaCppEngine",
    "ModelFile",
    "Reasoning",
    "Reply",
    "ScriptedEngine",
    "Server",
    "ServerStartError",
    "ToolCall",
    "default_models_folder",
    "scripted_models",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(globals(), _MODULE_OF)
