"""How long a call may take: what users say about it, and the clock of a call while it waits."""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import msgspec
from msgspec import UNSET, UnsetType

from .errors import LMStudioConnectTimeoutError, LMStudioTimeoutError, LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._runtime import Inbox
    from .errors import TimeoutLimit
    from .json_api import Multiplexer

__all__ = ["Timeout", "TimeoutInput"]

_LONGEST_SECONDS = 2**31
"""Beyond, some platforms cannot wait."""


class Timeout(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Time limits in seconds, for a client or for one call; None for no limit.

    ::

        client = lms.Client(timeout=lms.Timeout(connect=3, idle=120))
        model.respond("Tell me a story.", timeout=lms.Timeout(first_token=300, total=600))
        model.embed("text", timeout=5)  # a number is the total

    What a call does not set is as the client says, and what the client does not set has the default of its attribute.
    When a limit expires, LMStudioTimeoutError is raised, whose `limit` is its name, and the server is told to stop.
    """

    connect: float | UnsetType | None = UNSET
    """For one attempt to connect, from looking up the host's name to the answer to the authentication. Default: 10."""
    first_token: float | UnsetType | None = UNSET
    """In place of *idle* until a prediction has its first token. What the server reports about its work on the prompt
    starts it again, so that a long prompt does not expire while it is being read. Default: as *idle*."""
    idle: float | UnsetType | None = UNSET
    """Between two messages of the server for a call: fragments, progress, the reply. Default: 600 in the asynchronous
    surface, and what `set_sync_api_timeout` was given, at first 60, in the synchronous one."""
    total: float | UnsetType | None = UNSET
    """For the whole call, retries and the tools of `act` included. Default: None."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not UNSET and value is not None:
                _check_seconds(name, value)

    @property
    def has_total(self) -> bool:
        """Whether there is a limit for the whole call."""
        return _given(self.total) is not None

    def over(self, base: Timeout) -> Timeout:
        """These limits, and those of *base* where nothing is set."""
        if self is INHERITED:
            return base
        return Timeout(
            connect=base.connect if self.connect is UNSET else self.connect,
            first_token=base.first_token if self.first_token is UNSET else self.first_token,
            idle=base.idle if self.idle is UNSET else self.idle,
            total=base.total if self.total is UNSET else self.total,
        )


TimeoutInput: TypeAlias = Timeout | float | None
"""A number of seconds is the total; None leaves everything as it is."""


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether *value* is a time that one can wait, from 0 on."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LONGEST_SECONDS


def _check_seconds(name: str, value: object) -> None:
    if not is_seconds(value):
        raise LMStudioValueError(f"{name} must be a number of seconds from 0 on, or None for no limit; got {value!r}.")


def read_timeout(value: TimeoutInput) -> Timeout:
    """What a user gave as `timeout=`.

    Raises:
        LMStudioValueError: it is neither a Timeout nor a number of seconds.
    """
    if value is None:
        return INHERITED
    if isinstance(value, Timeout):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_seconds("timeout", value)
        return Timeout(total=value)
    raise LMStudioValueError(
        f"timeout must be a number of seconds for the whole call, or a lmstudio.Timeout; got {type(value).__name__}."
    )


def unhurried(value: TimeoutInput) -> Timeout:
    """What a user gave, for a call during which the server may well be silent: no `idle` unless it is given."""
    return read_timeout(value).over(Timeout(idle=None))


INHERITED = Timeout()
"""Nothing is set."""
PATIENT = Timeout(connect=None, first_token=None, idle=None)
"""Only the total counts."""

DEFAULT_TIMEOUT = Timeout(connect=10.0, first_token=UNSET, idle=600.0, total=None)
"""What counts where nobody says anything. The synchronous surface has its own *idle*: see `get_sync_api_timeout`."""
HTTP_TIMEOUT = Timeout(connect=10.0, first_token=UNSET, idle=30.0, total=None)
"""The same over HTTP, where a reply that is not streamed is one silence."""


def _given(seconds: float | UnsetType | None) -> float | None:
    return None if isinstance(seconds, UnsetType) else seconds


class CallLimits:
    """The clock of one call."""

    __slots__ = ("_attempted", "_started", "_timeout", "_waits_since", "awaits_token", "multiplexer")

    def __init__(self, timeout: Timeout, started: float, attempted: str) -> None:
        self._timeout, self._started, self._attempted = timeout, started, attempted
        self._waits_since = started
        self.multiplexer: Multiplexer | None = None
        """The connection of the call. Until it has one, that of the last call: it will be the same, most likely."""
        self.awaits_token: bool = False
        """`first_token` counts, and not `idle`."""

    def use(self, multiplexer: Multiplexer, inbox: Inbox) -> None:
        """Count for *multiplexer* from now on. Who waits at *inbox* looks again, if it counted for another one."""
        if self.multiplexer is not multiplexer:
            self.multiplexer = multiplexer
            inbox.wake()

    def begin_wait(self) -> None:
        """Nothing has arrived that was not taken: from now on the server is silent."""
        self._waits_since = monotonic()

    def left(self) -> float | None:
        """Seconds until the next limit, None if it is far. Look again after that, and when the inbox was woken.

        Raises:
            LMStudioTimeoutError: a limit has expired.
        """
        now = monotonic()
        nearest: float | None = None
        for limit, begun, seconds in self._running():
            left = begun + seconds - now
            if left <= 0:
                raise self._expired(limit, seconds)
            nearest = left if nearest is None else min(nearest, left)
        if nearest is not None and self._is_woken_before(nearest):
            return None
        return nearest

    def _is_woken_before(self, seconds: float) -> bool:
        """Who waits will be woken early enough to look again. A timer for every wait would cost more than that."""
        tick = None if self.multiplexer is None else self.multiplexer.tick_seconds
        return tick is not None and seconds > 2 * tick

    def left_in_total(self) -> float:
        """Seconds until the total is reached, not above 0 when it is."""
        total = _given(self._timeout.total)
        return math.inf if total is None else self._started + total - monotonic()

    def check_total(self) -> None:
        """Raise LMStudioTimeoutError if the total is reached."""
        total = _given(self._timeout.total)
        if total is not None and self.left_in_total() <= 0:
            raise self._expired("total", total)

    def _running(self) -> Iterator[tuple[TimeoutLimit, float, float]]:
        """The limits that count at the moment: name, begin, seconds."""
        timeout, multiplexer = self._timeout, self.multiplexer
        if (total := _given(timeout.total)) is not None:
            yield "total", self._started, total
        ready_at = None if multiplexer is None else multiplexer.ready_at
        if ready_at is None:
            attempt_at = self._started if multiplexer is None else multiplexer.attempt_at
            # Whoever connects has a limit, too, and can say more about what is wrong.
            patience = math.inf if multiplexer is None else multiplexer.patience
            connect = _given(timeout.connect)
            if connect is not None and connect < patience and attempt_at is not None:
                yield "connect", max(attempt_at, self._started), connect
        elif self.awaits_token and timeout.first_token is not UNSET:
            if timeout.first_token is not None:
                yield "first_token", self._silent_since(ready_at), timeout.first_token
        elif (idle := _given(timeout.idle)) is not None:
            yield "idle", self._silent_since(ready_at), idle

    def _silent_since(self, ready_at: float) -> float:
        """Since when the server could have said something: it is not idle as long as a large message goes to it."""
        return max(self._waits_since, ready_at, 0.0 if self.multiplexer is None else self.multiplexer.sent_at)

    def _expired(self, limit: TimeoutLimit, seconds: float) -> LMStudioTimeoutError:
        start = f"Could not {self._attempted}:"
        if limit == "connect":
            phase, url = (self.multiplexer and self.multiplexer.connecting) or (None, None)
            where = f" to {url}" if url else ""
            how_far = f"; it has come to the phase {phase!r}" if phase else ""
            message = f"{start} no connection{where} within {seconds:g} seconds (timeout 'connect'{how_far})."
            return LMStudioConnectTimeoutError.of_limit(limit, seconds, message, phase=phase, url=url)
        what = {
            "first_token": f"no token and no progress from the server within {seconds:g} seconds",
            "idle": f"no message from the server within {seconds:g} seconds",
            "total": f"it was not done within {seconds:g} seconds",
        }[limit]
        return LMStudioTimeoutError.of_limit(limit, seconds, f"{start} {what} (timeout {limit!r}).")
