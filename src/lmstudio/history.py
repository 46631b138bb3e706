"""Chats: the messages that a model continues, as one writes them and as they travel."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, cast, overload

import msgspec

from ._callbacks import refuse_unawaited
from ._chat_message import remove_files
from ._chat_parts import (
    MESSAGE_TYPES,
    as_parts,
    assistant_parts,
    check_result_text,
    copy_message,
    file_part,
    is_message,
    read_message,
    read_messages,
    request_part,
    result_part,
    text_or_file,
    text_part,
)
from ._chat_parts import make_message as _make_message
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
from .errors import LMStudioRuntimeError, LMStudioValueError

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._http_models.openai import ChatCompletionMessage
    from ._local_files import LocalFileInput
    from ._sdk_models.dicts import ChatHistoryDataDict, FileHandleDict, TextDataDict, UserMessageDict
    from .contract import ChatMessage
    from .results import PredictionResult

__all__ = [
    "AnyChatMessage",
    "AnyChatMessageDict",
    "AssistantResponse",
    "AssistantResponseContent",
    "Chat",
    "ChatHistoryData",
    "ChatHistoryDataDict",
    "ChatInput",
    "FileHandle",
    "FileHandleDict",
    "FileHandleInput",
    "FileType",
    "LocalFileInput",
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
    "make_message",
]

T = TypeVar("T")
MessageT = TypeVar("MessageT", SystemPrompt, UserMessage, AssistantResponse, ToolResultMessage, AnyChatMessage)

AnyChatMessageDict: TypeAlias = Mapping[str, Any]
"""A message as plain data: `role`, and `content` as text or as a list of parts."""
OpenAIMessage: TypeAlias = "ChatMessage | ChatCompletionMessage"
"""A message of OpenAI's API: to send, or of a reply."""
MessageInput: TypeAlias = "AnyChatMessage | AnyChatMessageDict | OpenAIMessage"
"""A complete message."""
FileHandleInput: TypeAlias = "FileHandle | FileHandleDict"
TextInput: TypeAlias = "str | TextData | TextDataDict"
UserMessageInput: TypeAlias = "TextInput | FileHandleInput"
AssistantInput: TypeAlias = "TextInput | FileHandleInput | PredictionResult[Any]"
ToolCallRequestInput: TypeAlias = "ToolCallRequest | ToolCallRequestData | Mapping[str, Any]"
ToolCallResultInput: TypeAlias = "ToolCallResultData | Mapping[str, Any]"
# One literal: pyright does not read a type that is put together of several.
ChatInput: TypeAlias = "str | Chat | ChatHistoryData | ChatHistoryDataDict | MessageInput | Iterable[Any]"
"""Whatever can be read as a chat: see `Chat.from_history`."""

_DICT_TWINS = frozenset(("ChatHistoryDataDict", "FileHandleDict", "TextDataDict", "UserMessageDict"))


