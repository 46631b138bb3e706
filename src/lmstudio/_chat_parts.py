"""What users write for messages and their parts, read into the structs that travel."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from ._callbacks import refuse_unawaited
from ._chat_message import ChatMessage
from ._sdk_models import (
    AnyChatMessage,
    AssistantResponse,
    AssistantResponseContent,
    FileHandle,
    SystemPrompt,
    TextData,
    ToolCallRequest,
    ToolCallRequestData,
    ToolCallResultData,
    ToolResultMessage,
    UserMessage,
    UserMessageContent,
)
from ._struct import LMStudioStruct
from .errors import LMStudioValueError
from .results import PredictionResult

StructT = TypeVar("StructT", bound=LMStudioStruct)
MessageT = TypeVar("MessageT", bound=ChatMessage)

MESSAGE_TYPES = (SystemPrompt, UserMessage, AssistantResponse, ToolResultMessage)
_PLAIN: dict[str, type[SystemPrompt | UserMessage | AssistantResponse]] = {
    "system": SystemPrompt,
    "user": UserMessage,
    "assistant": AssistantResponse,
}

_ROLES = ("system", "user", "assistant", "tool")
_TEXT_ROLES = ("system", "user", "assistant")  # here and below no sets: who knows what a caller gives as a role
_OPENAI_MEMBERS = ("tool_calls", "function_call", "refusal")
_OPENAI_ROLES = ("developer", "function")
_OPENAI_PARTS = ("image_url", "input_audio", "refusal")


# Messages ------------------------------------------------------------------------------------------------------------


def read_messages(messages: Iterable[Any]) -> list[AnyChatMessage]:
    """New messages for what a list may hold: structs, dicts of LM Studio or OpenAI, and (role, content) pairs."""
    result: list[AnyChatMessage] = []
    open_results: ToolResultMessage | None = None
    for message in messages:
        if isinstance(message, tuple) and len(message) == 2:
            read = copy_message(make_message(*message))
        else:
            read = read_message(message)
        if not isinstance(read, ToolResultMessage) or not _is_openai_message(as_mapping(message)):
            open_results = None
            result.append(read)
        elif open_results is None:
            open_results = read
            result.append(read)
        else:
            # OpenAI has a message for each result, LM Studio one for all results of a round.
            open_results.content.extend(read.content)
    return result


def read_message(message: object) -> AnyChatMessage:
    """A new message for a struct or dict of the caller, which stays as it is."""
    if isinstance(message, MESSAGE_TYPES):
        return copy_message(message)
    data = message if type(message) is dict else as_mapping(message)
    role, content = data.get("role"), data.get("content")
    if type(content) is str and type(role) is str and len(data) == 2:
        cls = _PLAIN.get(role)
        if cls is not None:  # what most messages are: nothing to check and nothing to copy
            return cls(content=[TextData(text=content)])
    if _is_openai_message(data):
        from ._openai_messages import read_openai_message

        return copy_message(read_openai_message(data))
    images = data.get("images")
    if not is_message(data):
        refuse_unawaited([message])
        advice = " Add a result with add_assistant_response()." if isinstance(message, PredictionResult) else ""
        raise LMStudioValueError(
            f"Cannot read {message!r:.80} as a chat message. Expected {{'role': ..., 'content': ...}}.{advice}"
        )
    if content is None:
        content = [] if images else ""  # as in lmstudio.js
    return copy_message(make_message(data.get("role", "user"), content, images or (), images_first=True))


def as_mapping(message: object) -> Mapping[str, Any]:
    """The message as data; empty for what is none."""
    if isinstance(message, Mapping):
        return message
    if isinstance(message, msgspec.Struct):  # ChatMessage, and the messages of replies over HTTP
        return msgspec.to_builtins(message)  # type: ignore[no-any-return]  # a struct is a dict then
    dump = getattr(message, "model_dump", None)  # the objects of OpenAI's package are pydantic models
    data = None if dump is None or isinstance(message, type) else dump(exclude_none=True)
    return data if isinstance(data, Mapping) else {}


def is_message(data: Mapping[str, Any]) -> bool:
    """Whether a dict can be a message at all."""
    return any(member in data for member in ("content", "images", "tool_calls", "function_call"))


def _is_openai_message(data: Mapping[str, Any]) -> bool:
    """Whether a message can only be one of OpenAI's API."""
    role, content = data.get("role"), data.get("content")
    if role in _OPENAI_ROLES or "tool_call_id" in data or any(data.get(member) for member in _OPENAI_MEMBERS):
        return True
    return (role == "tool" and isinstance(content, str)) or (
        role == "assistant" and content is None and "content" in data and not data.get("images")
    )


