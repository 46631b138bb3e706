"""A server whose model writes what time it is, for `gateway.py`: the upstream of all gateways under comparison.

Each token is the value of the monotonic clock at which it was written, in nanoseconds, which all processes of a machine
share: whoever reads the token knows how old it is. Tokens come at a pace, or as fast as they are taken.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import lmstudio as lms
from lmstudio.server import Server
from lmstudio.server.engine.base import GenerationEnd, PromptProgress, TextChunk
from lmstudio.server.engine.scripted import ScriptedEngine, scripted_model

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from lmstudio.server.engine.base import (
        GenerationEvent,
        GenerationRequest,
        LoadedModel,
        LoadOptions,
        ModelFile,
        ProgressCallback,
    )

MODEL = "clock-1b"
_PROMPT_TOKENS = 10


class ClockEngine(ScriptedEngine):
    """Writes the time, *pace_seconds* between tokens."""

    def __init__(self, pace_seconds: float) -> None:
        super().__init__()
        self._pace_seconds = pace_seconds

    async def load(self, model: ModelFile, options: LoadOptions, on_progress: ProgressCallback) -> LoadedModel:
        """The scripted model, but for what it writes."""
        loaded = await super().load(model, options, on_progress)
        loaded.generate = self._generate  # type: ignore[method-assign]  # all else stays as it is
        return loaded

    async def _generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        yield PromptProgress(0, 0, _PROMPT_TOKENS)
        tokens, pace = request.max_tokens or 1, self._pace_seconds
        loop = asyncio.get_running_loop()
        due = loop.time()
        for _ in range(tokens):
            due += pace
            await asyncio.sleep(max(0.0, due - loop.time()))
            yield TextChunk(f"{time.monotonic_ns()} ", 1)
        yield GenerationEnd("maxPredictedTokensReached", None, _PROMPT_TOKENS, tokens, None)


def main() -> None:
    """Serve until stdin ends. Arguments: the pace in seconds, the port, and "loaded" if the model is to be loaded."""
    pace, port, is_loaded = float(sys.argv[1]), int(sys.argv[2]), "loaded" in sys.argv[3:]
    with Server(models=[scripted_model(MODEL)], engine=ClockEngine(pace), port=port) as server:
        if is_loaded:
            with lms.Client(server.api_host) as client:
                client.llm.load_new_instance(MODEL)
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
