"""Who hears what becomes of requests over HTTP: metrics, traces, or nobody.

The classes here do nothing, so that what is observed need not ask whether anybody listens; what listens overrides them.
Nothing is told per token.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from starlette.routing import BaseRoute
    from starlette.types import Scope

    from lmstudio._sdk_models import LlmPredictionStats

__all__ = [
    "AllObservers",
    "Figure",
    "LoadOutcome",
    "Observable",
    "Observer",
    "Operation",
    "PredictionObserver",
    "RequestObserver",
    "observed",
    "observing",
]

Operation: TypeAlias = Literal["chat", "text_completion", "embeddings"]
"""What a model is asked for, in the words of the conventions for generative AI of OpenTelemetry."""
LoadOutcome: TypeAlias = Literal["loaded", "failed", "cancelled"]


class PredictionObserver:
    """Hears of one prediction."""

    def first_content(self) -> None:
        """The model has written its first token."""

    def ended(self, stats: LlmPredictionStats | None) -> None:
        """It is over. None if it has failed. Called once, whatever happens."""


class RequestObserver:
    """Hears of one request over HTTP, in the order in which things happen. Models go by their keys."""

    def routed(self, route: str, operation: Operation | None) -> None:
        """The path is known: *route* is its template. Not called where this server has nothing at the path."""

    def asked(self, body: Any) -> None:
        """What the request says, as a struct."""

    def load_awaited(self, model: str) -> None:
        """The request has to wait until *model* is loaded. May be told twice."""

    def model_found(self, model: str, identifier: str) -> None:
        """The request waits no longer: *model* answers it, and is called *identifier*."""

    def predicting(self, model: str) -> PredictionObserver:  # noqa: ARG002 (for those who override it)
        """A prediction begins; there may be several, also at the same time."""
        return PredictionObserver()

    def embedded(self, model: str, tokens: int) -> None:
        """Texts with so many tokens have been embedded."""

    def answered(self, response_id: str | None = None, finish_reason: str | None = None) -> None:
        """The id of the reply, and why it ends; for each of its choices, and each round of tools."""

    def failed(self, reason: str, status: int) -> None:
        """The client is told of an error, with *status* or in its stream. *reason* is one of few words."""

    def ended(self, status: int | None) -> None:
        """It is over. None if the client has not got a whole answer. Called once, whatever happens."""


class Observer:
    """Hears of all requests of one server."""

    def request(self, scope: Scope) -> RequestObserver:  # noqa: ARG002 (for those who override it)
        """A request begins. What hears of it is called in the task of the request, or in one that this has begun."""
        return RequestObserver()

    def loaded(self, model: str, outcome: LoadOutcome, seconds: float) -> None:
        """A load is over, whoever wanted it."""

    def add_figures(self, figures: Figures) -> None:
        """Besides, *figures* says how things are, whenever somebody looks."""

    def routes(self) -> Sequence[BaseRoute]:
        """Where it shows what it has heard."""
        return ()

    async def aclose(self) -> None:
        """Hand over what has not been handed over yet. Does not take long, whatever happens."""


class Figure(NamedTuple):
    """A number as it is at the moment."""

    name: str
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


class Figures(Protocol):
    """Something that knows numbers."""

    async def __call__(self) -> Iterable[Figure]:
        """The numbers. Takes a short time at most, and raises nothing."""
        raise NotImplementedError


@runtime_checkable
class Observable(Protocol):
    """A core with more to tell than what its requests tell."""

    def tell(self, observer: Observer) -> None:
        """Let *observer* hear of loads, and give it figures."""


# Several at once ------------------------------------------------------------------------------------------------------


class _AllPrediction(PredictionObserver):
    def __init__(self, each: Sequence[PredictionObserver]) -> None:
        self._each = each

    def first_content(self) -> None:
        for one in self._each:
            one.first_content()

    def ended(self, stats: LlmPredictionStats | None) -> None:
        for one in self._each:
            one.ended(stats)


class _AllRequest(RequestObserver):
    def __init__(self, each: Sequence[RequestObserver]) -> None:
        self._each = each

    def routed(self, route: str, operation: Operation | None) -> None:
        for one in self._each:
            one.routed(route, operation)

    def asked(self, body: Any) -> None:
        for one in self._each:
            one.asked(body)

    def load_awaited(self, model: str) -> None:
        for one in self._each:
            one.load_awaited(model)

    def model_found(self, model: str, identifier: str) -> None:
        for one in self._each:
            one.model_found(model, identifier)

    def predicting(self, model: str) -> PredictionObserver:
        return _AllPrediction([one.predicting(model) for one in self._each])

    def embedded(self, model: str, tokens: int) -> None:
        for one in self._each:
            one.embedded(model, tokens)

    def answered(self, response_id: str | None = None, finish_reason: str | None = None) -> None:
        for one in self._each:
            one.answered(response_id, finish_reason)

    def failed(self, reason: str, status: int) -> None:
        for one in self._each:
            one.failed(reason, status)

    def ended(self, status: int | None) -> None:
        # The other way round, as with blocks: what was entered last is left first.
        for one in reversed(self._each):
            one.ended(status)


class AllObservers(Observer):
    """Several observers as one."""

    def __init__(self, each: Sequence[Observer]) -> None:
        self._each = each

    def request(self, scope: Scope) -> RequestObserver:
        """A request begins."""
        return _AllRequest([one.request(scope) for one in self._each])

    def loaded(self, model: str, outcome: LoadOutcome, seconds: float) -> None:
        """A load is over."""
        for one in self._each:
            one.loaded(model, outcome, seconds)

    def add_figures(self, figures: Figures) -> None:
        """*figures* says how things are."""
        for one in self._each:
            one.add_figures(figures)

    def routes(self) -> Sequence[BaseRoute]:
        """Where they show what they have heard."""
        return [route for one in self._each for route in one.routes()]

    async def aclose(self) -> None:
        """Hand everything over."""
        for one in self._each:
            await one.aclose()


# The request at hand --------------------------------------------------------------------------------------------------

_NOBODY: Final = RequestObserver()
_observed: ContextVar[RequestObserver] = ContextVar("lmstudio_observed", default=_NOBODY)
"""A variable of the context, because much is told by backends, which know no request."""


def observed() -> RequestObserver:
    """Who hears of the request that this task works for."""
    return _observed.get()


@contextmanager
def observing(request: RequestObserver) -> Iterator[None]:
    """In the block, and in the tasks that it begins, *request* is who hears."""
    token = _observed.set(request)
    try:
        yield
    finally:
        _observed.reset(token)
