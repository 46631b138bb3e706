"""The namespaces of a client, and the models on the server's disk, in the asynchronous surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from msgspec import UNSET, UnsetType

from lmstudio._async_io import AsyncBase
from lmstudio._endpoints import embedding as embedding_endpoints
from lmstudio._endpoints import llm as llm_endpoints
from lmstudio._kv_config import (
    embedding_load_config_from_kv,
    embedding_load_config_to_kv,
    llm_load_config_from_kv,
    llm_load_config_to_kv,
    override_stack,
)
from lmstudio._ops import loading as load_ops
from lmstudio._ops import models as model_ops
from lmstudio._ops import system as system_ops
from lmstudio._ops.loading import LoadProgressCallback, LoadRequest, LoadWatch, OnMismatch
from lmstudio._sdk_models import (
    EmbeddingLoadModelConfig,
    EmbeddingModelInfo,
    EmbeddingModelInstanceInfo,
    LlmInfo,
    LlmInstanceInfo,
    LlmLoadModelConfig,
)
from lmstudio._specifiers import AnyModelSpecifier, instance_target, read_query, read_specifier
from lmstudio._surface.async_handles import (
    AsyncEmbeddingModel,
    AsyncModelHandle,
    InstanceInfoT,
    LoadConfigStructT,
)
from lmstudio._surface.async_llm import AsyncLLM
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio._abort import AbortSignal
    from lmstudio._endpoints.models import ModelEndpoints
    from lmstudio._ops.models import ModelTarget
    from lmstudio._port import Port
    from lmstudio._sdk_models import EstimatedResourcesUsage, KvConfig, ModelDomainType
    from lmstudio._sdk_models.dicts import EmbeddingLoadModelConfigDict, LlmLoadModelConfigDict
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.async_api import AsyncClient
    from lmstudio.settings import Settings

DEFAULT_TTL_SECONDS = 3600
"""Models loaded through this package are unloaded after an hour without use, unless `ttl` says otherwise."""

LlmLoadConfigInput: TypeAlias = "LlmLoadModelConfig | LlmLoadModelConfigDict"
EmbeddingLoadConfigInput: TypeAlias = "EmbeddingLoadModelConfig | EmbeddingLoadModelConfigDict"

HandleT = TypeVar("HandleT", bound=AsyncModelHandle[Any, Any])
DownloadedT = TypeVar("DownloadedT", bound="AsyncDownloadedModel[Any, Any, Any]")
InfoT = TypeVar("InfoT", bound=LlmInfo | EmbeddingModelInfo)
LoadConfigT = TypeVar("LoadConfigT")
"""A load configuration as struct or dict."""


# Downloaded models ---------------------------------------------------------------------------------------------------


class AsyncDownloadedModel(AsyncBase, Generic[InfoT, HandleT, LoadConfigT]):
    """A model on the server's disk."""

    _SHOWN: ClassVar[tuple[str, ...]] = ("model_key", "display_name", "architecture")

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
        ttl: float | None = DEFAULT_TTL_SECONDS,
        config: LoadConfigT | None = None,
        on_load_progress: LoadProgressCallback | None = None,
        on_mismatch: OnMismatch = "use",
        device_identifier: str | UnsetType | None = UNSET,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        verbose: bool | str = False,
    ) -> HandleT:
        """A handle for this model, which is loaded if it is not. Arguments and errors as in `model()` of a session."""
        return await self._session.model(
            self.model_key,
            ttl=ttl,
            config=config,
            on_load_progress=on_load_progress,
            on_mismatch=on_mismatch,
            device_identifier=device_identifier,
            timeout=timeout,
            signal=signal,
            verbose=verbose,
        )

    async def load_new_instance(
        self,
        *,
        ttl: float | None = DEFAULT_TTL_SECONDS,
        instance_identifier: str | None = None,
        config: LoadConfigT | None = None,
        on_load_progress: LoadProgressCallback | None = None,
        device_identifier: str | UnsetType | None = UNSET,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        verbose: bool | str = False,
    ) -> HandleT:
        """Load this model once more and return a handle for the new instance. Arguments as in that of a session."""
        return await self._session.load_new_instance(
            self.model_key,
            instance_identifier,
            ttl=ttl,
            config=config,
            on_load_progress=on_load_progress,
            device_identifier=device_identifier,
            timeout=timeout,
            signal=signal,
            verbose=verbose,
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._info == other._info and self._session is other._session

    def __hash__(self) -> int:
        return hash((type(self), self.model_key))

    def __repr__(self) -> str:
        members = {name: getattr(self._info, name) for name in self._SHOWN}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in members.items())})"


