"""Everything around an instance manager: an engine, a clock that stands still, and a catalogue."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmstudio._sdk_models import (
    KvConfigStack,
    ModelQuery,
    ModelSpecifierQuery,
)
from lmstudio.server.catalog import Catalog
from lmstudio.server.config import LoadConfig
from lmstudio.server.engine.scripted import ScriptedEngine, scripted_models
from lmstudio.server.instances import Clock, Instance, InstanceManager, Timer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from lmstudio.server.engine.base import ModelFile, ModelKind
    from lmstudio.server.errors import RequestError
    from lmstudio.server.loads import LoadEvent


CHAT, EMBED = scripted_models()
OTHER = replace(CHAT, model_key="other-chat", path="maker/other-GGUF/other-Q4_K_M.gguf", publisher="maker")
OTHER_Q8 = replace(OTHER, model_key="other-chat@q8_0", path="maker/other-GGUF/other-Q8_0.gguf")
NO_CONFIG = LoadConfig.parse("llm", KvConfigStack(layers=[]))


class FakeClock(Clock):
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = FakeTimer(self.now + seconds, callback)
        self._timers.append(timer)
        return timer

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that was due."""
        self.now += seconds
        due = [timer for timer in self._timers if timer.due <= self.now and not timer.is_cancelled]
        self._timers = [timer for timer in self._timers if timer.due > self.now]
        for timer in due:
            timer.callback()
        await settle()


class FakeTimer:
    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self.due = due
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


async def settle() -> None:
    """Let every task go on until it waits for something that is not time."""
    for _ in range(20):
        await asyncio.sleep(0)


class Stage:
    """A manager with everything around it."""

    def __init__(self, engine: ScriptedEngine, **settings: Any) -> None:
        self.engine = engine
        self.clock = FakeClock()
        self.manager = InstanceManager(engine, Catalog([CHAT, EMBED, OTHER, OTHER_Q8]), clock=self.clock, **settings)

    async def load(self, file: ModelFile = CHAT, **arguments: Any) -> Instance:
        config = LoadConfig.parse(file.kind, KvConfigStack(layers=[]))
        return present(await self.manager.load(file, config, **arguments).join(ignore).result())

    async def jit_load(self, name: str = "scripted-chat", kind: ModelKind = "llm", **arguments: Any) -> Instance:
        config = LoadConfig.parse(kind, KvConfigStack(layers=[]))
        return present(await self.manager.jit_load(kind, name, config, **arguments).join(ignore).result())

    def identifiers(self, kind: ModelKind = "llm") -> list[str]:
        return [instance.identifier for instance in self.manager.loaded(kind)]


def present(instance: Instance | None) -> Instance:
    assert instance is not None
    return instance


def ignore(_: LoadEvent) -> None:
    pass


@asynccontextmanager
async def staged(engine: ScriptedEngine | None = None, **settings: Any) -> AsyncIterator[Stage]:
    stage = Stage(engine or ScriptedEngine(), **settings)
    try:
        yield stage
    finally:
        await stage.manager.aclose()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def by_query(**members: Any) -> ModelSpecifierQuery:
    return ModelSpecifierQuery(query=ModelQuery(**members))


def code_of(error: RequestError) -> str:
    assert error.display_data is not None
    return error.display_data.code
