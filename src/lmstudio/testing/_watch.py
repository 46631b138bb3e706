"""Handlers of a server that note what they are asked for, and fail where a test wants that."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._kv_config import prediction_config_from_kv
from lmstudio._openai_messages import write_openai_messages
from lmstudio._sdk_models import (
    EmbeddingRpcEmbedStringParameter,
    LlmChannelCompleteRawTextCreationParameter,
    LlmChannelPredictCreationParameter,
    ModelSpecifierQuery,
)
from lmstudio.server.config import collapse, kv_config
from lmstudio.server.errors import RequestError, as_request_error
from lmstudio.testing.requests import Call, EmbeddingRequest, PredictionRequest, RequestLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio._sdk_models import KvConfigStack, ModelSpecifier
    from lmstudio.server._port import ChannelHandler, ClientContext, Handlers, RpcHandler, ServerChannel
    from lmstudio.server.core import ServerCore
    from lmstudio.server.engine.base import ModelKind

CURRENT: ContextVar[Call | None] = ContextVar("lmstudio_testing_call", default=None)
"""The call that the running task works for."""

_TOOLS = "llm.prediction.tools"


@dataclass(frozen=True)
class _Asked:
    """A parameter as it came, and as the handler wants it."""

    raw: bytes | msgspec.Raw
    parameter: Any


class _KeepingRpc(Rpc[Any, Any]):
    def __init__(self, spec: Rpc[Any, Any]) -> None:
        super().__init__(spec.name, spec.parameter_type, spec.result_type, spec.essentials, is_read=spec.is_read)
        self._spec = spec

    @property
    def decode_parameter(self) -> Callable[[bytes | msgspec.Raw], Any]:
        return lambda raw: _Asked(raw, self._spec.decode_parameter(raw))


class _KeepingChannel(ChannelSpec[Any, Any, Any]):
    def __init__(self, spec: ChannelSpec[Any, Any, Any]) -> None:
        super().__init__(spec.name, spec.parameter_type, spec.to_client_type, spec.to_server_type, spec.essentials)
        self._spec = spec

    @property
    def decode_parameter(self) -> Callable[[bytes | msgspec.Raw], Any]:
        return lambda raw: _Asked(raw, self._spec.decode_parameter(raw))


class _WatchedChannel:
    """A channel as its handler sees it; that the client cancels is noted on the way."""

    def __init__(self, channel: ServerChannel[Any, Any], call: Call) -> None:
        self._channel = channel
        self._call = call

    def listen(self, callback: Callable[[Any], None]) -> None:
        def note(packet: Any) -> None:
            if getattr(packet, "type", None) == "cancel":
                self._call.note_cancel()
            callback(packet)

        self._channel.listen(note)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


@dataclass(eq=False)
class PlannedError:
    """An error for the next calls of an endpoint."""

    endpoint: str
    """With or without its namespace."""
    error: RequestError
    times_left: int


class Watcher:
    """Notes in *log* what the handlers of a server are asked for."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        self._errors: list[PlannedError] = []
        self._lock = threading.Lock()

    def plan(self, error: PlannedError) -> None:
        """Fail the next calls of an endpoint."""
        with self._lock:
            self._errors.append(error)

    def unused(self) -> list[PlannedError]:
        """Errors that nobody has got."""
        with self._lock:
            return [planned for planned in self._errors if planned.times_left]

    def clear(self) -> None:
        """Fail no calls."""
        with self._lock:
            self._errors.clear()

    def watch(self, namespace: str, handlers: Handlers, core: ServerCore) -> None:
        """Put itself in front of all *handlers*."""
        for name, (rpc, answer) in list(handlers.rpcs.items()):
            handlers.rpcs[name] = (_KeepingRpc(rpc), self._rpc(namespace, name, answer, core))
        for name, (spec, serve) in list(handlers.channels.items()):
            handlers.channels[name] = (_KeepingChannel(spec), self._channel(namespace, name, serve, core))

    def _rpc(
        self, namespace: str, name: str, handler: RpcHandler[Any, Any], core: ServerCore
    ) -> RpcHandler[_Asked, Any]:
        async def watched(context: ClientContext, asked: _Asked) -> Any:
            with self._noted(describe(namespace, name, asked, context, core)):
                return await handler(context, asked.parameter)

        return watched

    def _channel(
        self, namespace: str, name: str, handler: ChannelHandler[Any, Any, Any], core: ServerCore
    ) -> ChannelHandler[_Asked, Any, Any]:
        async def watched(context: ClientContext, asked: _Asked, channel: ServerChannel[Any, Any]) -> None:
            call = describe(namespace, name, asked, context, core)
            with self._noted(call):
                await handler(context, asked.parameter, cast("ServerChannel[Any, Any]", _WatchedChannel(channel, call)))

        return watched

    @contextlib.contextmanager
    def _noted(self, call: Call) -> Iterator[None]:
        self._log.add(call)
        token = CURRENT.set(call)
        error = None
        try:
            self._fail(call)
            yield
        except asyncio.CancelledError:
            call.note_cancel()
            raise
        except RequestError as refused:
            error = refused.title
            raise
        except Exception as raised:
            told = as_request_error(raised, call.name)
            error = told.title
            raise told from raised
        finally:
            CURRENT.reset(token)
            call.note_end(error)

    def _fail(self, call: Call) -> None:
        with self._lock:
            for planned in self._errors:
                if planned.times_left and planned.endpoint in (call.endpoint, call.name):
                    planned.times_left -= 1
                    raise planned.error


def describe(namespace: str, endpoint: str, asked: _Asked, context: ClientContext, core: ServerCore) -> Call:
    """The call in plain values."""
    raw = msgspec.json.decode(asked.raw)
    parameter = asked.parameter
    client = context.client_identifier
    if isinstance(parameter, EmbeddingRpcEmbedStringParameter):
        model = _identifier(core, "embedding", parameter.model_specifier)
        return EmbeddingRequest(namespace, endpoint, raw, client, model=model, text=parameter.input_string)
    if not isinstance(parameter, (LlmChannelPredictCreationParameter, LlmChannelCompleteRawTextCreationParameter)):
        return Call(namespace, endpoint, raw, client)
    request = PredictionRequest(namespace, endpoint, raw, client)
    request.model = _identifier(core, "llm", parameter.model_specifier)
    request.config, request.tools = _settings(parameter.prediction_config_stack)
    if isinstance(parameter, LlmChannelPredictCreationParameter):
        request.messages = write_openai_messages(parameter.history.messages)
    else:
        request.prompt = parameter.raw_prompt
    return request


def _identifier(core: ServerCore, kind: ModelKind, specifier: ModelSpecifier) -> str:
    with contextlib.suppress(RequestError):
        return core.instances.find(kind, specifier).identifier
    if isinstance(specifier, ModelSpecifierQuery):
        return specifier.query.identifier or specifier.query.path or ""
    return specifier.instance_reference


def _settings(stack: KvConfigStack) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the client has set, and the tools that it offers."""
    fields = msgspec.to_builtins(collapse(stack))
    tools = [tool["function"] for tool in (fields.pop(_TOOLS, None) or {}).get("tools") or ()]
    typed = prediction_config_from_kv(kv_config(fields))
    members = {name: getattr(typed, name) for name in typed.__struct_fields__ if name != "raw"}
    return {name: msgspec.to_builtins(value) for name, value in members.items() if value is not None}, tools