class AsyncDownloadedLlm(AsyncDownloadedModel[LlmInfo, AsyncLLM, LlmLoadConfigInput]):
    """A language model on the server's disk."""

    _SHOWN = ("model_key", "display_name", "architecture", "vision")


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

    def __repr__(self) -> str:
        return f"{self._client!r}.{self.API_NAMESPACE}"

    @property
    def _port(self) -> Port:
        return self._client._port(self.API_NAMESPACE)

    @property
    def _settings(self) -> Settings:
        return self._client._state.settings.chosen

    def _within(self, timeout: TimeoutInput, signal: AbortSignal | None = None) -> Port:
        return self._port.within(timeout, signal)

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost. Using the session makes one."""
        return self._client._is_connected(self.API_NAMESPACE)

    async def connect(self) -> None:
        """Connect now instead of on first use. How long that may take says the client's `timeout`.

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

    async def remote_call(
        self,
        endpoint: str,
        params: Any = None,
        notice_prefix: str = "RPC",  # noqa: ARG002 - part of the official signature
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> Any:
        """Call any rpc of this namespace by its wire name: for what this package has no method for.

        Args:
            endpoint: E.g. "getModelInfo".
            params: A struct of this package, or plain data with camelCase keys.
            notice_prefix: Accepted for compatibility, without effect.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.

        Returns:
            The result as plain data.
        """
        return await self._run(system_ops.remote_call(self._within(timeout, signal), endpoint, params))


class _AsyncSessionModel(_AsyncSession, Generic[HandleT, LoadConfigT, DownloadedT, InstanceInfoT, LoadConfigStructT]):
    """What language and embedding models have in common."""

    _ENDPOINTS: ClassVar[ModelEndpoints[Any]]
    _DOWNLOADED: ClassVar[type[Any]]
    _HANDLE: ClassVar[type[Any]]
    _HAS_DEFAULT: ClassVar[bool] = False
    # Not methods: conversions between the typed and the wire form of the load configuration.
    _encode_load_config: ClassVar[Any]
    _read_load_config: ClassVar[Any]

    def _handle(self, info: InstanceInfoT) -> HandleT:
        return self._new_handle(model_ops.identifier_target(info.identifier), info)

    def _new_handle(self, target: ModelTarget, info: InstanceInfoT | None = None) -> HandleT:
        handle: HandleT = self._HANDLE(target, self, info)
        return handle

    def _typed_load_config(self, config: KvConfig, model_format: str) -> LoadConfigStructT:
        typed: LoadConfigStructT = self._read_load_config(config, model_format)
        return typed

    def _load_request(
        self,
        model_key: str,
        ttl: float | None,
        config: LoadConfigT | None,
        device_identifier: str | UnsetType | None,
        identifier: str | None = None,
    ) -> LoadRequest:
        stack = override_stack(self._encode_load_config(config))
        request = LoadRequest(model_key, stack, ttl, identifier, device_identifier).check()
        self._settings.check_model(model_key)
        return request

    async def model(
        self,
        model_key: str | None = None,
        /,
        *,
        ttl: float | None = DEFAULT_TTL_SECONDS,
        config: LoadConfigT | None = None,
        on_load_progress: LoadProgressCallback | None = None,
        on_mismatch: OnMismatch = "use",
        device_identifier: str | UnsetType | None = UNSET,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        verbose: bool | str = False,
    ) -> HandleT:
        """A handle for a model, which is loaded if it is not.

        Without a key, for the language model that `Settings.default_model` names; else, for any that is loaded.

        Callers of one client that ask for the same at the same time share one load, and all of them get its progress.
        It is cancelled when the last of them leaves.

        Args:
            model_key: The key of a downloaded model, or the identifier of a loaded instance.
            ttl: Seconds without use after which the model is unloaded; None for what the server is set to. Counts only
                if this call loads.
            config: The load configuration. What becomes of it if the model is loaded already says *on_mismatch*.
            on_load_progress: Called with numbers that rise from 0.0 to 1.0. An exception in it cancels the load.
            on_mismatch: If the model is loaded with another configuration than *config*: "use" it as it is, "error", or
                "reload" it, which ends what others do with it.
            device_identifier: The device to load on, None for the server's own; by default the server chooses.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. Progress of the load counts as a sign of life.
            signal: Cancels the load when it is aborted.
            verbose: Log the progress to `lmstudio.models` at the level named, True for "info"; not if there is
                *on_load_progress*.

        Raises:
            LMStudioModelNotFoundError: there is no such model, or none is loaded.
            LMStudioServerError: the model cannot be loaded.
            LMStudioRuntimeError: the model is loaded with another configuration, and *on_mismatch* is "error".
            LMStudioTimeoutError: *timeout* or a limit of the client has expired; the load is cancelled.
            LMStudioCancelledError: *signal* was aborted.
        """
        if model_key is None and self._HAS_DEFAULT:
            model_key = self._settings.default_model
        if model_key is None:
            if on_mismatch != "use":
                raise LMStudioValueError("on_mismatch is for a model that is named: give its key as well.")
            port, is_allowed = self._within(timeout, signal), self._settings.allows_model
            return self._handle(await self._run(model_ops.get_any(port, self._ENDPOINTS, is_allowed)))
        request = self._load_request(model_key, ttl, config, device_identifier)
        watch = LoadWatch(on_load_progress, verbose, signal)
        operation = load_ops.get_or_load(self._within(timeout), self._ENDPOINTS, request, watch, on_mismatch)
        return self._handle(await self._run(operation))

    async def load_new_instance(
        self,
        model_key: str,
        instance_identifier: str | None = None,
        *,
        ttl: float | None = DEFAULT_TTL_SECONDS,
        config: LoadConfigT | None = None,
        on_load_progress: LoadProgressCallback | None = None,
        device_identifier: str | UnsetType | None = UNSET,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        verbose: bool | str = False,
    ) -> HandleT:
        """Load a model, even if it is loaded already, and return a handle for the new instance.

        Args:
            model_key: The key of a downloaded model.
            instance_identifier: Name for the instance, not in use yet; by default derived from the key.
            ttl: Seconds without use after which the instance is unloaded; None for never.
            config: The load configuration.
            on_load_progress: Called with numbers that rise from 0.0 to 1.0.
            device_identifier: As in `model`.
            timeout: As in `model`.
            signal: As in `model`.
            verbose: As in `model`.

        Leaving the call early, by cancellation or any exception, cancels the load.
        """
        request = self._load_request(model_key, ttl, config, device_identifier, instance_identifier)
        watch = LoadWatch(on_load_progress, verbose, signal)
        return self._handle(
            await self._run(load_ops.load_model(self._within(timeout), self._ENDPOINTS, request, watch))
        )

    async def estimate_resources_usage(
        self,
        model_key: str,
        load_config: LoadConfigT | None = None,
        *,
        device_identifier: str | UnsetType | None = UNSET,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> EstimatedResourcesUsage:
        """What loading a model would take: `memory`, and whether it `passes_guardrails`. Nothing is loaded.

        Args:
            model_key: The key of a downloaded model.
            load_config: As *config* of `model`.
            device_identifier: The device to estimate for, None for the server's own; by default the server chooses.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.
        """
        self._settings.check_model(model_ops.check_key(model_key, "model key"))
        stack = override_stack(self._encode_load_config(load_config))
        port = self._within(timeout, signal)
        return await self._run(model_ops.estimate_resources_usage(port, model_key, stack, device_identifier))

    async def unload(
        self,
        model_identifier: str | HandleT,
        *,
        device_identifier: str | UnsetType | None = UNSET,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Unload an instance, given by its identifier or its handle.

        Args:
            model_identifier: Which instance.
            device_identifier: The device that it is loaded on, None for the server's own; by default the server
                chooses, and with a handle it is known.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.
        """
        if isinstance(model_identifier, AsyncModelHandle) and device_identifier is UNSET:
            await model_identifier.unload(timeout=timeout, signal=signal)
            return
        identifier = model_identifier
        if isinstance(identifier, AsyncModelHandle):
            identifier = identifier.identifier
        await self._run(model_ops.unload(self._within(timeout, signal), identifier, device_identifier))

    # Handles without a load ------------------------------------------------------------------------------------------

    def create_dynamic_handle(
        self,
        query: AnyModelSpecifier | None = None,
        /,
        *,
        domain: ModelDomainType | None = None,
        device_identifier: str | UnsetType | None = UNSET,
        identifier: str | None = None,
        path: str | None = None,
        vision: bool | None = None,
    ) -> HandleT:
        """A handle for whatever loaded model matches, at each call anew. Nothing is sent, and nothing is loaded.

        ::

            model = client.llm.create_dynamic_handle(path="publisher/repository", vision=True)

        Args:
            query: An identifier, or a query as a `ModelQuery` or a dict; or else give its members:
            domain: The kind of model.
            device_identifier: The device that it is loaded on, None for the server's own.
            identifier: The identifier of the instance.
            path: The model's path, publisher/repository/file; without the file, whichever file of the repository.
            vision: Whether the model can see.

        If nothing matches, the calls of the handle raise LMStudioModelNotFoundError.
        """
        members = {
            "domain": domain,
            "device_identifier": device_identifier,
            "identifier": identifier,
            "path": path,
            "vision": vision,
        }
        target = read_query(query, members)
        if (name := model_ops.identifier_of(target)) is not None:
            self._settings.check_model(name)
        return self._new_handle(target)

    def create_dynamic_handle_from_instance_reference(self, instance_reference: str) -> HandleT:
        """A handle for exactly one loaded instance. Nothing is sent, and nothing is loaded.

        When the instance is unloaded the handle is of no use any more, even if the model is loaded again.
        """
        return self._new_handle(instance_target(instance_reference))

    async def create_domain_specific_model_from_instance_reference(
        self, instance_reference: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> HandleT:
        """The handle of the instance with this reference, with all that the server knows about it.

        Raises:
            LMStudioModelNotFoundError: it is not loaded any more.
        """
        target = instance_target(instance_reference)
        port = self._within(timeout, signal)
        return self._handle(await self._run(model_ops.get_info(port, self._ENDPOINTS, target)))

    # Asking ----------------------------------------------------------------------------------------------------------

    async def list_loaded(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> list[HandleT]:
        """Handles for all loaded instances."""
        infos = await self._run(model_ops.list_loaded(self._within(timeout, signal), self._ENDPOINTS))
        return [self._handle(info) for info in infos]

    async def get_model_info(
        self, model_specifier: AnyModelSpecifier, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> InstanceInfoT:
        """What the server knows about a loaded instance, given by identifier, query or instance reference."""
        target = read_specifier(model_specifier)
        port = self._within(timeout, signal)
        info: InstanceInfoT = await self._run(model_ops.get_info(port, self._ENDPOINTS, target))
        return info

    async def list_downloaded(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[DownloadedT]:
        """The models of this kind on the server's disk. Kinds that this version does not know are left out."""
        models: list[Any] = await self._client.system.list_downloaded_models(timeout=timeout, signal=signal)
        return [model for model in models if isinstance(model, self._DOWNLOADED)]


class _AsyncSessionLlm(
    _AsyncSessionModel[AsyncLLM, LlmLoadConfigInput, AsyncDownloadedLlm, LlmInstanceInfo, LlmLoadModelConfig]
):
    """Language models."""

    API_NAMESPACE: ClassVar[str] = "llm"
    _ENDPOINTS = llm_endpoints.MODELS
    _DOWNLOADED = AsyncDownloadedLlm
    _HANDLE = AsyncLLM
    _encode_load_config = staticmethod(llm_load_config_to_kv)
    _read_load_config = staticmethod(llm_load_config_from_kv)
    _HAS_DEFAULT = True


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

    API_NAMESPACE: ClassVar[str] = "embedding"
    _ENDPOINTS = embedding_endpoints.MODELS
    _DOWNLOADED = AsyncDownloadedEmbeddingModel
    _HANDLE = AsyncEmbeddingModel
    _encode_load_config = staticmethod(embedding_load_config_to_kv)
    _read_load_config = staticmethod(embedding_load_config_from_kv)
