"""Messages, a chat with one of everything, and a prediction that no server has made."""

from __future__ import annotations

from typing import Any

from recorded_packets import LLM_INSTANCE

from lmstudio._sdk_models import (
    FileHandle,
    KvConfig,
    LlmInstanceInfo,
    LlmPredictionStats,
    TextData,
    ToolCallRequest,
    ToolCallResultData,
)
from lmstudio.history import Chat
from lmstudio.results import PredictionResult, ToolCallRequestInfo

PHOTO = FileHandle(name="photo.png", identifier="local:1", size_bytes=10, file_type="image")
PHOTO_DICT = {"type": "file", "name": "photo.png", "identifier": "local:1", "sizeBytes": 10, "fileType": "image"}
REQUEST = ToolCallRequest(name="add", id="t1", arguments={"a": 1, "b": [2]})
REQUEST_DICT = {"type": "function", "id": "t1", "name": "add", "arguments": {"a": 1, "b": [2]}}
RESULT = ToolCallResultData(content="3", tool_call_id="t1")


def text(content: str) -> TextData:
    return TextData(text=content)


def text_dict(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def result(content: str, *requests: ToolCallRequest) -> PredictionResult[str]:
    return PredictionResult(
        content=content,
        parsed=content,
        stats=LlmPredictionStats(stop_reason="eosFound"),
        model_info=LlmInstanceInfo.from_dict(LLM_INSTANCE),
        load_config=KvConfig(fields=[]),
        prediction_config=KvConfig(fields=[]),
        tool_calls=[ToolCallRequestInfo(number, request) for number, request in enumerate(requests)],
    )


def complete_chat() -> Chat:
    """One of everything."""
    chat = Chat("Be brief.")
    chat.add_user_message("Look:", images=[PHOTO])
    chat.add_assistant_response("Adding.", [REQUEST])
    chat.add_tool_result(RESULT)
    chat.add_assistant_response("It is 3.")
    return chat


COMPLETE = {
    "messages": [
        {"role": "system", "content": [text_dict("Be brief.")]},
        {"role": "user", "content": [text_dict("Look:"), PHOTO_DICT]},
        {
            "role": "assistant",
            "content": [text_dict("Adding."), {"type": "toolCallRequest", "toolCallRequest": REQUEST_DICT}],
        },
        {"role": "tool", "content": [{"type": "toolCallResult", "content": "3", "toolCallId": "t1"}]},
        {"role": "assistant", "content": [text_dict("It is 3.")]},
    ]
}
