"""Runs what the authors of plugins have written: coroutines as tasks, plain functions in threads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lmstudio._async_io import asyncio_hooks
from lmstudio._tool_definitions import FunctionTool
from lmstudio._tool_runner import AsyncioToolRunner, ToolFinished, ToolJob
from lmstudio._tool_signature import is_coroutine_function

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_coroutine", "run_user_code"]


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether *function* runs in the event loop."""
    return is_coroutine_function(function, FunctionTool)


async def run_user_code(call: Callable[[], Any], *, in_loop: bool, timeout: float | None = None) -> Any:
    """What *call* comes to; what it raises is raised.

    Cancelling this cancels a coroutine and waits for its end. A plain function cannot be stopped: it is left alone.

    Args:
        call: Takes no arguments.
        in_loop: It makes a coroutine; else it runs in a thread, and may still return something to await.
        timeout: Seconds that it may take.
    """
    runner = AsyncioToolRunner(None, asyncio_hooks(asyncio.get_running_loop()).post)
    runner.start(ToolJob(0, call, is_coroutine=in_loop, timeout=timeout))
    try:
        report = await runner.wait()
    except asyncio.CancelledError:
        runner.cancel()
        if in_loop:
            await runner.join()
        raise
    assert isinstance(report, ToolFinished)
    if report.error is not None:
        raise report.error
    return report.value
