"""Call what users gave as `on_...`: plain functions, and coroutine functions where they can be awaited.

An operation refuses what it could never call with `check_callbacks`, before anything is sent. Later it awaits
`tell(runtime, callback, value)`, or where each microsecond counts

    if (pending := notify(runtime, callback, value)) is not None:
        await pending

so that a plain function costs one call and no coroutine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .errors import LMStudioValueError
from .logs import fields

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Iterable

_CO_COROUTINE = 0x80  # of code objects; `inspect` takes long to import


class CallbackHome(Protocol):
    """What callbacks are called for: a `Runtime`, or a client over HTTP."""

    @property
    def suspends(self) -> bool:
        """Whether it can await what a callback returns."""
        ...

    def logger(self, area: str) -> logging.Logger:
        """Where it is said that a callback failed."""
        ...


def check_callbacks(runtime: CallbackHome, **callbacks: object) -> None:
    """Refuse what cannot be called back; the names are those of the caller's parameters, None is no callback.

    Raises:
        LMStudioValueError: not callable, or a coroutine function where nothing can await it.
    """
    for name, callback in callbacks.items():
        if callback is None:
            continue
        if not callable(callback):
            raise LMStudioValueError(f"{name} must be a function, got {type(callback).__name__}.")
        if not runtime.suspends and is_coroutine_function(callback):
            raise LMStudioValueError(
                f"{name} is a coroutine function, which the synchronous client cannot await. Give it a plain function, "
                "or use AsyncClient."
            )


def notify(runtime: CallbackHome, callback: Callable[..., object] | None, *arguments: object) -> Awaitable[None] | None:
    """Call *callback*. What is returned, if anything, must be awaited.

    Exceptions of the callback are logged: they do not end the operation.
    """
    if callback is None:
        return None
    try:
        result = callback(*arguments)
        if result is None or not hasattr(result, "__await__"):
            return None
        if not runtime.suspends:
            _refuse(result)
    except Exception as error:
        _log(runtime, callback, error)
        return None
    return _settle(runtime, callback, result)


async def tell(runtime: CallbackHome, callback: Callable[..., object] | None, *arguments: object) -> None:
    """Call *callback*, and await what it returns if that can be awaited. Its exceptions are logged."""
    if (pending := notify(runtime, callback, *arguments)) is not None:
        await pending


async def _settle(runtime: CallbackHome, callback: Callable[..., object], pending: Any) -> None:
    try:
        await pending
    except Exception as error:
        _log(runtime, callback, error)


def _refuse(pending: Any) -> None:
    close = getattr(pending, "close", None)
    if close is not None:
        close()  # a coroutine that is never awaited would be another warning
    raise LMStudioValueError(f"It returned {type(pending).__name__}, which the synchronous client cannot await.")


def _log(runtime: CallbackHome, callback: Callable[..., object], error: Exception) -> None:
    known = fields(callback=getattr(callback, "__qualname__", type(callback).__qualname__))
    logger = runtime.logger("callbacks")
    logger.error("The callback %r failed; the operation goes on.", callback, exc_info=error, extra=known)


def is_coroutine_function(function: object) -> bool:
    """Whether calling *function* makes a coroutine, as far as one can tell without calling it.

    Looks through partial functions, methods and callable objects.
    """
    while (wrapped := getattr(function, "func", None) or getattr(function, "__func__", None)) is not None:
        function = wrapped
    if not hasattr(function, "__code__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004  # its code, not whether there is one
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    # The mark is what inspect.markcoroutinefunction leaves.
    return bool(flags & _CO_COROUTINE) or hasattr(function, "_is_coroutine_mark")


def refuse_unawaited(values: Iterable[object]) -> None:
    """Refuse what a function of the asynchronous surface gives without `await`, where its result is meant.

    Raises:
        LMStudioValueError: names the function.
    """
    waiting = [value for value in values if hasattr(value, "__await__")]
    for value in waiting:
        close = getattr(value, "close", None)
        if close is not None:
            close()  # or Python would warn of it as well, later and elsewhere
    if waiting:
        name = getattr(waiting[0], "__qualname__", type(waiting[0]).__name__)
        raise LMStudioValueError(f"{name} was not awaited: pass its result, `await ...`, not the coroutine.")
