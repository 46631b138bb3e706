"""The clock of one call over HTTP: which of the limits of `lmstudio.Timeout` counts when."""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET

from lmstudio._remedies import look_around, remedy
from lmstudio.errors import LMStudioConnectTimeoutError, LMStudioTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import UnsetType

    from lmstudio._address import ServerAddress
    from lmstudio._timeouts import Timeout
    from lmstudio.errors import ConnectionPhase, TimeoutLimit


class CallClock:
    """How long one call has been going on, and how long it may go on.

    `connect` counts for one attempt to connect; `first_token`, else `idle`, from the request until the first event with
    content of a stream, or until the reply that is no stream; `idle` between two pieces of it after that, and while
    nothing of a request can be sent; `total` for everything, retries included.
    """

    def __init__(self, timeout: Timeout, attempted: str, address: ServerAddress | None = None) -> None:
        self._timeout = timeout
        self._attempted, self._address = attempted, address
        self._started = self._connects_since = self._writes_since = self._waits_since = monotonic()
        self._total = _given(timeout.total)
        self._awaits_token = True
        self._nearest: tuple[TimeoutLimit, float] | None = None
        """The limit that the last wait had, and its seconds."""
        self.phase: ConnectionPhase = "tcp"
        """How far connecting has come."""
        self.is_reused: bool = False
        """The connection has served other requests before."""
        self.is_cancelled: bool = False
        self._on_cancel: Callable[[], None] | None = None

    # What happens ----------------------------------------------------------------------------------------------------

    def connecting(self) -> None:
        """An attempt to connect begins."""
        self.phase = "tcp"
        self._connects_since = monotonic()

    def begin_write(self) -> None:
        """A piece of the request is to go out."""
        self._writes_since = monotonic()

    def begin_wait(self) -> None:
        """The server has got everything, and all that it sent was taken: from now on it is silent."""
        self._waits_since = monotonic()

    def received(self) -> None:
        """Bytes came. They end the silence, unless a token is what is waited for: events do that, comments do not."""
        if not self._awaits_token:
            self._waits_since = monotonic()

    def new_attempt(self) -> None:
        """The request is sent once more."""
        self._awaits_token = True
        self.begin_wait()

    def token_seen(self) -> None:
        """From now on `idle` counts, and not `first_token`."""
        self._awaits_token = False

    def end_within(self, seconds: float) -> None:
        """All that matters has come: what is left has to come in *seconds*."""
        total = monotonic() - self._started + seconds
        self._total = total if self._total is None else min(self._total, total)

    def cancel(self) -> None:
        """End the call, from any thread or task, without waiting."""
        self.is_cancelled = True
        if self._on_cancel is not None:
            self._on_cancel()

    def when_cancelled(self, action: Callable[[], None]) -> None:
        """Call *action*, which ends a wait, when the call is cancelled; at once if it is. The last one counts."""
        self._on_cancel = action
        if self.is_cancelled:
            action()

    # How long it may take --------------------------------------------------------------------------------------------

    def seconds(self, what: Literal["connect", "read", "write"]) -> float | None:
        """How long to wait for one step of that kind, None for ever."""
        now = monotonic()
        limit, begun, allowed = self._limit(what)
        left = math.inf if allowed is None else begun + allowed - now
        if self._total is not None and self._started + self._total - now < left:
            limit, allowed, left = "total", self._total, self._started + self._total - now
        self._nearest = None if allowed is None else (limit, allowed)
        return None if left == math.inf else max(left, 0.0)

    def _limit(self, what: str) -> tuple[TimeoutLimit, float, float | None]:
        """The limit of such a step: its name, its begin, its seconds."""
        timeout = self._timeout
        if what == "connect":
            return "connect", self._connects_since, _given(timeout.connect)
        if what == "write":
            return "idle", self._writes_since, _given(timeout.idle)
        if self._awaits_token and timeout.first_token is not UNSET:
            return "first_token", self._waits_since, _given(timeout.first_token)
        return "idle", self._waits_since, _given(timeout.idle)

    @property
    def left_in_total(self) -> float:
        """Seconds until the total is reached."""
        return math.inf if self._total is None else self._started + self._total - monotonic()

    def expired(self) -> LMStudioTimeoutError | None:
        """The error to raise if a limit of reading has been reached."""
        left = self.seconds("read")
        return self.timeout_error() if left is not None and left <= 0 else None

    def timeout_error(self) -> LMStudioTimeoutError:
        """The error to raise after a wait that took as long as `seconds` said."""
        limit, seconds = self._nearest or ("idle", monotonic() - self._waits_since)
        start = f"Could not {self._attempted}:"
        if limit == "connect":
            return self._connect_timeout(start, seconds)
        what = {
            "first_token": f"no reply from the server within {seconds:g} seconds",
            "idle": f"nothing from the server within {seconds:g} seconds",
            "total": f"it was not done within {seconds:g} seconds",
        }[limit]
        return LMStudioTimeoutError.of_limit(limit, seconds, f"{start} {what} (timeout {limit!r}).")

    def _connect_timeout(self, start: str, seconds: float) -> LMStudioConnectTimeoutError:
        url = None if self._address is None else self._address.http_url("")
        advice = "" if self._address is None else f" {remedy(self.phase, self._address, None, look_around())}"
        where = f" to {url}" if url else ""
        text = f"{start} no connection{where} within {seconds:g} seconds (timeout 'connect', at {self.phase})."
        error = LMStudioConnectTimeoutError.of_limit("connect", seconds, text + advice, phase=self.phase, url=url)
        return error.with_context(phase=self.phase, url=url)


def _given(seconds: float | UnsetType | None) -> float | None:
    return seconds if isinstance(seconds, (int, float)) else None
