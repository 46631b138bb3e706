"""One scenario for both clients: the asynchronous one in asyncio and trio, and the other one by its names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import trio

from lmstudio.http import AsyncHttpClient, HttpClient
from lmstudio.json_api import run_blocking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Self

KINDS = ("sync", "asyncio", "trio")


class _Iteration:
    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    async def __anext__(self) -> Any:
        try:
            return next(self._iterator)
        except StopIteration:
            raise StopAsyncIteration from None


class _Blocking:
    """A synchronous client, or a stream of one, with the names of its asynchronous twin. Nothing suspends."""

    def __init__(self, twin: Any) -> None:
        self.twin = twin

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.twin, "close" if name == "aclose" else name)
        if name.startswith("stream_"):
            return lambda *arguments, **keywords: _Blocking(value(*arguments, **keywords))
        if not callable(value) or name == "result":
            return value

        async def call(*arguments: Any, **keywords: Any) -> Any:
            return value(*arguments, **keywords)

        return call

    def __aiter__(self) -> _Iteration:
        return _Iteration(iter(self.twin))

    async def __aenter__(self) -> Self:
        self.twin.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.twin.__exit__(*exception)


def run(kind: str, scenario: Callable[[AsyncHttpClient], Awaitable[Any]], *arguments: Any, **keywords: Any) -> Any:
    """What *scenario* returns with a client made of the *arguments*, which is closed afterwards."""

    async def main() -> Any:
        client: Any = _Blocking(HttpClient(*arguments, **keywords)) if kind == "sync" else None
        async with client or AsyncHttpClient(*arguments, **keywords) as opened:
            return await scenario(opened)

    if kind == "sync":
        return run_blocking(main())
    return asyncio.run(main()) if kind == "asyncio" else trio.run(main)
