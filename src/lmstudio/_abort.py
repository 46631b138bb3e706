"""Stop a long operation from another thread or task."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import LMStudioCancelledError, LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["AbortSignal"]


class AbortSignal:
    """Stops the operations that it was given to as `signal=`, from any thread or task.

    ::

        signal = lms.AbortSignal()
        stop_button.on_click(signal.abort)
        model.respond("Tell me a long story.", signal=signal)

    A prediction that is running ends normally, with the text so far and `userStopped`; a load, a download and `act` end
    with LMStudioCancelledError. Once aborted a signal stays so: an operation that gets it afterwards, a prediction too,
    sends nothing and raises LMStudioCancelledError.
    """

    __slots__ = ("_is_aborted", "_listeners", "_reason")

    def __init__(self) -> None:
        self._is_aborted = False
        self._reason: str | None = None
        # A dict, because its single operations are atomic: listeners come and go on other threads.
        self._listeners: dict[object, Callable[[], object]] = {}

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._is_aborted

    @property
    def reason(self) -> str | None:
        """What was given to `abort`."""
        return self._reason

    def abort(self, reason: str | None = None) -> None:
        """Stop everything that uses this signal. Later calls do nothing."""
        if self._is_aborted:
            return
        self._reason = reason
        self._is_aborted = True
        failure: Exception | None = None
        while self._listeners:
            try:
                _, listener = self._listeners.popitem()
            except KeyError:  # another thread took the last one
                break
            try:
                listener()
            except Exception as error:  # the others have to stop all the same
                failure = failure or error
        if failure is not None:
            raise failure

    def throw_if_aborted(self) -> None:
        """Raise LMStudioCancelledError if `abort` was called."""
        if self._is_aborted:
            raise self.error()

    def error(self) -> LMStudioCancelledError:
        """What an aborted operation ends with."""
        return LMStudioCancelledError("Aborted." if self._reason is None else f"Aborted: {self._reason}")

    def add_listener(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call *listener* once on abort, on the aborting thread; at once if that has happened. Returns its removal."""
        key = object()
        self._listeners[key] = listener
        # Whoever takes the listener out calls it: this thread, or the one that is aborting right now.
        if self._is_aborted and self._listeners.pop(key, None) is not None:
            listener()

        def remove() -> None:
            self._listeners.pop(key, None)

        return remove

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'aborted' if self._is_aborted else ''})"


def check_signal(signal: object) -> None:
    """Refuse what is no signal; None is none.

    Raises:
        LMStudioValueError: it has another type.
    """
    if signal is not None and not isinstance(signal, AbortSignal):
        raise LMStudioValueError(f"signal must be an AbortSignal, got {type(signal).__name__}.")


@contextmanager
def on_abort(signal: AbortSignal | None, action: Callable[[], object]) -> Iterator[None]:
    """Within the block, *action* is called when *signal* is aborted; at once if it is already."""
    if signal is None:
        yield
        return
    remove = signal.add_listener(action)
    try:
        yield
    finally:
        remove()
