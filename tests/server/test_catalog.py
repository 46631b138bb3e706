"""The catalogue: reading GGUF headers, naming models, finding them by name."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstudio.server.catalog import Catalog, InvalidModelFileError, ModelNotFoundError, read_model_file
from lmstudio.server.models import CHAT_MODEL_FILE, EMBEDDING_MODEL_FILE

Tensor = tuple[str, list[int], int, int]  # name, dimensions, type, offset
F32, Q8_0 = 0, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(item: Any) -> bytes:
    """A metadata value with its type: bool, int (u32), float, str, or a list of int or str."""
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    kind = 8 if item and isinstance(item[0], str) else 5
    body = b"".join(text(one) if kind == 8 else struct.pack("<i", one) for one in item)
    return struct.pack("<IIQ", 9, kind, len(item)) + body


def gguf(metadata: dict[str, Any], tensors: list[Tensor] | None = None, *, data: int | None = None) -> bytes:
    """A GGUF file; *data* is how many bytes of tensor data follow, by default as many as the tensors need."""
    if tensors is None:
        tensors = [("token_embd.weight", [64, 32], F32, 0)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(key) + value(item) for key, item in metadata.items())
    needed = 0
    for name, dimensions, kind, offset in tensors:
        head += text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        head += struct.pack("<IQ", kind, offset)
        count = 1
        for dimension in dimensions:
            count *= dimension
        needed = max(needed, offset + (count * 4 if kind == F32 else count // 32 * 34))
    padding = -len(head) % (metadata.get("general.alignment") or 32)
    return head + bytes(padding + (needed if data is None else data))


LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Heron",
    "general.file_type": 15,
    "llama.context_length": 8192,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.tokens": ["a", "b", "longer"],
    "tokenizer.ggml.token_type": [1, 1, 3],
    "tokenizer.chat_template": "{% if tools %}{{ tools }}{% endif %}",
}


def written(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_everything_a_listing_shows_is_read_from_the_header(tmp_path: Path) -> None:
    file = written(tmp_path, "models/acme/Heron-3B-GGUF/Heron-3B-Q4_K_M.gguf", gguf(LLAMA))
    model = read_model_file(file)
    assert (model.kind, model.model_key, model.publisher) == ("llm", "heron-3b", "acme")
    assert model.path == "acme/Heron-3B-GGUF/Heron-3B-Q4_K_M.gguf"
    assert model.file == file
    assert (model.display_name, model.architecture, model.max_context_length) == ("Heron", "llama", 8192)
    assert (model.quantization, model.params_string, model.size_bytes) == (("Q4_K_M", 4), "2K", file.stat().st_size)
    assert (model.vision, model.trained_for_tool_use) == (False, True)


def test_shipped_models_are_described() -> None:
    chat, embedding = read_model_file(CHAT_MODEL_FILE), read_model_file(str(EMBEDDING_MODEL_FILE))
    assert (chat.kind, chat.model_key, chat.max_context_length) == ("llm", "pebble-2.6m", 2048)
    assert (chat.params_string, chat.quantization, chat.trained_for_tool_use) == ("2.6M", ("Q8_0", 8), True)
    assert (embedding.kind, embedding.max_context_length) == ("embedding", 512)


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"general.architecture": "bert"}, "embedding"),
        ({"general.architecture": "qwen3", "qwen3.pooling_type": 3}, "embedding"),
        ({"general.architecture": "qwen3", "qwen3.pooling_type": 0}, "llm"),
        ({"general.architecture": "qwen3"}, "llm"),
    ],
)
def test_kind_follows_architecture_and_pooling(tmp_path: Path, metadata: dict[str, Any], kind: str) -> None:
    assert read_model_file(written(tmp_path, "m.gguf", gguf(metadata))).kind == kind


@pytest.mark.parametrize(
    ("name", "metadata", "key", "quantization"),
    [
        ("Tern-7B-Instruct-Q4_K_M.gguf", {}, "tern-7b-instruct", ("Q4_K_M", 4)),
        ("tern.IQ2_XXS.gguf", {}, "tern", ("IQ2_XXS", 2)),
        ("tern-F16.GGUF", {}, "tern", ("F16", 16)),
        ("tern-mxfp4.gguf", {"general.file_type": 9999}, "tern", ("MXFP4", 4)),
        ("My Tern.gguf", {"general.file_type": 7}, "my-tern", ("Q8_0", 8)),
        ("tern", {}, "tern", None),
        ("Gull-7B-GGUF/model.gguf", {}, "gull-7b", None),
        ("tern-q8_0-00001-of-00002.gguf", {}, "tern", ("Q8_0", 8)),
    ],
)
def test_key_and_quantization_follow_the_file_name(
    tmp_path: Path, name: str, metadata: dict[str, Any], key: str, quantization: tuple[str, int] | None
) -> None:
    model = read_model_file(written(tmp_path, name, gguf({"general.architecture": "llama", **metadata})))
    assert (model.model_key, model.quantization, model.publisher) == (key, quantization, "local")


def test_model_in_several_files_has_the_size_of_all(tmp_path: Path) -> None:
    first = written(tmp_path, "tern-00001-of-00002.gguf", gguf({"general.architecture": "llama"}))
    written(tmp_path, "tern-00002-of-00002.gguf", bytes(1000))
    assert read_model_file(first).size_bytes == first.stat().st_size + 1000


@pytest.mark.parametrize(
    ("elements", "label"), [(0, None), (900, "900"), (791_936, "792K"), (7_000_000_000, "7B"), (13_240_000_000, "13B")]
)
def test_parameters_are_counted_when_the_file_does_not_say(tmp_path: Path, elements: int, label: str | None) -> None:
    # A type without known block size is not checked against the file's length.
    tensors = [("w", [elements, 1], 99, 0)] if elements else []
    model = read_model_file(written(tmp_path, "m.gguf", gguf({"general.architecture": "x"}, tensors, data=0)))
    assert model.params_string == label


def test_size_label_is_preferred_to_counting(tmp_path: Path) -> None:
    metadata = {"general.architecture": "x", "general.size_label": "8x7B", "general.basename": "Skua"}
    model = read_model_file(written(tmp_path, "m.gguf", gguf(metadata)))
    assert (model.params_string, model.display_name, model.max_context_length) == ("8x7B", "Skua", 4096)


def test_model_with_a_projector_beside_it_sees(tmp_path: Path) -> None:
    file = written(tmp_path, "skua.gguf", gguf({"general.architecture": "llama"}))
    projector = written(tmp_path, "mmproj-skua.gguf", gguf({"general.architecture": "clip"}))
    assert read_model_file(file).vision
    with pytest.raises(InvalidModelFileError, match="image part of a model"):
        read_model_file(projector)


def test_large_vocabulary_is_skipped(tmp_path: Path) -> None:
    tokens = [f"token{number}" for number in range(100_000)]
    metadata = {
        "general.architecture": "x",
        "tokenizer.ggml.tokens": tokens,
        "t.scores": [1] * 300_000,
        "x.context_length": 7,
    }
    assert read_model_file(written(tmp_path, "m.gguf", gguf(metadata))).max_context_length == 7


GOOD = gguf(LLAMA)
HEAD = struct.Struct("<4sIQQ")
ONE_KEY = HEAD.pack(b"GGUF", 3, 0, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "begins with b''"),
        (b"GG", "begins with b'GG'"),
        (b"nope" * 100, "begins with b'nope'"),
        (HEAD.pack(b"GGUF", 1, 0, 0), "version is 1"),
        (HEAD.pack(b"GGUF", 3 << 24, 0, 0), "big-endian"),
        (b"GGUF\x03\0\0\0", "in the middle of its header"),
        (HEAD.pack(b"GGUF", 3, 0, 2**60), "claims 0 tensors and 1152921504606846976 metadata keys"),
        (HEAD.pack(b"GGUF", 3, 2**40, 0), "claims 1099511627776 tensors"),
        (ONE_KEY + struct.pack("<Q", 2**63) + bytes(99), "a text of 9223372036854775808 bytes"),
        (ONE_KEY + text("k") + struct.pack("<I", 77) + bytes(99), "unknown type 77"),
        (
            HEAD.pack(b"GGUF", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 4, 2**50),
            "array of 1125899906842624 values",
        ),
        (ONE_KEY + text("k") + struct.pack("<IIQ", 9, 9, 1), "array of the unknown type 9"),
        (ONE_KEY + text("k") + struct.pack("<IIQQ", 9, 8, 2, 2**62), "in the middle of its header"),
        (HEAD.pack(b"GGUF", 3, 1, 0) + text("w") + struct.pack("<I", 2**31) + bytes(99), "2147483648 dimensions"),
        (gguf({**LLAMA, "general.alignment": 0}), "alignment is 0"),
        (GOOD[:60], "ends after 60"),
        (GOOD[:-1], "it is incomplete"),
        (gguf({"general.name": "x"}), "names no architecture"),
    ],
)
def test_damaged_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    file = written(tmp_path, "bad.gguf", content)
    with pytest.raises(InvalidModelFileError) as caught:
        Catalog.from_files([file])
    message = str(caught.value)
    assert reason in message
    assert message.startswith(str(file))
    assert message.endswith(".")
    assert "\n" not in message


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelFileError, match=r"Cannot read .*gone\.gguf: No such file"):
        Catalog.from_files([tmp_path / "gone.gguf"])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_raises_anything_but_the_documented_error(data: st.DataObject) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(GOOD) // 2))
        content[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with tempfile.TemporaryDirectory() as folder:
        file = written(Path(folder), "m.gguf", bytes(content[: cut or None]))
        try:
            read_model_file(file)
        except InvalidModelFileError:
            return


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    llama = {"general.architecture": "llama"}
    q4, q8 = {**llama, "general.file_type": 15}, {**llama, "general.file_type": 7}
    return Catalog.from_files(
        [
            written(tmp_path, "models/acme/Heron-3B-GGUF/Heron-3B-Q4_K_M.gguf", gguf(q4)),
            written(tmp_path, "models/acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf", gguf(q8)),
            written(tmp_path, "models/reef/tern-GGUF/tern.gguf", gguf(llama)),
            written(tmp_path, "models/dune/tern-GGUF/tern.gguf", gguf(llama)),
            written(tmp_path, "models/dune/skua-GGUF/skua-q8_0.gguf", gguf(llama)),
        ]
    )


def test_colliding_keys_are_told_apart(catalog: Catalog) -> None:
    assert [model.model_key for model in catalog.models] == [
        "heron-3b@q4_k_m",
        "heron-3b@q8_0",
        "tern",
        "tern:2",
        "skua",
    ]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("heron-3b@q8_0", "acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf"),
        ("HERON-3B@Q8_0", "acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf"),
        ("acme/heron-3b@q8_0", "acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf"),
        ("acme/Heron-3B-GGUF@q8_0", "acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf"),
        ("Heron-3B-Q8_0.gguf", "acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf"),
        ("heron-3b-q8_0", "acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf"),
        ("acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf", "acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf"),
        ("acme\\Heron-3B-GGUF\\Heron-3B-Q8_0.gguf", "acme/Heron-3B-GGUF/Heron-3B-Q8_0.gguf"),
        ("tern:2", "dune/tern-GGUF/tern.gguf"),
        ("dune/tern", "dune/tern-GGUF/tern.gguf"),
        ("dune/tern-GGUF/", "dune/tern-GGUF/tern.gguf"),
        ("tern", "reef/tern-GGUF/tern.gguf"),
        ("skua", "dune/skua-GGUF/skua-q8_0.gguf"),
        ("skua@q8_0", "dune/skua-GGUF/skua-q8_0.gguf"),
        ("dune/skua-GGUF", "dune/skua-GGUF/skua-q8_0.gguf"),
        ("skua-gguf/skua-q8_0.gguf", "dune/skua-GGUF/skua-q8_0.gguf"),
    ],
)
def test_model_is_found_under_every_usual_name(catalog: Catalog, key: str, path: str) -> None:
    model, ambiguous = catalog.resolve(key)
    assert (model.path, ambiguous) == (path, [])


def test_model_is_found_by_absolute_path(catalog: Catalog) -> None:
    for model in catalog.models:
        assert catalog.resolve(str(model.file)) == (model, [])


def test_name_of_several_models_resolves_to_the_first_and_lists_all(catalog: Catalog) -> None:
    both = ["heron-3b@q4_k_m", "heron-3b@q8_0"]
    for key in ("heron-3b", "acme/heron-3b", "acme/Heron-3B-GGUF", "heron-3b-gguf"):
        model, ambiguous = catalog.resolve(key)
        assert (model.model_key, ambiguous) == ("heron-3b@q4_k_m", both)


def test_unknown_name_carries_near_matches(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        catalog.resolve("heron")
    assert caught.value.key == "heron"
    assert caught.value.near_matches[0] == "heron-3b@q4_k_m"
    assert "Did you mean heron-3b@q4_k_m" in str(caught.value)


def test_unknown_name_without_near_matches_lists_what_there_is(catalog: Catalog) -> None:
    for key in ("albatross-70b", "", "skua@q2_k"):
        with pytest.raises(ModelNotFoundError):
            catalog.resolve(key)
    with pytest.raises(ModelNotFoundError, match="There are: none"):
        Catalog().resolve("x")
    many = Catalog(replace(catalog.models[0], model_key=f"m{number}", path=f"m{number}") for number in range(12))
    with pytest.raises(ModelNotFoundError, match="m9 and 2 more"):
        many.resolve("albatross-70b")


def test_same_file_twice_is_one_model() -> None:
    assert len(Catalog.from_files([CHAT_MODEL_FILE, CHAT_MODEL_FILE]).models) == 1


def test_shipped_catalogue_holds_a_chat_and_an_embedding_model() -> None:
    shipped = Catalog.shipped()
    assert {model.kind for model in shipped.models} == {"llm", "embedding"}
    assert {model.publisher for model in shipped.models} == {"lmstudio-python"}
    assert shipped.resolve("pebble-2.6m@q8_0")[0].file == CHAT_MODEL_FILE
    assert shipped.resolve("lmstudio-python/pebble-2.6m-GGUF")[0].file == CHAT_MODEL_FILE
