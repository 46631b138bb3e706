"""GET /metrics: numbers for Prometheus.

Every server has a registry of its own, so several of them in one process do not mix, and nothing of the program around
them is shown. Labels have few values, and none that a client can choose: routes are templates, methods and models those
that this server knows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.routing import Route
from typing_extensions import override

from lmstudio._version import __version__
from lmstudio.server.http.observer import Observer, PredictionObserver, RequestObserver, observed
from lmstudio.server.http.request_log import METRICS_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import Scope

    from lmstudio._sdk_models import LlmPredictionStats
    from lmstudio.server.http.observer import Figure, Figures, LoadOutcome, Operation

__all__ = ["Metrics"]

_PREFIX: Final = "lmstudio"
_OTHER: Final = "other"
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_MOST_MODELS: Final = 100
"""With more of them, the later ones share a label: each costs some fifty lines of every scrape, for ever."""

# A list takes milliseconds, a chat with a model on the processor minutes.
_REQUEST_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# A cached prompt takes some ten milliseconds, a long one on the processor, or behind a load, minutes.
_FIRST_TOKEN_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
# Large models on a processor write one token in a second, small ones on a graphics card hundreds.
_SPEEDS: Final = (1, 2, 5, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 400, 1000)
# From the cache of the system a small model comes in no time, a large one from a disk that turns takes minutes.
_LOAD_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


class Metrics(Observer):
    """Counts, and shows what it has counted."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """*monotonic* says how time passes, in seconds."""
        self.monotonic = monotonic
        self.registry: CollectorRegistry = CollectorRegistry()
        self._models: set[str] = set()
        self._figures: list[Figures] = []
        self._found = _Found()
        self.registry.register(self._found)
        registry: dict[str, Any] = {"namespace": _PREFIX, "registry": self.registry}
        self._declare_requests(registry)
        self._declare_predictions(registry)
        Info("build", "The version of this server.", **registry).info({"version": __version__})
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def _declare_requests(self, registry: dict[str, Any]) -> None:
        self.requests: Histogram = Histogram(
            "request_duration_seconds",
            "Time from a request over HTTP to the end of its answer. The status is that of the answer's beginning, "
            "and 'none' if the client was gone before its end.",
            ("method", "route", "status"),
            buckets=_REQUEST_SECONDS,
            **registry,
        )
        self.errors: Counter = Counter(
            "request_errors", "Errors that clients were told of, also in streams.", ("route", "reason"), **registry
        )
        self.in_progress: Gauge = Gauge(
            "requests_in_progress", "Requests over HTTP that are being answered.", **registry
        )
        self.waiting: Gauge = Gauge(
            "requests_waiting",
            "What waits over HTTP for a model to be loaded ('load'), or for its first token ('first_token').",
            ("model", "waits_for"),
            **registry,
        )

    def _declare_predictions(self, registry: dict[str, Any]) -> None:
        self.predicting: Gauge = Gauge(
            "predictions_in_progress", "Predictions over HTTP that have begun and not ended.", ("model",), **registry
        )
        self.predictions: Counter = Counter(
            "predictions",
            "Predictions over HTTP that have ended, by LM Studio's stop reason, or 'error'.",
            ("model", "stop_reason"),
            **registry,
        )
        self.first_token: Histogram = Histogram(
            "time_to_first_token_seconds",
            "Time from a request over HTTP to the first token of its answer, waiting for a load included.",
            ("model",),
            buckets=_FIRST_TOKEN_SECONDS,
            **registry,
        )
        self.speed: Histogram = Histogram(
            "generation_tokens_per_second",
            "Speed of predictions, from their first token on.",
            ("model",),
            buckets=_SPEEDS,
            **registry,
        )
        self.prompt_tokens: Counter = Counter(
            "prompt_tokens", "Tokens of prompts, and of texts to embed.", ("model",), **registry
        )
        self.completion_tokens: Counter = Counter(
            "completion_tokens", "Tokens that models wrote.", ("model",), **registry
        )
        self.loads: Histogram = Histogram(
            "model_load_seconds",
            "Time to load a model, whoever wanted it, by outcome: 'loaded', 'failed' or 'cancelled'.",
            ("model", "outcome"),
            buckets=_LOAD_SECONDS,
            **registry,
        )

    def model(self, key: str) -> str:
        """The label of the model *key*."""
        if key not in self._models:
            if len(self._models) >= _MOST_MODELS:
                return _OTHER
            self._models.add(key)
        return key

    @override
    def request(self, scope: Scope) -> RequestObserver:
        """A request begins."""
        return _Request(self, scope["method"])

    @override
    def loaded(self, model: str, outcome: LoadOutcome, seconds: float) -> None:
        """A load is over."""
        self.loads.labels(self.model(model), outcome).observe(seconds)

    @override
    def add_figures(self, figures: Figures) -> None:
        """Show *figures*, as they are when somebody looks."""
        self._figures.append(figures)

    @override
    def routes(self) -> Sequence[BaseRoute]:
        """Where Prometheus looks."""
        return [Route(METRICS_PATH, self._show, methods=["GET"])]

    async def _show(self, request: Request) -> Response:
        observed().routed(METRICS_PATH, None)
        try:
            encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        except (ValueError, TypeError):  # a version that is no number
            encoder, content_type = choose_encoder("")
        self._found.figures = [figure for figures in self._figures for figure in await figures()]
        # In a thread: writing down a hundred models takes tens of milliseconds, and streams need not wait for that.
        content = await asyncio.to_thread(encoder, self.registry)
        return Response(content, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


class _Request(RequestObserver):
    """One request, while it runs."""

    def __init__(self, metrics: Metrics, method: str) -> None:
        self._metrics = metrics
        self._method = method if method in _METHODS else _OTHER
        self._route = _OTHER
        self._loading: str | None = None
        self._began = metrics.monotonic()
        self.waits_since = self._began
        """When the wait for the next first token began."""
        metrics.in_progress.inc()

    @override
    def routed(self, route: str, operation: Operation | None) -> None:
        self._route = route

    @override
    def load_awaited(self, model: str) -> None:
        if self._loading is None:
            self._loading = self._metrics.model(model)
            self._metrics.waiting.labels(self._loading, "load").inc()

    @override
    def model_found(self, model: str, identifier: str) -> None:
        self._end_wait()

    def _end_wait(self) -> None:
        if self._loading is not None:
            self._metrics.waiting.labels(self._loading, "load").dec()
            self._loading = None

    @override
    def predicting(self, model: str) -> PredictionObserver:
        return _Prediction(self._metrics, self, self._metrics.model(model))

    @override
    def embedded(self, model: str, tokens: int) -> None:
        self._metrics.prompt_tokens.labels(self._metrics.model(model)).inc(tokens)

    @override
    def failed(self, reason: str, status: int) -> None:
        self._metrics.errors.labels(self._route, reason).inc()

    @override
    def ended(self, status: int | None) -> None:
        self._end_wait()
        metrics = self._metrics
        metrics.in_progress.dec()
        seconds = metrics.monotonic() - self._began
        shown = "none" if status is None else str(status)
        metrics.requests.labels(self._method, self._route, shown).observe(seconds)


class _Prediction(PredictionObserver):
    """One prediction, while it runs."""

    def __init__(self, metrics: Metrics, request: _Request, model: str) -> None:
        self._metrics = metrics
        self._request = request
        self._model = model
        self._is_waiting = True
        self._waits_since = request.waits_since
        metrics.predicting.labels(model).inc()
        metrics.waiting.labels(model, "first_token").inc()

    @override
    def first_content(self) -> None:
        self._end_wait()
        metrics = self._metrics
        metrics.first_token.labels(self._model).observe(metrics.monotonic() - self._waits_since)

    def _end_wait(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._metrics.waiting.labels(self._model, "first_token").dec()

    @override
    def ended(self, stats: LlmPredictionStats | None) -> None:
        self._end_wait()
        metrics, model = self._metrics, self._model
        # What follows in the same request, after calls of tools, waits from here on.
        self._request.waits_since = metrics.monotonic()
        metrics.predicting.labels(model).dec()
        metrics.predictions.labels(model, "error" if stats is None else stats.stop_reason).inc()
        if stats is None:
            return
        metrics.prompt_tokens.labels(model).inc(stats.prompt_tokens_count or 0)
        metrics.completion_tokens.labels(model).inc(stats.predicted_tokens_count or 0)
        if stats.tokens_per_second is not None:
            metrics.speed.labels(model).observe(stats.tokens_per_second)


class _Found(Collector):
    """Numbers that are not counted but looked up, as they were found last."""

    def __init__(self) -> None:
        self.figures: Sequence[Figure] = ()

    @override
    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for figure in self.figures:
            family = families.get(figure.name)
            if family is None:
                labels = [name for name, _ in figure.labels]
                family = GaugeMetricFamily(f"{_PREFIX}_{figure.name}", figure.help, labels=labels)
                families[figure.name] = family
            family.add_metric([value for _, value in figure.labels], figure.value)
        yield from families.values()
