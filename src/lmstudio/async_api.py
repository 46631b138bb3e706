"""The asynchronous surface. `sync_api` is generated from this file.

Every method is its signature, its documentation, and one operation: what happens is in `_ops`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar, overload

from ._address import parse_api_host
from ._async_io import AsyncBase, AsyncClientBase
from ._discovery import find_local_server, is_lm_studio
from ._endpoints import embedding as embedding_endpoints
from ._endpoints import llm as llm_endpoints
from ._kv_config import (
    embedding_load_config_from_kv,
    embedding_load_config_to_kv,
    llm_load_config_from_kv,
    llm_load_config_to_kv,
    override_stack,
)
from ._ops import models as model_ops
from ._ops import prediction as prediction_ops
from ._ops import system as system_ops
from ._ops import text as text_ops
from ._ops.models import LoadProgressCallback, LoadRequest
from ._ops.prediction import (
    Prediction,
    PredictionFirstTokenCallback,
    PredictionFragmentCallback,
    PredictionMessageCallback,
    PromptProcessingCallback,
    prediction_options,
)
from ._sdk_models import (
    EmbeddingLoadModelConfig,
    EmbeddingModelInfo,
    EmbeddingModelInstanceInfo,
    LlmApplyPromptTemplateOpts,
    LlmInfo,
    LlmInstanceInfo,
    LlmLoadModelConfig,
    LlmPredictionConfig,
    LlmPredictionFragment,
    LlmPredictionStats,
)
from ._specifiers import ModelSpecifierInput, read_specifier
from .history import ChatInput, read_history
from .results import ParsedT, PredictionResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from ._endpoints.models import ModelEndpoints
    from ._sdk_models.dicts import EmbeddingLoadModelConfigDict, LlmLoadModelConfigDict, LlmPredictionConfigDict
    from .json_api import Port
    from .schemas import DictSchema

__all__ = [
    "AsyncClient",
    "AsyncDownloadedEmbeddingModel",
    "AsyncDownloadedLlm",
    "AsyncEmbeddingModel",
    "AsyncLLM",
    "AsyncPredictionStream",
]

DEFAULT_TTL_SECONDS = 3600
"""Models loaded through this package are unloaded after an hour without use, unless `ttl` says otherwise."""

LlmLoadConfigInput: TypeAlias = "LlmLoadModelConfig | LlmLoadModelConfigDict"
EmbeddingLoadConfigInput: TypeAlias = "EmbeddingLoadModelConfig | EmbeddingLoadModelConfigDict"
PredictionConfigInput: TypeAlias = "LlmPredictionConfig | LlmPredictionConfigDict"

T = TypeVar("T")
HandleT = TypeVar("HandleT", bound="AsyncModelHandle[Any, Any]")
DownloadedT = TypeVar("DownloadedT", bound="AsyncDownloadedModel[Any, Any, Any]")
InfoT = TypeVar("InfoT", bound=LlmInfo | EmbeddingModelInfo)
InstanceInfoT = TypeVar("InstanceInfoT", bound=LlmInstanceInfo | EmbeddingModelInstanceInfo)
LoadConfigT = TypeVar("LoadConfigT")
"""A load configuration as struct or dict."""
LoadConfigStructT = TypeVar("LoadConfigStructT", bound=LlmLoadModelConfig | EmbeddingLoadModelConfig)


# Predictions ---------------------------------------------------------------------------------------------------------


class _AsyncFragments(AsyncBase):
    """One iteration over a prediction. Leaving it, for example by `break`, cancels the prediction."""

    def __init__(self, stream: AsyncPredictionStream[Any]) -> None:
        self._stream = stream  # which cancels when nobody holds it any more
        self._prediction = stream._prediction

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LlmPredictionFragment:
        fragment = await self._run(self._prediction.next_fragment())
        if fragment is None:
            raise StopAsyncIteration
        return fragment

    def __del__(self) -> None:
        self._prediction.cancel()


class AsyncPredictionStream(AsyncBase, Generic[ParsedT]):
    """The fragments of one prediction, as they arrive.

    ::

        async with await model.respond_stream("Tell me a story.") as stream:
            async for fragment in stream:
                print(fragment.content, end="", flush=True)
            print(stream.result().stats)

    Leaving the `with` block or the loop early tells the server to stop, at once.
    """

    def __init__(self, prediction: Prediction[ParsedT]) -> None:
        self._prediction = prediction

    async def start(self) -> None:
        """Send the request. Entering the `with` block or iterating does it, too."""
        self._prediction.start()

    async def cancel(self) -> None:
        """Ask the server to stop. The stream then ends with the text so far, and `userStopped` as stop reason."""
        self._prediction.cancel()

    async def aclose(self) -> None:
        """Stop the prediction if it is still running, and forget it."""
        self._prediction.abandon()

    async def __aenter__(self) -> Self:
        if not self._prediction.is_started:
            self._prediction.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._prediction.abandon(exc)

    def __aiter__(self) -> _AsyncFragments:
        return _AsyncFragments(self)

    def __del__(self) -> None:
        self._prediction.abandon()

    async def wait_for_result(self) -> PredictionResult[ParsedT]:
        """Wait until the prediction is complete and return its result."""
        return await self._run(self._prediction.run())

    def result(self) -> PredictionResult[ParsedT]:
        """The result of a complete prediction.

        Raises:
            LMStudioRuntimeError: the prediction is not complete yet.
            LMStudioError: what the prediction failed with.
        """
        return self._prediction.result()

    @property
    def stats(self) -> LlmPredictionStats | None:
        """The statistics; None until the prediction is complete."""
        result = self._prediction.result_or_none
        return None if result is None else result.stats

    @property
    def model_info(self) -> LlmInstanceInfo | None:
        """The instance that predicted; None until the prediction is complete."""
        result = self._prediction.result_or_none
        return None if result is None else result.model_info


# Model handles -------------------------------------------------------------------------------------------------------


class AsyncModelHandle(AsyncBase, Generic[InstanceInfoT, LoadConfigStructT]):
    """A model that is loaded under an identifier. Stays usable when the connection is lost and made again."""

    def __init__(self, identifier: str, session: _AsyncSessionModel[Any, Any, Any, InstanceInfoT, Any]) -> None:
        self.identifier = identifier
        self._session = session
        self._target = model_ops.identifier_target(identifier)

    @property
    def _port(self) -> Port:
        return self._session._port

    async def unload(self) -> None:
        """Unload this instance; the handle is useless afterwards."""
        await self._run(model_ops.unload(self._port, self.identifier))

    async def get_info(self) -> InstanceInfoT:
        """What the server knows about this instance."""
        info: InstanceInfoT = await self._run(model_ops.get_info(self._port, self._session._ENDPOINTS, self._target))
        return info

    async def get_load_config(self) -> LoadConfigStructT:
        """The configuration this instance was loaded with."""
        config = await self._run(model_ops.get_load_config(self._port, self._target))
        typed: LoadConfigStructT = self._session._read_load_config(config)
        return typed

    async def get_context_length(self) -> int:
        """How many tokens fit into the context of this instance."""
        info = await self._run(model_ops.get_info(self._port, self._session._ENDPOINTS, self._target))
        length: int = info.context_length
        return length

    @overload
    async def tokenize(self, input: str) -> list[int]: ...  # type: ignore[overload-overlap]  # a str is an Iterable[str], too
    @overload
    async def tokenize(self, input: Iterable[str]) -> list[list[int]]: ...
    async def tokenize(self, input: str | Iterable[str]) -> list[int] | list[list[int]]:
        """The token ids of a text, or of several in one round trip; no chat template is applied.

        ::

            tokens = await model.tokenize("Hello, world!")
        """
        tokens = await self._run(text_ops.tokenize(self._port, self._target, text_ops.as_texts(input)))
        return tokens[0] if isinstance(input, str) else tokens

    async def count_tokens(self, input: str) -> int:
        """The number of tokens of a text; no chat template is applied."""
        return await self._run(text_ops.count_tokens(self._port, self._target, input))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.identifier == other.identifier and self._session is other._session

    def __hash__(self) -> int:
        return hash((type(self), self.identifier))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(identifier={self.identifier!r})"


class AsyncLLM(AsyncModelHandle[LlmInstanceInfo, LlmLoadModelConfig]):
    """A language model that is loaded."""

    @overload
    async def respond(
        self,
        history: ChatInput,
        *,
        response_format: type[T],
        config: PredictionConfigInput | None = ...,
        preset: str | None = ...,
        on_message: PredictionMessageCallback | None = ...,
        on_first_token: PredictionFirstTokenCallback | None = ...,
        on_prediction_fragment: PredictionFragmentCallback | None = ...,
        on_prompt_processing_progress: PromptProcessingCallback | None = ...,
    ) -> PredictionResult[T]: ...
    @overload
    async def respond(
        self,
        history: ChatInput,
        *,
        response_format: DictSchema | None = ...,
        config: PredictionConfigInput | None = ...,
        preset: str | None = ...,
        on_message: PredictionMessageCallback | None = ...,
        on_first_token: PredictionFirstTokenCallback | None = ...,
        on_prediction_fragment: PredictionFragmentCallback | None = ...,
        on_prompt_processing_progress: PromptProcessingCallback | None = ...,
    ) -> PredictionResult[Any]: ...
    async def respond(
        self,
        history: ChatInput,
        *,
        response_format: DictSchema | type[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
    ) -> PredictionResult[Any]:
        """The model's next message in a chat, complete.

        ::

            result = await model.respond("What is the capital of Norway?")
            print(result)

        Args:
            history: The chat so far: a text, a `Chat`, or messages (see `Chat.from_history`).
            response_format: What the reply must look like, and what `result.parsed` will be: a class (pydantic model,
                `lms.BaseModel`, msgspec struct, dataclass, TypedDict), a JSON schema, or a GBNF grammar
                (`{"type": "gbnf", "gbnfGrammar": ...}`).
            config: Sampling and limits, e.g. `{"temperature": 0.2, "maxTokens": 100}`.
            preset: Name of a preset on the server; *config* overrides it.
            on_message: Called with the complete message.
            on_first_token: Called once, before the first fragment.
            on_prediction_fragment: Called with each fragment.
            on_prompt_processing_progress: Called with numbers that rise from 0.0 to 1.0 while the prompt is read.

        Raises:
            LMStudioModelNotFoundError: the model is not loaded any more.
            LMStudioServerError: the server could not predict.
            LMStudioWebsocketError: the connection cannot be made or was lost. The prediction is never repeated.
            LMStudioValueError: bad input; nothing was sent.

        Cancelling the task, a timeout around the call, or an exception tells the server to stop, at once. Exceptions of
        callbacks are logged and do not end the prediction, except those of *on_message*.
        """
        options = prediction_options(
            response_format,
            config,
            preset,
            on_message,
            on_first_token,
            on_prediction_fragment,
            on_prompt_processing_progress,
        )
        return await self._run(prediction_ops.respond(self._port, self._target, read_history(history), options).run())

    @overload
    async def respond_stream(
        self,
        history: ChatInput,
        *,
        response_format: type[T],
        config: PredictionConfigInput | None = ...,
        preset: str | None = ...,
        on_message: PredictionMessageCallback | None = ...,
        on_first_token: PredictionFirstTokenCallback | None = ...,
        on_prediction_fragment: PredictionFragmentCallback | None = ...,
        on_prompt_processing_progress: PromptProcessingCallback | None = ...,
    ) -> AsyncPredictionStream[T]: ...
    @overload
    async def respond_stream(
        self,
        history: ChatInput,
        *,
        response_format: DictSchema | None = ...,
        config: PredictionConfigInput | None = ...,
        preset: str | None = ...,
        on_message: PredictionMessageCallback | None = ...,
        on_first_token: PredictionFirstTokenCallback | None = ...,
        on_prediction_fragment: PredictionFragmentCallback | None = ...,
        on_prompt_processing_progress: PromptProcessingCallback | None = ...,
    ) -> AsyncPredictionStream[Any]: ...
    async def respond_stream(
        self,
        history: ChatInput,
        *,
        response_format: DictSchema | type[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
    ) -> AsyncPredictionStream[Any]:
        """As `respond`, but returns the reply as a stream of fragments. Nothing is sent before the stream is used."""
        options = prediction_options(
            response_format,
            config,
            preset,
            on_message,
            on_first_token,
            on_prediction_fragment,
            on_prompt_processing_progress,
        )
        return AsyncPredictionStream(prediction_ops.respond(self._port, self._target, read_history(history), options))

    @overload
    async def complete(
        self,
        prompt: str,
        *,
        response_format: type[T],
        config: PredictionConfigInput | None = ...,
        preset: str | None = ...,
        on_message: PredictionMessageCallback | None = ...,
        on_first_token: PredictionFirstTokenCallback | None = ...,
        on_prediction_fragment: PredictionFragmentCallback | None = ...,
        on_prompt_processing_progress: PromptProcessingCallback | None = ...,
    ) -> PredictionResult[T]: ...
    @overload
    async def complete(
        self,
        prompt: str,
        *,
        response_format: DictSchema | None = ...,
        config: PredictionConfigInput | None = ...,
        preset: str | None = ...,
        on_message: PredictionMessageCallback | None = ...,
        on_first_token: PredictionFirstTokenCallback | None = ...,
        on_prediction_fragment: PredictionFragmentCallback | None = ...,
        on_prompt_processing_progress: PromptProcessingCallback | None = ...,
    ) -> PredictionResult[Any]: ...
    async def complete(
        self,
        prompt: str,
        *,
        response_format: DictSchema | type[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
    ) -> PredictionResult[Any]:
        """The continuation of a text, without a chat template. Arguments and errors as in `respond`."""
        options = prediction_options(
            response_format,
            config,
            preset,
            on_message,
            on_first_token,
            on_prediction_fragment,
            on_prompt_processing_progress,
        )
        return await self._run(prediction_ops.complete(self._port, self._target, prompt, options).run())

    @overload
    async def complete_stream(
        self,
        prompt: str,
        *,
        response_format: type[T],
        config: PredictionConfigInput | None = ...,
        preset: str | None = ...,
        on_message: PredictionMessageCallback | None = ...,
        on_first_token: PredictionFirstTokenCallback | None = ...,
        on_prediction_fragment: PredictionFragmentCallback | None = ...,
        on_prompt_processing_progress: PromptProcessingCallback | None = ...,
    ) -> AsyncPredictionStream[T]: ...
    @overload
    async def complete_stream(
        self,
        prompt: str,
        *,
        response_format: DictSchema | None = ...,
        config: PredictionConfigInput | None = ...,
        preset: str | None = ...,
        on_message: PredictionMessageCallback | None = ...,
        on_first_token: PredictionFirstTokenCallback | None = ...,
        on_prediction_fragment: PredictionFragmentCallback | None = ...,
        on_prompt_processing_progress: PromptProcessingCallback | None = ...,
    ) -> AsyncPredictionStream[Any]: ...
    async def complete_stream(
        self,
        prompt: str,
        *,
        response_format: DictSchema | type[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
    ) -> AsyncPredictionStream[Any]:
        """As `complete`, but returns a stream of fragments. Nothing is sent before the stream is used."""
        options = prediction_options(
            response_format,
            config,
            preset,
            on_message,
            on_first_token,
            on_prediction_fragment,
            on_prompt_processing_progress,
        )
        return AsyncPredictionStream(prediction_ops.complete(self._port, self._target, prompt, options))

    async def apply_prompt_template(
        self, history: ChatInput, opts: LlmApplyPromptTemplateOpts | Mapping[str, Any] | None = None
    ) -> str:
        """The text that the model would see for a chat.

        Args:
            history: As in `respond`.
            opts: `omit_bos_token`, `omit_eos_token`, `tool_definitions`, in snake_case or camelCase.
        """
        options = text_ops.read_template_opts(opts)
        return await self._run(text_ops.apply_prompt_template(self._port, self._target, read_history(history), options))


class AsyncEmbeddingModel(AsyncModelHandle[EmbeddingModelInstanceInfo, EmbeddingLoadModelConfig]):
    """An embedding model that is loaded."""

    @overload
    async def embed(self, input: str) -> list[float]: ...  # type: ignore[overload-overlap]  # a str is an Iterable[str], too
    @overload
    async def embed(self, input: Iterable[str]) -> list[list[float]]: ...
    async def embed(self, input: str | Iterable[str]) -> list[float] | list[list[float]]:
        """The embedding of a text, or of several in one round trip; result[i] belongs to input[i].

        ::

            vectors = await model.embed(["first text", "second text"])
        """
        vectors = await self._run(text_ops.embed(self._port, self._target, text_ops.as_texts(input)))
        return vectors[0] if isinstance(input, str) else vectors


# Downloaded models ---------------------------------------------------------------------------------------------------


class AsyncDownloadedModel(AsyncBase, Generic[InfoT, HandleT, LoadConfigT]):
    """A model on the server's disk."""

    def __init__(self, info: InfoT, session: _AsyncSessionModel[HandleT, LoadConfigT, Any, Any, Any]) -> None:
        self._info = info
        self._session = session

    @property
    def info(self) -> InfoT:
        """What the server knows about the model."""
        return self._info

    @property
    def type(self) -> str:
        """ "llm" or "embedding"."""
        return self._info.type

    @property
    def path(self) -> str:
        """The model's path, relative to the server's models folder."""
        return self._info.path

    @property
    def model_key(self) -> str:
        """What `model()` and `load_new_instance()` of a session take."""
        return self._info.model_key

    async def model(
        self,
        *,
        ttl: int | None = DEFAULT_TTL_SECONDS,
        config: LoadConfigT | None = None,
        on_load_progress: LoadProgressCallback | None = None,
    ) -> HandleT:
        """A handle for this model, which is loaded if it is not."""
        return await self._session.model(self.model_key, ttl=ttl, config=config, on_load_progress=on_load_progress)

    async def load_new_instance(
        self,
        *,
        ttl: int | None = DEFAULT_TTL_SECONDS,
        instance_identifier: str | None = None,
        config: LoadConfigT | None = None,
        on_load_progress: LoadProgressCallback | None = None,
    ) -> HandleT:
        """Load this model once more and return a handle for the new instance."""
        return await self._session.load_new_instance(
            self.model_key, instance_identifier, ttl=ttl, config=config, on_load_progress=on_load_progress
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._info == other._info and self._session is other._session

    def __hash__(self) -> int:
        return hash((type(self), self.model_key))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model_key={self.model_key!r}, display_name={self._info.display_name!r})"


