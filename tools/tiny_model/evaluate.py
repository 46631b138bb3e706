"""Scores a GGUF file through the engine and prints the tables of the model card.

`chat` asks greedily, on fresh draws of the corpus generator and on what the corpus lacks; `transcript` prints the
replies to a fixed list of prompts, good and bad ones; `embedding` scores retrieval.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import string
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import xllamacpp

from .dialogue import echo, json_answer, memory, unknown
from .phrasing import with_article
from .retrieval_checks import TRIPLETS
from .stories import story_about
from .tool_use import tool_document
from .vocabulary import CAPITALS, COLORS, OPPOSITES, SOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .documents import FunctionCall, ToolSpec

EngineMessage: TypeAlias = "Mapping[str, object]"

EVALUATION_SEED = 987654
TRANSCRIPT_PROMPTS = (
    "Hello!",
    "What is your name?",
    "What is the capital of Norway?",
    "What is 7 + 8?",
    "What is 4 + 5? /think",
    "What is the opposite of early?",
    "List three fruits.",
    "Tell me a short story about an owl.",
    "Who is Albert Einstein?",
    "Write a haiku about the sea.",
    "What is 23 + 45?",
    "how r u",
    "My name is Marta.",
    "Repeat after me: purple bicycle",
    "Is Oslo a person?",
)


@dataclass(frozen=True)
class Reply:
    """What the engine answered."""

    content: str
    reasoning: str
    finish_reason: str
    calls: Sequence[tuple[str, str]]
    """Name and JSON arguments of each tool call."""


class Engine:
    """A model loaded in this process, on one thread that sleeps while it waits."""

    def __init__(self, model: Path, *, is_embedding: bool = False) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model)
        parameters.n_ctx = 512 if is_embedding else 2048
        parameters.n_parallel = 1
        parameters.verbosity = 0
        # The engine always listens as well; nobody else should find it.
        parameters.port = 0
        parameters.api_keys = [secrets.token_hex(16)]
        parameters.ui = False
        parameters.embedding = is_embedding
        for threads in (parameters.cpuparams, parameters.cpuparams_batch):
            threads.n_threads = 1
            # Spinning threads on busy cores cost a factor of a thousand.
            threads.poll = 0
        self._server = xllamacpp.Server(parameters)

    def ask(self, messages: Sequence[EngineMessage], tools: Sequence[ToolSpec] | None = None) -> Reply:
        """The greedy reply, of at most 200 tokens."""
        request: dict[str, object] = {"messages": messages, "max_tokens": 200, "temperature": 0}
        if tools is not None:
            request["tools"] = tools
        response = self._server.handle_chat_completions(request)
        if "error" in response:
            raise SystemExit(f"The engine refused {messages[-1]}: {response['error']}")
        choice = response["choices"][0]
        message = choice["message"]
        calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or []]
        reasoning = message.get("reasoning_content") or ""
        return Reply(message.get("content") or "", reasoning, choice["finish_reason"], calls)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """One vector of length one per text: shape (texts, dimensions)."""
        response = self._server.handle_embeddings({"input": list(texts)})
        vectors = np.array([entry["embedding"] for entry in response["data"]])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass
class Scores:
    """Passed and total checks by title, with what failed."""

    passed: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    failures: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def record(self, title: str, is_passed: bool, *evidence: object) -> None:
        """Counts one check; *evidence* is kept when it failed."""
        self.total[title] += 1
        self.passed[title] += is_passed
        if not is_passed:
            self.failures[title].append(" | ".join(map(str, evidence)))

    def show(self, shown_failures: int) -> None:
        """Prints a Markdown table, then some failures of each check."""
        print("| Check | Passed |\n|---|---|")
        for title, total in self.total.items():
            print(f"| {title} | {self.passed[title]}/{total} |")
        for title, failures in self.failures.items():
            for failure in failures[:shown_failures]:
                print(f"failed: {title}: {failure!r}")


def user(content: str) -> dict[str, object]:
    """A user turn for the engine."""
    return {"role": "user", "content": content}


def last_word(text: str) -> str:
    """The last word, without a closing mark; empty when there is none."""
    return (text.rstrip("?.").split() or [""])[-1]


ENDS_ITSELF = "ends its turn itself"


def score_arithmetic(engine: Engine, scores: Scores) -> None:
    """All single-digit sums, differences that are not negative, and products."""
    for left in range(10):
        for right in range(10):
            for symbol, value in (("+", left + right), ("-", left - right), ("x", left * right)):
                if value < 0:
                    continue
                question = f"What is {left} {symbol} {right}?"
                reply = engine.ask([user(question)])
                is_right = last_word(reply.content) == str(value)
                scores.record(f"`a {symbol} b` of single digits", is_right, question, reply.content)
                scores.record(ENDS_ITSELF, reply.finish_reason == "stop", question, reply.content)


def score_facts(engine: Engine, scores: Scores) -> None:
    """All capitals and opposites of the corpus."""
    for country, city in CAPITALS.items():
        content = engine.ask([user(f"What is the capital of {country}?")]).content
        scores.record("capitals", city in content, country, content)
    for word, opposite in OPPOSITES.items():
        content = engine.ask([user(f"What is the opposite of {word}?")]).content
        scores.record("opposites", opposite in content, word, content)


def score_memory(engine: Engine, scores: Scores, rng: Random) -> None:
    """What the user told in the first turn, asked for in the second."""
    for _ in range(100):
        exchanges = memory(rng)
        messages: list[dict[str, object]] = []
        content = ""
        for question, _, _ in exchanges:
            messages.append(user(question))
            content = engine.ask(messages).content
            messages.append({"role": "assistant", "content": content})
        is_right = last_word(exchanges[-1].answer) in content
        scores.record("remembers a name or fact of an earlier turn", is_right, exchanges[0].question, content)


def score_text(engine: Engine, scores: Scores, rng: Random) -> None:
    """Echoes, refusals, stories and JSON in words."""
    for _ in range(100):
        question, answer, _ = echo(rng)
        content = engine.ask([user(question)]).content
        scores.record("repeats words exactly", content == answer, question, content)
    for _ in range(50):
        question = unknown(rng).question
        reply = engine.ask([user(question)])
        scores.record("says that it does not know", "not know" in reply.content, question, reply.content)
        scores.record(ENDS_ITSELF, reply.finish_reason == "stop", question, reply.content)
    for _ in range(50):
        question = story_about(rng).question
        reply = engine.ask([user(question)])
        scores.record(ENDS_ITSELF, reply.finish_reason == "stop", question, reply.content)
        scores.record("story is about what was asked", last_word(question) in reply.content, question, reply.content)
    for _ in range(100):
        question, answer, _ = json_answer(rng)
        content = engine.ask([user(question)]).content
        # Which three fruits is left open.
        is_open = "three fruits" in question and content.startswith('{"fruits"')
        scores.record("JSON asked for in words, no grammar", content == answer or is_open, question, content)


def score_tools(engine: Engine, scores: Scores, rng: Random) -> None:
    """200 requests that need one of one to three offered tools, then the answer made of the tool's result."""
    asked = 0
    while asked < 200:
        document = tool_document(rng)
        messages, tools = document["messages"], document["tools"]
        position = next((index for index, message in enumerate(messages) if message.get("tool_calls")), None)
        if position is None:
            continue
        asked += 1
        wanted = messages[position]["tool_calls"][0]["function"]
        _score_call(engine.ask(messages[:position], tools), wanted, scores)
        if position + 2 < len(messages):
            # The engine wants arguments as text, the corpus holds them as an object.
            function = {"name": wanted["name"], "arguments": json.dumps(wanted["arguments"])}
            call = {"id": "1", "type": "function", "function": function}
            history: list[EngineMessage] = [*messages[: position + 2]]
            history[position] = {"role": "assistant", "content": "", "tool_calls": [call]}
            content = engine.ask(history, tools).content
            expected = messages[position + 2]["content"]
            scores.record("tools: answer from the result, same words", content == expected, expected, content)


