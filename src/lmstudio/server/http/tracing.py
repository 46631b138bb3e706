"""Spans of OpenTelemetry: one for every request, with the conventions for HTTP servers and for generative AI.

They say what was asked of which model and what it took, and nothing of what was said.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind, StatusCode
from typing_extensions import override

from lmstudio._openai_chat import FINISH_REASONS
from lmstudio._version import __version__
from lmstudio._waiting import wait_within
from lmstudio.logs import fields, get_logger
from lmstudio.server.errors import ServerStartError, missing_package
from lmstudio.server.http.observer import Observer, PredictionObserver, RequestObserver
from lmstudio.server.http.request_log import METRICS_PATH, QUIET_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Span, Tracer, TracerProvider
    from starlette.types import Scope

    from lmstudio._sdk_models import LlmPredictionStats
    from lmstudio.server.http.observer import Operation

__all__ = ["Traces"]

_logger = get_logger("server")

_PROVIDER_NAME: Final = "lmstudio"
"""The conventions have no word of their own for LM Studio's protocols."""
_EXPORTER_VARIABLE: Final = "OTEL_TRACES_EXPORTER"
_EXPORTER_GROUP: Final = "opentelemetry_traces_exporter"
_OTLP: Final = "otlp_proto_http"
_END_SECONDS: Final = 3.0
"""For handing over the last spans. A collector that does not answer holds up nobody longer."""
_LONGEST_NAME: Final = 200
"""Of a model, as a client has it."""
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

_REQUEST_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "gen_ai.request.max_tokens": ("max_completion_tokens", "max_output_tokens", "max_tokens"),
    "gen_ai.request.temperature": ("temperature",),
    "gen_ai.request.top_p": ("top_p",),
    "gen_ai.request.top_k": ("top_k",),
    "gen_ai.request.frequency_penalty": ("frequency_penalty",),
    "gen_ai.request.presence_penalty": ("presence_penalty",),
    "gen_ai.request.seed": ("seed",),
}
"""By attribute, the members of bodies that say it. Those with texts, such as stop strings, are left out."""


