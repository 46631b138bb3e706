"""Tools with which a model looks around in the chat's working directory.

Plain functions: each call runs in a thread.

Run it with: python -m lmstudio.plugin --dev examples/plugins/tools_provider
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lmstudio.plugin import BaseConfigSchema, SyncToolsProviderController, config_field, get_tool_call_context


class ConfigSchema(BaseConfigSchema):
    """What users can set in each chat."""

    show_hidden: bool = config_field(label="Hidden files", hint="Names that begin with a dot.", default=False)
    max_characters: int = config_field(label="Most characters", hint="Of a file, for the model.", default=20_000)


def list_provided_tools(ctl: SyncToolsProviderController[ConfigSchema, Any]) -> list[Callable[..., Any]]:
    """The tools for one chat."""
    if ctl.working_path is None:
        return []
    root = ctl.working_path.resolve()
    settings = ctl.plugin_config

    def is_shown(path: Path) -> bool:
        return settings.show_hidden or not any(part.startswith(".") for part in path.relative_to(root).parts)

    def inside(name: str) -> Path:
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not is_shown(path):
            raise ValueError(f"There is no {name!r} that can be read.")  # the model is told so
        return path

    def list_folder(folder: str = ".") -> list[str]:
        """List the names in a folder of the working directory. Those of folders end in a slash."""
        found = sorted(path for path in inside(folder).iterdir() if is_shown(path))
        return [f"{path.name}/" if path.is_dir() else path.name for path in found]

    def read_file(name: str) -> str:
        """Read a text file of the working directory."""
        context = get_tool_call_context()
        context.notify_status(f"Reading {name}")
        text = inside(name).read_text(encoding="utf-8", errors="replace")
        if len(text) > settings.max_characters:
            context.notify_warning(f"{name} is long: the model sees the beginning.")
        return text[: settings.max_characters]

    return [list_folder, read_file]
