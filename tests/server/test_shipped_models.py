"""The models inside the package: intact, as their card describes them, and in step with the tools that made them."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lmstudio.server.models import CHAT_MODEL_FILE, EMBEDDING_MODEL_FILE, SHIPPED_MODELS_DIR

if TYPE_CHECKING:
    from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = REPOSITORY / "tools" / "tiny_model"
SHIPPED_FILES = (CHAT_MODEL_FILE, EMBEDDING_MODEL_FILE)

needs_tools = pytest.mark.skipif(not TOOLS.is_dir(), reason="the source distribution carries no tools")

# Digest of the generator's first 100,000 characters for seed 0. Whoever changes the corpus on purpose changes this too.
CORPUS_DIGEST = "aec37cd59062d4b44746451afb6758f2d2ecc573eb5f80f4e70f30174744fbd8"

GGUF_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
GGUF_STRING, GGUF_ARRAY = 8, 9


class HeaderReader:
    """Just enough of the GGUF format (version 3, little-endian) to read a header, apart from the package's reader."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        self._position = 0

    def read(self) -> dict[str, object]:
        """All header keys with their values."""
        assert self._data[:4] == b"GGUF"
        self._position = 4
        version, _tensors, keys = (self._scalar(code) for code in "IQQ")
        assert version == 3
        assert isinstance(keys, int)
        return {self._string(): self._value(self._kind()) for _ in range(keys)}

    def _scalar(self, code: str) -> object:
        (value,) = struct.unpack_from(f"<{code}", self._data, self._position)
        self._position += struct.calcsize(f"<{code}")
        return value

    def _kind(self) -> int:
        kind = self._scalar("I")
        assert isinstance(kind, int)
        return kind

    def _string(self) -> str:
        size = self._scalar("Q")
        assert isinstance(size, int)
        raw = self._data[self._position : self._position + size]
        self._position += size
        return raw.decode()

    def _value(self, kind: int) -> object:
        if kind == GGUF_STRING:
            return self._string()
        if kind == GGUF_ARRAY:
            item_kind, count = self._kind(), self._scalar("Q")
            assert isinstance(count, int)
            return [self._value(item_kind) for _ in range(count)]
        return self._scalar(GGUF_SCALARS[kind])


