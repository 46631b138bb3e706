"""What an application may depend on instead of a client: `SdkContract`, and its asynchronous twin.

    def summarize(sdk: SdkContract, text: str) -> str:
        reply = sdk.chat_completion([ChatMessage(ChatRole.USER, f"Summarize: {text}")], max_tokens=100)
        return reply.choices[0].message.content

`Client` (native protocol), `lmstudio.http.HttpClient` and `lmstudio.testing.FakeSdk` all fit, with the same requests
and the same replies: those of OpenAI's chat completions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from ._http_models.openai import ChatCompletionResponse, ToolCall  # noqa: TC001 - msgspec reads the annotations
from .errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._http_models.model_lists import ListModelsFilter, ModelsListResponse, ModelStatus
    from ._http_models.openai import ChatCompletionChunk, ChatCompletionParams
    from ._timeouts import TimeoutInput
    from .history import ChatInput

__all__ = [
    "AsyncChatStream",
    "AsyncSdkContract",
    "ChatMessage",
    "ChatRole",
    "ChatStream",
    "ChatStreamEvent",
    "Chunk",
    "Completed",
    "SdkContract",
]


# Messages ------------------------------------------------------------------------------------------------------------


class ChatRole(str, Enum):
    """Who says a message. "developer" is read as SYSTEM and "function" as TOOL: LM Studio makes that of them."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"

    @classmethod
    def _missing_(cls, value: object) -> ChatRole | None:
        return {"developer": cls.SYSTEM, "function": cls.TOOL}.get(str(value))


