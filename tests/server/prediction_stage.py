"""Everything around a prediction: a loaded model, a clock that ticks when it is read, and what was sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._sdk_models import (
    ChatHistoryData,
    KvConfigStack,
    KvConfigStackLayer,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmPredictionFragment,
    LlmPredictionStats,
)
from lmstudio.server.catalog import Catalog
from lmstudio.server.config import DEFAULT_PREDICTION_FIELDS, LoadConfig, PredictionConfig, kv_config
from lmstudio.server.engine.base import (
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    LoadedModel,
)
from lmstudio.server.engine.scripted import ScriptedEngine, scripted_models
from lmstudio.server.instances import Clock, Instance, InstanceManager
from lmstudio.server.prediction import Packet, Prediction
from lmstudio.server.prompt import Prompt, RawPrompt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence


CHAT, _ = scripted_models()
END = GenerationEnd("eosFound", None, 3, 2, None)


class SteppingClock(Clock):
    """One second passes whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


class Output:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.drained = 0

    def send(self, packet: Packet, /) -> None:
        self.packets.append(packet)

    async def drain(self) -> None:
        self.drained += 1

    @property
    def fragments(self) -> list[LlmPredictionFragment]:
        return [each.fragment for each in self.packets if isinstance(each, LlmChannelPredictToClientPacketFragment)]

    @property
    def text(self) -> str:
        return "".join(fragment.content for fragment in self.fragments)

    @property
    def progress(self) -> list[float]:
        kind = LlmChannelPredictToClientPacketPromptProcessingProgress
        return [packet.progress for packet in self.packets if isinstance(packet, kind)]


class Events(LoadedModel):
    """A model that yields exactly these events."""

    context_length = 4096

    def __init__(self, *events: GenerationEvent) -> None:
        self.events = events

    async def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: str | None = None,
        enable_thinking: bool | None = None,
    ) -> str:
        return "prompt"

    async def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        return [0] * len(text)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        for event in self.events:
            yield event

    async def embed(self, text: str) -> list[float]:
        return []

    async def close(self) -> None:
        pass


class Stage:
    """One loaded model, and predictions on it."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.instances = InstanceManager(engine, Catalog([CHAT]), clock=SteppingClock())
        self.output = Output()
        self.instance: Instance

    async def load(self, fields: Mapping[str, Any] | None = None) -> Stage:
        layer = KvConfigStackLayer(layer_name="apiOverride", config=kv_config(fields or {}))
        load = self.instances.load(CHAT, LoadConfig.parse("llm", KvConfigStack(layers=[layer])))
        instance = await load.join(lambda _: None).result()
        assert instance is not None
        self.instance = instance
        return self

    def prediction(self, prompt: Prompt | str = "Hi", **fields: Any) -> Prediction:
        prompt = RawPrompt(prompt) if isinstance(prompt, str) else prompt
        return Prediction(self.instances, self.instance, config_of(**fields), prompt, self.output, SteppingClock())


def config_of(**fields: Any) -> PredictionConfig:
    given = {"llm.prediction." + key.replace("__", "."): value for key, value in fields.items()}
    return PredictionConfig({**DEFAULT_PREDICTION_FIELDS, **given})


def chat(*messages: tuple[str, str]) -> ChatHistoryData:
    return history(*({"role": role, "content": [{"type": "text", "text": text}]} for role, text in messages))


def history(*messages: Mapping[str, Any]) -> ChatHistoryData:
    return msgspec.convert({"messages": messages}, ChatHistoryData)


def predict(
    reply: Any = None, prompt: Prompt | str = "Hi", *, model: LoadedModel | None = None, **fields: Any
) -> tuple[LlmPredictionStats, Output]:
    """Run one prediction; *reply* is the script, or *model* takes the place of the scripted one."""

    async def test() -> tuple[LlmPredictionStats, Output]:
        stage = await Stage(ScriptedEngine(reply)).load()
        if model is not None:
            stage.instance.model = model
        stats = await stage.prediction(prompt, **fields).run()
        await stage.instances.aclose()
        return stats, stage.output

    return asyncio.run(test())


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())
