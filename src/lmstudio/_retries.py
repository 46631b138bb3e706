"""When to try again."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - msgspec reads the annotations

import msgspec

from ._timeouts import is_seconds
from .errors import LMStudioValueError

__all__ = ["RetryConfig"]


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how fast to try again what can be repeated without harm: connecting, and reading from the server.

    ::

        client = lms.Client(retry=lms.RetryConfig(max_retries=10, max_backoff=5.0))

    Predictions, loads, downloads and uploads are never sent twice. The pause before retry *n*, from 0, is
    `backoff_factor * 2**n` seconds, `max_backoff` at most; chance takes off up to a half of it, so that many clients do
    not come back at the same moment. Each retry is logged as a warning.
    """

    max_retries: int = 3
    """After the first attempt; 0 switches retries off."""
    backoff_factor: float = 1.0
    max_backoff: float = 60.0
    """Seconds."""
    retry_on_status: tuple[int, ...] = (500, 502, 503, 504, 429)
    """HTTP statuses that are worth another attempt: those of a proxy whose server is not there yet, for example."""
    random_number: Callable[[], float] | None = None
    """Where chance comes from, as numbers from 0 to 1; by default from `random`. A test may want to know them."""

    def __post_init__(self) -> None:
        if not isinstance(self.max_retries, int) or isinstance(self.max_retries, bool) or self.max_retries < 0:
            raise LMStudioValueError(f"max_retries must be an integer from 0 on, got {self.max_retries!r}.")
        for name in ("backoff_factor", "max_backoff"):
            value = getattr(self, name)
            if not is_seconds(value):
                raise LMStudioValueError(f"{name} must be a number of seconds from 0 on, got {value!r}.")
        statuses: object = self.retry_on_status
        if self.random_number is not None and not callable(self.random_number):
            raise LMStudioValueError(f"random_number must be a function without arguments, got {self.random_number!r}.")
        if not isinstance(statuses, tuple) or not all(isinstance(status, int) for status in statuses):
            raise LMStudioValueError(f"retry_on_status must be a tuple of HTTP statuses, got {statuses!r:.80}.")

    def delay(self, retry: int, random_number: Callable[[], float] | None = None) -> float | None:
        """Seconds before retry *retry*, counted from 0; None if there is none.

        *random_number* counts instead of the attribute.
        """
        if retry >= self.max_retries:
            return None
        random_number = random_number or self.random_number
        if random_number is None:
            import random  # not needed as long as all goes well

            random_number = random.random
        # The exponent is bounded, because a float is.
        longest = min(self.max_backoff, self.backoff_factor * 2.0 ** min(retry, 64))
        return longest * (1.0 - random_number() / 2)


NO_RETRIES = RetryConfig(max_retries=0)


def read_retry(value: object) -> RetryConfig | None:
    """What a user gave as `retry=`; None where nothing was given.

    Raises:
        LMStudioValueError: it is something else.
    """
    if value is None or isinstance(value, RetryConfig):
        return value
    hint = " To switch retries off: RetryConfig(max_retries=0)." if value in (False, 0) else ""
    raise LMStudioValueError(f"retry must be a lmstudio.RetryConfig, got {value!r}.{hint}")
