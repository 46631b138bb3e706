"""Updates of a hook on their way, and what a host may answer that it should not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from scripted_runtime import ScriptedRuntime, WaitsForeverError, result, rpc_error, run, void

from lmstudio._ops.processing import Processing, UpdateSender, handle_request, new_block_id
from lmstudio._sdk_models import ProcessingRequestTextInput, ProcessingUpdateDebugInfoBlockCreate
from lmstudio.errors import LMStudioProtocolError

if TYPE_CHECKING:
    from lmstudio._sdk_models import ProcessingUpdate

PROCESSING = Processing("pci-1", "token-1")


def update(text: str) -> ProcessingUpdate:
    return ProcessingUpdateDebugInfoBlockCreate(id=text, debug_info=text)


def test_updates_go_out_in_order_before_any_answer() -> None:
    runtime = ScriptedRuntime()
    sender = UpdateSender(runtime.port("plugins"), PROCESSING)
    for text in "ab":
        sender.send(update(text))
    assert [message["endpoint"] for message in runtime.sent] == ["processingHandleUpdate"] * 2
    assert [message["parameter"] for message in runtime.sent] == [
        {
            "pci": "pci-1",
            "token": "token-1",
            "update": {"type": "debugInfoBlock.create", "id": text, "debugInfo": text},
        }
        for text in "ab"
    ]


def test_flush_waits_for_each_answer_of_whatever_kind() -> None:
    runtime = ScriptedRuntime(rpc_error("No.", 2))
    port = runtime.port("plugins")
    sender = UpdateSender(port, PROCESSING)
    for text in "ab":
        sender.send(update(text))
    with pytest.raises(WaitsForeverError):
        run(sender.flush(port))
    runtime.script(void(1))
    run(sender.flush(port))
    assert not runtime.steps


def test_an_answer_to_another_question_is_an_error() -> None:
    answer = {"response": {"type": "confirmToolCall", "result": {"type": "allow"}}}
    runtime = ScriptedRuntime(result(answer))
    request = ProcessingRequestTextInput(prompt="Name?")
    with pytest.raises(LMStudioProtocolError, match=r"ask the user \(textInput\).*has answered 'confirmToolCall'"):
        run(handle_request(runtime.port("plugins"), PROCESSING, request))


def test_ids_of_blocks_are_those_of_lmstudio_js() -> None:
    assert re.fullmatch(r"\d{13}-0\.\d+(e-\d+)?", new_block_id())
    assert new_block_id() != new_block_id()