class AsyncDownloadedLlm(AsyncDownloadedModel[LlmInfo, AsyncLLM, LlmLoadConfigInput]):
    """A language model on the server's disk."""


class AsyncDownloadedEmbeddingModel(
    AsyncDownloadedModel[EmbeddingModelInfo, AsyncEmbeddingModel, EmbeddingLoadConfigInput]
):
    """An embedding model on the server's disk."""


AnyAsyncDownloadedModel: TypeAlias = AsyncDownloadedLlm | AsyncDownloadedEmbeddingModel


# Sessions ------------------------------------------------------------------------------------------------------------


class _AsyncSession(AsyncBase):
    """One namespace of the server. Connects on first use."""

    API_NAMESPACE: ClassVar[str]

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @property
    def client(self) -> AsyncClient:
        """The client this session belongs to."""
        return self._client

    @property
    def _port(self) -> Port:
        return self._client._port(self.API_NAMESPACE)

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost. Using the session makes one."""
        return self._client._is_connected(self.API_NAMESPACE)

    async def connect(self) -> None:
        """Connect now instead of on first use.

        Raises:
            LMStudioWebsocketError: it cannot; says why.
        """
        await self._client._connect(self.API_NAMESPACE)

    async def disconnect(self) -> None:
        """Close the connection; calls in flight fail. The next use connects again."""
        await self._client._disconnect(self.API_NAMESPACE)

    async def aclose(self) -> None:
        """As `disconnect`."""
        await self.disconnect()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.disconnect()

    async def remote_call(self, endpoint: str, params: Any = None, notice_prefix: str = "RPC") -> Any:  # noqa: ARG002 - part of the official signature
        """Call any rpc of this namespace by its wire name: for what this package has no method for.

        Args:
            endpoint: E.g. "getModelInfo".
            params: A struct of this package, or plain data with camelCase keys.
            notice_prefix: Accepted for compatibility, without effect.

        Returns:
            The result as plain data.
        """
        return await self._run(system_ops.remote_call(self._port, endpoint, params))


class _AsyncSessionSystem(_AsyncSession):
    """The machine that the server runs on."""

    API_NAMESPACE = "system"

    async def list_downloaded_models(self) -> list[AnyAsyncDownloadedModel]:
        """All models on the server's disk."""
        infos = await self._run(system_ops.list_downloaded_models(self._port))
        client = self._client
        return [
            AsyncDownloadedLlm(info, client.llm)
            if isinstance(info, LlmInfo)
            else AsyncDownloadedEmbeddingModel(info, client.embedding)
            for info in infos
        ]


