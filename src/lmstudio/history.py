"""Chats: the messages that a model continues, as one writes them and as they travel."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

import msgspec

from ._sdk_models import (
    AnyChatMessage,
    AssistantResponse,
    AssistantResponseContent,
    ChatHistoryData,
    FileHandle,
    FileType,
    SystemPrompt,
    SystemPromptContent,
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

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._sdk_models.dicts import ChatHistoryDataDict, FileHandleDict, TextDataDict, UserMessageDict

__all__ = [
    "AnyChatMessage",
    "AnyChatMessageDict",
    "AssistantResponse",
    "AssistantResponseContent",
    "Chat",
    "ChatHistoryData",
    "ChatHistoryDataDict",
    "FileHandle",
    "FileHandleDict",
    "FileHandleInput",
    "FileType",
    "SystemPrompt",
    "SystemPromptContent",
    "TextData",
    "TextDataDict",
    "ToolCallRequest",
    "ToolCallResultData",
    "ToolResultMessage",
    "UserMessage",
    "UserMessageContent",
    "UserMessageDict",
]

StructT = TypeVar("StructT", bound=LMStudioStruct)

AnyChatMessageDict: TypeAlias = Mapping[str, Any]
"""A message as plain data: `role`, and `content` as text or as a list of parts."""
FileHandleInput: TypeAlias = "FileHandle | FileHandleDict"
TextInput: TypeAlias = "str | TextData | TextDataDict"
UserMessageInput: TypeAlias = "TextInput | FileHandleInput"
AssistantInput: TypeAlias = "TextInput | FileHandleInput | PredictionResult[Any]"
ToolCallRequestInput: TypeAlias = "ToolCallRequest | ToolCallRequestData | Mapping[str, Any]"
ToolCallResultInput: TypeAlias = "ToolCallResultData | Mapping[str, Any]"
ChatInput: TypeAlias = (
    "str | Chat | ChatHistoryData | ChatHistoryDataDict | AnyChatMessage | Mapping[str, Any] | Iterable[Any]"
)
"""Whatever can be read as a chat: see `Chat.from_history`."""

_DICT_TWINS = frozenset(("ChatHistoryDataDict", "FileHandleDict", "TextDataDict", "UserMessageDict"))


def __getattr__(name: str) -> Any:
    # Needed at run time only by code that imports them from here.
    if name in _DICT_TWINS:
        from ._sdk_models import dicts

        return getattr(dicts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_ROLES = ("system", "user", "assistant", "tool")
_MESSAGE_TYPES = (SystemPrompt, UserMessage, AssistantResponse, ToolResultMessage)


class Chat:
    """A conversation that a model can continue. Behaves as a sequence of its messages.

    ::

        chat = lms.Chat("You answer briefly.")
        chat.add_user_message("What is the capital of Norway?")
        chat.add_assistant_response(model.respond(chat))

    Two chats are equal if their messages are. Chats are mutable: not hashable, and copied by `copy()`.
    """

    def __init__(self, initial_prompt: TextInput | None = None) -> None:
        self._messages: list[AnyChatMessage] = []
        if initial_prompt is not None:
            self.add_system_prompt(initial_prompt)

    # Making chats ----------------------------------------------------------------------------------------------------

    @classmethod
    def from_history(cls, history: ChatInput) -> Self:
        """A new chat with these messages; later changes of either do not affect the other.

        Accepts a text (one user message), a `Chat`, a `ChatHistoryData`, a dict with `messages`, or the messages
        themselves: message structs, dicts such as `{"role": "user", "content": "Hi", "images": [...]}`, and
        `(role, content)` pairs. A single message is a chat of one message.
        """
        chat = cls()
        if isinstance(history, str):
            chat.add_user_message(history)
        elif isinstance(history, Chat):
            chat._messages = copy.deepcopy(history._messages)
        elif isinstance(history, ChatHistoryData):
            chat._messages = copy.deepcopy(list(history.messages))
        elif isinstance(history, _MESSAGE_TYPES):
            chat.append(history)
        elif isinstance(history, Mapping):
            messages = history.get("messages", [history] if "content" in history or "images" in history else None)
            if not isinstance(messages, Iterable) or isinstance(messages, (str, bytes)):
                raise _unreadable(history)
            chat._extend(messages)
        elif isinstance(history, Iterable) and not isinstance(history, (bytes, bytearray)):
            chat._extend(cast("Iterable[Any]", history))
        else:
            raise _unreadable(history)
        return chat

    def _extend(self, messages: Iterable[Any]) -> None:
        for message in messages:
            if isinstance(message, tuple) and len(message) == 2:
                self._messages.append(copy.deepcopy(_make_message(*message)))
            else:
                self._messages.append(_copy_message(message))

    def copy(self) -> Self:
        """An independent copy."""
        return type(self).from_history(self)

    __copy__ = copy

    def __deepcopy__(self, _memo: object) -> Self:
        return self.copy()

    def with_appended(self, role: str, content: Any) -> Self:
        """A copy with one more message."""
        chat = self.copy()
        chat._messages.append(_make_message(role, content))
        return chat

    # Adding messages -------------------------------------------------------------------------------------------------

    def add_system_prompt(self, prompt: TextInput) -> SystemPrompt:
        """Add a system prompt."""
        message = SystemPrompt(content=[_text_part(prompt)])
        self._messages.append(message)
        return message

    def add_user_message(
        self, content: UserMessageInput | Iterable[UserMessageInput], *, images: Sequence[FileHandleInput] = ()
    ) -> UserMessage:
        """Add text, files or both from the user; returns the message that holds them.

        Directly after another user message the parts are added to that one, because most chat templates expect user
        and assistant to alternate.
        """
        parts = [*_user_parts(content), *map(_file_part, images)]
        if not parts:
            raise LMStudioValueError("A user message needs at least one text or file.")
        last = self._messages[-1] if self._messages else None
        if isinstance(last, UserMessage):
            last.content.extend(parts)
            return last
        message = UserMessage(content=parts)
        self._messages.append(message)
        return message

    def add_assistant_response(
        self, response: AssistantInput, tool_call_requests: Iterable[ToolCallRequestInput] = ()
    ) -> AssistantResponse:
        """Add a reply of the model: a prediction result as it is, or text; then the tool calls it asked for."""
        requests = [_request_part(request) for request in tool_call_requests]
        message = AssistantResponse(content=[_assistant_part(response), *requests])
        self._messages.append(message)
        return message

    def add_tool_result(self, result: ToolCallResultInput) -> ToolResultMessage:
        """Add the result of one tool call."""
        return self.add_tool_results([result])

    def add_tool_results(self, results: Iterable[ToolCallResultInput]) -> ToolResultMessage:
        """Add the results of several tool calls as one message."""
        message = ToolResultMessage(content=[_result_part(result) for result in results])
        self._messages.append(message)
        return message

    def add_entry(self, role: str, content: Any) -> AnyChatMessage:
        """Add a message with the given role: "system", "user", "assistant" or "tool"."""
        if role == "user":
            return self.add_user_message(content)
        message = _make_message(role, content)
        self._messages.append(message)
        return message

    def append(self, message: AnyChatMessage | AnyChatMessageDict) -> AnyChatMessage:
        """Add a copy of a complete message. Suits `on_message=chat.append`."""
        added = _copy_message(message)
        self._messages.append(added)
        return added

    # As a sequence ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[AnyChatMessage]:
        return iter(self._messages)

    @overload
    def __getitem__(self, index: int) -> AnyChatMessage: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> AnyChatMessage | Self:
        if isinstance(index, slice):
            return type(self).from_history(self._messages[index])
        return self._messages[index]

    def __delitem__(self, index: int | slice) -> None:
        del self._messages[index]

    def __eq__(self, other: object) -> bool:
        return self._messages == other._messages if isinstance(other, Chat) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable

    def pop(self, index: int = -1) -> AnyChatMessage:
        """Remove and return a message, the last one by default."""
        return self._messages.pop(index)

    def filter_in_place(self, predicate: Callable[[AnyChatMessage], object]) -> None:
        """Keep the messages for which *predicate* is true."""
        self._messages[:] = [message for message in self._messages if predicate(message)]

    # System prompt and files -----------------------------------------------------------------------------------------

    def get_system_prompt(self) -> str:
        """All system prompts as one text, separated by blank lines; "" if there is none."""
        prompts = [message for message in self._messages if isinstance(message, SystemPrompt)]
        return "\n\n".join(" ".join(_texts(prompt)) for prompt in prompts)

    def replace_system_prompt(self, prompt: TextInput) -> None:
        """Remove all system prompts and put *prompt* first."""
        others = [message for message in self._messages if not isinstance(message, SystemPrompt)]
        self._messages[:] = [SystemPrompt(content=[_text_part(prompt)]), *others]

    def files(self) -> Iterator[FileHandle]:
        """All files of the chat, in order."""
        for message in self._messages:
            for part in message.content:
                if isinstance(part, FileHandle):
                    yield part

    # As data ---------------------------------------------------------------------------------------------------------

    def to_history_data(self) -> ChatHistoryData:
        """The wire form. Shares the messages with the chat: encode or copy it before changing them."""
        return ChatHistoryData(messages=self._messages)

    def to_dict(self) -> ChatHistoryDataDict:
        """The chat as JSON-compatible data; `Chat.from_history` reads it."""
        return cast("ChatHistoryDataDict", msgspec.to_builtins(self.to_history_data()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}.from_history({self.to_dict()!r})"

    def __str__(self) -> str:
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False)
        return f"{type(self).__name__}.from_history({text})"


def read_history(history: ChatInput) -> ChatHistoryData:
    """The wire form of whatever a caller passes as a chat, without copying what already is one."""
    if isinstance(history, Chat):
        return history.to_history_data()
    if isinstance(history, ChatHistoryData):
        return history
    return Chat.from_history(history).to_history_data()


def _unreadable(value: object) -> LMStudioValueError:
    return LMStudioValueError(
        f"Cannot read {type(value).__name__} as a chat. Expected text, a Chat, ChatHistoryData, a dict with "
        "'messages', or a list of messages such as {'role': 'user', 'content': 'Hi'}."
    )


def _make_message(role: object, content: Any, images: Sequence[FileHandleInput] = ()) -> AnyChatMessage:
    if images and role != "user":
        raise LMStudioValueError(f"Only user messages can have images, not one of role {role!r}.")
    if role == "user":
        # As in lmstudio.js: in a message given as data, images stand before the text, and no content is an empty text.
        files = [_file_part(image) for image in images]
        if content is None:
            return UserMessage(content=[*files] or [TextData(text="")])
        return UserMessage(content=[*files, *_user_parts(content)])
    if role == "system":
        return SystemPrompt(content=[_text_or_file(part) for part in _as_parts(content)])
    if role == "assistant":
        return AssistantResponse(content=[_assistant_part(part) for part in _as_parts(content)])
    if role == "tool":
        return ToolResultMessage(content=[_result_part(part) for part in _as_parts(content)])
    raise LMStudioValueError(f"Unknown role {role!r}: expected one of {', '.join(_ROLES)}.")


def _copy_message(message: Any) -> AnyChatMessage:
    if isinstance(message, _MESSAGE_TYPES):
        return copy.deepcopy(message)
    if isinstance(message, Mapping) and ("content" in message or "images" in message):
        made = _make_message(message.get("role", "user"), message.get("content"), message.get("images") or ())
        return copy.deepcopy(made)  # its parts may be structs and lists of the caller
    raise LMStudioValueError(
        f"Cannot read {message!r:.80} as a chat message. Expected {{'role': ..., 'content': ...}}."
    )


def _is_single(content: object) -> bool:
    return isinstance(content, (str, Mapping, msgspec.Struct, PredictionResult)) or not isinstance(content, Iterable)


def _as_parts(content: Any) -> list[Any]:
    return [content] if _is_single(content) else list(content)


def _user_parts(content: Any) -> list[UserMessageContent]:
    return [_text_or_file(part) for part in _as_parts(content)]


def _text_part(part: object) -> TextData:
    if isinstance(part, TextData):
        return part
    text = part.get("text") if isinstance(part, Mapping) else part
    if isinstance(text, str):
        return TextData(text=text)
    raise LMStudioValueError(f"Expected text, got {part!r:.80}.")


def _file_part(part: object) -> FileHandle:
    if isinstance(part, FileHandle):
        return part
    if isinstance(part, Mapping) and "identifier" in part:
        return _from_dict(FileHandle, {"type": "file", **part})
    raise LMStudioValueError(f"Expected a file handle, as prepare_image() returns it; got {part!r:.80}.")


def _from_dict(cls: type[StructT], data: Mapping[str, Any]) -> StructT:
    try:
        return cls.from_dict(data)
    except msgspec.ValidationError as error:
        raise LMStudioValueError(f"Cannot read {data!r:.80} as {cls.__name__}: {error}") from error


def _text_or_file(part: object) -> TextData | FileHandle:
    if isinstance(part, FileHandle) or (isinstance(part, Mapping) and "identifier" in part):
        return _file_part(part)
    return _text_part(part)


def _assistant_part(part: object) -> AssistantResponseContent:
    if isinstance(part, PredictionResult):
        return TextData(text=part.content)
    is_request = isinstance(part, Mapping) and ("toolCallRequest" in part or "tool_call_request" in part)
    if is_request or isinstance(part, (ToolCallRequest, ToolCallRequestData)):
        return _request_part(part)
    return _text_or_file(part)


def _request_part(part: object) -> ToolCallRequestData:
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


def _result_part(part: object) -> ToolCallResultData:
    if isinstance(part, ToolCallResultData):
        return part
    if isinstance(part, Mapping) and "content" in part:
        return _from_dict(ToolCallResultData, {"type": "toolCallResult", **part})
    raise LMStudioValueError(f"Cannot read {part!r:.80} as the result of a tool call.")


def _texts(message: AnyChatMessage) -> list[str]:
    return [part.text for part in message.content if isinstance(part, TextData)]