def __getattr__(name: str) -> Any:
    # Needed at run time only by code that imports them from here.
    if name in _DICT_TWINS:
        from ._sdk_models import dicts

        return getattr(dicts, name)
    if name == "LocalFileInput":
        from ._local_files import LocalFileInput

        return LocalFileInput
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Chat(Sequence[AnyChatMessage]):
    """A conversation that a model can continue. Behaves as a sequence of its messages.

    ::

        chat = lms.Chat("You answer briefly.")
        chat.add_user_message("What is the capital of Norway?")
        chat.add_assistant_response(model.respond(chat))

    Two chats are equal if their messages are. A chat is true even without messages. Chats are mutable: not hashable,
    and copied by `copy()`. A refused edit changes nothing. A prediction sees the chat as it is when it is asked for;
    the chat may be edited at once.
    """

    _immutable = False

    def __init__(self, initial_prompt: TextInput | None = None) -> None:
        self._messages: list[AnyChatMessage] = []
        if initial_prompt is not None:
            self.add_system_prompt(initial_prompt)

    # Making chats ----------------------------------------------------------------------------------------------------

    @classmethod
    def from_history(cls, history: ChatInput) -> Self:
        """A new chat with these messages; later changes of either do not affect the other.

        Accepts a text (one user message), a `Chat`, a `ChatHistoryData`, a dict with `messages`, or the messages
        themselves: message structs, dicts such as `{"role": "user", "content": "Hi", "images": [...]}`, messages of
        OpenAI's API (see `from_openai`, and `lmstudio.contract.ChatMessage`), and `(role, content)` pairs. A single
        message is a chat of one message.
        """
        chat = cls()
        chat._messages = _read_history(history)
        return chat

    @classmethod
    def from_openai(cls, messages: Iterable[Any]) -> Self:
        """A new chat with messages in the form of OpenAI's chat completions: dicts, or objects of OpenAI's package.

        `developer` messages become system prompts. Tool results in a row become one message. Refusals become text.
        Images and files in data: URIs stay inline, as handles with the identifier `base64:...`; whether a server takes
        those instead of uploads from `prepare_image` is its affair. Left out, because LM Studio has no place for them:
        the `name` of a speaker, the `detail` of an image.

        Raises:
            LMStudioValueError: something that LM Studio cannot be given, such as an image on the web, audio, or tool
                call arguments that are not JSON; the message says what to do.
        """
        if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
            raise _unreadable(messages)
        chat = cls()
        chat._messages = read_messages(messages)
        return chat

    def copy(self) -> Self:
        """An independent copy, which can be edited."""
        chat = type(self).__new__(type(self))
        vars(chat).update(vars(self))
        vars(chat).pop("_immutable", None)
        chat._messages = [copy_message(message) for message in self._messages]
        return chat

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        chat = self.copy()
        memo[id(self)] = chat
        for name, value in vars(chat).items():
            if name != "_messages":  # of subclasses
                setattr(chat, name, copy.deepcopy(value, memo))
        return chat

    def as_immutable_copy(self) -> Self:
        """A copy that refuses every edit, to be shared without fear.

        The messages that it gives out are copies: to change one changes nothing. `copy()` makes an editable chat of it.
        """
        chat = self.copy()
        chat._immutable = True
        return chat

    @property
    def is_immutable(self) -> bool:
        """Whether the chat refuses edits."""
        return self._immutable

    @overload
    def with_appended(self, role: str, content: Any, images: Sequence[FileHandleInput] = ()) -> Self: ...
    @overload
    def with_appended(self, role: MessageInput) -> Self: ...
    def with_appended(
        self,
        role: str | MessageInput,
        content: Any = None,
        images: Sequence[FileHandleInput] = (),
    ) -> Self:
        """A copy with one more message: given as role, content and images, or complete."""
        if isinstance(role, str):
            message = copy_message(_make_message(role, content, images))
        elif content is None and not images:
            message = read_message(role)
        else:
            raise LMStudioValueError("A complete message has its content and images: pass nothing beside it.")
        chat = self.copy()
        chat._messages.append(message)
        return chat

    # Adding messages -------------------------------------------------------------------------------------------------

    def add_system_prompt(self, prompt: TextInput) -> SystemPrompt:
        """Add a system prompt."""
        return self._add(SystemPrompt(content=[text_part(prompt)]))

    def add_user_message(
        self, content: UserMessageInput | Iterable[UserMessageInput], *, images: Sequence[FileHandleInput] = ()
    ) -> UserMessage:
        """Add text, files or both from the user; returns the message that holds them.

        Directly after another user message the parts are added to that one, because most chat templates expect user
        and assistant to alternate.
        """
        given, files = as_parts(content), as_parts(images)
        refuse_unawaited([*given, *files])
        parts = [*map(text_or_file, given), *map(file_part, files)]
        if not parts:
            raise LMStudioValueError("A user message needs at least one text or file.")
        messages = self._editable()
        last = messages[-1] if messages else None
        if isinstance(last, UserMessage):
            last.content.extend(parts)
            return last
        return self._add(UserMessage(content=parts))

    def add_assistant_response(
        self, response: AssistantInput, tool_call_requests: Iterable[ToolCallRequestInput] = ()
    ) -> AssistantResponse:
        """Add a reply of the model: a prediction result as it is, or text; then the tool calls it asked for.

        The tool calls of a prediction result are added with it, unless others are given.
        """
        requests = [request_part(request) for request in as_parts(tool_call_requests)]
        parts = assistant_parts([response])
        return self._add(AssistantResponse(content=[parts[0], *requests] if requests else parts))

    def add_tool_result(
        self, result: ToolCallResultInput | str, tool_call_id: str | None = None, *, name: str | None = None
    ) -> ToolResultMessage:
        """Add the result of one tool call: a `ToolCallResultData`, or text and the id of the request."""
        if isinstance(result, str) and tool_call_id is not None:
            result = {"content": result, "tool_call_id": tool_call_id, "name": name}
        elif isinstance(result, str):
            raise LMStudioValueError("Text is the result of which tool call? Pass the id of its request: tool_call_id.")
        elif tool_call_id is not None or name is not None:
            check_result_text(result)
        return self.add_tool_results([result])

    def add_tool_results(self, results: Iterable[ToolCallResultInput]) -> ToolResultMessage:
        """Add the results of several tool calls as one message."""
        return self._add(ToolResultMessage(content=[result_part(result) for result in as_parts(results)]))

    def add_entry(self, role: str, content: Any, *, images: Sequence[FileHandleInput] = ()) -> AnyChatMessage:
        """Add a message with the given role: "system", "user", "assistant" or "tool"."""
        if role == "user":
            return self.add_user_message(content, images=images)
        return self._add(_make_message(role, content, images))

    def append(self, message: MessageInput) -> AnyChatMessage:
        """Add a copy of a complete message. Suits `on_message=chat.append`."""
        return self._add(read_message(message))

    def extend(self, messages: ChatInput) -> None:
        """Add copies of complete messages, in whatever form `from_history` reads."""
        self._editable().extend(_read_history(messages))

    def insert(self, index: int, message: MessageInput) -> None:
        """Put a copy of a complete message before the one at *index*."""
        self._editable().insert(index, read_message(message))

    def _add(self, message: MessageT) -> MessageT:
        self._editable().append(message)
        return message

    def _editable(self) -> list[AnyChatMessage]:
        if self._immutable:
            raise LMStudioRuntimeError("This chat is immutable. Edit a copy of it: chat.copy().")
        return self._messages

    # As a sequence ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._messages)

    def __bool__(self) -> bool:
        # As with the official package: `chat or Chat()` is the chat that was given, also before its first message.
        return True

    def __iter__(self) -> Iterator[AnyChatMessage]:
        return map(copy_message, self._messages) if self._immutable else iter(self._messages)

    @overload
    def __getitem__(self, index: int) -> AnyChatMessage: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> AnyChatMessage | Self:
        if isinstance(index, slice):
            return type(self).from_history(self._messages[index])
        message = self._messages[index]
        return copy_message(message) if self._immutable else message

    @overload
    def __setitem__(self, index: int, value: AnyChatMessage | AnyChatMessageDict) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: ChatInput) -> None: ...
    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            self._editable()[index] = _read_history(value)
        else:
            self._editable()[index] = read_message(value)

    def __delitem__(self, index: int | slice) -> None:
        del self._editable()[index]

    def __eq__(self, other: object) -> bool:
        return self._messages == other._messages if isinstance(other, Chat) else NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # mutable

    def pop(self, index: int = -1) -> AnyChatMessage:
        """Remove and return a message, the last one by default."""
        return self._editable().pop(index)

    def clear(self) -> None:
        """Remove all messages."""
        self._editable().clear()

    def filter_in_place(self, predicate: Callable[[AnyChatMessage], object]) -> None:
        """Keep the messages for which *predicate* is true."""
        messages = self._editable()
        messages[:] = [message for message in messages if predicate(message)]

    def map(self, function: Callable[[AnyChatMessage], T]) -> list[T]:
        """What *function* makes of each message, in order."""
        return [function(message) for message in self]

    def flat_map(self, function: Callable[[AnyChatMessage], Iterable[T]]) -> list[T]:
        """All that *function* makes of the messages, in order, in one list."""
        return [item for message in self for item in function(message)]

    def set_role(self, index: int, role: str) -> AnyChatMessage:
        """Give the message at *index* another role; returns the message that replaces it.

        The type of a message is its role, so this is a new message, with the same parts. Refused if a message of that
        role cannot have them: only the assistant asks for tool calls, and results of tool calls stay what they are.
        """
        messages = self._editable()
        messages[index] = _make_message(role, messages[index].content)
        return messages[index]

    # System prompt and files -----------------------------------------------------------------------------------------

    def get_system_prompt(self) -> str:
        """All system prompts as one text, separated by blank lines; "" if there is none."""
        return "\n\n".join(message.get_text() for message in self._messages if isinstance(message, SystemPrompt))

    def replace_system_prompt(self, prompt: TextInput) -> None:
        """Remove all system prompts and put *prompt* first."""
        messages = self._editable()
        others = [message for message in messages if not isinstance(message, SystemPrompt)]
        messages[:] = [SystemPrompt(content=[text_part(prompt)]), *others]

    def has_files(self) -> bool:
        """Whether any message has files."""
        return any(message.has_files() for message in self._messages)

    def files(self) -> Iterator[FileHandle]:
        """All files of the chat, in order."""
        for message in self:
            yield from message.get_files()

    def get_all_files(self) -> list[FileHandle]:
        """All files of the chat, in order, as a list."""
        return list(self.files())

    def consume_files(self, predicate: Callable[[FileHandle], object]) -> list[FileHandle]:
        """Remove the files for which *predicate* is true, and return them.

        Messages that had nothing else stay, without parts.
        """
        messages = self._editable()
        return remove_files(messages, [file for file in self.files() if predicate(file)])

    async def consume_files_async(self, predicate: Callable[[FileHandle], Awaitable[object]]) -> list[FileHandle]:
        """As `consume_files`, with a coroutine function. Nothing is removed before it has seen every file."""
        messages = self._editable()
        return remove_files(messages, [file for file in self.get_all_files() if await predicate(file)])

    # As data ---------------------------------------------------------------------------------------------------------

    def to_history_data(self) -> ChatHistoryData:
        """The wire form. Shares the messages with the chat: encode or copy it before changing them."""
        return ChatHistoryData(messages=list(self) if self._immutable else self._messages)

    def to_dict(self) -> ChatHistoryDataDict:
        """The chat as JSON-compatible data; `Chat.from_history` reads it."""
        return cast("ChatHistoryDataDict", msgspec.to_builtins(ChatHistoryData(messages=self._messages)))

    def to_openai(self) -> list[dict[str, Any]]:
        """The messages in the form of OpenAI's chat completions; `Chat.from_openai` reads them back.

        Each tool call result becomes a message, and the tool call requests of a message stand behind its text. Inline
        files become data: URIs. Uploads become parts such as `{"type": "file", "file": {"file_id": "local:..."}}`,
        which mean something to LM Studio only.
        """
        from ._openai_messages import write_openai_messages

        return write_openai_messages(self._messages)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.from_history({self.to_dict()!r})"

    def __str__(self) -> str:
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False)
        return f"{type(self).__name__}.from_history({text})"


