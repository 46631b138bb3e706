"""`lmstudio import`: a model file goes where the server finds it, and nothing is lost on the way."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from cli.shell import Shell
from lmstudio.__main__ import main
from lmstudio.cli import importing
from lmstudio.cli.importing import FOLDER_VARIABLE
from lmstudio.server import ScriptedEngine, Server
from lmstudio.server.models import EMBEDDING_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = EMBEDDING_MODEL_FILE.read_bytes()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder, not there yet."""
    folder = tmp_path / "models"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model to import."""
    file = tmp_path / "Heron-1B-Q4_K_M.gguf"
    file.write_bytes(CONTENT)
    return file


def test_import_moves_a_file_to_where_ls_finds_it(models: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.mkdir()
    with Server(engine=ScriptedEngine(), models_folder=models) as server:
        assert main(["import", str(file), "--user-repo", "maker/heron-GGUF"]) == 0
        target = models / "maker" / "heron-GGUF" / file.name
        assert f" to {target}.\n`lmstudio ls` shows it.\n" in capsys.readouterr().err
        assert (target.read_bytes(), file.exists()) == (CONTENT, False)
        found = json.loads(Shell(server, capsys)("ls", "heron", "--json"))
    assert [model["path"] for model in found] == [f"maker/heron-GGUF/{file.name}"]


@pytest.mark.parametrize(
    ("option", "is_as_wanted"),
    [
        ("-c", lambda source, target: not os.path.samefile(source, target)),
        ("-L", lambda source, target: os.path.samefile(source, target) and not target.is_symlink()),
        ("-l", lambda source, target: target.is_symlink() and target.resolve() == source),
    ],
)
def test_import_copies_or_links(
    models: Path, file: Path, option: str, is_as_wanted: Callable[[Path, Path], bool]
) -> None:
    assert main(["import", str(file), "--yes", option, "--quiet"]) == 0
    target = models / "imported" / "Heron-1B" / file.name
    assert (target.read_bytes(), file.read_bytes()) == (CONTENT, CONTENT)
    assert is_as_wanted(file, target)
    assert [path.name for path in target.parent.iterdir()] == [file.name]


def test_a_file_on_another_disk_is_moved_as_well(models: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_moved", lambda _source, _target: False)
    assert main(["import", str(file), "--yes", "--quiet"]) == 0
    target = models / "imported" / "Heron-1B" / file.name
    assert (target.read_bytes(), file.exists()) == (CONTENT, False)


def test_a_dry_run_touches_nothing(models: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(file), "--yes", "--dry-run"]) == 0
    target = models / "imported" / "Heron-1B" / file.name
    assert capsys.readouterr().out.startswith(f"Would move {file} (1.")
    assert (file.exists(), models.exists(), target.exists()) == (True, False, False)


def test_what_cannot_be_imported_stays_where_it_is(
    models: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        assert main(["import", *arguments]) == 1
        return capsys.readouterr().err

    assert main(["import", str(file), "--yes", "--copy"]) == 0
    assert f"warning: {models} is new" in capsys.readouterr().err
    assert "is there already" in refused(str(file), "--yes")
    assert "take imported/Heron-1B with --yes" in refused(str(file))
    for wrong in ("../x", "a", "a/b/c", "a/.b", "/b"):
        assert "cannot be the place of a model" in refused(str(file), "--user-repo", wrong)
    link = file.with_name("link.gguf")
    link.symlink_to(file)
    assert "is a link to" in refused(str(link), "--yes")
    assert "No such file" in refused(str(file.with_name("none.gguf")), "--yes")
    text = file.with_name("text.gguf")
    text.write_text("no model")
    assert "is not a model that can be imported" in refused(str(text), "--yes")
    models.joinpath("blocked").write_text("a file")
    assert "Could not move" in refused(str(file), "--user-repo", "blocked/x")
    assert file.read_bytes() == CONTENT


def test_only_one_way_at_a_time(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["import", str(file), "-c", "-L"])
    assert raised.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


def test_the_usual_folder_is_that_of_lm_studio(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(importing, "lm_studio_home", lambda: tmp_path / "home")
    assert main(["import", str(file), "--yes", "--dry-run"]) == 0
    assert str(tmp_path / "home" / "models" / "imported") in capsys.readouterr().out
    assert main(["import", str(file), "--yes", "--dry-run", "--models-folder", str(tmp_path / "mine")]) == 0
    assert str(tmp_path / "mine" / "imported") in capsys.readouterr().out
    monkeypatch.setattr(importing, "lm_studio_home", lambda: None)
    assert main(["import", str(file), "--yes"]) == 1
    assert "name the folder with --models-folder" in capsys.readouterr().err
