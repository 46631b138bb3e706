"""LM Studio's own API, version 0: that of OpenAI, and with every answer how fast it was, and what gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models.openai import (
    ChatCompletionResponse,
    CompletionResponse,
    EmbeddingRequest,
    EmbeddingResponse,
)
from lmstudio._http_models.rest_v0 import V0Model, V0ModelList
from lmstudio.http import _openai
from lmstudio.http._caller import HttpEndpoint
from lmstudio.http._openai_requests import chat_request, merged
from lmstudio.http._requests import checked_id
from lmstudio.http._streams_openai import ChatReader, TextReader
from lmstudio.http.async_client import AsyncChatCompletionStream, AsyncCompletionStream
from lmstudio.http.async_namespace import AsyncNamespace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Unpack

    from lmstudio._http_models.openai import ChatCompletionParams, CompletionParams
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.history import ChatInput

__all__ = ["AsyncRestV0"]

MODELS: Final = HttpEndpoint("GET", "api/v0/models", V0ModelList, "list the models", is_read=True)
MODEL: Final = HttpEndpoint("GET", "api/v0/models/{model}", V0Model, "get a model", is_read=True)
CHAT: Final = HttpEndpoint("POST", "api/v0/chat/completions", ChatCompletionResponse, "complete a chat")
TEXT: Final = HttpEndpoint("POST", "api/v0/completions", CompletionResponse, "complete a text")
EMBEDDINGS: Final = HttpEndpoint("POST", "api/v0/embeddings", EmbeddingResponse, "embed a text")


class AsyncRestV0(AsyncNamespace):
    """`client.rest_v0`: OpenAI's API with `stats`, `model_info` and `runtime` in every answer.

    ::

        reply = await client.rest_v0.chat_completion("Hi!")
        print(reply.stats.tokens_per_second, reply.model_info.quant)

    The answers of a stream have them, too: the server sends them at the end.
    """

    async def list_models(self, *, timeout: TimeoutInput = None) -> list[V0Model]:
        """All models that the server offers, with their type, state and context length."""
        return (await self._run(self._caller.call(MODELS, timeout=timeout))).data

    async def retrieve_model(self, model: str, *, timeout: TimeoutInput = None) -> V0Model:
        """One model of the list, by its id.

        Raises:
            LMStudioModelNotFoundError: the server does not offer it.
        """
        path = {"model": checked_id(model, "model", MODEL.attempted)}
        return await self._run(self._caller.call(MODEL, path=path, timeout=timeout))

    async def chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionResponse:
        """The answer to a chat, as `client.chat_completion`."""
        request, others = chat_request(messages, model, params)
        more = merged(others, extra_body)
        return await self._run(_openai.complete(self._caller, self._settings, CHAT, request, timeout, more))

    def stream_chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[ChatCompletionParams],
    ) -> AsyncChatCompletionStream:
        """The same, piece by piece, as `client.stream_chat_completion`."""
        request, others = chat_request(messages, model, params)
        more = merged(others, extra_body)
        stream = _openai.stream(self._caller, self._settings, CHAT, ChatReader, request, timeout, more)
        return AsyncChatCompletionStream(stream)

    async def complete(
        self,
        prompt: str | Sequence[str],
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[CompletionParams],
    ) -> CompletionResponse:
        """How a text goes on, or several, as `client.complete`."""
        request, others = _openai.text_request(prompt, model, params)
        more = merged(others, extra_body)
        return await self._run(_openai.complete(self._caller, self._settings, TEXT, request, timeout, more))

    def stream_completion(
        self,
        prompt: str,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[CompletionParams],
    ) -> AsyncCompletionStream:
        """The same, piece by piece, as `client.stream_completion`."""
        request, others = _openai.text_request(prompt, model, params)
        more = merged(others, extra_body)
        return AsyncCompletionStream(
            _openai.stream(self._caller, self._settings, TEXT, TextReader, request, timeout, more)
        )

    async def create_embeddings(
        self,
        request: EmbeddingRequest | Mapping[str, Any],
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> EmbeddingResponse:
        """The embeddings of one text or several, as `client.create_embeddings`."""
        read = _openai.read_embedding_request(request)
        creating = _openai.create_embeddings(self._caller, self._settings, read, timeout, extra_body, EMBEDDINGS)
        return await self._run(creating)