class _AsyncSessionModel(_AsyncSession, Generic[HandleT, LoadConfigT, DownloadedT, InstanceInfoT, LoadConfigStructT]):
    """What language and embedding models have in common."""

    _ENDPOINTS: ClassVar[ModelEndpoints[Any]]
    _DOWNLOADED: ClassVar[type[Any]]
    _HANDLE: ClassVar[type[Any]]
    # Not methods: conversions between the typed and the wire form of the load configuration.
    _encode_load_config: ClassVar[Any]
    _read_load_config: ClassVar[Any]

    def _handle(self, identifier: str) -> HandleT:
        handle: HandleT = self._HANDLE(identifier, self)
        return handle

    def _load_request(
        self, model_key: str, ttl: int | None, config: LoadConfigT | None, identifier: str | None = None
    ) -> LoadRequest:
        stack = override_stack(self._encode_load_config(config))
        return LoadRequest(model_key, stack, ttl, identifier).check()

    async def model(
        self,
        model_key: str | None = None,
        /,
        *,
        ttl: int | None = DEFAULT_TTL_SECONDS,
        config: LoadConfigT | None = None,
        on_load_progress: LoadProgressCallback | None = None,
    ) -> HandleT:
        """A handle for a model, which is loaded if it is not; without a key, for any model that is loaded.

        Args:
            model_key: The key of a downloaded model, or the identifier of a loaded instance.
            ttl: Seconds without use after which the model is unloaded; None for what the server is set to. Counts only
                if this call loads.
            config: The load configuration. Counts only if this call loads.
            on_load_progress: Called with numbers that rise from 0.0 to 1.0.

        Raises:
            LMStudioModelNotFoundError: there is no such model, or none is loaded.
            LMStudioServerError: the model cannot be loaded.
        """
        if model_key is None:
            info = await self._run(model_ops.get_any(self._port, self._ENDPOINTS))
        else:
            request = self._load_request(model_key, ttl, config)
            info = await self._run(model_ops.get_or_load(self._port, self._ENDPOINTS, request, on_load_progress))
        return self._handle(info.identifier)

    async def load_new_instance(
        self,
        model_key: str,
        instance_identifier: str | None = None,
        *,
        ttl: int | None = DEFAULT_TTL_SECONDS,
        config: LoadConfigT | None = None,
        on_load_progress: LoadProgressCallback | None = None,
    ) -> HandleT:
        """Load a model, even if it is loaded already, and return a handle for the new instance.

        Args:
            model_key: The key of a downloaded model.
            instance_identifier: Name for the instance, not in use yet; by default derived from the key.
            ttl: Seconds without use after which the instance is unloaded; None for never.
            config: The load configuration.
            on_load_progress: Called with numbers that rise from 0.0 to 1.0.

        Leaving the call early, by cancellation or any exception, cancels the load.
        """
        request = self._load_request(model_key, ttl, config, instance_identifier)
        info = await self._run(model_ops.load_model(self._port, self._ENDPOINTS, request, on_load_progress))
        return self._handle(info.identifier)

    async def unload(self, model_identifier: str) -> None:
        """Unload the instance with this identifier."""
        await self._run(model_ops.unload(self._port, model_identifier))

    async def list_loaded(self) -> list[HandleT]:
        """Handles for all loaded instances."""
        infos = await self._run(model_ops.list_loaded(self._port, self._ENDPOINTS))
        return [self._handle(info.identifier) for info in infos]

    async def get_model_info(self, model_specifier: ModelSpecifierInput) -> InstanceInfoT:
        """What the server knows about a loaded instance, given by identifier, query or instance reference."""
        target = read_specifier(model_specifier)
        info: InstanceInfoT = await self._run(model_ops.get_info(self._port, self._ENDPOINTS, target))
        return info

    async def list_downloaded(self) -> list[DownloadedT]:
        """The models of this kind on the server's disk."""
        models = await self._client.system.list_downloaded_models()
        return [model for model in models if isinstance(model, self._DOWNLOADED)]


