"""The input of POST /v1/responses: items, as messages of a chat and as they are shown again."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from lmstudio._openai_messages import read_openai_message
from lmstudio._sdk_models import AssistantResponse, SystemPrompt, TextData, ToolCallRequestData, ToolResultMessage
from lmstudio.errors import LMStudioValueError
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.work import refusing_bad_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lmstudio._sdk_models import AnyChatMessage

__all__ = ["input_items", "read_input", "with_instructions"]

_ROLES: Final = ("user", "assistant", "system", "developer")
_TEXTS: Final = ("input_text", "output_text", "text")
_ID_PREFIXES: Final = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
}


def read_input(given: str | Sequence[Mapping[str, Any]], previous: Sequence[AnyChatMessage]) -> list[AnyChatMessage]:
    """The chat that goes on from *previous* with what a request has brought.

    Raises:
        HttpError: an item cannot be read, or is the result of a call that nobody has made.
    """
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not given:
        raise HttpError("invalid_request", "input is an empty list: it needs at least one item.", param="input")
    messages: list[AnyChatMessage] = []
    calls = {request.id for message in previous for request in _calls(message)}
    for number, item in enumerate(given):
        with refusing_bad_messages(f"input[{number}]"):
            read = _read_item(item)
        for message in read:
            calls.update(request.id for request in _calls(message))
            if isinstance(message, ToolResultMessage):
                _check_result(message, calls, number)
            last = messages[-1] if messages else None
            if isinstance(message, AssistantResponse) and isinstance(last, AssistantResponse):
                # Text and calls of one turn are items of their own here, and one message for chat templates.
                last.content = [*last.content, *message.content]
            else:
                messages.append(message)
    if not messages:
        message_text = "input has only reasoning: it needs a message or the result of a call."
        raise HttpError("invalid_request", message_text, param="input", code="invalid_value")
    return [*previous, *messages]


def _calls(message: AnyChatMessage) -> Iterable[Any]:
    if isinstance(message, AssistantResponse):
        return [part.tool_call_request for part in message.content if isinstance(part, ToolCallRequestData)]
    return ()


def _check_result(message: ToolResultMessage, calls: set[str | None], number: int) -> None:
    for result in message.content:
        if result.tool_call_id not in calls:
            text = (
                f"input[{number}] is the output of the call {result.tool_call_id!r:.80}, but no such call comes before "
                "it. Send the function_call as well, or previous_response_id."
            )
            raise HttpError("invalid_request", text, param=f"input[{number}].call_id", code="invalid_value")


def _read_item(item: Mapping[str, Any]) -> list[AnyChatMessage]:
    """The messages that *item* is; none for reasoning, which models are not shown again.

    Raises:
        LMStudioValueError: it cannot be read.
    """
    match item.get("type", "message"):
        case "message":
            return [_read_message(item)]
        case "function_call":
            return [_read_call(item, item.get("call_id"))]
        case "function_call_output":
            return [_read_result(item.get("call_id"), item.get("output"))]
        case "reasoning" | "mcp_list_tools":
            return []
        case "mcp_call":
            return _read_mcp_call(item)
        case "item_reference":
            raise LMStudioValueError("Items are not stored by their id: send the item, or previous_response_id.")
        case other:
            known = "message, function_call, function_call_output, mcp_call, reasoning"
            raise LMStudioValueError(f"Cannot read an item of the type {other!r:.80}: expected one of {known}.")


def _read_call(item: Mapping[str, Any], call_id: object) -> AnyChatMessage:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return read_openai_message({"role": "assistant", "tool_calls": [{"id": call_id, "function": function}]})


def _read_result(call_id: object, output: object) -> AnyChatMessage:
    return read_openai_message({"role": "tool", "tool_call_id": call_id, "content": _read_parts(output)})


def _read_mcp_call(item: Mapping[str, Any]) -> list[AnyChatMessage]:
    """A call that a server has made for an earlier response, with its answer."""
    call_id, answer = item.get("id"), item.get("output") or item.get("error") or ""
    return [_read_call(item, call_id), _read_result(call_id, answer)]


def _read_message(item: Mapping[str, Any]) -> AnyChatMessage:
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        raise LMStudioValueError(f"The role of a message must be one of {', '.join(_ROLES)}, not {role!r:.80}.")
    if content is None:
        raise LMStudioValueError("A message needs a content: a text, or a list of parts.")
    return read_openai_message({"role": role, "content": _read_parts(content)})


def _read_parts(content: object) -> object:
    """The content in the words of chat completions."""
    return [_read_part(part) for part in content] if isinstance(content, list) else content


def _read_part(part: object) -> object:
    if not isinstance(part, dict):
        raise LMStudioValueError(f"Cannot read {part!r:.80} as a part: expected {{'type': 'input_text', 'text': ...}}.")
    kind = part.get("type")
    if kind in _TEXTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "refusal":
        return part
    if kind in ("input_image", "input_file") and part.get("file_id") is not None:
        raise LMStudioValueError("There are no uploaded files here: send the content itself, as a data: URI.")
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    if kind == "input_file" and part.get("file_url") is None:
        return {"type": "file", "file": {"filename": part.get("filename"), "file_data": part.get("file_data")}}
    if kind == "input_file":
        raise LMStudioValueError("Files are not fetched from the web: send the content itself in file_data.")
    known = "input_text, input_image, input_file, output_text, refusal"
    raise LMStudioValueError(f"Cannot read a part of the type {kind!r:.80}: expected one of {known}.")


def with_instructions(messages: Sequence[AnyChatMessage], instructions: str | None) -> list[AnyChatMessage]:
    """The chat as the model sees it, with *instructions* before it.

    Many templates know one system prompt only, so that those at the beginning become one.
    """
    texts = [instructions] if instructions else []
    rest = [*messages]
    while rest and isinstance(rest[0], SystemPrompt) and all(isinstance(part, TextData) for part in rest[0].content):
        texts += [part.text for part in rest.pop(0).content if isinstance(part, TextData)]
    return [SystemPrompt(content=[TextData(text="\n\n".join(texts))]), *rest] if texts else rest


def input_items(given: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a request has brought, as it is shown again: each item with an id, texts in parts."""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_shown(item) for item in items]


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = item.get("type", "message")
    new_id = f"{_ID_PREFIXES[kind]}_{secrets.token_hex(12)}"
    shown = {**item, "type": kind, "id": item.get("id") or new_id}
    if kind == "message" and isinstance(item["content"], str):
        part = "output_text" if item["role"] == "assistant" else "input_text"
        shown["content"] = [{"type": part, "text": item["content"]}]
    return {"status": "completed", **shown}
