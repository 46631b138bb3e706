"""One test for both clients: the asynchronous one behind the methods of the synchronous one."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from lmstudio.http import AsyncHttpClient, HttpClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

SURFACES = ("sync", "async")


class _Blocking:
    """What the asynchronous surface gives out, each of whose waits is one run of an event loop."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner, self._loop = inner, loop

    def _finished(self, value: Any) -> Any:
        if inspect.isawaitable(value):
            value = self._loop.run_until_complete(asyncio.wait_for(value, None))
        return _Blocking(value, self._loop) if hasattr(type(value), "__anext__") or _is_stream(value) else value

    def __getattr__(self, name: str) -> Any:
        name = {"close": "aclose"}.get(name, name)
        member = getattr(self._inner, name)
        if not callable(member):
            return member
        return lambda *args, **keywords: self._finished(member(*args, **keywords))

    def __iter__(self) -> Iterator[Any]:
        return _Blocking(self._inner.__aiter__(), self._loop)

    def __next__(self) -> Any:
        try:
            return self._loop.run_until_complete(self._inner.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Self:
        self._loop.run_until_complete(self._inner.__aenter__())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.run_until_complete(self._inner.__aexit__(exc_type, exc, traceback))


def _is_stream(value: Any) -> bool:
    return hasattr(type(value), "__aiter__")


def open_client(surface: str, *args: Any, **keywords: Any) -> Iterator[Any]:
    """A client of that surface, for a fixture."""
    if surface == "sync":
        with HttpClient(*args, **keywords) as client:
            yield client
        return
    loop = asyncio.new_event_loop()
    try:
        with _Blocking(AsyncHttpClient(*args, **keywords), loop) as client:
            yield client
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
