"""LM Studio's own models on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest
from gguf_files import LLAMA, gguf, written

import lmstudio as lms
from lmstudio import _discovery
from lmstudio.server import ScriptedEngine, Server, default_models_folder, serve
from lmstudio.server.models import CHAT_MODEL_FILE

if TYPE_CHECKING:
    from pathlib import Path

HERON = "models/acme/Heron-GGUF/heron-Q8_0.gguf"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the user, empty."""
    monkeypatch.setattr(_discovery, "user_home", lambda: tmp_path)
    return tmp_path


def test_models_folder_is_in_the_home_of_lm_studio(home: Path) -> None:
    assert default_models_folder() is None
    written(home, f".lmstudio/{HERON}", gguf(LLAMA))
    assert default_models_folder() == home / ".lmstudio" / "models"
    written(home, f".cache/lm-studio/{HERON}", gguf(LLAMA))
    assert default_models_folder() == home / ".cache" / "lm-studio" / "models"
    written(home, ".lmstudio-home-pointer", f"{home / 'moved'}\n".encode())
    assert default_models_folder() is None
    written(home, f"moved/{HERON}", gguf(LLAMA))
    assert default_models_folder() == home / "moved" / "models"


def test_user_without_a_home_has_no_models_folder() -> None:
    assert default_models_folder() is None


def test_server_offers_the_models_of_this_machine_only_if_it_is_told_to(home: Path) -> None:
    written(home, f".lmstudio/{HERON}", gguf(LLAMA))
    for folder, expected in ((None, []), (default_models_folder(), ["heron"])):
        with Server(engine=ScriptedEngine(), models_folder=folder) as server, lms.Client(server.api_host) as client:
            listed = [model.model_key for model in client.system.list_downloaded_models()]
            assert listed == ["scripted-chat", "scripted-embed", *expected]


@pytest.mark.parametrize(
    ("options", "is_offered"),
    [((), True), (("--model", str(CHAT_MODEL_FILE)), False), (("--engine", "scripted"), False)],
)
def test_serve_offers_what_lm_studio_has(
    home: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], *, is_offered: bool
) -> None:
    written(home, f".lmstudio/{HERON}", gguf(LLAMA))
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    arguments = parser.parse_args(["--port", "0", *options])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "is_running", property(lambda _: False))  # it ends as soon as it has introduced itself
        serve.run(arguments)
    assert ("heron" in capsys.readouterr().out) is is_offered