@pytest.fixture(scope="module")
def card() -> str:
    return (SHIPPED_MODELS_DIR / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chat_header() -> dict[str, object]:
    return HeaderReader(CHAT_MODEL_FILE).read()


@pytest.fixture(scope="module")
def embedding_header() -> dict[str, object]:
    return HeaderReader(EMBEDDING_MODEL_FILE).read()


def card_row(card: str, title: str) -> list[str]:
    """The two cells of a row of the card's first table: chat, embedding."""
    row = re.search(rf"^\| {re.escape(title)} \| (.+?) \| (.+?) \|$", card, re.MULTILINE)
    assert row is not None, f"the model card has no row {title!r}"
    return [cell.strip("`") for cell in row.groups()]


def test_models_lie_in_publisher_repository_file_layout() -> None:
    found = sorted(path.relative_to(SHIPPED_MODELS_DIR) for path in SHIPPED_MODELS_DIR.rglob("*.gguf"))
    assert found == sorted(path.relative_to(SHIPPED_MODELS_DIR) for path in SHIPPED_FILES)
    assert [len(path.parts) for path in found] == [3, 3]


def test_card_names_the_files_with_their_sizes_and_digests(card: str) -> None:
    assert card_row(card, "File") == [path.relative_to(SHIPPED_MODELS_DIR).as_posix() for path in SHIPPED_FILES]
    assert card_row(card, "Size in bytes") == [str(path.stat().st_size) for path in SHIPPED_FILES]
    assert card_row(card, "SHA-256") == [hashlib.sha256(path.read_bytes()).hexdigest() for path in SHIPPED_FILES]


def test_card_says_that_the_models_are_fixtures_and_not_an_assistant(card: str) -> None:
    assert "fixtures, not an assistant" in card


def test_chat_model_declares_a_llama_with_a_chat_template(chat_header: dict[str, object]) -> None:
    expected = {
        "general.architecture": "llama",
        "general.name": "Pebble",
        "general.license": "mit",
        "general.size_label": "2.6M",
        "general.file_type": 7,  # mostly q8_0
        "llama.context_length": 2048,
        "llama.embedding_length": 192,
        "llama.block_count": 6,
        "llama.vocab_size": 1024,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.add_bos_token": False,
    }
    assert {key: chat_header[key] for key in expected} == expected
    assert "<tool_call>" in str(chat_header["tokenizer.chat_template"])


def test_embedding_model_declares_a_mean_pooling_bert_without_a_chat_template(
    embedding_header: dict[str, object],
) -> None:
    expected = {
        "general.architecture": "bert",
        "general.license": "mit",
        "bert.context_length": 512,
        "bert.embedding_length": 128,
        "bert.attention.causal": False,
        "bert.pooling_type": 1,
    }
    assert {key: embedding_header[key] for key in expected} == expected
    assert "tokenizer.chat_template" not in embedding_header


def test_a_turn_ends_with_the_token_that_the_header_names(chat_header: dict[str, object]) -> None:
    tokens, end = chat_header["tokenizer.ggml.tokens"], chat_header["tokenizer.ggml.eos_token_id"]
    assert isinstance(tokens, list)
    assert isinstance(end, int)
    assert tokens[end] == "<|im_end|>"


def test_both_models_share_one_vocabulary(chat_header: dict[str, object], embedding_header: dict[str, object]) -> None:
    assert chat_header["tokenizer.ggml.tokens"] == embedding_header["tokenizer.ggml.tokens"]


@needs_tools
def test_template_in_tools_is_the_one_in_the_chat_model(chat_header: dict[str, object]) -> None:
    template = (TOOLS / "chat_template.jinja").read_text(encoding="utf-8")
    assert template == chat_header["tokenizer.chat_template"]


@needs_tools
def test_tokenizer_in_tools_is_the_one_in_the_chat_model(chat_header: dict[str, object]) -> None:
    tokenizer = json.loads((TOOLS / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {**tokenizer["model"]["vocab"], **{added["content"]: added["id"] for added in tokenizer["added_tokens"]}}
    assert sorted(ids, key=ids.__getitem__) == chat_header["tokenizer.ggml.tokens"]
    assert [" ".join(merge) for merge in tokenizer["model"]["merges"]] == chat_header["tokenizer.ggml.merges"]


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS.parent))
    return importlib.import_module("tiny_model.corpus")


@needs_tools
def test_corpus_of_a_seed_is_always_the_same(corpus: ModuleType) -> None:
    text = "\n".join(corpus.corpus_lines(seed=0, minimum_characters=100_000))
    assert hashlib.sha256(text.encode()).hexdigest() == CORPUS_DIGEST


@needs_tools
def test_corpus_of_another_seed_differs(corpus: ModuleType) -> None:
    first, second = (next(corpus.corpus_lines(seed=seed, minimum_characters=1)) for seed in (0, 1))
    assert first != second


@needs_tools
def test_corpus_holds_conversations_that_end_with_the_assistant(corpus: ModuleType) -> None:
    documents = [json.loads(line) for line in corpus.corpus_lines(seed=3, minimum_characters=100_000)]
    assert {document["kind"] for document in documents} == {"chat", "tool", "think", "text"}
    last_roles = {document["messages"][-1]["role"] for document in documents if document["kind"] != "text"}
    assert last_roles == {"assistant"}


@needs_tools
def test_corpus_calls_only_tools_that_are_on_offer(corpus: ModuleType) -> None:
    documents = [json.loads(line) for line in corpus.corpus_lines(seed=4, minimum_characters=100_000)]
    for document in documents:
        offered = {tool["function"]["name"] for tool in document.get("tools", ())}
        calls = [call for message in document.get("messages", ()) for call in message.get("tool_calls", ())]
        assert {call["function"]["name"] for call in calls} <= offered