@overload
def make_message(
    role: Literal["user"],
    content: UserMessageInput | Iterable[UserMessageInput],
    *,
    images: Sequence[FileHandleInput] = (),
) -> UserMessage: ...
@overload
def make_message(
    role: Literal["system"],
    content: UserMessageInput | Iterable[UserMessageInput],
    *,
    images: Sequence[FileHandleInput] = (),
) -> SystemPrompt: ...
@overload
def make_message(
    role: Literal["assistant"],
    content: AssistantInput | ToolCallRequestInput | Iterable[AssistantInput | ToolCallRequestInput],
    *,
    images: Sequence[FileHandleInput] = (),
) -> AssistantResponse: ...
@overload
def make_message(
    role: Literal["tool"], content: ToolCallResultInput | Iterable[ToolCallResultInput]
) -> ToolResultMessage: ...
@overload
def make_message(role: str, content: Any, *, images: Sequence[FileHandleInput] = ()) -> AnyChatMessage: ...
def make_message(role: str, content: Any, *, images: Sequence[FileHandleInput] = ()) -> AnyChatMessage:
    """A message with this role, not part of any chat yet.

    *content* is one part or several: text and files, for the assistant also tool call requests and prediction results,
    for "tool" results of tool calls. *images* come behind it.
    """
    return copy_message(_make_message(role, content, images))


