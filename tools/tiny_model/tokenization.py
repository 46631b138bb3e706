"""Chat template, tokenizer and the token rows that training reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .documents import Document

CHAT_TEMPLATE_FILE = Path(__file__).with_name("chat_template.jinja")
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP_TOKENS = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    "<tools>",
    "</tools>",
)


class ChatRenderer:
    """Documents as the text that the engine would make of them with the same template."""

    def __init__(self) -> None:
        environment = jinja2.Environment()
        # The stock filter escapes for HTML and sorts keys; llama.cpp does neither.
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        self._template = environment.from_string(CHAT_TEMPLATE_FILE.read_text(encoding="utf-8"))

    def __call__(self, document: Document) -> str:
        """The whole document, with its end-of-turn tokens."""
        if document["kind"] == "text":
            return document["text"] + "<|im_end|>"
        text: str = self._template.render(
            messages=document["messages"], tools=document.get("tools"), add_generation_prompt=False
        )
        return text


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer of exactly that many tokens, if the texts have enough to merge."""
    tokenizer = Tokenizer(models.BPE())
    # What llama.cpp calls the "smollm" pre-tokenizer: single digits, then the GPT-2 expression.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(MARKUP_TOKENS),
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in MARKUP_TOKENS])
    return tokenizer


@dataclass(frozen=True)
class EncodedText:
    """Token ids (int32) and, for each, the weight (float32) of predicting it in the loss."""

    ids: np.ndarray
    weights: np.ndarray


def encode_documents(
    tokenizer: Tokenizer, documents: Sequence[Document], texts: Sequence[str], weight_elsewhere: float
) -> list[EncodedText]:
    """Encodes texts[i], the rendering of documents[i].

    Assistant turns, with the token that ends them, and plain stories weigh 1; prompts weigh *weight_elsewhere*.
    """
    opening = tokenizer.encode("<|im_start|>assistant\n").ids
    end_of_turn = tokenizer.token_to_id("<|im_end|>")
    encoded = []
    for document, encoding in zip(documents, tokenizer.encode_batch(list(texts)), strict=True):
        ids = encoding.ids
        weights = np.full(len(ids), 1.0 if document["kind"] == "text" else weight_elsewhere, np.float32)
        for start, stop in _turns(ids, opening, end_of_turn):
            weights[start:stop] = 1.0
        encoded.append(EncodedText(np.array(ids, np.int32), weights))
    return encoded


def _turns(ids: list[int], opening: list[int], end_of_turn: int) -> Iterator[tuple[int, int]]:
    position = 0
    while position < len(ids):
        if ids[position : position + len(opening)] == opening:
            start = position + len(opening)
            stop = ids.index(end_of_turn, start) + 1
            yield start, stop
            position = stop
        else:
            position += 1


def pack_rows(
    encoded: Sequence[EncodedText], length: int, padding_id: int, rng: np.random.Generator
) -> Iterator[EncodedText]:
    """Packs the documents, in random order, into rows of length + 1 tokens.

    A row begins with a document, so position 0 is always the start of a prompt. Documents are cut at the row's end; a
    row filled to 60 % is padded (weight 0) rather than cutting the next document.
    """
    size = length + 1
    ids: list[int] = []
    weights: list[float] = []
    for index in rng.permutation(len(encoded)):
        text = encoded[index]
        if len(ids) + len(text.ids) > size and len(ids) > 0.6 * length:
            missing = size - len(ids)
            yield EncodedText(np.array(ids + [padding_id] * missing), np.array(weights + [0.0] * missing))
            ids, weights = [], []
        ids.extend(text.ids.tolist())
        weights.extend(text.weights.tolist())
        if len(ids) >= size:
            yield EncodedText(np.array(ids[:size]), np.array(weights[:size]))
            ids, weights = [], []