class _AsyncSessionLlm(
    _AsyncSessionModel[AsyncLLM, LlmLoadConfigInput, AsyncDownloadedLlm, LlmInstanceInfo, LlmLoadModelConfig]
):
    """Language models."""

    API_NAMESPACE = "llm"
    _ENDPOINTS = llm_endpoints.MODELS
    _DOWNLOADED = AsyncDownloadedLlm
    _HANDLE = AsyncLLM
    _encode_load_config = staticmethod(llm_load_config_to_kv)
    _read_load_config = staticmethod(llm_load_config_from_kv)


class _AsyncSessionEmbedding(
    _AsyncSessionModel[
        AsyncEmbeddingModel,
        EmbeddingLoadConfigInput,
        AsyncDownloadedEmbeddingModel,
        EmbeddingModelInstanceInfo,
        EmbeddingLoadModelConfig,
    ]
):
    """Embedding models."""

    API_NAMESPACE = "embedding"
    _ENDPOINTS = embedding_endpoints.MODELS
    _DOWNLOADED = AsyncDownloadedEmbeddingModel
    _HANDLE = AsyncEmbeddingModel
    _encode_load_config = staticmethod(embedding_load_config_to_kv)
    _read_load_config = staticmethod(embedding_load_config_from_kv)


# Client --------------------------------------------------------------------------------------------------------------