def _score_call(reply: Reply, wanted: FunctionCall, scores: Scores) -> None:
    name, arguments = reply.calls[0] if reply.calls else ("", "null")
    scores.record("tools: calls one when needed", bool(reply.calls), wanted, reply.content)
    scores.record("tools: right name", name == wanted["name"], wanted, name)
    try:
        is_exact = json.loads(arguments) == wanted["arguments"]
    except json.JSONDecodeError:
        is_exact = False
    scores.record("tools: exact arguments", is_exact, wanted, arguments)


def score_unseen(engine: Engine, scores: Scores) -> None:
    """What the corpus never shows: two-digit sums without a tool, and words and names of random letters."""
    rng = Random(EVALUATION_SEED)
    for _ in range(100):
        left, right = rng.randint(10, 99), rng.randint(10, 99)
        content = engine.ask([user(f"What is {left} + {right}?")]).content
        scores.record(
            "not taught: sums of two digits each", last_word(content) == str(left + right), left, right, content
        )
        word = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(4, 8)))
        content = engine.ask([user(f"Repeat after me: {word}")]).content
        scores.record("not taught: repeats random letters", content == word, word, content)
        name = word.capitalize()
        greeted = {"role": "assistant", "content": f"Nice to meet you, {name}!"}
        content = engine.ask([user(f"My name is {name}."), greeted, user("What is my name?")]).content
        scores.record("not taught: remembers a name of random letters", name in content, name, content)


