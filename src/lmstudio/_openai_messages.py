"""Messages in the form of OpenAI's chat completions, read and written.

What OpenAI's form has no place for is written as additional members, which its other readers ignore: the name of an
inline image, and what LM Studio needs to find a file again.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import msgspec

from ._chat_parts import MESSAGE_TYPES, as_mapping, text_or_file
from ._sdk_models import (
    AnyChatMessage,
    AssistantResponse,
    FileHandle,
    FileType,
    SystemPrompt,
    TextData,
    ToolCallRequest,
    ToolCallRequestData,
    ToolCallResultData,
    ToolResultMessage,
    UserMessage,
)
from .errors import LMStudioValueError

if TYPE_CHECKING:
    from .history import ChatInput

JsonObject: TypeAlias = dict[str, Any]

_INLINE = "base64:"  # identifiers of files whose content they are
_HEAD_CHARACTERS = 684  # of base64: what is enough to recognise an image
_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_MEDIA_TYPES = {
    "text/plain": "text/plain",
    "text/other": "text/plain",
    "application/pdf": "application/pdf",
    "application/word": _WORD,
    "unknown": "application/octet-stream",
}
_FILE_TYPES: dict[str, FileType] = {
    "text/plain": "text/plain",
    "application/pdf": "application/pdf",
    "application/msword": "application/word",
    _WORD: "application/word",
}


# Reading -------------------------------------------------------------------------------------------------------------


def read_openai_message(message: Mapping[str, Any]) -> AnyChatMessage:
    """A message of OpenAI's API as one of LM Studio's.

    Raises:
        LMStudioValueError: it has something that LM Studio cannot be given; the message says what.
    """
    role, content = message.get("role"), message.get("content")
    if role in ("tool", "function"):
        result = ToolCallResultData(
            content=_result_text(content),
            tool_call_id=_text_of(message, "tool_call_id"),
            name=_text_of(message, "name"),
        )
        return ToolResultMessage(content=[result])
    parts = [text_or_file(part) for part in _parts(content)]
    if role == "assistant":
        refusal = _text_of(message, "refusal")
        if refusal:
            parts.append(TextData(text=refusal))
        if message.get("audio"):
            raise LMStudioValueError("LM Studio's chats have no audio: pass the transcript as text.")
        requests = [ToolCallRequestData(tool_call_request=request) for request in _tool_calls(message)]
        return AssistantResponse(content=[*parts, *requests])
    if role in ("system", "developer"):
        return SystemPrompt(content=parts)
    if role == "user":
        return UserMessage(content=parts)
    raise LMStudioValueError(
        f"Unknown role {role!r} of an OpenAI message: expected system, developer, user, assistant, tool or function."
    )


def _parts(content: object) -> list[object]:
    if content is None:
        return []
    return list(content) if isinstance(content, Iterable) and not isinstance(content, (str, Mapping)) else [content]


def _result_text(content: object) -> str:
    parts = [text_or_file(part) for part in _parts(content)]
    texts = [part.text for part in parts if isinstance(part, TextData)]
    if len(texts) < len(parts):
        raise LMStudioValueError("Results of tool calls can be text only, not images or files.")
    return "\n".join(texts)


def _text_of(data: Mapping[str, Any], member: str) -> str | None:
    value = data.get(member)
    if value is None or isinstance(value, str):
        return value
    raise LMStudioValueError(f"{member!r} of an OpenAI message must be text, got {value!r:.80}.")


def _tool_calls(message: Mapping[str, Any]) -> list[ToolCallRequest]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, Iterable) or isinstance(calls, (str, Mapping)):
        raise LMStudioValueError(f"'tool_calls' must be a list, got {calls!r:.80}.")
    function_call = message.get("function_call")  # what it was called before there could be several
    return [*map(_tool_call, calls), *([_request(function_call, None)] if function_call else [])]


def _tool_call(call: object) -> ToolCallRequest:
    if not isinstance(call, Mapping) or "function" not in call:
        raise LMStudioValueError(
            f"Cannot read {call!r:.80} as a tool call. Expected {{'id': ..., 'type': 'function', 'function': "
            "{'name': ..., 'arguments': ...}}."
        )
    return _request(call["function"], _text_of(call, "id"))


def _request(function: object, call_id: str | None) -> ToolCallRequest:
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str):
        raise LMStudioValueError(f"Cannot read {function!r:.80} as the function of a tool call: it needs a 'name'.")
    return ToolCallRequest(name=name, id=call_id, arguments=_read_arguments(function.get("arguments"), name))


def _read_arguments(arguments: object, name: str) -> JsonObject | None:
    if isinstance(arguments, Mapping):
        return dict(arguments)
    if arguments is None or arguments == "":
        return None
    if not isinstance(arguments, str):
        raise LMStudioValueError(f"The arguments of the tool call {name!r} must be JSON text, got {arguments!r:.80}.")
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise LMStudioValueError(
            f"Cannot read the arguments of the tool call {name!r} as a JSON object: {error}. Got {arguments!r:.80}."
        ) from error


def read_openai_part(part: Mapping[str, Any]) -> TextData | FileHandle:
    """A part of OpenAI's API that is not plain text: image, file or refusal."""
    kind = part.get("type")
    content = part.get(str(kind))
    if kind == "refusal":
        return TextData(text=_text_of(part, "refusal") or "")
    if kind == "input_audio":
        raise LMStudioValueError("LM Studio's chats have no audio: pass the transcript as text.")
    if kind == "image_url" and isinstance(content, str):
        return _read_inline(content, None, None)
    if not isinstance(content, Mapping):
        raise LMStudioValueError(f"Cannot read {part!r:.80}: {kind!r} must be a dict.")
    if kind == "image_url":
        return _read_inline(_text_of(content, "url") or "", _text_of(content, "name"), None)
    name, file_type = _text_of(content, "filename"), content.get("file_type")
    if file_type is not None and file_type not in get_args(FileType):
        raise LMStudioValueError(f"Unknown file type {file_type!r}: expected one of {', '.join(get_args(FileType))}.")
    data = _text_of(content, "file_data")
    if data is not None:
        return _read_inline(data, name, file_type)
    identifier, size = _text_of(content, "file_id"), content.get("size_bytes")
    if identifier is None or file_type is None or not isinstance(size, int):
        raise LMStudioValueError(
            f"Cannot read {part!r:.80}: LM Studio does not have OpenAI's files. Upload it with client.prepare_image() "
            "or client.files.prepare_file(), and pass what they return."
        )
    return FileHandle(
        name=identifier if name is None else name, identifier=identifier, size_bytes=size, file_type=file_type
    )


