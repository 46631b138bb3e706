"""What tools of plugins tell the user about their calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import lmstudio as lms
from lmstudio.plugin._controllers.async_contexts import AsyncToolCallContext
from lmstudio.plugin._controllers.sync_contexts import ToolCallContext

STATUS = {"type": "toolCallStatus", "sessionId": "s", "callId": "c", "statusText": "Adding."}
WARNING = {"type": "toolCallWarn", "sessionId": "s", "callId": "c", "warnText": "Only one?"}


def test_coroutine_tells_status_and_warning() -> None:
    sent: list[Any] = []
    context = AsyncToolCallContext("s", "c", sent.append)

    async def tool() -> None:
        await context.notify_status("Adding.")
        await context.notify_warning("Only one?")

    asyncio.run(tool())
    assert [packet.to_dict() for packet in sent] == [STATUS, WARNING]
    assert (context.session_id, context.call_id, context.signal.aborted) == ("s", "c", False)


def test_function_tells_status_and_warning() -> None:
    sent: list[Any] = []
    signal = lms.AbortSignal()
    context = ToolCallContext("s", "c", sent.append, signal)
    context.notify_status("Adding.")
    context.notify_warning("Only one?")
    assert [packet.to_dict() for packet in sent] == [STATUS, WARNING]
    assert context.signal is signal
    assert repr(context) == "ToolCallContext(session_id='s', call_id='c')"


def test_only_texts_are_told() -> None:
    sent: list[Any] = []
    context: Any = ToolCallContext("s", "c", sent.append)
    for refused in (context.notify_status, context.notify_warning):
        with pytest.raises(lms.LMStudioValueError, match=r"^Could not report .*`str`"):
            refused(1)
    assert sent == []
