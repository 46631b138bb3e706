"""A models folder: what is in it, and what becomes of it while somebody looks."""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from gguf_files import LLAMA, gguf, written

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server, models_folder
from lmstudio.server.catalog import Catalog, read_model_file
from lmstudio.server.models_folder import ModelsFolder

if TYPE_CHECKING:
    from pathlib import Path

HERON = gguf(LLAMA)
LONGER = gguf({**LLAMA, "llama.context_length": 32_768})


def keys(catalog: Catalog) -> list[str]:
    return [model.listed_key for model in catalog.listed]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Of the empty folder tmp_path / "models"."""
    return Catalog(folder=ModelsFolder(tmp_path / "models"))


def test_folder_need_not_exist(catalog: Catalog, tmp_path: Path) -> None:
    assert keys(catalog) == []
    written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    assert keys(catalog) == ["heron"]


def test_file_that_comes_or_goes_is_seen_by_the_next_listing(catalog: Catalog, tmp_path: Path) -> None:
    first = written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    assert keys(catalog) == ["heron"]
    written(tmp_path, "models/reef/Tern-GGUF/tern-Q8_0.gguf", HERON)
    assert keys(catalog) == ["heron", "tern"]
    first.unlink()
    assert keys(catalog) == ["tern"]
    assert catalog.resolve("tern")[0].publisher == "reef"


def test_second_quantization_makes_variants_of_both(catalog: Catalog, tmp_path: Path) -> None:
    written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    assert [model.model_key for model in catalog.models] == ["heron"]
    written(tmp_path, "models/acme/Heron-GGUF/heron-Q4_K_M.gguf", HERON)
    assert [model.model_key for model in catalog.models] == ["heron@q4_k_m", "heron@q8_0"]
    assert keys(catalog) == ["heron"]


@pytest.mark.parametrize("is_in_place", [True, False])
def test_file_that_is_replaced_is_read_again(catalog: Catalog, tmp_path: Path, is_in_place: bool) -> None:
    file = written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    assert catalog.models[0].max_context_length == 8192
    if is_in_place:
        file.write_bytes(LONGER)
        os.utime(file, ns=(1, 1))  # the clock of a file system may be too coarse to tell two writes apart
    else:
        os.replace(written(tmp_path, "new", LONGER), file)
    assert catalog.models[0].max_context_length == 32_768


def test_only_what_changed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def count(path: Path, *, path_in_catalog: str) -> object:
        read.append(path.name)
        return read_model_file(path, path_in_catalog=path_in_catalog)

    monkeypatch.setattr(models_folder, "read_model_file", count)
    folder = ModelsFolder(tmp_path)
    written(tmp_path, "acme/Heron-GGUF/heron.gguf", HERON)
    first = folder.models()
    assert folder.models() is first
    written(tmp_path, "acme/Tern-GGUF/tern.gguf", HERON)
    folder.models()
    assert read == ["heron.gguf", "tern.gguf"]


def test_broken_file_is_left_out_with_one_warning(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    broken = written(tmp_path, "models/acme/Tern-GGUF/tern-Q8_0.gguf", HERON[:-1])
    with caplog.at_level(logging.WARNING, "lmstudio.server"):
        assert keys(catalog) == keys(catalog) == ["heron"]
        written(tmp_path, "models/acme/Tern-GGUF/tern-F16.gguf", HERON)
        assert keys(catalog) == ["heron", "tern"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"Left out of the models folder: {broken} is not a usable GGUF file: it is incomplete")
    broken.write_bytes(HERON)
    assert keys(catalog) == ["heron", "tern"]
    assert len(catalog.models) == 3


def test_image_part_belongs_to_the_model_beside_it(catalog: Catalog, tmp_path: Path) -> None:
    written(tmp_path, "models/acme/Skua-GGUF/skua-Q8_0.gguf", HERON)
    assert not catalog.models[0].vision
    written(tmp_path, "models/acme/Skua-GGUF/mmproj-skua-F16.gguf", gguf({"general.architecture": "clip"}))
    (model,) = catalog.models
    assert (model.model_key, model.vision) == ("skua", True)


def test_model_in_several_files_is_one_when_all_are_there(catalog: Catalog, tmp_path: Path) -> None:
    parts = [f"models/acme/Heron-GGUF/heron-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    sizes = [written(tmp_path, part, HERON).stat().st_size for part in parts[:2]]
    assert keys(catalog) == []
    sizes.append(written(tmp_path, parts[2], LONGER).stat().st_size)
    (model,) = catalog.models
    assert (model.model_key, model.size_bytes) == ("heron", sum(sizes))
    assert model.path == "acme/Heron-GGUF/heron-Q8_0-00001-of-00003.gguf"


def test_links_are_followed_and_broken_ones_ignored(catalog: Catalog, tmp_path: Path) -> None:
    elsewhere = written(tmp_path, "store/blob", HERON)
    place = tmp_path / "models" / "acme" / "Heron-GGUF"
    place.mkdir(parents=True)
    (place / "heron-Q8_0.gguf").symlink_to(elsewhere)
    (place / "gone-Q8_0.gguf").symlink_to(tmp_path / "nothing")
    written(tmp_path, "other/Tern-GGUF/tern-F16.gguf", HERON)
    (tmp_path / "models" / "reef").symlink_to(tmp_path / "other")
    assert keys(catalog) == ["heron", "tern"]
    assert catalog.models[0].size_bytes == len(HERON)


def test_what_has_another_place_or_ending_is_no_model(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("heron.gguf", "acme/heron.gguf", "acme/Heron/README.md", "acme/Heron/x.gguf.part", ".tmp/a/b.gguf"):
        written(tmp_path, f"models/{name}", HERON)
    assert keys(catalog) == []


def test_folder_that_goes_away_takes_its_models_with_it(catalog: Catalog, tmp_path: Path) -> None:
    written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    assert keys(catalog) == ["heron"]
    shutil.rmtree(tmp_path / "models")
    assert keys(catalog) == []


def test_file_in_the_folder_takes_the_place_of_a_given_one(tmp_path: Path) -> None:
    given = read_model_file(written(tmp_path, "given.gguf", LONGER), path_in_catalog="acme/Heron-GGUF/heron-Q8_0.gguf")
    catalog = Catalog([given], ModelsFolder(tmp_path / "models"))
    assert catalog.models[0].max_context_length == 32_768
    file = written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    assert [(model.file, model.max_context_length) for model in catalog.models] == [(file, 8192)]


def test_model_that_was_downloaded_to_the_folder_goes_away_with_its_file(catalog: Catalog, tmp_path: Path) -> None:
    file = written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    added = catalog.add(read_model_file(file))
    assert (added.model_key, keys(catalog)) == ("heron", ["heron"])
    file.unlink()
    assert keys(catalog) == []


def test_loaded_model_is_found_by_its_name_whatever_becomes_of_its_file(tmp_path: Path) -> None:
    file = written(tmp_path, "models/acme/Heron-GGUF/heron-Q8_0.gguf", HERON)
    with (
        Server(engine=ScriptedEngine(), models_folder=tmp_path / "models") as server,
        lms.Client(server.api_host) as client,
    ):
        loaded = client.llm.load_new_instance("heron", "mine")
        written(tmp_path, "models/reef/Heron-GGUF/heron-Q8_0.gguf", HERON)
        assert [model.model_key for model in client.llm.list_downloaded()][1:] == ["acme/heron", "reef/heron"]
        for name in ("heron", "acme/heron"):
            assert client.llm.model(name) == loaded
        file.unlink()
        assert client.llm.model("acme/heron") == loaded
        assert client.llm.model("reef/heron") != loaded
