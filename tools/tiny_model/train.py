"""Trains the chat model on the CPU for a number of steps.

Writes OUT/tokenizer.json, OUT/model.pt (weights and shape) and OUT/log.txt (what the run prints). The same corpus,
options, library versions and kind of CPU give the same weights.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own convention
from tokenizers import Tokenizer
from torch import nn

from .architecture import ChatModelConfig
from .chat_model import ChatModel
from .tokenization import ChatRenderer, EncodedText, encode_documents, pack_rows, train_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .documents import Document

    Say = Callable[[str], None]

VALIDATION_DOCUMENTS = 300
VALIDATION_SAMPLE = 200
TOKENIZER_DOCUMENTS = 15_000
PROMPT_WEIGHT = 0.15
WARM_UP_STEPS = 40


@dataclass(frozen=True)
class Schedule:
    """What changes over a run, as a function of the step and the step budget alone."""

    steps: int
    peak_learning_rate: float

    def learning_rate(self, step: int) -> float:
        """Warm-up, then constant, then a linear decay to 2 % over the second half."""
        warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
        progress = step / self.steps
        decay = 1.0 if progress < 0.5 else max(0.02, 1.0 - (progress - 0.5) / 0.5)
        return self.peak_learning_rate * warm_up * decay

    def has_long_rows(self, step: int) -> bool:
        """Whether the step reads rows of double length: the last quarter does, to learn later positions."""
        return step >= 0.75 * self.steps


def batches(
    encoded: Sequence[EncodedText], schedule: Schedule, context: int, rows: int, seed: int
) -> Iterator[list[EncodedText]]:
    """One batch of rows x context tokens per step, without end; half as many rows where they are of double length."""
    rng = np.random.default_rng(seed)
    step = 0
    while True:
        is_long = schedule.has_long_rows(step)
        length = 2 * context if is_long else context
        batch: list[EncodedText] = []
        first_step = step
        for row in pack_rows(encoded, length, padding_id=0, rng=rng):
            batch.append(row)
            if len(batch) * length == rows * context:
                yield batch
                batch = []
                step += 1
                if schedule.has_long_rows(step) != is_long:
                    break
        if step == first_step:
            raise SystemExit(f"The corpus does not fill one batch of {rows} x {context} tokens. Make a larger corpus.")


class Trainer:
    """A model with its two optimizers: Muon for the matrices of the blocks, AdamW for the rest."""

    def __init__(self, model: ChatModel, schedule: Schedule, *, is_float32: bool) -> None:
        self.model = model
        self.schedule = schedule
        self.is_float32 = is_float32
        matrices = model.matrices()
        rest = [parameter for name, parameter in model.named_parameters() if name not in matrices]
        peak = schedule.peak_learning_rate
        self._optimizers = (
            torch.optim.Muon(
                list(matrices.values()), lr=peak, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(rest, lr=peak, betas=(0.9, 0.95), weight_decay=0.0),
        )

    def step(self, step: int, batch: Sequence[EncodedText]) -> float:
        """Learns from one batch and returns its loss, the weighted mean over tokens."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.schedule.learning_rate(step)
        ids = torch.tensor(np.stack([row.ids for row in batch]).astype(np.int64))
        weights = torch.tensor(np.stack([row.weights for row in batch])[:, 1:].astype(np.float32)).flatten()
        with torch.autocast("cpu", torch.bfloat16, enabled=not self.is_float32):
            logits = self.model(ids[:, :-1])
        losses = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return float(loss.item())


def validate(model: ChatModel, encoded: Sequence[EncodedText]) -> str:
    """Loss and next-token accuracy on assistant text, in words."""
    total = weight = hits = 0.0
    with torch.no_grad():
        for text in encoded[:VALIDATION_SAMPLE]:
            ids = torch.tensor(text.ids.astype(np.int64))
            weights = torch.tensor(text.weights[1:])
            logits = model(ids[None, :-1])[0]
            total += (F.cross_entropy(logits, ids[1:], reduction="none") * weights).sum().item()
            hits += ((logits.argmax(-1) == ids[1:]) * weights).sum().item()
            weight += weights.sum().item()
    return f"validation: assistant loss {total / weight:.3f}, next-token accuracy {hits / weight:.3f}"


def run(trainer: Trainer, training: Sequence[EncodedText], validation: Sequence[EncodedText], options: Options) -> None:
    """The training loop; prints every 25 steps, validates every 100 and at the end."""
    schedule = trainer.schedule
    started = time.perf_counter()
    tokens = 0
    source = batches(training, schedule, options.context, options.batch, options.seed)
    for step, batch in zip(range(schedule.steps), source):  # noqa: B905  # the source has no end
        loss = trainer.step(step, batch)
        tokens += sum(len(row.ids) for row in batch)
        done = step + 1
        if done % 25 == 0 or done == schedule.steps:
            elapsed = time.perf_counter() - started
            rate = f"learning rate {schedule.learning_rate(step):.1e}, {tokens / elapsed:.0f} tokens/s"
            options.say(f"step {done}/{schedule.steps}: loss {loss:.3f}, {rate}, {elapsed:.0f} s")
        if done % 100 == 0:
            options.say(validate(trainer.model, validation))
            save(trainer.model, options.out)
    save(trainer.model, options.out)
    epochs = tokens / sum(len(text.ids) for text in training)
    options.say(f"done: {tokens / 1e6:.2f} M tokens, {epochs:.2f} epochs; {validate(trainer.model, validation)}")