def _read_inline(uri: str, name: str | None, file_type: FileType | None) -> FileHandle:
    """The handle of a file whose content is in a data: URI."""
    if re.match(r"(?i)https?:", uri):
        raise LMStudioValueError(
            f"LM Studio does not fetch files from the web: {uri!r:.80}. Download it, upload it with "
            "client.prepare_image(), and pass what that returns."
        )
    head, comma, data = uri.partition(",")
    if not comma or not re.match(r"(?i)data:.*;\s*base64$", head):
        raise LMStudioValueError(
            f"Expected a data: URI with base64, as in 'data:image/png;base64,...'; got {uri!r:.80}."
        )
    media_type = head[len("data:") :].partition(";")[0].strip().lower()
    data = "".join(data.split())
    try:
        size = len(base64.b64decode(data, validate=True))
    except (ValueError, binascii.Error) as error:
        raise LMStudioValueError(f"The content of {head!r:.80} is not base64: {error}.") from error
    is_image = media_type.startswith("image/")
    default_name = f"image.{media_type[len('image/') :]}" if is_image else "file"
    found_type = "image" if is_image else _file_type(media_type)
    return FileHandle(
        name=default_name if name is None else name,
        identifier=_INLINE + data,
        size_bytes=size,
        file_type=file_type or found_type,
    )


def _file_type(media_type: str) -> FileType:
    return _FILE_TYPES.get(media_type, "text/other" if media_type.startswith("text/") else "unknown")


# Writing -------------------------------------------------------------------------------------------------------------