class AsyncClient(AsyncClientBase):
    """A client of one LM Studio server.

    ::

        async with lms.AsyncClient() as client:
            model = await client.llm.model("qwen2.5-0.5b-instruct")
            print(await model.respond("Hello!"))

    It connects on first use, one WebSocket per namespace used, and again after a loss. `async with` is a convenience:
    an object may also keep a client and close it with `aclose()`. One client may be used from many tasks.

    Args:
        api_host: The server's address: "host", "host:port" or a URL. By default the server on this machine is found.
        api_token: An API token of the server; by default that of LM_API_TOKEN or LMSTUDIO_API_TOKEN, else none.
    """

    def __init__(self, api_host: str | None = None, api_token: str | None = None) -> None:
        super().__init__(api_host, api_token)
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

    async def list_downloaded_models(self, namespace: str | None = None) -> list[AnyAsyncDownloadedModel]:
        """The models on the server's disk; *namespace* "llm" or "embedding" for one kind only."""
        models = await self._system.list_downloaded_models()
        return [model for model in models if namespace is None or model.type == namespace]

    async def list_loaded_models(self, namespace: str | None = None) -> list[AsyncLLM | AsyncEmbeddingModel]:
        """Handles for the loaded models; *namespace* "llm" or "embedding" for one kind only."""
        loaded: list[AsyncLLM | AsyncEmbeddingModel] = []
        if namespace in (None, "llm"):
            loaded += await self._llm.list_loaded()
        if namespace in (None, "embedding"):
            loaded += await self._embedding.list_loaded()
        return loaded

    def __repr__(self) -> str:
        return f"{type(self).__name__}(api_host={self._state.settings.api_host!r})"
