"""Copies of a loaded model that have a draft model beside them: an engine takes one only when it loads."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmstudio.server.engine.base import EngineError, ModelDiedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from lmstudio.server.engine.base import LoadedModel, LoadOptions

__all__ = ["DraftedModels"]


@dataclass(eq=False)
class _Copy:
    loading: asyncio.Task[LoadedModel]
    users: int = 0


class DraftedModels:
    """The copies of one model. One that nobody uses is freed when another one is wanted, and with the model itself."""

    def __init__(self, load: Callable[[LoadOptions], Coroutine[Any, Any, LoadedModel]]) -> None:
        self._load = load
        self._copies: dict[LoadOptions, _Copy] = {}

    @asynccontextmanager
    async def use(self, options: LoadOptions) -> AsyncIterator[LoadedModel]:
        """The copy that was loaded with *options*; it is loaded first if there is none.

        Raises:
            EngineError: it cannot be loaded, or it died during the body: then the next use loads another one.
            ModelDiedError: `close` ended it.
        """
        copy = self._copies.get(options)
        if copy is None:
            copy = self._copies[options] = _Copy(asyncio.ensure_future(self._load(options)))
        copy.users += 1
        try:
            await self._free_unused()
            # Others may wait for the same load: one who gives up does not end it.
            yield await asyncio.shield(copy.loading)
        except ModelDiedError as error:
            if self._copies.pop(options, None) is None:
                raise  # it was freed with the model itself
            raise EngineError(f"The model stopped unexpectedly beside its draft model: {error}") from error
        finally:
            copy.users -= 1
            if not copy.users and not _is_usable(copy):
                copy.loading.cancel()
                self._copies.pop(options, None)

    async def _free_unused(self) -> None:
        for options, copy in list(self._copies.items()):
            if not copy.users:
                del self._copies[options]
                await (await copy.loading).close()

    async def close(self) -> None:
        """Free all copies; what runs on them ends with ModelDiedError. Safe to call twice."""
        copies, self._copies = [*self._copies.values()], {}
        for copy in copies:
            copy.loading.cancel()
            with suppress(asyncio.CancelledError, EngineError):
                await (await copy.loading).close()


def _is_usable(copy: _Copy) -> bool:
    return copy.loading.done() and not copy.loading.cancelled() and copy.loading.exception() is None