def write_openai_messages(messages: Iterable[AnyChatMessage]) -> list[JsonObject]:
    """The messages in OpenAI's form; each tool call result becomes a message of its own."""
    result: list[JsonObject] = []
    for message in messages:
        if isinstance(message, ToolResultMessage):
            result += map(_write_result, message.content)
        else:
            written: JsonObject = {"role": message.role, "content": _write_content(message)}
            calls = [_write_request(request) for request in message.get_tool_call_requests()]
            result.append({**written, "tool_calls": calls} if calls else written)
    return result


def openai_messages(messages: ChatInput) -> list[JsonObject]:
    """Whatever a caller passes as a chat, as messages to send over HTTP.

    Dicts that are messages of OpenAI's API already pass as they are, also with what LM Studio has no place for: who
    answers may be another server.
    """
    from .history import read_history

    given: object = messages
    if isinstance(given, Mapping):
        given = given.get("messages", [given])
    if not isinstance(given, (list, tuple)):
        return write_openai_messages(read_history(messages).messages)
    result: list[JsonObject] = []
    for message in given:
        data = {} if isinstance(message, MESSAGE_TYPES) else as_mapping(message)
        if _is_as_sent(data):
            result.append(dict(data))
        else:
            result += write_openai_messages(read_history([message]).messages)
    return result


def _is_as_sent(message: Mapping[str, Any]) -> bool:
    """Whether nothing in *message* is LM Studio's own form."""
    content = message.get("content")
    if not isinstance(message.get("role"), str) or "images" in message:
        return False
    if content is None:
        return any(message.get(member) for member in ("tool_calls", "function_call", "refusal"))
    return isinstance(content, str) or (
        isinstance(content, list) and all(isinstance(part, Mapping) and not _is_own_part(part) for part in content)
    )


def _is_own_part(part: Mapping[str, Any]) -> bool:
    kind = part.get("type")
    return kind in ("toolCallRequest", "toolCallResult") or (kind == "file" and "file" not in part)


def _write_content(message: AssistantResponse | UserMessage | SystemPrompt) -> str | list[JsonObject] | None:
    parts = [part for part in message.content if not isinstance(part, ToolCallRequestData)]
    if len(parts) == 1 and isinstance(parts[0], TextData):
        return parts[0].text
    if not parts and isinstance(message, AssistantResponse):
        return None
    return [_write_part(part) for part in parts]


def _write_part(part: TextData | FileHandle) -> JsonObject:
    if isinstance(part, TextData):
        return {"type": "text", "text": part.text}
    if not part.identifier.startswith(_INLINE):
        upload = {"file_id": part.identifier, "filename": part.name}
        return {"type": "file", "file": {**upload, "size_bytes": part.size_bytes, "file_type": part.file_type}}
    data = part.identifier[len(_INLINE) :]
    if part.file_type == "image":
        subtype = _image_subtype(part.name, data)
        image = {"url": f"data:image/{subtype};base64,{data}"}
        return {
            "type": "image_url",
            "image_url": image if part.name == f"image.{subtype}" else {**image, "name": part.name},
        }
    media_type = _MEDIA_TYPES.get(part.file_type, "application/octet-stream")
    file = {"filename": part.name, "file_data": f"data:{media_type};base64,{data}"}
    return {
        "type": "file",
        "file": file if _file_type(media_type) == part.file_type else {**file, "file_type": part.file_type},
    }


def _image_subtype(name: str, data: str) -> str:
    """png, jpeg, ...: what was read is written again; otherwise the content decides."""
    read = re.fullmatch(r"image\.([a-z0-9.+-]+)", name)
    if read:
        return read[1]
    from ._file_types import recognise

    try:
        found = recognise(base64.b64decode(data[:_HEAD_CHARACTERS]))
    except ValueError:
        found = None
    suffix = found.suffix[1:] if found is not None and found.is_image else "png"
    return "jpeg" if suffix == "jpg" else suffix


def _write_request(request: ToolCallRequest) -> JsonObject:
    arguments = "" if request.arguments is None else msgspec.json.encode(request.arguments).decode()
    call: JsonObject = {"type": "function", "function": {"name": request.name, "arguments": arguments}}
    return call if request.id is None else {"id": request.id, **call}


def _write_result(result: ToolCallResultData) -> JsonObject:
    members = {"tool_call_id": result.tool_call_id, "name": result.name}
    return {"role": "tool", "content": result.content, **{k: v for k, v in members.items() if v is not None}}