def evaluate_chat(model: Path, shown_failures: int) -> None:
    """Prints the score table of a chat model."""
    engine, scores, rng = Engine(model), Scores(), Random(EVALUATION_SEED)
    started = time.perf_counter()
    score_arithmetic(engine, scores)
    score_facts(engine, scores)
    score_memory(engine, scores, rng)
    score_text(engine, scores, rng)
    score_tools(engine, scores, rng)
    score_unseen(engine, scores)
    scores.show(shown_failures)
    print(f"\n{scores.total.total()} checks in {time.perf_counter() - started:.0f} s")


def print_transcript(model: Path) -> None:
    """Prints one Markdown table row per fixed prompt; line ends appear as " / "."""
    engine = Engine(model)
    print("| Prompt | Reply |\n|---|---|")
    for prompt in TRANSCRIPT_PROMPTS:
        reply = engine.ask([user(prompt)])
        reasoning = f"[thinks: {reply.reasoning.strip()}] " if reply.reasoning else ""
        print(f"| {prompt} | {reasoning}{' / '.join(reply.content.splitlines())} |")


def fact_pairs() -> list[tuple[str, str]]:
    """The 73 questions with one short answer each: capitals, animal sounds and colors."""
    return [
        *(
            (f"What is the capital of {country}?", f"The capital of {country} is {city}.")
            for country, city in CAPITALS.items()
        ),
        *(
            (f"What does {with_article(animal)} say?", f"The {animal} says {sound}.")
            for animal, sound in SOUNDS.items()
        ),
        *((f"What color is the {thing}?", f"The {thing} is {color}.") for thing, color in COLORS.items()),
    ]


def bag_of_words(texts: Sequence[str]) -> np.ndarray:
    """Word counts as vectors of length one, for comparison: shape (texts, different words)."""
    bags = [Counter(re.findall(r"\w+", text.lower())) for text in texts]
    words = sorted(set().union(*bags))
    counts = np.array([[bag[word] for word in words] for bag in bags], np.float64)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def score_retrieval(embed: Callable[[Sequence[str]], np.ndarray], scores: Scores, label: str) -> None:
    """Each question must find its answer among all, and each triplet's anchor its nearer text."""
    pairs = fact_pairs()
    vectors = embed([text for pair in pairs for text in pair])
    for (question, answer), best in zip(pairs, (vectors[0::2] @ vectors[1::2].T).argmax(axis=1), strict=True):
        found = pairs[best][1]
        scores.record(f"{label}: finds the answer among {len(pairs)}", found == answer, question, found)
    for triplet in TRIPLETS:
        anchor, near, far = embed(triplet)
        scores.record(f"{label}: hand-written triplets", anchor @ near > anchor @ far, *triplet)


def evaluate_embedding(model: Path, shown_failures: int) -> None:
    """Prints the score table of an embedding model, beside that of counting words."""
    engine, scores = Engine(model, is_embedding=True), Scores()
    score_retrieval(engine.embed, scores, "model")
    score_retrieval(bag_of_words, scores, "bag of words")
    texts = [question for question, _ in fact_pairs()] * 4
    started = time.perf_counter()
    vectors = engine.embed(texts)
    rate = len(texts) / (time.perf_counter() - started)
    scores.show(shown_failures)
    print(f"\n{vectors.shape[1]} dimensions, {rate:.0f} texts/s on one thread")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_model.evaluate", description=__doc__)
    parser.add_argument("what", choices=("chat", "transcript", "embedding"), help="what to print")
    parser.add_argument("model", type=Path, help="GGUF file")
    parser.add_argument("--failures", type=int, default=0, help="failures to print per check (default: 0)")
    arguments = parser.parse_args()
    if arguments.what == "chat":
        evaluate_chat(arguments.model, arguments.failures)
    elif arguments.what == "transcript":
        print_transcript(arguments.model)
    else:
        evaluate_embedding(arguments.model, arguments.failures)


if __name__ == "__main__":
    main()
