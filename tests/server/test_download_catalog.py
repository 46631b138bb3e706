"""What can be downloaded: folders and JSON documents, searched."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost

from lmstudio.server.errors import RequestError
from lmstudio.server.repository.listing import DownloadCatalog, DownloadOption, ListedModel

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://example.com/heron-q8_0.gguf"


def entry(*files: dict[str, Any], owner: str = "maker", name: str = "heron-GGUF", **more: Any) -> dict[str, Any]:
    return {"owner": owner, "name": name, "files": list(files), **more}


def document(*models: dict[str, Any]) -> str:
    return json.dumps({"models": models})


def saved(folder: Path, *models: dict[str, Any]) -> DownloadCatalog:
    (folder / "catalog.json").write_text(document(*models))
    return DownloadCatalog(folder / "catalog.json")


def touch(folder: Path, *names: str) -> DownloadCatalog:
    """A folder of files; each has as many bytes as its path has characters."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(len(name)))
    return DownloadCatalog(folder)


def models_of(catalog: DownloadCatalog) -> list[ListedModel]:
    return asyncio.run(catalog.models())


def options_of(catalog: DownloadCatalog) -> list[DownloadOption]:
    return [option for model in models_of(catalog) for option in model.options]


def found(catalog: DownloadCatalog, term: str, limit: int = 25) -> list[str]:
    return [model.repository for model in asyncio.run(catalog.search(term, limit))]


# Reading -------------------------------------------------------------------------------------------------------------


def test_without_a_catalogue_there_are_the_models_of_the_package() -> None:
    options = options_of(DownloadCatalog())
    assert [(option.identifier, option.quantization, option.size_bytes) for option in options] == [
        ("lmstudio-python/pebble-2.6m-GGUF/pebble-2.6m-q8_0.gguf", "Q8_0", 2_836_576),
        ("lmstudio-python/pebble-embed-0.8m-GGUF/pebble-embed-0.8m-q8_0.gguf", "Q8_0", 1_080_544),
    ]


def test_a_folder_offers_its_model_files(tmp_path: Path) -> None:
    catalog = touch(tmp_path, "b/m/x-q4_k_m.gguf", "b/m/x-q8_0.gguf", "a/n/y.gguf", "a/n/notes.txt", "stray.gguf")
    assert [model.repository for model in models_of(catalog)] == ["a/n", "b/m"]
    assert [(option.identifier, option.quantization) for option in options_of(catalog)] == [
        ("a/n/y.gguf", None),
        ("b/m/x-q4_k_m.gguf", "Q4_K_M"),
        ("b/m/x-q8_0.gguf", "Q8_0"),
    ]


def test_the_parts_of_a_model_are_downloaded_together(tmp_path: Path) -> None:
    parts = [f"big-Q4_0-{number:05}-of-00003.gguf" for number in (2, 1, 3)]
    (option,) = options_of(touch(tmp_path, *(f"a/n/{part}" for part in parts)))
    assert [file.name for file in option.files] == sorted(parts)
    assert option.identifier == f"a/n/{min(parts)}"
    assert option.quantization == "Q4_0"
    assert option.size_bytes == sum(len(f"a/n/{part}") for part in parts)


def test_the_image_part_comes_with_every_option(tmp_path: Path) -> None:
    catalog = touch(tmp_path, "a/n/see-q4_0.gguf", "a/n/see-q8_0.gguf", "a/n/mmproj-see-f16.gguf", "a/o/mmproj.gguf")
    assert [[file.name for file in option.files] for option in options_of(catalog)] == [
        ["see-q4_0.gguf", "mmproj-see-f16.gguf"],
        ["see-q8_0.gguf", "mmproj-see-f16.gguf"],
    ]


def test_a_document_names_files_here_and_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "heron-q4_0.gguf").write_bytes(b"12345")
    sha256 = "AB" * 32
    (model,) = models_of(
        saved(
            tmp_path,
            entry(
                {"path": "files/heron-q4_0.gguf"},
                {"url": URL, "size": 9, "sha256": sha256, "quantization": "iq1", "name": "other.gguf"},
                staffPick=True,
            ),
        )
    )
    here, there = (option.files[0] for option in model.options)
    assert model.is_staff_pick
    assert (here.name, here.source, here.size_bytes) == ("heron-q4_0.gguf", tmp_path / "files" / "heron-q4_0.gguf", 5)
    assert (there.name, there.source, there.size_bytes, there.sha256) == ("other.gguf", URL, 9, sha256.lower())
    assert [option.quantization for option in model.options] == ["Q4_0", "IQ1"]


def test_the_size_of_the_document_counts(tmp_path: Path) -> None:
    (tmp_path / "heron.gguf").write_bytes(b"12345")
    (option,) = options_of(saved(tmp_path, entry({"path": "heron.gguf", "size": 7})))
    assert option.size_bytes == 7


def test_a_catalogue_is_read_anew_each_time(tmp_path: Path) -> None:
    catalog = touch(tmp_path, "a/n/y.gguf")
    assert found(catalog, "") == ["a/n"]
    touch(tmp_path, "a/o/z.gguf")
    assert found(catalog, "") == ["a/n", "a/o"]


