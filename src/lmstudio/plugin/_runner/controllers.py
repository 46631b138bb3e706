"""Which controller a hook gets: one whose methods are awaited, or its twin for functions that run in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio.plugin._controllers.async_controllers import TokenGeneratorController, ToolsProviderController
from lmstudio.plugin._controllers.async_processing import (
    PredictionLoopHandlerController,
    PromptPreprocessorController,
)
from lmstudio.plugin._controllers.sync_controllers import SyncTokenGeneratorController, SyncToolsProviderController
from lmstudio.plugin._controllers.sync_processing import (
    SyncPredictionLoopHandlerController,
    SyncPromptPreprocessorController,
)

if TYPE_CHECKING:
    from lmstudio.plugin._definition import HookName

__all__ = ["controller_class"]

_CLASSES: Final[dict[HookName, tuple[type[Any], type[Any]]]] = {
    "preprocess_prompt": (PromptPreprocessorController, SyncPromptPreprocessorController),
    "handle_prediction_loop": (PredictionLoopHandlerController, SyncPredictionLoopHandlerController),
    "list_provided_tools": (ToolsProviderController, SyncToolsProviderController),
    "generate_tokens": (TokenGeneratorController, SyncTokenGeneratorController),
}


def controller_class(name: HookName, *, in_loop: bool) -> type[Any]:
    """For a coroutine, if *in_loop*; else for a function in a thread."""
    for_coroutines, for_functions = _CLASSES[name]
    return for_coroutines if in_loop else for_functions