class ChatMessage(msgspec.Struct, omit_defaults=True):
    """A message in the form of OpenAI's chat completions.

    ::

        messages = [ChatMessage(ChatRole.SYSTEM, "You answer briefly."), ChatMessage("user", "Why is the sky blue?")]
        chat = lms.Chat.from_history(messages)
        messages = ChatMessage.from_chat(chat)

    Raises:
        LMStudioValueError: there is no such role.
    """

    role: ChatRole
    """Who says it; the word for it will do."""
    content: str | Sequence[Mapping[str, Any]] | None
    """Text, or parts as in `{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}`; None for tool
    calls without text."""
    name: str | None = None
    """Of the speaker, or of the tool."""
    tool_calls: Sequence[ToolCall | Mapping[str, Any]] | None = None
    """The tool calls that the assistant asks for, as a reply has them."""
    tool_call_id: str | None = None
    """Of a message of a tool: the call whose result it is."""
    refusal: str | None = None
    """What the assistant says instead of an answer."""

    if TYPE_CHECKING:  # that a role may be its word, too

        def __init__(
            self,
            role: ChatRole | str,
            content: str | Sequence[Mapping[str, Any]] | None,
            name: str | None = None,
            tool_calls: Sequence[ToolCall | Mapping[str, Any]] | None = None,
            tool_call_id: str | None = None,
            refusal: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        try:
            self.role = ChatRole(self.role)
        except ValueError:
            known = ", ".join(role.value for role in ChatRole)
            raise LMStudioValueError(f"Unknown role {self.role!r:.80}: expected one of {known}.") from None

    def to_dict(self) -> dict[str, Any]:
        """The message as OpenAI's API writes it; members that are None are left out, except *content*."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The message that *data* is in OpenAI's API. Members that this class does not have are ignored.

        Raises:
            LMStudioValueError: it has no role.
        """
        if not isinstance(data, Mapping) or "role" not in data:
            raise LMStudioValueError(f"Cannot read {data!r:.80} as a message: it needs a 'role' and a 'content'.")
        members = {name: data[name] for name in cls.__struct_fields__ if name in data}
        return cls(**{"content": None, **members})

    @classmethod
    def from_chat(cls, chat: ChatInput) -> list[Self]:
        """The messages of a chat, or of whatever `Chat.from_history` reads; see `Chat.to_openai` for what they hold."""
        from .history import Chat

        return [cls.from_dict(message) for message in Chat.from_history(chat).to_openai()]


# Streams -------------------------------------------------------------------------------------------------------------


class Chunk(msgspec.Struct, frozen=True):
    """More of the answer."""

    kind: ClassVar[Literal["chunk"]] = "chunk"
    content: str


class Completed(msgspec.Struct, frozen=True):
    """The end: the whole reply."""

    kind: ClassVar[Literal["completed"]] = "completed"
    result: ChatCompletionResponse


ChatStreamEvent: TypeAlias = Chunk | Completed


@runtime_checkable
class ChatStream(Protocol):
    """A reply as it is written. Leaving the `with` block or a loop early makes the server stop."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        """The chunks, as they arrive."""
        ...

    def events(self) -> Iterator[ChatStreamEvent]:
        """A `Chunk` for each piece of text, and `Completed` at the end."""
        ...

    def wait_for_result(self) -> ChatCompletionResponse:
        """The whole reply, put together; waits for it."""
        ...

    def result(self) -> ChatCompletionResponse:
        """The whole reply, once it has ended."""
        ...

    def cancel(self) -> None:
        """Make the server stop."""
        ...

    def close(self) -> None:
        """Stop, and forget the reply."""
        ...


@runtime_checkable
class AsyncChatStream(Protocol):
    """A reply as it is written. Leaving the `async with` block or a loop early makes the server stop."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        """The chunks, as they arrive."""
        ...

    def events(self) -> AsyncIterator[ChatStreamEvent]:
        """A `Chunk` for each piece of text, and `Completed` at the end."""
        ...

    async def wait_for_result(self) -> ChatCompletionResponse:
        """The whole reply, put together; waits for it."""
        ...

    def result(self) -> ChatCompletionResponse:
        """The whole reply, once it has ended."""
        ...

    async def cancel(self) -> None:
        """Make the server stop."""
        ...

    async def aclose(self) -> None:
        """Stop, and forget the reply."""
        ...


# The contract --------------------------------------------------------------------------------------------------------


@runtime_checkable
class SdkContract(Protocol):
    """What every synchronous client can do: native, over HTTP, and the double for tests."""

    def chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionResponse:
        """The answer to *messages*: a text, a `Chat`, or a list of `ChatMessage` or of dicts.

        Args:
            messages: The chat so far.
            model: Which model; without it the default of the settings, or one that is loaded.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            **params: As in OpenAI's API: `temperature`, `max_tokens`, `stop`, `tools`, `response_format` and more.

        Raises:
            LMStudioValueError: bad input; nothing was sent.
            LMStudioError: it failed; `error_type` says in which way.
        """
        ...

    def stream_chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatStream:
        """As `chat_completion`, piece by piece. Nothing is sent before the stream is used."""
        ...

    def list_models(
        self,
        filter: ListModelsFilter | Mapping[str, Any] | None = None,
        *,
        owned_by: str | None = None,
        status: ModelStatus | None = None,
        limit: int | None = None,
    ) -> ModelsListResponse:
        """The models that can be used. With *status* "ready", those that are loaded."""
        ...

    def health(self) -> bool:
        """Whether the server answers. Never raises because of one that does not."""
        ...


@runtime_checkable
class AsyncSdkContract(Protocol):
    """What every asynchronous client can do: native, over HTTP, and the double for tests."""

    async def chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionResponse:
        """The answer to *messages*; arguments and errors as in `SdkContract.chat_completion`."""
        ...

    def stream_chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        **params: Unpack[ChatCompletionParams],
    ) -> AsyncChatStream:
        """As `chat_completion`, piece by piece. Nothing is sent before the stream is used."""
        ...

    async def list_models(
        self,
        filter: ListModelsFilter | Mapping[str, Any] | None = None,
        *,
        owned_by: str | None = None,
        status: ModelStatus | None = None,
        limit: int | None = None,
    ) -> ModelsListResponse:
        """The models that can be used. With *status* "ready", those that are loaded."""
        ...

    async def health(self) -> bool:
        """Whether the server answers. Never raises because of one that does not."""
        ...
