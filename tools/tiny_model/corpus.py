"""Writes the synthetic chat corpus: one JSON document per line, every sentence from templates of this directory.

The same seed gives the same bytes, on every supported Python. No document comes from any other data set.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from .dialogue import code, echo, greeting, identity, json_answer, listing, memory, unknown
from .documents import Document, Exchange, Message, assistant_message, user_message
from .facts import arithmetic, fact
from .phrasing import noise
from .stories import any_story, story, story_about
from .tool_use import tool_document
from .vocabulary import SYSTEM_PROMPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Maker, weight, and whether its questions get typing noise (not where the answer repeats the question's words).
_KINDS: tuple[tuple[Callable[[Random], Exchange], int, bool], ...] = (
    (greeting, 9, True),
    (identity, 9, True),
    (arithmetic, 26, True),
    (fact, 30, True),
    (unknown, 7, True),
    (story_about, 9, False),
    (any_story, 4, False),
    (listing, 9, True),
    (echo, 14, False),
    (code, 3, False),
    (json_answer, 8, False),
)
_WEIGHTS = tuple(weight for _, weight, _ in _KINDS)


def exchange(rng: Random) -> Exchange:
    """One question with its answer, of a kind drawn by weight."""
    make, _, is_noisy = rng.choices(_KINDS, _WEIGHTS)[0]
    made = make(rng)
    return made._replace(question=noise(rng, made.question)) if is_noisy else made


def chat_document(rng: Random) -> Document:
    """A conversation of one to five exchanges, some of them about an earlier one, with or without a system prompt."""
    roll = rng.random()
    if roll < 0.12:
        exchanges = memory(rng)
        if rng.random() < 0.4:
            exchanges.insert(1, exchange(rng))
    elif roll < 0.55:
        exchanges = [exchange(rng)]
    else:
        exchanges = [exchange(rng) for _ in range(rng.randint(2, 5))]
    messages: list[Message] = []
    if rng.random() < 0.3:
        messages.append({"role": "system", "content": rng.choice(SYSTEM_PROMPTS)})
    for question, answer, _ in exchanges:
        messages += [user_message(question), assistant_message(answer)]
    return {"kind": "chat", "messages": messages}


def reasoning_document(rng: Random) -> Document:
    """A question that ends in "/think", answered with the reasoning first."""
    made = rng.choice((arithmetic, fact))(rng)
    answer: Message = {"role": "assistant", "reasoning_content": made.thought, "content": made.answer}
    return {"kind": "think", "messages": [user_message(noise(rng, made.question) + " /think"), answer]}


def document(rng: Random) -> Document:
    """One document: 60 % conversations, 30 % with tools, 5 % with reasoning, 5 % plain stories."""
    roll = rng.random()
    if roll < 0.60:
        return chat_document(rng)
    if roll < 0.90:
        return tool_document(rng)
    if roll < 0.95:
        return reasoning_document(rng)
    return {"kind": "text", "text": story(rng)}


def corpus_lines(seed: int, minimum_characters: float) -> Iterator[str]:
    """JSON lines, without their line ends, until together they hold at least that many characters."""
    rng = Random(seed)
    characters = 0
    while characters < minimum_characters:
        line = json.dumps(document(rng), ensure_ascii=False)
        characters += len(line)
        yield line


def write_corpus(path: Path, seed: int, megabytes: float) -> Counter[str]:
    """Writes the corpus to *path* in UTF-8 and returns the number of documents of each kind."""
    kinds: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in corpus_lines(seed, megabytes * 1e6):
            file.write(line + "\n")
            kinds[json.loads(line)["kind"]] += 1
    return kinds


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_model.corpus", description=__doc__)
    parser.add_argument("out", type=Path, help="JSONL file to write")
    parser.add_argument("--target-mb", type=float, default=6, help="size to reach, in 10^6 characters (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all choices (default: 0)")
    arguments = parser.parse_args()
    kinds = write_corpus(arguments.out, arguments.seed, arguments.target_mb)
    details = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"{arguments.out}: {kinds.total()} documents ({details}), {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
