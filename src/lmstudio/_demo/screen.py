"""What the demo shows: progress bars and colours in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lmstudio import LlmPredictionStats


class Screen:
    """Prints the steps of the demo."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._step = 0
        self._started = time.monotonic()

    def _line(self, text: str = "", style: str | None = None) -> None:
        # Text of models and users may contain what looks like markup.
        self._console.print(text, style=style, markup=False)

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._line()
        self._line(f"{self._step}. {title}", style="bold")

    def note(self, text: str) -> None:
        """A line about the current step."""
        self._line(f"   {text}")

    def models(self, models: Sequence[Any]) -> None:
        """A table of downloaded models."""
        width = max(len(model.model_key) for model in models)
        for model in models:
            size = f"{model.info.size_bytes / 1e6:.1f} MB"
            self._line(f"   {model.model_key:<{width}}  {model.type:<9}  {size:>9}  {model.info.architecture}")

    @contextmanager
    def progress(self, description: str) -> Iterator[Callable[[float], object]]:
        """A progress bar for something that reports 0.0 to 1.0."""
        started = time.monotonic()
        columns = (TextColumn("   {task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            task = progress.add_task(description, total=1.0)
            yield lambda done: progress.update(task, completed=done)
        if not self._console.is_terminal:
            self.note(f"{description}: done in {time.monotonic() - started:.2f} s")

    def question(self, text: str) -> None:
        """What is asked."""
        self._line(f"   > {text}", style="cyan")
        self._console.print("   ", end="")

    def fragment(self, text: str) -> None:
        """A piece of the reply, as it arrives."""
        self._console.print(text, end="", markup=False)
        self._console.file.flush()

    def stats(self, stats: LlmPredictionStats) -> None:
        """How a prediction went."""
        parts = []
        if stats.time_to_first_token_sec is not None:
            parts.append(f"first token after {stats.time_to_first_token_sec * 1000:.0f} ms")
        if stats.tokens_per_second is not None:
            parts.append(f"{stats.tokens_per_second:,.0f} tokens/s")
        if stats.predicted_tokens_count is not None:
            parts.append(f"{stats.predicted_tokens_count} tokens")
        parts.append(f"stop reason {stats.stop_reason}")
        self._line()
        self._line(f"   {', '.join(parts)}", style="dim")

    def similarity(self, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Two embeddings and how near they are."""
        for text, vector in zip(texts, vectors, strict=True):
            numbers = ", ".join(f"{number:+.3f}" for number in vector[:4])
            self.note(f"{text!r}: {len(vector)} numbers, {numbers}, ...")
        first, second = vectors
        product = sum(a * b for a, b in zip(first, second, strict=True))
        self.note(f"cosine similarity {product / (math.hypot(*first) * math.hypot(*second)):.3f}")

    def done(self) -> None:
        """The last line."""
        self._line()
        self._line(f"Done in {time.monotonic() - self._started:.1f} s.", style="green")
