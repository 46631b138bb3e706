"""The asynchronous surface. `sync_api` is generated from this file, as are the other modules with twins.

Every method is its signature, its documentation, and one operation: what happens is in `_ops`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ._address import parse_api_host
from ._async_io import AsyncClientBase
from ._auth import Secret
from ._discovery import find_local_server, is_lm_studio
from ._ops.models import check_namespace
from ._settings import connection_settings
from ._surface.async_handles import AsyncEmbeddingModel, AsyncModelHandle
from ._surface.async_llm import AsyncLLM
from ._surface.async_sessions import (
    DEFAULT_TTL_SECONDS,
    AnyAsyncDownloadedModel,
    AsyncDownloadedEmbeddingModel,
    AsyncDownloadedLlm,
    _AsyncSessionEmbedding,
    _AsyncSessionLlm,
)
from ._surface.async_streams import AsyncPredictionStream
from ._surface.async_system import _AsyncSessionSystem

# The functions for a quick start are synchronous only.
# sync: from . import convenience
# sync: from .convenience import *

if TYPE_CHECKING:
    import logging
    import ssl
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self, Unpack

    from ._abort import AbortSignal
    from ._http_models.model_lists import ListModelsFilter, ModelsListResponse, ModelStatus
    from ._http_models.openai import ChatCompletionParams, ChatCompletionResponse
    from ._local_files import LocalFileInput
    from ._ops.openai_chat import ChatRun
    from ._retries import RetryConfig
    from ._runtime import UnknownItem
    from ._sdk_models import FileHandle
    from ._surface.async_diagnostics import _AsyncSessionDiagnostics
    from ._surface.async_files import _AsyncSessionFiles
    from ._surface.async_repository import _AsyncSessionRepository
    from ._surface.async_runtime import _AsyncSessionRuntime
    from ._surface.async_streams import AsyncChatCompletionStream
    from ._timeouts import TimeoutInput
    from .history import ChatInput
    from .settings import Settings

__all__ = [
    "AnyAsyncDownloadedModel",
    "AsyncClient",
    "AsyncDownloadedEmbeddingModel",
    "AsyncDownloadedLlm",
    "AsyncEmbeddingModel",
    "AsyncLLM",
    "AsyncModelHandle",
    "AsyncPredictionStream",
]
# sync: __all__ += convenience.__all__


class AsyncClient(AsyncClientBase):
    """A client of one LM Studio server.

    ::

        async with lms.AsyncClient() as client:
            model = await client.llm.model("qwen2.5-0.5b-instruct")
            print(await model.respond("Hello!"))

    It connects on first use, one WebSocket per namespace used, and again after a loss. `async with` is a convenience:
    an object may also keep a client and close it with `aclose()`.
    One client may be used from many tasks, also of several event loops, under asyncio and under trio.

    Args:
        api_host: The server's address: "host", "host:port" or a URL; by default that of LM_STUDIO_BASE_URL, else the
            server on this machine is found.
        api_token: An API token of the server; by default that of LM_API_TOKEN or LMSTUDIO_API_TOKEN, or of
            LM_STUDIO_API_KEY if it has the form of one, else none.
        client_identifier: Instead of a token, a name for this client. Clients with the same name and passkey share what
            the server keeps for them, such as uploaded files.
        client_passkey: Proves that a client may use that name; whoever comes first chooses it.
        logger: Where this client reports connections, loads, tools and failed callbacks, each on a child of it; by
            default on the loggers `lmstudio.websocket`, `.models`, `.tools` and `.callbacks` (see `lmstudio.logs`).
        timeout: Time limits of all calls: a `Timeout`, or a number of seconds for each call as a whole. Every call
            takes a `timeout` of its own, which goes before this one.
        retry: When to try again what can be repeated without harm. By default three times, except that a server which
            this client has never reached is reported missing at once.
        on_unknown: Called with each thing that the server sends and this version does not know, once: new members, new
            kinds of messages. A plain function, called in whatever thread finds it.
        ssl_context: How to check the certificate of a server whose address begins with https:// or wss://, e.g.
            `ssl.create_default_context(cafile="authority.pem")`; by default against the public authorities, or not at
            all if LM_STUDIO_VERIFY_TLS is "false".
        proxy: The proxy to use, as "http://host:port", "https://...", "socks5://...", or with "user:password@" before
            the host. Variables such as HTTP_PROXY do not count, and without this argument no proxy is used.
        settings: What counts where the other arguments say nothing, as well as the models to use; by default
            `Settings.load()`, which reads the environment.
    """

    def __init__(
        self,
        api_host: str | None = None,
        api_token: str | None = None,
        *,
        client_identifier: str | None = None,
        client_passkey: str | None = None,
        logger: logging.Logger | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        timeout: TimeoutInput = None,
        retry: RetryConfig | None = None,
        on_unknown: Callable[[UnknownItem], object] | None = None,
        settings: Settings | None = None,
    ) -> None:
        token, passkey, proxy_url = Secret(api_token), Secret(client_passkey), Secret(proxy)
        del api_token, client_passkey, proxy  # a traceback may show the variables of this function
        super().__init__(
            connection_settings(
                settings=settings,
                api_host=api_host,
                api_token=token,
                client_identifier=client_identifier,
                client_passkey=passkey,
                logger=logger,
                ssl_context=ssl_context,
                proxy=proxy_url,
                timeout=timeout,
                retry=retry,
                on_unknown=on_unknown,
            )
        )
        self._llm = _AsyncSessionLlm(self)
        self._embedding = _AsyncSessionEmbedding(self)
        self._system = _AsyncSessionSystem(self)

    async def __aenter__(self) -> Self:
        self._state.reopen()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; calls in flight fail. Entering the client again reopens it."""
        await self._state.aclose()

    @property
    def api_host(self) -> str:
        """The server's address, as host:port or a URL."""
        return self._known_api_host()

    @property
    def client_identifier(self) -> str:
        """The client's name towards the server: the one given, that of the API token, or a random one of a guest."""
        return self._state.settings.credentials.identifier

    @classmethod
    async def is_valid_api_host(cls, api_host: str) -> bool:
        """Whether an LM Studio compatible server answers at this address within a second."""
        address = parse_api_host(api_host)
        return await cls._with_http(partial(is_lm_studio, address=address), secure=address.secure)

    @classmethod
    async def find_default_local_api_host(cls) -> str | None:
        """The address of the server on this machine, None if there is none."""
        address = await cls._with_http(find_local_server, secure=False)
        return None if address is None else address.api_host

    @property
    def llm(self) -> _AsyncSessionLlm:
        """Language models."""
        return self._llm

    @property
    def embedding(self) -> _AsyncSessionEmbedding:
        """Embedding models."""
        return self._embedding

    @property
    def system(self) -> _AsyncSessionSystem:
        """The machine that the server runs on."""
        return self._system

    @property
    def files(self) -> _AsyncSessionFiles:
        """Images and documents for models."""
        from ._surface.async_files import _AsyncSessionFiles

        # As repository: made on first use, one for all threads.
        session: _AsyncSessionFiles = vars(self).setdefault("_files", _AsyncSessionFiles(self))
        return session

    @property
    def repository(self) -> _AsyncSessionRepository:
        """Models to download, and LM Studio's hub."""
        from ._surface.async_repository import _AsyncSessionRepository

        # Made on first use, because its wire types take long to load; one for all threads.
        session: _AsyncSessionRepository = vars(self).setdefault("_repository", _AsyncSessionRepository(self))
        return session

    @property
    def diagnostics(self) -> _AsyncSessionDiagnostics:
        """What happens in the server."""
        from ._surface.async_diagnostics import _AsyncSessionDiagnostics

        # As repository: made on first use, one for all threads.
        session: _AsyncSessionDiagnostics = vars(self).setdefault("_diagnostics", _AsyncSessionDiagnostics(self))
        return session

    @property
    def runtime(self) -> _AsyncSessionRuntime:
        """What the server runs models with."""
        from ._surface.async_runtime import _AsyncSessionRuntime

        # As repository: made on first use, one for all threads.
        session: _AsyncSessionRuntime = vars(self).setdefault("_runtime", _AsyncSessionRuntime(self))
        return session

    async def prepare_image(
        self,
        src: LocalFileInput,
        name: str | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> FileHandle:
        """Give the server an image, and get a handle to use in chats; see `client.files.prepare_image()`."""
        return await self.files.prepare_image(src, name, timeout=timeout, signal=signal)

    async def prepare_file(
        self,
        src: LocalFileInput,
        name: str | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> FileHandle:
        """Give the server a file of any type; see `client.files.prepare_file()`."""
        return await self.files.prepare_file(src, name, timeout=timeout, signal=signal)

    async def list_downloaded_models(
        self, namespace: str | None = None, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[AnyAsyncDownloadedModel]:
        """The models on the server's disk; *namespace* "llm" or "embedding" for one kind only."""
        check_namespace(namespace)
        models = await self._system.list_downloaded_models(timeout=timeout, signal=signal)
        return [model for model in models if namespace is None or model.type == namespace]

    async def list_loaded_models(
        self, namespace: str | None = None, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[AsyncLLM | AsyncEmbeddingModel]:
        """Handles for the loaded models; *namespace* "llm" or "embedding" for one kind only."""
        check_namespace(namespace)
        loaded: list[AsyncLLM | AsyncEmbeddingModel] = []
        if namespace in (None, "llm"):
            loaded += await self._llm.list_loaded(timeout=timeout, signal=signal)
        if namespace in (None, "embedding"):
            loaded += await self._embedding.list_loaded(timeout=timeout, signal=signal)
        return loaded

    # The contract (lmstudio.contract) ------------------------------------------------------------------------------

    async def chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionResponse:
        """The answer to a chat in the form of OpenAI's chat completions, as `lmstudio.http` gives it.

        ::

            reply = await client.chat_completion("Why is the sky blue?", max_tokens=200)
            print(reply.choices[0].message.content)

        Args:
            messages: A text, a `Chat`, or a list of `lmstudio.contract.ChatMessage` or of dicts.
            model: The key of a model, loaded if it is not, as in `client.llm.model()`; without it that of
                `Settings.default_model`, else any that is loaded.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`; a load counts, too.
            signal: Ends it: a load with LMStudioCancelledError, an answer with the text so far.
            **params: As in OpenAI's API, and `ttl`, `draft_model`, `preset` and others of LM Studio; in camelCase, too.
                `cache_prompt` and `user` have no effect: LM Studio always caches, and has no users.

        Raises:
            LMStudioValueError: bad input, or a parameter that is not known; nothing was sent.
            LMStudioModelNotFoundError: there is no such model, or none is loaded.
            LMStudioError: as `LLM.respond`.
        """
        return await self._run(self._chat_run(messages, model, params, timeout, signal).run())

    def stream_chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        **params: Unpack[ChatCompletionParams],
    ) -> AsyncChatCompletionStream:
        """As `chat_completion`, but returns a stream of chunks. Nothing is sent before the stream is used."""
        from ._surface.async_streams import AsyncChatCompletionStream

        return AsyncChatCompletionStream(self._chat_run(messages, model, params, timeout, signal))

    def _chat_run(
        self,
        messages: ChatInput,
        model: str | None,
        params: ChatCompletionParams,
        timeout: TimeoutInput,
        signal: AbortSignal | None,
    ) -> ChatRun:
        from ._ops.openai_chat import ChatRequest, ChatRun

        request = ChatRequest(messages, model, params, self._llm._settings, DEFAULT_TTL_SECONDS)
        return ChatRun(self._llm._port, request, timeout, signal)

    async def list_models(
        self,
        filter: ListModelsFilter | Mapping[str, Any] | None = None,
        *,
        owned_by: str | None = None,
        status: ModelStatus | None = None,
        limit: int | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> ModelsListResponse:
        """The models that can be used, in the form of OpenAI's list: first those that are loaded, by their identifiers.

        Args:
            filter: A `ListModelsFilter`, or the same as keywords:
            owned_by: Models of this publisher, or of the owner that the list names.
            status: "ready" for those that are loaded, "not-loaded" for the others.
            limit: So many, at most.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.
        """
        from ._ops.model_lists import list_models, read_filter

        wanted = read_filter(filter, owned_by, status, limit)
        port = self._system._within(timeout, signal)
        return await self._run(list_models(port, self._llm._port, self._embedding._port, wanted))

    async def health(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> bool:
        """Whether the server answers. False also if it does not accept the token.

        Args:
            timeout: A time limit in seconds, or a `lmstudio.Timeout`; by default the one for connecting is the total.
            signal: Ends the call with LMStudioCancelledError.
        """
        from ._ops.model_lists import is_healthy

        return await self._run(is_healthy(self._system._port, timeout, signal))

    def __repr__(self) -> str:
        state = vars(self).get("_state")  # none yet where the traceback of a constructor that fails shows this
        return f"{type(self).__name__}(api_host={None if state is None else state.settings.api_host!r})"
