"""`lmstudio get`: which model a name means, what is downloaded, and what is said about it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost
from patience import PATIENCE_SECONDS
from programs import uncovered

from cli.shell import Shell, run_on_terminal
from lmstudio._sdk_models import ArtifactDownloadPlanDownloadOptionInfo
from lmstudio.cli import downloading, wanted
from lmstudio.cli.output import _download_state
from lmstudio.errors import LMStudioRuntimeError
from lmstudio.server import ScriptedEngine, Server
from lmstudio.server.models import EMBEDDING_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lmstudio.cli.wanted import Place

CONTENT = EMBEDDING_MODEL_FILE.read_bytes()
SIZE = f"{len(CONTENT) / 1e6:.2f} MB"
GET = [sys.executable, "-X", "dev", "-W", "error", "-m", "lmstudio", "get"]


@pytest.fixture
def host() -> Iterator[FileHost]:
    """Where the files of the catalogue are."""
    with FileHost(model=CONTENT) as host:
        yield host


@pytest.fixture
def shell(tmp_path: Path, host: FileHost, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """What the commands of a test run in, with a server that has downloaded nothing."""

    def model(name: str, *quantizations: str, is_pick: bool = True) -> dict[str, Any]:
        url = f"{host.url}/model"
        files = [{"url": url, "name": f"{name}-{each}.gguf", "size": len(CONTENT)} for each in quantizations]
        return {"owner": "maker", "name": f"{name}-GGUF", "staffPick": is_pick, "files": files}

    models = [model("pebble", "Q4_K_M", "Q8_0"), model("stone", "Q8_0"), model("rock", "F16", is_pick=False)]
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"models": models}))
    with Server(engine=ScriptedEngine(), catalog=catalog, models_folder=tmp_path / "models") as server:
        yield Shell(server, capsys)


# Names ---------------------------------------------------------------------------------------------------------------


def place(text: str) -> Place:
    read = wanted.read(text)
    assert read.place is not None
    return read.place


@pytest.mark.parametrize(
    ("text", "sources", "file"),
    [
        ("acme/heron", ("hub", "huggingface"), None),
        ("Acme/Heron-GGUF", ("huggingface",), None),
        ("https://huggingface.co/Acme/Heron-GGUF", ("huggingface",), None),
        ("hf.co/Acme/Heron-GGUF/tree/main", ("huggingface",), None),
        ("https://huggingface.co/Acme/Heron-GGUF/blob/main/a/heron%20q4.gguf", ("huggingface",), "heron q4.gguf"),
        ("https://huggingface.co/Acme/Heron-GGUF?show_file_info=a/q8.gguf", ("huggingface",), "q8.gguf"),
        ("https://lmstudio.ai/models/acme/heron", ("hub",), None),
        ("lmstudio.ai/acme/heron/", ("hub",), None),
    ],
)
def test_places(text: str, sources: tuple[str, ...], file: str | None) -> None:
    assert place(text)[2:] == (sources, file)
    assert place(f"{text}@q4_k_m").label in ("acme/heron", "Acme/Heron-GGUF")
    assert wanted.read(f"{text}@q4_k_m").quantization == "q4_k_m"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/acme/heron",
        "https://huggingface.co/acme",
        "https://huggingface.co/datasets/acme/birds",
        "https://lmstudio.ai/docs",
        "http://[::1/x/y",
        "@q4",
        "heron@",
    ],
)
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(LMStudioRuntimeError, match=r"is not the address of a model|is no model|not a valid address"):
        wanted.read(text)


# Lists ---------------------------------------------------------------------------------------------------------------


def test_what_there_is(shell: Shell) -> None:
    assert [line.split() for line in shell("get", "--list").splitlines()] == [
        ["MODEL", "DESCRIPTION"],
        ["maker/pebble-gguf", "staff", "pick"],
        ["maker/stone-gguf", "staff", "pick"],
    ]
    (found,) = json.loads(shell("get", "rock", "--list", "--json"))
    assert found == {"name": "maker/rock-GGUF", "exact": False, "staffPick": False, "description": ""}
    assert shell("get", "nonsense", "--list", "--json") == "[]\n"
    assert shell("get", "nonsense", "--list") == ""
    assert "finds no such models" in shell.err
    _head, first, second = (line.split() for line in shell("get", "maker/pebble-gguf", "--list").splitlines())
    assert first == ["pebble-GGUF", "Q4_K_M", "gguf", *SIZE.split(), "without", "a", "GPU", "recommended"]
    assert second[1] == "Q8_0"
    options = json.loads(shell("get", "maker/pebble-GGUF", "--list", "--json"))
    assert [option["availability"] for option in options] == ["notDownloaded", "notDownloaded"]


# Downloads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("maker/pebble-gguf@q8_0", "Q8_0"),
        ("https://huggingface.co/maker/pebble-GGUF", "Q4_K_M"),
        ("https://huggingface.co/maker/pebble-GGUF/blob/main/pebble-Q8_0.gguf", "Q8_0"),
        ("pebble", "Q4_K_M"),
    ],
)
def test_get_downloads_what_is_named(shell: Shell, name: str, quantization: str) -> None:
    got = json.loads(shell("get", name, "--json", "--gguf"))
    assert (got["quantization"], got["sizeBytes"], got["wasThere"]) == (quantization, len(CONTENT), False)
    first, *parts, done, hint = shell.err.splitlines()
    assert first.startswith("Downloading maker/pebble-")
    assert first.endswith(f" {quantization} ...")
    assert parts[-1].startswith(f"100 %  {SIZE} of {SIZE}")
    assert done.startswith("Downloaded maker/pebble-")
    assert hint == f"Load it with: lmstudio load {got['modelKey']}"
    assert got["modelKey"] in [model["modelKey"] for model in json.loads(shell("ls", "--json"))]
    assert json.loads(shell("get", name, "--json", "-n", "3", "-a"))["wasThere"] is True
    assert "warning: --limit has no effect any more" in shell.err
    assert "warning: --always-show-download-options has no effect" in shell.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name the model to download."),
        (["--yes"], "Name the model to download."),
        (["e"], "'e' may be any of maker/pebble-gguf, maker/stone-gguf."),
        (["nonsense"], "finds no models like 'nonsense'"),
        (["maker/none"], "Cannot plan a download of 'maker/none'"),
        (["maker/pebble-gguf@q1"], "has no quantization 'q1'. It has Q4_K_M, Q8_0."),
        (["maker/pebble-gguf", "--mlx"], "this server runs GGUF models only"),
        (["stone", "--select"], "there is no terminal"),
        (["stone", "--select", "--yes"], "leave one out"),
    ],
    ids=" ".join,
)
def test_get_fails_with_the_reason(shell: Shell, host: FileHost, arguments: list[str], words: str) -> None:
    assert shell("get", *arguments, code=1) == ""
    assert words in shell.err
    assert host.requests == []


def test_the_only_recommended_model_is_not_taken_unasked(
    tmp_path: Path, host: FileHost, capsys: pytest.CaptureFixture[str]
) -> None:
    file = {"url": f"{host.url}/model", "name": "pebble.gguf", "size": len(CONTENT)}
    catalog = tmp_path / "one.json"
    catalog.write_text(json.dumps({"models": [{"owner": "maker", "name": "pebble", "files": [file]}]}))
    with Server(engine=ScriptedEngine(), catalog=catalog) as server:
        shell = Shell(server, capsys)
        shell("get", "--yes", code=1)
        shell("get", code=1)
    assert "Name the model to download." in shell.err
    assert host.requests == []


def test_of_several_models_yes_takes_the_first(shell: Shell) -> None:
    assert json.loads(shell("get", "e", "--yes", "--json"))["name"] == "maker/pebble-gguf"
    assert "warning: 2 models match 'e'; taking maker/pebble-gguf" in shell.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_ctrl_c_cancels_a_download(shell: Shell, host: FileHost) -> None:
    host.stop_after, host.etag = len(CONTENT) // 2, '"1"'
    command = [*GET, "stone", "--port", shell.port]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", env=uncovered()) as process:
        assert host.stopped.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert err.startswith("Downloading maker/stone-gguf Q8_0 ...\n")
    assert err.endswith("\n\ninterrupted\n")
    assert host.hung_up.wait(PATIENCE_SECONDS)
    host.stop_after = None
    assert json.loads(shell("get", "stone", "--json"))["wasThere"] is False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
def test_get_asks_on_a_terminal_and_draws_a_bar(shell: Shell) -> None:
    code, text = run_on_terminal([*GET, "pebble", "--select", "--port", shell.port], b"2\n\n")
    assert code == 0
    assert "  2  Q8_0  pebble-GGUF  gguf" in text
    assert f"Download maker/pebble-gguf Q8_0 ({SIZE})? [yes]: " in text
    assert "100%" in text
    assert f"{SIZE} of {SIZE}" in text
    assert "Downloaded maker/pebble-gguf Q8_0" in text


def test_the_rate_and_the_time_left() -> None:
    from lmstudio import DownloadProgressUpdate

    def shown(rate: float) -> str:
        update = DownloadProgressUpdate(downloaded_bytes=10**9, total_bytes=4 * 10**9, speed_bytes_per_second=rate)
        return _download_state(update)

    assert shown(0) == "1.00 GB of 4.00 GB"
    assert shown(1e8) == "1.00 GB of 4.00 GB, 100.00 MB/s, 0:30 left"
    assert shown(5e5) == "1.00 GB of 4.00 GB, 500.00 KB/s, 1:40:00 left"


def test_what_newer_servers_say_is_shown_as_it_is() -> None:
    option: Any = ArtifactDownloadPlanDownloadOptionInfo(
        compatibility_type="newFormat",  # type: ignore[arg-type]
        display_name="stone-new",
        size_bytes=2_000_000,
        fit_estimation="fitOnNpu",  # type: ignore[arg-type]
        recommended=True,
        availability="queued",  # type: ignore[arg-type]
    )
    row = ["stone-new", "", "newFormat", "2.00 MB", "fitOnNpu", "recommended, queued"]
    assert downloading.option_row(option) == row