class Traces(Observer):
    """Makes spans."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """With the provider of this program if it has set one, else with one of its own.

        *monotonic* says how time passes, in seconds.

        Raises:
            ServerStartError: a package is missing, or there is no exporter of the name that the environment gives.
        """
        self._monotonic = monotonic
        provider = trace.get_tracer_provider()
        self._end: Callable[[], object] | None
        if isinstance(provider, trace.ProxyTracerProvider):
            provider, self._end = _own_provider()
        else:
            # Theirs goes on after this server.
            self._end = getattr(provider, "force_flush", None)
        self.tracer: Tracer = provider.get_tracer("lmstudio.server", __version__)

    @override
    def request(self, scope: Scope) -> RequestObserver:
        """A request begins; monitors have no spans."""
        if scope["path"] in QUIET_PATHS or scope["path"] == METRICS_PATH:
            return RequestObserver()
        return _Request(self.tracer, scope, self._monotonic)

    @override
    async def aclose(self) -> None:
        """Send what has not been sent."""
        if self._end is None:
            return
        loop, is_done, end = asyncio.get_running_loop(), asyncio.Event(), self._end

        def run() -> None:
            end()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(is_done.set)

        # A thread of its own, and a daemon: those of the loop would be waited for.
        threading.Thread(target=run, name="lmstudio-traces-end", daemon=True).start()
        try:
            await wait_within(is_done.wait(), _END_SECONDS)
        except asyncio.TimeoutError:
            text = "The last traces could not be sent within %g s; is the collector of OpenTelemetry there?"
            _logger.warning(text, _END_SECONDS, extra=fields())


def _own_provider() -> tuple[TracerProvider, Callable[[], object]]:
    """A provider as the environment describes it, and what ends it."""
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise missing_package("Traces", error, "otel") from None
    # What the environment says of the resource wins over this.
    has_name = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if has_name else {SERVICE_NAME: "lmstudio", "service.version": __version__})
    # Not at the interpreter's end: the server's comes first.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in filter(None, map(str.strip, os.environ.get(_EXPORTER_VARIABLE, "otlp").split(","))):
        if name != "none":
            provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    return provider, provider.shutdown


def _exporter(name: str) -> Any:
    wanted = _OTLP if name == "otlp" else name
    found = entry_points(group=_EXPORTER_GROUP)
    for entry in found:
        if entry.name == wanted:
            return entry.load()()
    if name == "otlp":
        missing = ModuleNotFoundError(name="opentelemetry-exporter-otlp-proto-http")
        raise missing_package("Traces", missing, "otel")
    names = ", ".join(sorted({"otlp", "none", *(entry.name for entry in found)}))
    raise ServerStartError(f"{_EXPORTER_VARIABLE} is {name!r}, and there is no such exporter here; there are: {names}.")


class _Request(RequestObserver):
    """The span of one request."""

    def __init__(self, tracer: Tracer, scope: Scope, monotonic: Callable[[], float]) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        self._tracer = tracer
        self._method = method
        self._monotonic = monotonic
        self._began = monotonic()
        self._waits_for_chunk = False
        self._operation: Operation | None = None
        self._loading: Span | None = None
        self._input_tokens: int | None = None
        self._output_tokens: int | None = None
        self._has_failed = False
        self._finish_reasons: list[str] = []
        self._stop_reasons: list[str] = []
        server = scope.get("server")
        attributes: dict[str, Any] = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
        if server is not None:
            attributes["server.address"] = server[0]
            if server[1] is not None:
                attributes["server.port"] = server[1]
        self._span = tracer.start_span(
            method, context=propagate.extract(_carrier(scope)), kind=SpanKind.SERVER, attributes=attributes
        )
        # What the handler does that makes spans of its own is a part of this one.
        self._token = context.attach(trace.set_span_in_context(self._span))

    @override
    def routed(self, route: str, operation: Operation | None) -> None:
        self._operation = operation
        self._span.update_name(f"{self._method} {route}" if operation is None else operation)
        self._span.set_attribute("http.route", route)
        if operation is not None:
            self._span.set_attributes({"gen_ai.operation.name": operation, "gen_ai.provider.name": _PROVIDER_NAME})

    @override
    def asked(self, body: Any) -> None:
        if self._operation is None or not self._span.is_recording():
            return
        model = getattr(body, "model", None)
        if isinstance(model, str):
            self._span.set_attribute("gen_ai.request.model", model[:_LONGEST_NAME])
        for attribute, names in _REQUEST_ATTRIBUTES.items():
            values = (getattr(body, name, None) for name in names)
            value = next((each for each in values if isinstance(each, (int, float))), None)
            if value is not None:
                self._span.set_attribute(attribute, value)
        self._waits_for_chunk = bool(getattr(body, "stream", None))
        if self._waits_for_chunk:
            self._span.set_attribute("gen_ai.request.stream", True)

    @override
    def load_awaited(self, model: str) -> None:
        if self._loading is None:
            here = trace.set_span_in_context(self._span)
            self._loading = self._tracer.start_span(
                f"load {model}", context=here, attributes={"lmstudio.model.key": model}
            )

    @override
    def model_found(self, model: str, identifier: str) -> None:
        self._end_load()
        self._span.set_attribute("gen_ai.response.model", identifier)
        if self._operation is not None:
            # By the key, which no client chooses: names of spans are to be few.
            self._span.update_name(f"{self._operation} {model}")

    def _end_load(self, error: str | None = None) -> None:
        if self._loading is not None:
            if error is not None:
                self._loading.set_attribute("error.type", error)
                self._loading.set_status(StatusCode.ERROR)
            self._loading.end()
            self._loading = None

    @override
    def predicting(self, model: str) -> PredictionObserver:
        return _Prediction(self)

    @override
    def embedded(self, model: str, tokens: int) -> None:
        self.add_tokens(tokens, None)

    def add_tokens(self, prompt: int | None, completion: int | None) -> None:
        """Count what one of the predictions took."""
        if prompt is not None:
            self._input_tokens = (self._input_tokens or 0) + prompt
        if completion is not None:
            self._output_tokens = (self._output_tokens or 0) + completion

    def predicted(self, reason: str) -> None:
        """One of the predictions ended for *reason*, as far as the backend knows."""
        self._stop_reasons.append(reason)

    def first_content(self) -> None:
        """The model writes."""
        if self._waits_for_chunk:
            self._waits_for_chunk = False
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", self._monotonic() - self._began)

    @override
    def answered(self, response_id: str | None = None, finish_reason: str | None = None) -> None:
        if response_id is not None:
            self._span.set_attribute("gen_ai.response.id", response_id)
        if finish_reason is not None:
            self._finish_reasons.append(finish_reason)

    @override
    def failed(self, reason: str, status: int) -> None:
        self._has_failed = True
        self._end_load(reason)
        self._span.set_attribute("error.type", reason)
        # What is the client's mistake is no error of this server.
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)

    @override
    def ended(self, status: int | None) -> None:
        span = self._span
        self._end_load("cancelled")
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if not self._has_failed:
            if status is None:
                span.set_attribute("error.type", "cancelled")
            elif status >= 400:
                span.set_attribute("error.type", str(status))
                if status >= 500:
                    span.set_status(StatusCode.ERROR)
        if self._input_tokens is not None:
            span.set_attribute("gen_ai.usage.input_tokens", self._input_tokens)
        if self._output_tokens is not None:
            span.set_attribute("gen_ai.usage.output_tokens", self._output_tokens)
        # What the client was told, if it was: a call of a tool, for one, is nothing that ends a prediction.
        reasons = self._finish_reasons or ([] if status is None else self._stop_reasons)
        if reasons:
            span.set_attribute("gen_ai.response.finish_reasons", reasons)
        span.end()
        context.detach(self._token)


class _Prediction(PredictionObserver):
    """A part of a request's span."""

    def __init__(self, request: _Request) -> None:
        self._request = request

    @override
    def first_content(self) -> None:
        self._request.first_content()

    @override
    def ended(self, stats: LlmPredictionStats | None) -> None:
        if stats is not None:
            self._request.add_tokens(stats.prompt_tokens_count, stats.predicted_tokens_count)
            self._request.predicted(FINISH_REASONS.get(stats.stop_reason, "error"))


def _carrier(scope: Scope) -> dict[str, str]:
    """The headers from which the parent of a span is read; of several with one name, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
