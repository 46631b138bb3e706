"""Models that are loaded, as the asynchronous surface gives them to its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from lmstudio._async_io import AsyncBase
from lmstudio._ops import models as model_ops
from lmstudio._ops import text as text_ops
from lmstudio._sdk_models import (
    EmbeddingLoadModelConfig,
    EmbeddingModelInstanceInfo,
    LlmInstanceInfo,
    LlmLoadModelConfig,
)
from lmstudio.errors import LMStudioRuntimeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmstudio._abort import AbortSignal
    from lmstudio._ops.models import ModelTarget
    from lmstudio._port import Port
    from lmstudio._sdk_models import KvConfig, ModelProcessingState, Quantization
    from lmstudio._surface.async_sessions import _AsyncSessionModel
    from lmstudio._timeouts import TimeoutInput

__all__ = ["AsyncEmbeddingModel", "AsyncModelHandle"]

InstanceInfoT = TypeVar("InstanceInfoT", bound=LlmInstanceInfo | EmbeddingModelInstanceInfo)
LoadConfigStructT = TypeVar("LoadConfigStructT", bound=LlmLoadModelConfig | EmbeddingLoadModelConfig)


class AsyncModelHandle(AsyncBase, Generic[InstanceInfoT, LoadConfigStructT]):
    """A model that is loaded, addressed by its identifier or by a query.

    It stays usable when the connection is lost and made again, and when the model is loaded again under its identifier.

    `path`, `model_key` and so on are what the server said when the handle was made. A dynamic handle (see
    `create_dynamic_handle`) was made without asking the server: there they raise LMStudioRuntimeError, and `get_info()`
    asks. `info` says which it is.
    """

    def __init__(
        self,
        target: ModelTarget,
        session: _AsyncSessionModel[Any, Any, Any, InstanceInfoT, LoadConfigStructT],
        info: InstanceInfoT | None = None,
    ) -> None:
        self._target = target
        self._session = session
        self._info = info

    @property
    def _port(self) -> Port:
        return self._session._port

    def _within(self, timeout: TimeoutInput, signal: AbortSignal | None = None) -> Port:
        return self._port.within(timeout, signal)

    # What is known without asking ------------------------------------------------------------------------------------

    @property
    def info(self) -> InstanceInfoT | None:
        """What the server said when the handle was made; None for a dynamic handle."""
        return self._info

    @property
    def _known(self) -> InstanceInfoT:
        if self._info is None:
            raise LMStudioRuntimeError(
                f"{self!r} is a dynamic handle: nothing is known about its model before get_info() has asked the "
                "server. A handle of model(), load_new_instance() or list_loaded() has this attribute."
            )
        return self._info

    @property
    def identifier(self) -> str:
        """The name of the instance on the server; unknown if the handle was made with a query that does not name it."""
        return model_ops.identifier_of(self._target) or self._known.identifier

    @property
    def instance_reference(self) -> str:
        """The server's reference of exactly this instance, which no other will ever have."""
        return self._known.instance_reference

    @property
    def model_key(self) -> str:
        """What `model()` and `load_new_instance()` of a session take for this model."""
        return self._known.model_key

    @property
    def path(self) -> str:
        """The model's path, relative to the server's models folder."""
        return self._known.path

    @property
    def indexed_model_identifier(self) -> str:
        """The model's long identifier, mostly its path, which does not change when other models come and go."""
        return self._known.indexed_model_identifier

    @property
    def device_identifier(self) -> str | None:
        """The device that the model is loaded on; None for the server's own."""
        return self._known.device_identifier

    @property
    def format(self) -> str:
        """The format of the model's file, e.g. "gguf"."""
        return self._known.format

    @property
    def display_name(self) -> str:
        """The model's name for people."""
        return self._known.display_name

    @property
    def publisher(self) -> str:
        """Who published the model."""
        return self._known.publisher

    @property
    def architecture(self) -> str | None:
        """The model's architecture, e.g. "qwen2", if the server knows it."""
        return self._known.architecture

    @property
    def params_string(self) -> str | None:
        """The number of the model's parameters, e.g. "0.5B", if the server knows it."""
        return self._known.params_string

    @property
    def quantization(self) -> Quantization | None:
        """How the model's weights are stored, as a name and bits per weight, if the server knows it."""
        return self._known.quantization

    @property
    def size_bytes(self) -> int:
        """The size of the model's files."""
        return self._known.size_bytes

    @property
    def max_context_length(self) -> int:
        """How many tokens the model could have in its context."""
        return self._known.max_context_length

    @property
    def context_length(self) -> int:
        """How many tokens fit into the context of this instance."""
        return self._known.context_length

    @property
    def ttl_ms(self) -> float | None:
        """After how many milliseconds without use the instance is unloaded; None for never."""
        return self._known.ttl_ms

    # What the server has to be asked ---------------------------------------------------------------------------------

    # All of them take a time limit, and a signal that ends the call: see `lmstudio.Timeout` and `lmstudio.AbortSignal`.

    async def unload(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Unload this instance; the handle is useless until another one has its identifier."""
        port = self._within(timeout, signal)
        await self._run(model_ops.unload_target(port, self._session._ENDPOINTS, self._target, self._info))

    async def get_info(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> InstanceInfoT:
        """What the server knows about this instance.

        Raises:
            LMStudioModelNotFoundError: it is not loaded, or nothing that matches is.
        """
        port = self._within(timeout, signal)
        info: InstanceInfoT = await self._run(model_ops.get_info(port, self._session._ENDPOINTS, self._target))
        return info

    async def get_load_config(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> LoadConfigStructT:
        """The configuration this instance was loaded with."""
        port = self._within(timeout, signal)
        info: Any = self._info
        if info is None:
            info = await self._run(model_ops.get_info(port, self._session._ENDPOINTS, self._target))
        config = await self._run(model_ops.get_load_config(port, self._target))
        return self._session._typed_load_config(config, info.format)

    async def get_context_length(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> int:
        """How many tokens fit into the context of this instance, as the server says now."""
        return (await self.get_info(timeout=timeout, signal=signal)).context_length

    async def get_instance_processing_state(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> ModelProcessingState:
        """What this instance does at the moment (`status`), and for how many requests (`queued`, waiting ones too)."""
        return await self._run(model_ops.get_processing_state(self._within(timeout, signal), self._target))

    @overload
    async def tokenize(  # type: ignore[overload-overlap]  # a str is an Iterable[str], too
        self, input: str, *, timeout: TimeoutInput = ..., signal: AbortSignal | None = ...
    ) -> list[int]: ...
    @overload
    async def tokenize(
        self, input: Iterable[str], *, timeout: TimeoutInput = ..., signal: AbortSignal | None = ...
    ) -> list[list[int]]: ...
    async def tokenize(
        self, input: str | Iterable[str], *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[int] | list[list[int]]:
        """The token ids of a text, or of several; no chat template is applied. result[i] belongs to input[i].

        ::

            tokens = await model.tokenize("Hello, world!")
        """
        port = self._within(timeout, signal)
        tokens = await self._run(text_ops.tokenize(port, self._target, text_ops.as_texts(input)))
        return tokens[0] if isinstance(input, str) else tokens

    async def count_tokens(self, input: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> int:
        """The number of tokens of a text; no chat template is applied."""
        return await self._run(text_ops.count_tokens(self._within(timeout, signal), self._target, input))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._target == other._target and self._session is other._session

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({model_ops.handle_arguments(self._target)})"


class AsyncEmbeddingModel(AsyncModelHandle[EmbeddingModelInstanceInfo, EmbeddingLoadModelConfig]):
    """An embedding model that is loaded."""

    @overload
    async def embed(  # type: ignore[overload-overlap]  # a str is an Iterable[str], too
        self, input: str, *, timeout: TimeoutInput = ..., signal: AbortSignal | None = ...
    ) -> list[float]: ...
    @overload
    async def embed(
        self, input: Iterable[str], *, timeout: TimeoutInput = ..., signal: AbortSignal | None = ...
    ) -> list[list[float]]: ...
    async def embed(
        self, input: str | Iterable[str], *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[float] | list[list[float]]:
        """The embedding of a text, or of several; result[i] belongs to input[i].

        Several texts are on their way together, up to 256 at a time, whatever their number.

        ::

            vectors = await model.embed(["first text", "second text"])

        Raises:
            LMStudioValueError: not a text; nothing was sent.
            LMStudioServerError: the server could not embed one of them, e.g. because it is too long.
            LMStudioTimeoutError: *timeout* or a limit of the client has expired.
            LMStudioCancelledError: *signal* was aborted.
        """
        port = self._within(timeout, signal)
        vectors = await self._run(text_ops.embed(port, self._target, text_ops.as_texts(input)))
        return vectors[0] if isinstance(input, str) else vectors

    async def get_eval_batch_size(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> int:
        """How many tokens this instance processes at once."""
        return await self._run(model_ops.get_eval_batch_size(self._within(timeout, signal), self._target))

    async def get_base_prediction_config(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> KvConfig:
        """The settings that the server embeds with, by their keys. Servers have none so far, and the type is raw."""
        return await self._run(model_ops.get_base_prediction_fields(self._within(timeout, signal), self._target))
