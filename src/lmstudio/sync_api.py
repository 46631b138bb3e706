# Generated from async_api.py by tools/make_sync.py. Edit that file instead.
"""The synchronous surface. Generated from `async_api`.

Every method is its signature, its documentation, and one operation: what happens is in `_ops`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

# The functions for a quick start are synchronous only.
from . import convenience
from ._address import parse_api_host
from ._auth import Secret
from ._discovery import find_local_server, is_lm_studio
from ._ops.models import check_namespace
from ._settings import connection_settings
from ._surface.sync_handles import EmbeddingModel, SyncModelHandle
from ._surface.sync_llm import LLM
from ._surface.sync_sessions import (
    DEFAULT_TTL_SECONDS,
    AnyDownloadedModel,
    DownloadedEmbeddingModel,
    DownloadedLlm,
    _SessionEmbedding,
    _SessionLlm,
)
from ._surface.sync_streams import PredictionStream
from ._surface.sync_system import _SessionSystem
from ._sync_io import ClientBase
from .convenience import *

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
    from ._surface.sync_diagnostics import _SessionDiagnostics
    from ._surface.sync_files import _SessionFiles
    from ._surface.sync_repository import _SessionRepository
    from ._surface.sync_runtime import _SessionRuntime
    from ._surface.sync_streams import ChatCompletionStream
    from ._timeouts import TimeoutInput
    from .history import ChatInput
    from .settings import Settings

__all__ = [
    "LLM",
    "AnyDownloadedModel",
    "Client",
    "DownloadedEmbeddingModel",
    "DownloadedLlm",
    "EmbeddingModel",
    "PredictionStream",
    "SyncModelHandle",
]
__all__ += convenience.__all__


class Client(ClientBase):
    """A client of one LM Studio server.

    ::

        with lms.Client() as client:
            model = client.llm.model("qwen2.5-0.5b-instruct")
            print(model.respond("Hello!"))

    It connects on first use, one WebSocket per namespace used, and again after a loss. `with` is a convenience:
    an object may also keep a client and close it with `close()`.
    One client may be used from many threads.

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
        self._llm = _SessionLlm(self)
        self._embedding = _SessionEmbedding(self)
        self._system = _SessionSystem(self)

    def __enter__(self) -> Self:
        self._state.reopen()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; calls in flight fail. Entering the client again reopens it."""
        self._state.close()

    @property
    def api_host(self) -> str:
        """The server's address, as host:port or a URL."""
        return self._known_api_host()

    @property
    def client_identifier(self) -> str:
        """The client's name towards the server: the one given, that of the API token, or a random one of a guest."""
        return self._state.settings.credentials.identifier

    @classmethod
    def is_valid_api_host(cls, api_host: str) -> bool:
        """Whether an LM Studio compatible server answers at this address within a second."""
        address = parse_api_host(api_host)
        return cls._with_http(partial(is_lm_studio, address=address), secure=address.secure)

    @classmethod
    def find_default_local_api_host(cls) -> str | None:
        """The address of the server on this machine, None if there is none."""
        address = cls._with_http(find_local_server, secure=False)
        return None if address is None else address.api_host

    @property
    def llm(self) -> _SessionLlm:
        """Language models."""
        return self._llm

    @property
    def embedding(self) -> _SessionEmbedding:
        """Embedding models."""
        return self._embedding

    @property
    def system(self) -> _SessionSystem:
        """The machine that the server runs on."""
        return self._system

    @property
    def files(self) -> _SessionFiles:
        """Images and documents for models."""
        from ._surface.sync_files import _SessionFiles

        # As repository: made on first use, one for all threads.
        session: _SessionFiles = vars(self).setdefault("_files", _SessionFiles(self))
        return session

    @property
    def repository(self) -> _SessionRepository:
        """Models to download, and LM Studio's hub."""
        from ._surface.sync_repository import _SessionRepository

        # Made on first use, because its wire types take long to load; one for all threads.
        session: _SessionRepository = vars(self).setdefault("_repository", _SessionRepository(self))
        return session

    @property
    def diagnostics(self) -> _SessionDiagnostics:
        """What happens in the server."""
        from ._surface.sync_diagnostics import _SessionDiagnostics

        # As repository: made on first use, one for all threads.
        session: _SessionDiagnostics = vars(self).setdefault("_diagnostics", _SessionDiagnostics(self))
        return session

    @property
    def runtime(self) -> _SessionRuntime:
        """What the server runs models with."""
        from ._surface.sync_runtime import _SessionRuntime

        # As repository: made on first use, one for all threads.
        session: _SessionRuntime = vars(self).setdefault("_runtime", _SessionRuntime(self))
        return session

    def prepare_image(
        self,
        src: LocalFileInput,
        name: str | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> FileHandle:
        """Give the server an image, and get a handle to use in chats; see `client.files.prepare_image()`."""
        return self.files.prepare_image(src, name, timeout=timeout, signal=signal)

    def prepare_file(
        self,
        src: LocalFileInput,
        name: str | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> FileHandle:
        """Give the server a file of any type; see `client.files.prepare_file()`."""
        return self.files.prepare_file(src, name, timeout=timeout, signal=signal)

    def list_downloaded_models(
        self, namespace: str | None = None, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[AnyDownloadedModel]:
        """The models on the server's disk; *namespace* "llm" or "embedding" for one kind only."""
        check_namespace(namespace)
        models = self._system.list_downloaded_models(timeout=timeout, signal=signal)
        return [model for model in models if namespace is None or model.type == namespace]

    def list_loaded_models(
        self, namespace: str | None = None, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[LLM | EmbeddingModel]:
        """Handles for the loaded models; *namespace* "llm" or "embedding" for one kind only."""
        check_namespace(namespace)
        loaded: list[LLM | EmbeddingModel] = []
        if namespace in (None, "llm"):
            loaded += self._llm.list_loaded(timeout=timeout, signal=signal)
        if namespace in (None, "embedding"):
            loaded += self._embedding.list_loaded(timeout=timeout, signal=signal)
        return loaded

    # The contract (lmstudio.contract) ------------------------------------------------------------------------------

    def chat_completion(
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

            reply = client.chat_completion("Why is the sky blue?", max_tokens=200)
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
        return self._run(self._chat_run(messages, model, params, timeout, signal).run())

    def stream_chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionStream:
        """As `chat_completion`, but returns a stream of chunks. Nothing is sent before the stream is used."""
        from ._surface.sync_streams import ChatCompletionStream

        return ChatCompletionStream(self._chat_run(messages, model, params, timeout, signal))

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

    def list_models(
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
        return self._run(list_models(port, self._llm._port, self._embedding._port, wanted))

    def health(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> bool:
        """Whether the server answers. False also if it does not accept the token.

        Args:
            timeout: A time limit in seconds, or a `lmstudio.Timeout`; by default the one for connecting is the total.
            signal: Ends the call with LMStudioCancelledError.
        """
        from ._ops.model_lists import is_healthy

        return self._run(is_healthy(self._system._port, timeout, signal))

    def __repr__(self) -> str:
        state = vars(self).get("_state")  # none yet where the traceback of a constructor that fails shows this
        return f"{type(self).__name__}(api_host={None if state is None else state.settings.api_host!r})"
