"""The catalogue: reading GGUF headers, naming models, finding them by name."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf_files import F32, LLAMA, gguf, text, written
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstudio.server.catalog import Catalog, InvalidModelFileError, ModelNotFoundError, read_model_file
from lmstudio.server.models import CHAT_MODEL_FILE, EMBEDDING_MODEL_FILE


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
        ("tern-UD-Q4_K_XL.gguf", {"general.file_type": 15}, "tern", ("Q4_K_XL", 4)),
        ("tern.i1-IQ3_M.gguf", {"general.file_type": 27}, "tern", ("IQ3_M", 3)),
        ("tern-mxfp4.gguf", {"general.file_type": 9999}, "tern", ("MXFP4", 4)),
        ("My Tern.gguf", {"general.file_type": 7}, "my-tern", ("Q8_0", 8)),
        ("tern", {}, "tern", None),
        ("Gull-7B-GGUF/model.gguf", {}, "gull-7b", None),
        ("tern-q8_0-00001-of-00001.gguf", {}, "tern", ("Q8_0", 8)),
    ],
)
def test_key_and_quantization_follow_the_file_name(
    tmp_path: Path, name: str, metadata: dict[str, Any], key: str, quantization: tuple[str, int] | None
) -> None:
    model = read_model_file(written(tmp_path, name, gguf({"general.architecture": "llama", **metadata})))
    assert (model.model_key, model.quantization, model.publisher) == (key, quantization, "local")


def test_experts_are_counted(tmp_path: Path) -> None:
    mixture = {"general.architecture": "qwen3moe", "qwen3moe.expert_count": 128, "qwen3moe.expert_used_count": 8}
    assert read_model_file(written(tmp_path, "m.gguf", gguf(mixture))).expert_count == 128
    dense = {"general.architecture": "llama", "llama.expert_count": 0}
    assert read_model_file(written(tmp_path, "d.gguf", gguf(dense))).expert_count is None


@pytest.mark.parametrize(
    ("repository", "file_name", "key"),
    [
        ("Nomic-Tern-v1.5-GGUF", "nomic-tern-v1.5.Q4_K_M.gguf", "text-embedding-nomic-tern-v1.5"),
        ("text-embedding-gull", "gull-F16.gguf", "text-embedding-gull"),
    ],
)
def test_key_of_an_embedding_model_says_so_and_is_found_without(
    tmp_path: Path, repository: str, file_name: str, key: str
) -> None:
    file = written(tmp_path, f"models/acme/{repository}/{file_name}", gguf({"general.architecture": "bert"}))
    catalog = Catalog.from_files([file])
    assert catalog.models[0].model_key == key
    short = key.removeprefix("text-embedding-")
    for name in (key, short, f"acme/{short}", f"acme/{key}"):
        assert catalog.resolve(name) == (catalog.models[0], [])


@pytest.mark.parametrize(
    ("repository", "key"),
    [
        ("Tern-7B-Instruct-GGUF", "tern-7b-instruct"),
        ("tern-7b-Q4_K_M-GGUF", "tern-7b"),
        ("Tern 7B.gguf", "tern-7b"),
        ("tern", "tern"),
    ],
)
def test_key_follows_the_repository(tmp_path: Path, repository: str, key: str) -> None:
    file = written(tmp_path, f"models/acme/{repository}/weights-Q4_K_M.gguf", gguf(LLAMA))
    assert Catalog.from_files([file]).models[0].model_key == key


def test_model_in_several_files_has_the_size_of_all(tmp_path: Path) -> None:
    first = written(tmp_path, "tern-00001-of-00002.gguf", gguf({"general.architecture": "llama"}))
    second = written(tmp_path, "tern-00002-of-00002.gguf", gguf({"split.no": 1}, [("w", [1000, 1], F32, 0)]))
    model = read_model_file(first)
    assert model.size_bytes == first.stat().st_size + second.stat().st_size
    assert model.params_string == "3K"
    with pytest.raises(InvalidModelFileError, match="is part 2 of the model 'tern': name its first part instead"):
        read_model_file(second)
    second.unlink()
    with pytest.raises(InvalidModelFileError, match=r"tern-00002-of-00002\.gguf is missing beside it"):
        read_model_file(first)


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
        "reef/tern",
        "dune/tern",
        "skua",
    ]
    assert [model.model_key for model in catalog.listed] == ["heron-3b@q4_k_m", "reef/tern", "dune/tern", "skua"]
    assert [model.listed_key for model in catalog.listed] == ["heron-3b", "reef/tern", "dune/tern", "skua"]


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
        ("dune/tern", "dune/tern-GGUF/tern.gguf"),
        ("dune/tern-GGUF/", "dune/tern-GGUF/tern.gguf"),
        ("reef/tern", "reef/tern-GGUF/tern.gguf"),
        ("heron-3b", "acme/Heron-3B-GGUF/Heron-3B-Q4_K_M.gguf"),
        ("acme/heron-3b", "acme/Heron-3B-GGUF/Heron-3B-Q4_K_M.gguf"),
        ("acme/Heron-3B-GGUF", "acme/Heron-3B-GGUF/Heron-3B-Q4_K_M.gguf"),
        ("heron-3b-gguf", "acme/Heron-3B-GGUF/Heron-3B-Q4_K_M.gguf"),
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
    for key in ("tern", "Tern", "tern-gguf", "tern.gguf"):
        model, ambiguous = catalog.resolve(key)
        assert (model.path, ambiguous) == ("reef/tern-GGUF/tern.gguf", ["reef/tern", "dune/tern"])


def test_unknown_name_carries_near_matches(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        catalog.resolve("heron")
    assert caught.value.key == "heron"
    assert caught.value.near_matches[0] == "heron-3b"
    assert "Did you mean heron-3b or heron-3b@q" in str(caught.value)


def test_unknown_name_without_near_matches_lists_what_there_is(catalog: Catalog) -> None:
    for key in ("albatross-70b", "", "skua@q2_k"):
        with pytest.raises(ModelNotFoundError):
            catalog.resolve(key)
    with pytest.raises(ModelNotFoundError, match="There are: none"):
        Catalog().resolve("x")
    many = Catalog(replace(catalog.models[4], model_key=f"m{number}", path=f"m{number}") for number in range(12))
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


# Variants ------------------------------------------------------------------------------------------------------------


def variants(folder: Path, *quantizations: str) -> Catalog:
    names = [f"models/acme/Heron-GGUF/Heron-{quantization}.gguf" for quantization in quantizations]
    return Catalog.from_files(written(folder, name, gguf({"general.architecture": "llama"})) for name in names)


@pytest.mark.parametrize(
    ("quantizations", "selected"),
    [
        (["Q8_0", "Q4_K_M", "Q2_K"], "q4_k_m"),
        (["F16", "Q8_0", "Q5_K_M"], "q5_k_m"),
        (["Q2_K", "Q6_K", "Q3_K_L"], "q6_k"),
        (["Q2_K", "Q3_K_L"], "q3_k_l"),
    ],
)
def test_key_of_a_model_means_its_usual_quantization(tmp_path: Path, quantizations: list[str], selected: str) -> None:
    catalog = variants(tmp_path, *quantizations)
    model, ambiguous = catalog.resolve("heron")
    assert (model.model_key, model.listed_key, ambiguous) == (f"heron@{selected}", "heron", [])
    assert catalog.listed == (model,)
    assert sorted(model.variants) == sorted(f"heron@{each.lower()}" for each in quantizations)
    assert {each.model_key for each in catalog.variants(model)} == set(model.variants)


def test_model_alone_has_no_variants(tmp_path: Path) -> None:
    catalog = variants(tmp_path, "Q8_0")
    (model,) = catalog.models
    assert (model.model_key, model.variants, catalog.variants(model)) == ("heron", (), [])
    assert catalog.resolve("heron@q8_0") == (model, [])


def test_other_models_in_one_repository_are_no_variants(tmp_path: Path) -> None:
    names = ["Tern-Q4_K_M", "Tern-Q8_0", "Gull-Q4_K_M"]
    catalog = Catalog.from_files(written(tmp_path, f"models/acme/birds/{name}.gguf", gguf(LLAMA)) for name in names)
    assert [model.model_key for model in catalog.models] == ["tern@q4_k_m", "tern@q8_0", "gull"]
    assert catalog.resolve("acme/birds")[1] == ["tern", "gull"]


def test_files_that_differ_in_nothing_that_a_key_tells_are_numbered(tmp_path: Path) -> None:
    names = ["a/tern-Q8_0.gguf", "b/tern-Q8_0.gguf", "c/tern-Q8_0.gguf"]
    catalog = Catalog.from_files(written(tmp_path, name, gguf(LLAMA)) for name in names)
    assert [model.model_key for model in catalog.models] == ["tern", "tern:2", "tern:3"]