def make_message(role: object, content: object, images: object = (), *, images_first: bool = False) -> AnyChatMessage:
    """A message of this role. Its parts are those of the caller, where they are structs."""
    parts, files = as_parts(content), as_parts(images)
    refuse_unawaited([*parts, *files])
    if role == "tool":
        if files:
            raise LMStudioValueError("Results of tool calls can have no images.")
        return ToolResultMessage(content=[result_part(part) for part in parts])
    if role not in _TEXT_ROLES:
        raise LMStudioValueError(f"Unknown role {role!r}: expected one of {', '.join(_ROLES)}.")
    handles = [file_part(file) for file in files]
    if role == "assistant":
        return AssistantResponse(content=_in_order(assistant_parts(parts), handles, images_first))
    others: list[UserMessageContent] = _in_order([text_or_file(part) for part in parts], handles, images_first)
    return UserMessage(content=others) if role == "user" else SystemPrompt(content=others)


def _in_order(parts: list[Any], files: list[FileHandle], files_first: bool) -> list[Any]:
    return [*files, *parts] if files_first else [*parts, *files]


def copy_message(message: MessageT) -> MessageT:
    """An independent copy. Quicker than deepcopy: only tool call requests hold more than text and numbers."""
    result = copy.copy(message)
    result.content = [
        copy.deepcopy(part) if part.type == "toolCallRequest" else copy.copy(part) for part in message.content
    ]
    return result


# Parts ---------------------------------------------------------------------------------------------------------------


def as_parts(content: Any) -> list[Any]:
    """One part or several, as a list."""
    if type(content) is list:
        return content.copy()
    single = (str, bytes, bytearray, Mapping, msgspec.Struct, PredictionResult)
    return [content] if isinstance(content, single) or not isinstance(content, Iterable) else list(content)


def text_part(part: object) -> TextData:
    """Text of the caller as a part."""
    if isinstance(part, TextData):
        return part
    text = part.get("text") if isinstance(part, Mapping) else part
    if isinstance(text, str):
        return TextData(text=text)
    raise _unexpected(part, "Expected text, got")


def file_part(part: object) -> FileHandle:
    """A file handle of the caller as a part."""
    if isinstance(part, FileHandle):
        return part
    if isinstance(part, Mapping) and "identifier" in part:
        return _from_dict(FileHandle, {"type": "file", **part})
    raise _unexpected(part, "Expected a file handle, as prepare_image() returns it; got")


def text_or_file(part: object) -> TextData | FileHandle:
    """A part that every message but tool results may have."""
    if isinstance(part, FileHandle):
        return part
    if isinstance(part, Mapping):
        kind = part.get("type")
        if kind in _OPENAI_PARTS or (kind == "file" and "file" in part):
            from ._openai_messages import read_openai_part

            return read_openai_part(part)
        if "identifier" in part:
            return file_part(part)
    return text_part(part)


def assistant_parts(parts: Iterable[object]) -> list[AssistantResponseContent]:
    """The parts of a message of the assistant; a prediction result becomes its text and its tool call requests."""
    result: list[AssistantResponseContent] = []
    for part in parts:
        if isinstance(part, PredictionResult):
            result.append(TextData(text=part.content))
            result += map(request_part, part.tool_call_requests)
        elif isinstance(part, (ToolCallRequest, ToolCallRequestData)) or (
            isinstance(part, Mapping) and ("toolCallRequest" in part or "tool_call_request" in part)
        ):
            result.append(request_part(part))
        else:
            result.append(text_or_file(part))
    return result


def request_part(part: object) -> ToolCallRequestData:
    """A tool call request of the caller as a part."""
    if isinstance(part, ToolCallRequestData):
        return part
    if isinstance(part, ToolCallRequest):
        return ToolCallRequestData(tool_call_request=part)
    if isinstance(part, Mapping):
        request = part.get("toolCallRequest", part.get("tool_call_request", part))
        if isinstance(request, ToolCallRequest):
            return ToolCallRequestData(tool_call_request=request)
        if isinstance(request, Mapping) and "name" in request:
            return ToolCallRequestData(tool_call_request=_from_dict(ToolCallRequest, {"type": "function", **request}))
    raise LMStudioValueError(f"Cannot read {part!r:.80} as a tool call request.")


def result_part(part: object) -> ToolCallResultData:
    """The result of a tool call as a part."""
    if isinstance(part, ToolCallResultData):
        return part
    if not isinstance(part, Mapping) or "content" not in part:
        raise LMStudioValueError(
            f"Cannot read {part!r:.80} as the result of a tool call. Expected a ToolCallResultData or a dict with "
            "'content' and 'tool_call_id'."
        )
    check_result_text(part["content"])
    return _from_dict(ToolCallResultData, {"type": "toolCallResult", **part})


def check_result_text(content: object) -> None:
    """Refuse a result that is not text: models read text, and only the caller knows how it should look."""
    if not isinstance(content, str):
        raise LMStudioValueError(
            f"The result of a tool call must be text, got {type(content).__name__}: pass json.dumps(...) of it."
        )


def _from_dict(cls: type[StructT], data: Mapping[str, Any]) -> StructT:
    try:
        return cls.from_dict(data)
    except msgspec.ValidationError as error:
        raise LMStudioValueError(f"Cannot read {data!r:.80} as {cls.__name__}: {error}") from error


def _unexpected(part: object, expectation: str) -> LMStudioValueError:
    refuse_unawaited([part])
    return LMStudioValueError(f"{expectation} {part!r:.80}.")