def save(model: ChatModel, out: Path) -> None:
    """Writes the checkpoint that `export_gguf` and `--init` read."""
    torch.save({"config": asdict(model.config), "weights": model.state_dict()}, out / "model.pt")


@dataclass(frozen=True)
class Options:
    """What the loop needs to know of the command line."""

    out: Path
    context: int
    batch: int
    seed: int
    say: Say


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    shape = ChatModelConfig()
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_model.train", description=__doc__)
    parser.add_argument("corpus", type=Path, help="JSONL file written by tools.tiny_model.corpus")
    parser.add_argument("out", type=Path, help="directory of the run, created when missing")
    parser.add_argument("--steps", type=int, required=True, help="step budget; the schedule stretches to it")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak learning rate (default: 3e-3)")
    parser.add_argument("--batch", type=int, default=8, help="rows per step, an even number (default: 8)")
    parser.add_argument("--context", type=int, default=512, help="tokens per row; doubled at the end (default: 512)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the order (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="PyTorch threads; results may depend on it (default: 1)")
    parser.add_argument("--float32", action="store_true", help="full precision instead of bfloat16 products")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--init", type=Path, help="run directory to continue from: its weights, shape and tokenizer")
    start.add_argument("--tokenizer", type=Path, help="tokenizer.json to use instead of training one on the corpus")
    parser.add_argument("--vocabulary", type=int, default=shape.vocabulary_size, help="tokens of a new tokenizer")
    parser.add_argument("--dim", type=int, default=shape.dim, help="width (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=shape.layers, help="blocks (default: %(default)s)")
    parser.add_argument("--heads", type=int, default=shape.heads, help="query heads (default: %(default)s)")
    parser.add_argument(
        "--kv-heads", type=int, default=shape.kv_heads, help="key and value heads (default: %(default)s)"
    )
    parser.add_argument("--ffn-dim", type=int, default=shape.ffn_dim, help="feed-forward width (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.batch % 2:
        parser.error("--batch must be even: the last quarter of a run reads half as many rows of double length.")
    return arguments


def load_tokenizer(arguments: argparse.Namespace, texts: Sequence[str]) -> Tokenizer:
    """The tokenizer of the earlier run, of the given file, or a new one."""
    path = arguments.init / "tokenizer.json" if arguments.init else arguments.tokenizer
    if path is not None:
        return Tokenizer.from_file(str(path))
    return train_tokenizer(texts[:TOKENIZER_DOCUMENTS], arguments.vocabulary)


def build_model(arguments: argparse.Namespace, vocabulary_size: int) -> ChatModel:
    """The model of the earlier run, or a new one of the given shape."""
    if arguments.init:
        checkpoint = torch.load(arguments.init / "model.pt", map_location="cpu")
        model = ChatModel(ChatModelConfig(**checkpoint["config"]))
        model.load_state_dict(checkpoint["weights"])
        return model
    return ChatModel(
        ChatModelConfig(
            vocabulary_size,
            arguments.dim,
            arguments.layers,
            arguments.heads,
            arguments.kv_heads,
            arguments.ffn_dim,
        )
    )


def read_corpus(path: Path) -> list[Document]:
    """All documents of a corpus file."""
    with path.open(encoding="utf-8") as file:
        documents: list[Document] = [json.loads(line) for line in file]
    if len(documents) <= VALIDATION_DOCUMENTS:
        raise SystemExit(
            f"{path} holds {len(documents)} documents, of which the first {VALIDATION_DOCUMENTS} are kept for "
            "validation. Make a larger corpus."
        )
    return documents


def main() -> None:
    """Reads the corpus, then trains."""
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    documents = read_corpus(arguments.corpus)
    render = ChatRenderer()
    texts = [render(document) for document in documents]
    tokenizer = load_tokenizer(arguments, texts)
    tokenizer.save(str(arguments.out / "tokenizer.json"))
    held_out = VALIDATION_DOCUMENTS
    training = encode_documents(tokenizer, documents[held_out:], texts[held_out:], PROMPT_WEIGHT)
    validation = encode_documents(tokenizer, documents[:held_out], texts[:held_out], 0.0)
    model = build_model(arguments, tokenizer.get_vocab_size())
    with (arguments.out / "log.txt").open("w", encoding="utf-8") as log:

        def say(line: str) -> None:
            print(line, flush=True)
            print(line, file=log, flush=True)

        parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        tokens = sum(len(text.ids) for text in training) / 1e6
        density = sum(map(len, texts[:held_out])) / sum(len(text.ids) for text in validation)
        say(f"{parameters:.2f} M parameters, {model.config.vocabulary_size} tokens in the vocabulary")
        say(f"{len(documents)} documents, {tokens:.2f} M tokens, {density:.2f} characters per token")
        trainer = Trainer(model, Schedule(arguments.steps, arguments.lr), is_float32=arguments.float32)
        options = Options(arguments.out, arguments.context, arguments.batch, arguments.seed, say)
        run(trainer, training, validation, options)


if __name__ == "__main__":
    main()
