"""What a plugin consists of, found in its code."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, get_args

from lmstudio.errors import LMStudioError, LMStudioFileNotFoundError

from ._schematics import ConfigSchematics
from .config_schemas import BaseConfigSchema
from .sdk_api import LMStudioPluginInitError

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

__all__ = ["HOOK_NOUNS", "ConfigInput", "Hook", "HookName", "PluginContext", "PluginDefinition", "load_plugin"]

HookName: TypeAlias = Literal["preprocess_prompt", "handle_prediction_loop", "list_provided_tools", "generate_tokens"]
"""What hooks are called in `src/plugin.py`."""
HOOK_NOUNS: Final[dict[HookName, str]] = {
    "preprocess_prompt": "prompt preprocessor",
    "handle_prediction_loop": "prediction loop handler",
    "list_provided_tools": "tools provider",
    "generate_tokens": "generator",
}
"""What hooks are called in messages."""
Hook: TypeAlias = Callable[..., Any]
ConfigInput: TypeAlias = "type[BaseConfigSchema] | ConfigSchematics"
"""The settings of a plugin: a class of fields, or what `create_config_schematics` has built."""

HookT = TypeVar("HookT", bound=Hook)

_MODULE_NAME = "__lms_plugin__"
_SOURCE = Path("src", "plugin.py")
_MAIN = "main"
_CONFIG_NAMES: Final = ("ConfigSchema", "GlobalConfigSchema")


class PluginContext:
    """What a plugin registers its hooks with, in a function `main(context)`, plain or a coroutine.

    ::

        def main(context: PluginContext) -> None:
            context.with_prompt_preprocessor(shout).with_config_schematics(SETTINGS)

    It is the other way beside hooks with the official names. Each method returns the context.
    """

    def __init__(self) -> None:
        self.hooks: dict[HookName, Hook] = {}
        """What has been registered, by the official names."""
        self.config: ConfigInput | None = None
        """Settings of each chat."""
        self.global_config: ConfigInput | None = None
        """Settings that are the same everywhere."""

    def with_prompt_preprocessor(self, hook: Hook) -> Self:
        """Call `hook(ctl, message)` with each message of the user. It returns the message to use, a text, or None."""
        return self._add("preprocess_prompt", hook)

    def with_prediction_loop_handler(self, hook: Hook) -> Self:
        """Let `hook(ctl)` answer instead of the application. Such a plugin cannot provide tools."""
        return self._add("handle_prediction_loop", hook)

    def with_tools_provider(self, hook: Hook) -> Self:
        """Offer the tools that `hook(ctl)` returns: what `act` takes."""
        return self._add("list_provided_tools", hook)

    def with_generator(self, hook: Hook) -> Self:
        """Let `hook(ctl, history)` generate text, as a model does. It may take *ctl* alone."""
        return self._add("generate_tokens", hook)

    def with_config_schematics(self, schematics: ConfigInput) -> Self:
        """Have these settings in each chat: `ctl.plugin_config`."""
        if self.config is not None:
            raise LMStudioPluginInitError("The plugin has settings of each chat already; they can be given once.")
        self.config = _checked_config("with_config_schematics", schematics)
        return self

    def with_global_config_schematics(self, schematics: ConfigInput) -> Self:
        """Have these settings, which are the same everywhere: `ctl.global_config`."""
        if self.global_config is not None:
            raise LMStudioPluginInitError("The plugin has global settings already; they can be given once.")
        self.global_config = _checked_config("with_global_config_schematics", schematics)
        return self

    def _add(self, name: HookName, hook: Hook) -> Self:
        noun = HOOK_NOUNS[name]
        if not callable(hook):
            raise LMStudioPluginInitError(f"Cannot use {hook!r:.80} as the {noun} of a plugin: expected a function.")
        if name in self.hooks:
            raise LMStudioPluginInitError(f"The plugin has a {noun} already; it can have one.")
        self.hooks[name] = hook
        return self


class PluginDefinition:
    """A plugin that can run: its hooks, and its settings."""

    def __init__(self, identifier: str, context: PluginContext) -> None:
        """*identifier* is owner/name.

        Raises:
            LMStudioPluginInitError: there is no hook, or two that exclude each other.
        """
        self.identifier = identifier
        self.hooks: dict[HookName, Hook] = dict(context.hooks)
        self.config: ConfigInput | None = context.config
        self.global_config: ConfigInput | None = context.global_config
        if not self.hooks:
            names = ", ".join(get_args(HookName))
            raise LMStudioPluginInitError(
                f"The plugin {identifier!r} has no hook. Define at least one of these functions in {_SOURCE}: {names}; "
                "or a function main(context) that registers one."
            )
        if self.hooks.keys() >= {"handle_prediction_loop", "list_provided_tools"}:
            raise LMStudioPluginInitError(
                f"The plugin {identifier!r} has both a prediction loop handler and a tools provider, which exclude "
                "each other: a loop handler decides itself which tools there are. Make two plugins of them."
            )


async def load_plugin(
    plugin_dir: str | os.PathLike[str], identifier: str, *, allow_local_imports: bool = False
) -> PluginDefinition:
    """Run the code of the plugin in this folder, and find its hooks.

    Raises:
        LMStudioFileNotFoundError: there is no code.
        LMStudioPluginInitError: the code fails, or is not that of a plugin.
    """
    path = Path(plugin_dir, _SOURCE)
    members = _run(path, allow_local_imports=allow_local_imports)
    context = PluginContext()
    for name in get_args(HookName):
        if members.get(name) is not None:
            context._add(name, members[name])
    for name, register in zip(
        _CONFIG_NAMES, (context.with_config_schematics, context.with_global_config_schematics), strict=True
    ):
        if members.get(name) is not None:
            register(_checked_config(name, members[name]))
    main = members.get(_MAIN)
    if callable(main):
        await _call_main(main, context, path)
    return PluginDefinition(identifier, context)


def _run(path: Path, *, allow_local_imports: bool) -> dict[str, Any]:
    """The names that the plugin's code has defined."""
    try:
        source = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LMStudioFileNotFoundError(f"Could not find {path}, where the code of a plugin is.") from error
    if allow_local_imports and str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # it stays: the plugin may import more later
    module = ModuleType(_MODULE_NAME)
    module.__file__ = str(path)
    # Annotations, dataclasses and pickle look the module up by its name, also later.
    sys.modules[_MODULE_NAME] = module
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except Exception as error:
        raise _failed(f"Could not load {path}", error) from error
    return vars(module)


async def _call_main(main: Callable[[PluginContext], object], context: PluginContext, path: Path) -> None:
    try:
        result = main(context)
        if isinstance(result, Awaitable):
            await result
    except LMStudioPluginInitError:
        raise
    except Exception as error:
        raise _failed(f"{_MAIN}() of {path} failed", error) from error


def _failed(what: str, error: Exception) -> LMStudioPluginInitError:
    own = f": {error}" if isinstance(error, LMStudioError) else f" with {type(error).__name__}: {error}"
    return LMStudioPluginInitError(f"{what}{own}")


def _checked_config(name: str, given: object) -> ConfigInput:
    if isinstance(given, ConfigSchematics) or (isinstance(given, type) and issubclass(given, BaseConfigSchema)):
        return given
    raise LMStudioPluginInitError(
        f"Cannot use {given!r:.80} as {name}: expected a class that derives from BaseConfigSchema, or what "
        "create_config_schematics() builds."
    )
