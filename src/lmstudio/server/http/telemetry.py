"""What a server tells monitors of the requests that it answers: metrics, traces, both or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio.server.errors import missing_package
from lmstudio.server.http.observer import AllObservers, Observer

if TYPE_CHECKING:
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.instances import Clock

__all__ = ["open_telemetry"]


def open_telemetry(settings: HttpSettings, clock: Clock) -> Observer:
    """Who hears of requests, as *settings* say.

    Raises:
        ServerStartError: a package that is needed is missing; it says which.
    """
    observers: list[Observer] = []
    if settings.metrics:
        observers.append(_metrics(clock))
    if settings.traces:  # last, because it begins a thread
        observers.append(_traces(clock))
    return AllObservers(observers) if observers else Observer()


def _traces(clock: Clock) -> Observer:
    try:
        from lmstudio.server.http.tracing import Traces
    except ModuleNotFoundError as error:
        raise missing_package("Traces", error, "otel") from None
    return Traces(clock.monotonic)


def _metrics(clock: Clock) -> Observer:
    try:
        from lmstudio.server.http.metrics import Metrics
    except ModuleNotFoundError as error:
        raise missing_package("Metrics", error, "metrics") from None
    return Metrics(clock.monotonic)