def test_a_document_at_an_address_has_files_beside_it() -> None:
    content = document(entry({"path": "files/heron.gguf", "size": 5}, {"url": URL, "size": 6}))
    with FileHost(catalog__json=content.encode()) as host:
        options = options_of(DownloadCatalog(f"{host.url}/catalog.json"))
    assert [option.files[0].source for option in options] == [f"{host.url}/files/heron.gguf", URL]


# Mistakes ------------------------------------------------------------------------------------------------------------

HERE = {"path": "heron.gguf"}


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        ([{"owner": "maker", "files": []}], "missing required field `name`"),
        ([entry({"pth": "heron.gguf"})], "contains unknown field `pth`"),
        ([entry({})], "a file of 'maker/heron-GGUF' needs a path or a url"),
        ([entry({**HERE, "url": URL})], "a file of 'maker/heron-GGUF' needs a path or a url"),
        ([entry({"url": URL})], "'heron-q8_0.gguf' of 'maker/heron-GGUF' needs its size"),
        ([entry({"path": "gone.gguf"})], "'gone.gguf' of 'maker/heron-GGUF' does not exist"),
        ([entry({**HERE, "size": 0})], "has a size that is not positive"),
        ([entry({**HERE, "sha256": "abc"})], "has a sha256 that is not 64 hexadecimal digits"),
        ([entry({"path": "heron.bin", "size": 5})], "'heron.bin' of 'maker/heron-GGUF' is not a GGUF file"),
        ([entry({"url": "file:///etc/x.gguf", "size": 5})], "'file:///etc/x.gguf' is not an http address"),
        ([entry(HERE), entry(name="HERON-gguf")], "it has 'maker/HERON-gguf' twice"),
        ([entry(HERE, {"url": URL, "size": 5, "name": "Heron.gguf"})], "two files of 'maker/heron-GGUF' have the same"),
        *(
            ([entry(HERE, owner=name)], f"{name!r} cannot be the name of a file or folder")
            for name in ("", "..", ".hidden", "a/b", "a\\b", "/", "a:b", "ends.", " a", "a\n")
        ),
        ([entry({**HERE, "name": "../heron.gguf"})], "'../heron.gguf' cannot be the name"),
    ],
)
def test_a_document_with_a_mistake_is_refused(tmp_path: Path, models: list[Any], problem: str) -> None:
    (tmp_path / "heron.gguf").write_bytes(b"12345")
    catalog = saved(tmp_path, *models)
    with pytest.raises(RequestError, match=re.escape(problem)) as error:
        catalog.check()
    assert error.value.title.startswith(f"The catalogue {tmp_path / 'catalog.json'} is not valid: ")


def test_what_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text("models: []")
    with pytest.raises(RequestError, match="is not valid: "):
        DownloadCatalog(tmp_path / "catalog.json").check()


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="cannot be read"):
        DownloadCatalog(tmp_path / "catalog.json").check()


def test_a_catalogue_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=re.escape(f"There is no catalogue at {tmp_path / 'none'}.")):
        DownloadCatalog(tmp_path / "none").check()


@pytest.mark.parametrize("path", ["file:///etc/passwd.gguf", "ftp://example.com/x.gguf"])
def test_a_catalogue_from_elsewhere_cannot_name_files_of_this_machine(path: str) -> None:
    with FileHost(catalog__json=document(entry({"path": path, "size": 5})).encode()) as host:
        catalog = DownloadCatalog(f"{host.url}/catalog.json")
        catalog.check()  # nothing is asked for yet
        assert host.requests == []
        with pytest.raises(RequestError, match="is not an http address"):
            models_of(catalog)


def test_an_address_without_a_catalogue_is_an_error_each_time() -> None:
    with FileHost() as host:
        catalog = DownloadCatalog(f"{host.url}/none.json")
        for _ in range(2):
            with pytest.raises(RequestError, match=re.escape(f"Cannot download {host.url}/none.json: 404 Not Found.")):
                models_of(catalog)
    with pytest.raises(RequestError, match=re.escape(f"Cannot download {host.url}/none.json: ")):
        models_of(catalog)


# Searching -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def herons(tmp_path: Path) -> DownloadCatalog:
    (tmp_path / "x.gguf").write_bytes(b"12345")
    names = [("maker", "grey-heron"), ("maker", "heron"), ("other", "Heron-Egret"), ("other", "crane")]
    file = {"path": "x.gguf"}
    return saved(tmp_path, *(entry(file, owner=owner, name=name, staffPick=name == "crane") for owner, name in names))


def test_a_search_finds_every_word_in_the_name(herons: DownloadCatalog) -> None:
    assert found(herons, "  HERON ") == ["maker/heron", "maker/grey-heron", "other/Heron-Egret"]
    assert found(herons, "heron other") == ["other/Heron-Egret"]
    assert found(herons, "stork") == []


def test_the_exact_name_comes_first(herons: DownloadCatalog) -> None:
    assert found(herons, "heron")[0] == "maker/heron"
    assert found(herons, "Other/crane") == ["other/crane"]


def test_without_words_everything_is_found_and_staff_picks_come_first(herons: DownloadCatalog) -> None:
    assert found(herons, "") == ["other/crane", "maker/grey-heron", "maker/heron", "other/Heron-Egret"]
    assert found(herons, "", limit=2) == ["other/crane", "maker/grey-heron"]


def test_a_model_without_files_is_not_listed(tmp_path: Path) -> None:
    assert models_of(saved(tmp_path, entry())) == []