def read_history(history: ChatInput) -> ChatHistoryData:
    """The wire form of whatever a caller passes as a chat. Shares its messages, so encode it soon.

    Edits of a chat do not reach what was read from it before; edits of its messages do.
    """
    if isinstance(history, Chat):
        messages = history._messages.copy()
        if messages and isinstance(messages[-1], UserMessage):
            messages[-1] = copy_message(messages[-1])  # the one that `add_user_message` would add to
        return ChatHistoryData(messages=messages)
    if isinstance(history, ChatHistoryData):
        return history
    return ChatHistoryData(messages=_read_history(history))


def _read_history(history: ChatInput) -> list[AnyChatMessage]:
    """New messages for whatever a caller passes as a chat."""
    if isinstance(history, str):
        return [UserMessage(content=[TextData(text=history)])]
    if isinstance(history, Chat):
        return [copy_message(message) for message in history._messages]
    if isinstance(history, ChatHistoryData):
        return [copy_message(message) for message in history.messages]
    if isinstance(history, MESSAGE_TYPES):
        return [copy_message(history)]
    messages: object = history
    if isinstance(history, Mapping):
        messages = history.get("messages", [history] if is_message(history) else None)
    elif isinstance(history, msgspec.Struct):
        messages = [history]
    if not isinstance(messages, Iterable) or isinstance(messages, (str, bytes, bytearray)):
        raise _unreadable(history)
    return read_messages(messages)


def _unreadable(value: object) -> LMStudioValueError:
    refuse_unawaited([value])
    return LMStudioValueError(
        f"Cannot read {type(value).__name__} as a chat. Expected text, a Chat, ChatHistoryData, a dict with "
        "'messages', or a list of messages such as {'role': 'user', 'content': 'Hi'}."
    )
