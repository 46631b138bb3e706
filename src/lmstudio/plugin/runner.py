"""Runs plugins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lmstudio.errors import LMStudioValueError

from ._definition import load_plugin
from ._manifest import read_manifest
from ._runner.environment import access_from_environment
from ._runner.running import MAX_PARALLEL_TOOL_CALLS, serve

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["MAX_PARALLEL_TOOL_CALLS", "run_plugin", "run_plugin_async"]


def run_plugin(
    plugin_dir: str | os.PathLike[str],
    *,
    allow_local_imports: bool = False,
    max_parallel_tool_calls: int = MAX_PARALLEL_TOOL_CALLS,
    on_ready: Callable[[str], object] | None = None,
) -> None:
    """As `run_plugin_async`, for programs without an event loop. Ctrl-C ends it, with KeyboardInterrupt."""
    asyncio.run(
        run_plugin_async(
            plugin_dir,
            allow_local_imports=allow_local_imports,
            max_parallel_tool_calls=max_parallel_tool_calls,
            on_ready=on_ready,
        )
    )


async def run_plugin_async(
    plugin_dir: str | os.PathLike[str],
    *,
    allow_local_imports: bool = False,
    max_parallel_tool_calls: int = MAX_PARALLEL_TOOL_CALLS,
    on_ready: Callable[[str], object] | None = None,
) -> None:
    """Run the plugin in this folder, in asyncio, until this is cancelled.

    The host that starts the plugin gives it credentials in the environment: LMS_PLUGIN_CLIENT_IDENTIFIER and
    LMS_PLUGIN_CLIENT_PASSKEY, and its address in LMS_PLUGIN_BASE_URL (without it, the local server is found).
    `python -m lmstudio.plugin --dev FOLDER` gets them from the host itself.

    Args:
        plugin_dir: The folder with `manifest.json` and `src/plugin.py`.
        allow_local_imports: The plugin may import modules beside `plugin.py`: `src` goes to the front of `sys.path`.
        max_parallel_tool_calls: So many tool calls of one session run at the same time; others wait.
        on_ready: Called with the plugin's identifier, "owner/name", when the host can use it.

    Raises:
        LMStudioFileNotFoundError: the manifest or the code is not there.
        LMStudioPluginInitError: one of them cannot be used.
        LMStudioPluginRuntimeError: there are no credentials, or the host has gone.
        LMStudioError: there is no host, or it does not accept the plugin.
    """
    is_number = isinstance(max_parallel_tool_calls, int) and not isinstance(max_parallel_tool_calls, bool)
    if not is_number or max_parallel_tool_calls < 1:
        raise LMStudioValueError(
            f"max_parallel_tool_calls must be a number from 1 on, got {max_parallel_tool_calls!r}."
        )
    manifest = read_manifest(plugin_dir)
    access = access_from_environment()
    definition = await load_plugin(plugin_dir, manifest.identifier, allow_local_imports=allow_local_imports)
    await serve(
        definition,
        access,
        max_parallel_tool_calls=max_parallel_tool_calls,
        on_ready=on_ready or (lambda _: None),
    )
