# Generated from async_client.py by tools/make_sync.py. Edit that file instead.
"""The client of LM Studio's HTTP port. Every method is its signature, its documentation, and one operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from lmstudio._auth import Secret
from lmstudio._http_models.model_lists import read_filter
from lmstudio._http_models.openai import (
    ChatCompletionChunk,
    ChatCompletionResponse,
    CompletionResponse,
)
from lmstudio.contract import Chunk, Completed
from lmstudio.http import _health, _openai
from lmstudio.http._openai_requests import chat_request, merged
from lmstudio.http._options import http_options, probing
from lmstudio.http._streams_openai import ChatReader, TextReader
from lmstudio.http.sync_base import EventStream, HttpClientBase

if TYPE_CHECKING:
    import logging
    import ssl
    from collections.abc import Mapping, Sequence

    import httpx
    from typing_extensions import Self, Unpack

    from lmstudio._http_models.model_lists import HealthStatus, ListModelsFilter, ModelsListResponse, ModelStatus
    from lmstudio._http_models.openai import (
        ChatCompletionParams,
        CompletionParams,
        CompletionRequest,
        EmbeddingRequest,
        EmbeddingResponse,
        Model,
    )
    from lmstudio._retries import RetryConfig
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.contract import ChatStreamEvent
    from lmstudio.history import ChatInput
    from lmstudio.http._openai_requests import ChatCompletionRequest
    from lmstudio.http.sync_anthropic import Messages
    from lmstudio.http.sync_responses import Responses
    from lmstudio.http.sync_rest_v0 import RestV0
    from lmstudio.http.sync_rest_v1 import RestV1
    from lmstudio.settings import Settings

__all__ = ["ChatCompletionStream", "CompletionStream", "HttpClient"]


class _ChatEvents:
    """One loop over the text of the first answer in pieces, then the whole. Leaving it early stops the server."""

    def __init__(self, stream: ChatCompletionStream) -> None:
        self._chunks = stream.__iter__()
        self._stream = stream
        self._is_over = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChatStreamEvent:
        if self._is_over:
            raise StopIteration
        for chunk in self._chunks:
            text = "".join(choice.delta.content or "" for choice in chunk.choices if choice.index == 0)
            if text:
                return Chunk(text)
        self._is_over = True
        return Completed(self._stream.result())


class ChatCompletionStream(EventStream[ChatCompletionChunk, ChatCompletionResponse]):
    """An answer as it is written, in the chunks of OpenAI's API.

    ::

        with client.stream_chat_completion("Tell me a story.") as stream:
            for chunk in stream:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
        print(stream.result().usage)

    Nothing is sent before the stream is entered or iterated. Leaving the `with` block early tells the server to stop.
    """

    def events(self) -> _ChatEvents:
        """A `Chunk` for each piece of text, and `Completed`, which has the whole reply, at the end."""
        return _ChatEvents(self)


class CompletionStream(EventStream[CompletionResponse, CompletionResponse]):
    """A text as it goes on: as `ChatCompletionStream`, with the text at `chunk.choices[0].text`."""


class HttpClient(HttpClientBase):
    """A client of LM Studio's HTTP port, or of another server with OpenAI's API.

    ::

        with HttpClient() as client:
            reply = client.chat_completion("Why is the sky blue?", max_tokens=200)
            print(reply.choices[0].message.content)

    It connects when it is first used; `with` is a convenience, `close()` does the same. One client may be used
    from many tasks.

    Whatever a method cannot be told in keywords goes into `extra_body`, which is merged into the request. Replies keep
    what this version does not know of them: see `extra` and `to_dict()`.

    Args:
        base_url: The server's address, with or without "/v1". By default that of LM_STUDIO_BASE_URL, else
            http://localhost:1234.
        api_key: A token of LM Studio, or the key of another server. By default that of LM_API_TOKEN,
            LMSTUDIO_API_TOKEN or LM_STUDIO_API_KEY, else none.
        timeout: Time limits of all calls: a `Timeout`, or a number of seconds for each call as a whole. By default 10
            seconds to connect, and 30 without anything from the server. Every call takes a `timeout` of its own.
        retry: When to try again; by default twice. A call is never repeated once a stream has begun.
        settings: What counts where an argument is not given; by default `Settings.load()`. Also which models may be
            used, and the one for calls that name none.
        ssl_context: How to check the certificate of a server whose address begins with https://.
        proxy: As for `lmstudio.Client`. Variables such as HTTP_PROXY do not count.
        http_client: The client of httpx to use. It is not closed with this one.
        transport: The transport of httpx to use, such as `httpx.MockTransport` in tests.
        logger: Where attempts are reported, on a child called "http"; by default `lmstudio.http`.

    Raises:
        LMStudioValueError: an argument or a setting cannot be used.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: TimeoutInput = None,
        retry: RetryConfig | None = None,
        settings: Settings | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        http_client: httpx.Client | None = None,
        transport: httpx.BaseTransport | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        key, proxy_url = Secret(api_key), Secret(proxy)
        del api_key, proxy  # a traceback may show the variables of this function
        options, self._settings = http_options(
            base_url=base_url,
            api_key=key,
            timeout=timeout,
            retry=retry,
            settings=settings,
            ssl_context=ssl_context,
            proxy=proxy_url,
            logger=logger,
        )
        super().__init__(options, http_client, transport)
        self._probe = probing(options).caller(self._connections)

    @property
    def base_url(self) -> str:
        """Where OpenAI's API is."""
        return self._caller.address.http_url("v1")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    # Models and health -----------------------------------------------------------------------------------------------

    def list_models(
        self,
        filter: ListModelsFilter | Mapping[str, Any] | None = None,
        *,
        owned_by: str | None = None,
        status: ModelStatus | None = None,
        limit: int | None = None,
        timeout: TimeoutInput = None,
    ) -> ModelsListResponse:
        """The models that the server offers: with LM Studio's JIT loading all that it has, else those that are loaded.

        Args:
            filter: Which of them; the keywords go before it.
            owned_by: Those of this owner or publisher only.
            status: "ready" for those that are loaded, "not-loaded" for the others.
            limit: So many at most.
            timeout: A time limit for this call.
        """
        wanted = read_filter(filter, owned_by, status, limit)
        return self._run(_openai.list_models(self._caller, wanted, timeout))

    def retrieve_model(self, model: str, *, timeout: TimeoutInput = None) -> Model:
        """One model of the list, by its id.

        Raises:
            LMStudioModelNotFoundError: the server does not offer it.
        """
        return self._run(_openai.retrieve_model(self._caller, model, timeout))

    def health(self, *, timeout: TimeoutInput = None) -> bool:
        """Whether the server answers and is well. Never raises because of one that does not, and never tries twice."""
        return self._run(_health.is_healthy(self._probe, timeout))

    def get_health(self, *, timeout: TimeoutInput = None) -> HealthStatus:
        """What the server says about itself, or what can be found out about one that says nothing.

        Raises:
            LMStudioError: it does not answer, or not in time.
        """
        return self._run(_health.get_health(self._caller, timeout))

    def health_check(self, *, timeout: TimeoutInput = None) -> dict[str, Any]:
        """What there is of what calls need, and what to do about the rest. Never raises because of a server.

        Returns:
            `status` ("ok", "no_model" or "unavailable"); `missing`, what is not there of "server", "api" and "model";
            `hints`, what to do about it; `server_reachable`, `api_available`, `model_loaded`, `models` (ids),
            `models_loaded` (how many), `lmstudio_version`, `base_url`; `error` and `error_type`.
        """
        return self._run(_health.check_health(self._probe, timeout))

    # Chats -----------------------------------------------------------------------------------------------------------

    def chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionResponse:
        """The answer to a chat.

        Args:
            messages: The chat so far: a text, a `Chat`, a list of `ChatMessage` or of dicts.
            model: Which model; by default that of the settings, else the server decides.
            timeout: A time limit for this call.
            extra_body: More members of the request, which go before all others.
            **params: As in OpenAI's API, also in camelCase. Others are passed on as they are, unless they look like a
                typing error.

        Raises:
            LMStudioValueError: bad input; nothing was sent.
            LMStudioError: it failed; `error_type` says in which way.
        """
        request, others = chat_request(messages, model, params)
        more = merged(others, extra_body)
        return self._run(_openai.complete(self._caller, self._settings, _openai.CHAT, request, timeout, more))

    def stream_chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionStream:
        """As `chat_completion`, piece by piece. Nothing is sent before the stream is used."""
        request, others = chat_request(messages, model, params)
        more = merged(others, extra_body)
        return ChatCompletionStream(
            _openai.stream(self._caller, self._settings, _openai.CHAT, ChatReader, request, timeout, more)
        )

    @overload
    def create_chat_completion(
        self,
        request: ChatCompletionRequest | Mapping[str, Any],
        *,
        stream: Literal[False] = ...,
        timeout: TimeoutInput = ...,
        extra_body: Mapping[str, Any] | None = ...,
    ) -> ChatCompletionResponse: ...
    @overload
    def create_chat_completion(
        self,
        request: ChatCompletionRequest | Mapping[str, Any],
        *,
        stream: Literal[True],
        timeout: TimeoutInput = ...,
        extra_body: Mapping[str, Any] | None = ...,
    ) -> ChatCompletionStream: ...
    def create_chat_completion(
        self,
        request: ChatCompletionRequest | Mapping[str, Any],
        *,
        stream: bool | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> ChatCompletionResponse | ChatCompletionStream:
        """The answer to a chat, or with *stream* its stream; without it, `request.stream` decides.

        Type checkers see only *stream*.
        """
        read = _openai.read_chat_request(request)
        if read.stream if stream is None else stream:
            return ChatCompletionStream(
                _openai.stream(self._caller, self._settings, _openai.CHAT, ChatReader, read, timeout, extra_body)
            )
        return self._run(_openai.complete(self._caller, self._settings, _openai.CHAT, read, timeout, extra_body))

    # Texts -----------------------------------------------------------------------------------------------------------

    def complete(
        self,
        prompt: str | Sequence[str],
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[CompletionParams],
    ) -> CompletionResponse:
        """How a text goes on, or several, without a chat template; otherwise as `chat_completion`."""
        request, others = _openai.text_request(prompt, model, params)
        more = merged(others, extra_body)
        return self._run(_openai.complete(self._caller, self._settings, _openai.TEXT, request, timeout, more))

    def stream_completion(
        self,
        prompt: str,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[CompletionParams],
    ) -> CompletionStream:
        """As `complete`, piece by piece. Nothing is sent before the stream is used."""
        request, others = _openai.text_request(prompt, model, params)
        more = merged(others, extra_body)
        return CompletionStream(
            _openai.stream(self._caller, self._settings, _openai.TEXT, TextReader, request, timeout, more)
        )

    @overload
    def create_completion(
        self,
        request: CompletionRequest | Mapping[str, Any],
        *,
        stream: Literal[False] = ...,
        timeout: TimeoutInput = ...,
        extra_body: Mapping[str, Any] | None = ...,
    ) -> CompletionResponse: ...
    @overload
    def create_completion(
        self,
        request: CompletionRequest | Mapping[str, Any],
        *,
        stream: Literal[True],
        timeout: TimeoutInput = ...,
        extra_body: Mapping[str, Any] | None = ...,
    ) -> CompletionStream: ...
    def create_completion(
        self,
        request: CompletionRequest | Mapping[str, Any],
        *,
        stream: bool | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> CompletionResponse | CompletionStream:
        """How a text goes on, or with *stream* its stream; without it, `request.stream` decides.

        Type checkers see only *stream*.
        """
        read = _openai.read_text_request(request)
        if read.stream if stream is None else stream:
            return CompletionStream(
                _openai.stream(self._caller, self._settings, _openai.TEXT, TextReader, read, timeout, extra_body)
            )
        return self._run(_openai.complete(self._caller, self._settings, _openai.TEXT, read, timeout, extra_body))

    def create_completion_simple(
        self, model: str, prompt: str | Sequence[str], **params: Unpack[CompletionParams]
    ) -> CompletionResponse:
        """As `complete`, with the model before the text."""
        return self.complete(prompt, model=model, **params)

    # Embeddings ------------------------------------------------------------------------------------------------------

    def create_embeddings(
        self,
        request: EmbeddingRequest | Mapping[str, Any],
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> EmbeddingResponse:
        """The embeddings of one text or several: lists of numbers, unless the request asks for base64."""
        read = _openai.read_embedding_request(request)
        return self._run(_openai.create_embeddings(self._caller, self._settings, read, timeout, extra_body))

    @overload
    def embed(  # type: ignore[overload-overlap]  # a str is a Sequence[str], too
        self,
        input: str,
        *,
        model: str | None = ...,
        dimensions: int | None = ...,
        ttl: float | None = ...,
        timeout: TimeoutInput = ...,
        extra_body: Mapping[str, Any] | None = ...,
    ) -> list[float]: ...
    @overload
    def embed(
        self,
        input: Sequence[str],
        *,
        model: str | None = ...,
        dimensions: int | None = ...,
        ttl: float | None = ...,
        timeout: TimeoutInput = ...,
        extra_body: Mapping[str, Any] | None = ...,
    ) -> list[list[float]]: ...
    def embed(
        self,
        input: str | Sequence[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        ttl: float | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> list[float] | list[list[float]]:
        """The vector of a text; for several texts one each, in their order."""
        request = _openai.embedding_request(input, model, dimensions, ttl)
        vectors = self._run(_openai.embed(self._caller, self._settings, request, timeout, extra_body))
        return vectors[0] if isinstance(input, str) else vectors

    # Other surfaces: their methods are grouped in attributes of the client -------------------------------------------

    @property
    def responses(self) -> Responses:
        """OpenAI's responses: answers that the server remembers."""
        from lmstudio.http.sync_responses import Responses

        return Responses(self)

    @property
    def messages(self) -> Messages:
        """Anthropic's messages."""
        from lmstudio.http.sync_anthropic import Messages

        return Messages(self)

    @property
    def rest_v0(self) -> RestV0:
        """LM Studio's own API, version 0: OpenAI's, with statistics."""
        from lmstudio.http.sync_rest_v0 import RestV0

        return RestV0(self)

    @property
    def rest_v1(self) -> RestV1:
        """LM Studio's own API, version 1: models, loading, downloading, and chats that the server remembers."""
        from lmstudio.http.sync_rest_v1 import RestV1

        return RestV1(self)
