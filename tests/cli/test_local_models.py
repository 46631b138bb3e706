"""`lmstudio ls`, `ps`, `load`, `unload`, `embed` and `tokenize`: what they print and do, and their exit codes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from programs import uncovered
from surface.odd_servers import free_port

import lmstudio as lms
from cli.shell import Shell, run_on_terminal
from lmstudio.__main__ import main
from lmstudio.cli.output import disk_size, memory_size
from lmstudio.cli.ps import _ttl
from lmstudio.server import Gate, ScriptedEngine, Server
from lmstudio.server.engine.scripted import scripted_model

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE = ScriptedEngine()
MODELS = [
    scripted_model("acme/heron-7b"),
    scripted_model("acme/heron-1b"),
    scripted_model("acme/owl"),
    scripted_model("acme/tern-embed", "embedding"),
]
LOAD = [sys.executable, "-X", "dev", "-W", "error", "-m", "lmstudio", "load"]


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """A server for all tests."""
    with Server(MODELS, engine=ENGINE) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The same, with nothing loaded at first."""
    with lms.Client(running.api_host) as client:
        for model in client.list_loaded_models():
            model.unload()
    yield running
    ENGINE.load_gate = None


@pytest.fixture
def shell(server: Server, capsys: pytest.CaptureFixture[str]) -> Shell:
    """What the commands of a test run in."""
    return Shell(server, capsys)


# ls ------------------------------------------------------------------------------------------------------------------


def test_downloaded_models_are_two_tables_below_a_sentence(shell: Shell) -> None:
    shell("load", "owl")
    lines = [line.split() for line in shell("ls").splitlines()]
    assert lines == [
        ["4", "models,", "4.00", "MB", "on", "the", "disk."],
        [],
        ["LLM", "PARAMS", "ARCH", "SIZE", "DEVICE"],
        ["acme/heron-1b", "1M", "scripted", "1.00", "MB", "Local"],
        ["acme/heron-7b", "1M", "scripted", "1.00", "MB", "Local"],
        ["acme/owl", "1M", "scripted", "1.00", "MB", "Local", "loaded"],
        [],
        ["EMBEDDING", "PARAMS", "ARCH", "SIZE", "DEVICE"],
        ["acme/tern-embed", "1M", "scripted", "1.00", "MB", "Local"],
    ]


def test_downloaded_models_in_json_have_the_names_of_the_protocol(shell: Shell) -> None:
    models = json.loads(shell("ls", "--json"))
    assert [model["modelKey"] for model in models] == sorted(model.model_key for model in MODELS)
    assert {"type", "format", "displayName", "sizeBytes", "maxContextLength", "trainedForToolUse"} <= models[0].keys()
    assert [model["type"] for model in json.loads(shell("ls", "--json", "--embedding"))] == ["embedding"]
    assert len(json.loads(shell("ls", "--json", "--llm"))) == 3


def test_detailed_warns_and_changes_nothing(shell: Shell) -> None:
    plain = shell("ls")
    assert shell("ls", "--detailed") == plain
    assert "warning: --detailed has no effect" in shell.err
    shell("ls", "--detailed", "--quiet")
    assert shell.err == ""


def test_a_model_without_variants_is_listed_itself(shell: Shell) -> None:
    assert [model["modelKey"] for model in json.loads(shell("ls", "owl", "--json"))] == ["acme/owl"]
    assert shell("ls", "--variants") == "No model has variants.\n"
    assert shell("ls", "owl", "--variants", code=1) == ""
    assert "leave one out" in shell.err


def test_variants(capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    herons = [
        replace(MODELS[0], model_key="heron", path=f"acme/Heron-GGUF/heron-{name}.gguf", quantization=(name, bits))
        for name, bits in (("Q8_0", 8), ("Q4_K_M", 4))
    ]
    with Server(herons, engine=ScriptedEngine()) as server:
        shell = Shell(server, capsys)
        keys = ["heron@q4_k_m", "heron@q8_0"]
        assert sorted(model["modelKey"] for model in json.loads(shell("ls", "heron", "--json"))) == keys
        (found,) = json.loads(shell("ls", "--variants", "--json"))
        assert found["model"]["modelKey"] == "heron"
        assert sorted(variant["modelKey"] for variant in found["variants"]) == keys
        table = shell("ls", "--variants").splitlines()
        assert table[0].split() == ["heron", "SIZE"]
        assert "* heron@q4_k_m" in {line[:14] for line in table}


# load ----------------------------------------------------------------------------------------------------------------


def test_load_takes_all_its_settings(shell: Shell) -> None:
    shell("load", "acme/owl", "--identifier", "mine", "-c", "99", "--gpu", "0.5", "--ttl", "60", "--parallel", "2")
    assert 'Its identifier is "mine".' in shell.err
    with lms.Client(f"127.0.0.1:{shell.port}") as client:
        (model,) = client.list_loaded_models()
        config: Any = model.get_load_config()
    assert (model.identifier, model.context_length, model.ttl_ms) == ("mine", 99, 60_000)
    assert (config.max_parallel_predictions, config.gpu.ratio) == (2, 0.5)


@pytest.mark.parametrize("gpu", [[], ["--gpu", "auto"], ["--gpu", "off"], ["--gpu", "max"]], ids=" ".join)
def test_load_says_what_it_has_loaded(shell: Shell, gpu: list[str]) -> None:
    info = json.loads(shell("load", "owl", "--json", *gpu))
    assert (info["identifier"], info["ttlMs"]) == ("acme/owl", None)
    assert shell.err.startswith("Loading acme/owl ...\nLoaded acme/owl in ")
    assert "s (1.00 MB).\nIts identifier is" in shell.err


def test_of_several_matches_yes_takes_the_first_and_warns(shell: Shell) -> None:
    assert json.loads(shell("load", "HERON", "--yes", "--json"))["modelKey"] == "acme/heron-1b"
    assert "warning: 2 models match 'HERON'; taking acme/heron-1b" in shell.err
    assert json.loads(shell("load", "heron 7b", "--json"))["modelKey"] == "acme/heron-7b"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name the model, by its key or a part of it."),
        (["--exact"], "Name the model, by its key or a part of it."),
        (["heron"], "may be any of acme/heron-1b, acme/heron-7b"),
        (["owll"], "Did you mean acme/owl?"),
        (["owl", "--exact"], "which --exact wants"),
        (["tern", "--parallel", "2"], "--parallel is for language models"),
    ],
    ids=["nothing", "exactly nothing", "several", "typo", "exact", "embedding"],
)
def test_load_asks_nobody_without_a_terminal(shell: Shell, arguments: list[str], words: str) -> None:
    assert shell("load", *arguments, code=1) == ""
    assert words in shell.err
    assert shell("ps", "--json") == "[]\n"


@pytest.mark.parametrize("more", [["--gpu", "2"], ["--ttl", "0"], ["-c", "few"], ["--port", "0"]], ids=" ".join)
def test_wrong_arguments_are_exit_code_2(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["load", "owl", *more])
    assert raised.value.code == 2
    assert more[0] in capsys.readouterr().err


def test_an_estimate_loads_nothing(shell: Shell) -> None:
    assert shell("load", "owl", "--estimate-only", "-c", "64", "--gpu", "off") == ""
    lines = shell.err.splitlines()
    assert lines[:3] == ["Model: acme/owl", "Context Length: 64", "GPU Offload: off"]
    assert lines[3].startswith("Estimated GPU Memory: ")
    assert lines[4].startswith("Estimated Total Memory: ")
    assert lines[-2:] == ["", "Estimate: This model may be loaded, by the guardrails of the server."]
    assert json.loads(shell("load", "owl", "--estimate-only", "--json"))["passesGuardrails"] is True
    assert shell("ps", "--json") == "[]\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_ctrl_c_cancels_a_load(shell: Shell) -> None:
    ENGINE.load_gate = gate = Gate()
    before = ENGINE.cancelled
    command = [*LOAD, "owl", "--port", shell.port]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", env=uncovered()) as process:
        assert gate.reached(PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, "Loading acme/owl ...\n\ninterrupted\n")
    assert ENGINE.wait_for_cancel(PATIENCE_SECONDS, count=before + 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
def test_load_asks_on_a_terminal_and_draws_a_bar(shell: Shell) -> None:
    shell("load", "heron-7b")  # the last one is asked for first
    shell("unload")
    code, text = run_on_terminal([*LOAD, "heron", "--port", shell.port], b"0\n1\n")
    assert code == 0
    assert "  2  acme/heron-1b  (llm, 1.00 MB)" in text
    assert text.count("Which model? [1-2]: ") == 2
    assert "100%" in text
    assert 'Its identifier is "acme/heron-7b".' in text


# ps and unload -------------------------------------------------------------------------------------------------------


def test_loaded_models_are_a_table_with_the_time_left(shell: Shell) -> None:
    assert shell("ps") == ""
    assert "No model is loaded." in shell.err
    shell("load", "owl", "--ttl", "120")
    shell("load", "tern")
    head, first, second = (line.split() for line in shell("ps").splitlines())
    assert head == ["IDENTIFIER", "MODEL", "STATUS", "SIZE", "CONTEXT", "PARALLEL", "DEVICE", "TTL"]
    assert first == ["acme/owl", "acme/owl", "IDLE", "1.00", "MB", "4096", "4", "Local", "2m", "/", "2m"]
    assert second == ["acme/tern-embed", "acme/tern-embed", "IDLE", "1.00", "MB", "512", "Local"]


def test_loaded_models_in_json_have_their_state(shell: Shell) -> None:
    shell("load", "tern")
    shell("load", "owl", "--ttl", "120", "--identifier", "mine")
    llm, embedding = json.loads(shell("ps", "--json"))
    assert (llm["identifier"], llm["type"], llm["parallel"], llm["ttlMs"]) == ("mine", "llm", 4, 120_000)
    assert (embedding["type"], embedding["parallel"], embedding["ttlMs"]) == ("embedding", None, None)
    for instance in (llm, embedding):
        assert (instance["status"], instance["queued"], instance["lastUsedTime"]) == ("idle", 0, None)
        assert "instanceReference" not in instance


@pytest.mark.parametrize(
    ("ttl", "last_used", "shown"),
    [
        (None, None, ""),
        (45_000, None, "45s / 45s"),
        (3_600_000, 900_000, "58m / 1h"),
        (60_000, 0, "0s / 1m"),
        (7_200_000, 2_000_000, "2h / 2h"),
    ],
)
def test_the_time_left(ttl: float | None, last_used: float | None, shown: str) -> None:
    assert _ttl(ttl, last_used, 1_000_000) == shown


def test_unload(shell: Shell) -> None:
    shell("unload", code=1)
    assert "No model is loaded" in shell.err
    shell("load", "owl")
    shell("unload")
    assert shell.err == "Unloaded acme/owl.\n"
    shell("load", "owl", "--identifier", "first")
    shell("load", "owl", "--identifier", "second")
    shell("unload", code=1)
    assert "Several models are loaded: first, second." in shell.err
    shell("unload", "secnd", code=1)
    assert "Did you mean second?" in shell.err
    shell("unload", "first", "--all", code=1)
    assert "leave one out" in shell.err
    shell("unload", "second")
    shell("unload", "--all")
    assert shell.err == "Unloaded first.\n1 model unloaded.\n"


def test_models_that_others_unload_meanwhile_are_left_out(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    list_models = lms.Client.list_loaded_models

    def outdated(client: lms.Client) -> Any:
        found = list_models(client)
        client.llm.unload("first")
        return found

    monkeypatch.setattr(lms.Client, "list_loaded_models", outdated)
    shell("load", "owl", "--identifier", "second")
    shell("load", "owl", "--identifier", "first")
    assert [model["identifier"] for model in json.loads(shell("ps", "--json"))] == ["second"]
    shell("load", "owl", "--identifier", "first")
    shell("unload", "--all")
    assert shell.err == "Unloaded second.\n1 model unloaded.\n"
    shell("load", "owl", "--identifier", "first")
    shell("unload", "first", code=1)
    assert "No loaded model has the identifier 'first'" in shell.err


# embed and tokenize --------------------------------------------------------------------------------------------------


def test_embed_prints_a_vector_per_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("embed", "one", code=1)
    assert "No embedding model is loaded." in shell.err
    one, two = map(json.loads, shell("embed", "-m", "tern", "one", "two").splitlines())
    assert len(one) == len(two) == ENGINE.embedding_length
    assert json.loads(shell("embed", "one", "--json")) == [{"text": "one", "embedding": one}]
    monkeypatch.setattr("sys.stdin", io.StringIO("two"))
    assert json.loads(shell("embed")) == two


@pytest.mark.parametrize("command", ["embed", "tokenize"])
def test_what_is_piped_in_has_to_be_text(command: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xd8"), encoding="utf-8"))
    shell(command, code=1)
    assert "What is piped in is not text" in shell.err


def test_tokenize_prints_or_counts_tokens(shell: Shell) -> None:
    shell("load", "owl")
    tokens = list(map(int, shell("tokenize", "a b c").split()))
    assert tokens == ENGINE.tokenize("a b c")
    assert shell("tokenize", "a b c", "--count") == f"{len(tokens)}\n"
    assert json.loads(shell("tokenize", "a b c", "--json")) == {"count": len(tokens), "tokens": tokens}
    shell("load", "tern")
    shell("tokenize", "a", code=1)
    assert "Several models are loaded: acme/owl, acme/tern-embed." in shell.err
    assert shell("tokenize", "a", "--model", "acme/owl", "--count") == "1\n"


# Which server, and how much is said ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["http://localhost", "localhost:1234", "[::1]:1234", "localhost/v1"])
def test_a_host_with_scheme_or_port_is_refused(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--host", host]) == 1
    assert "give the port with --port" in capsys.readouterr().err


def test_the_server_may_be_named_by_host_port_or_settings(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", "--host", "localhost", "--port", str(server.port), "--timeout", "30"]) == 0
    monkeypatch.setenv("LM_STUDIO_BASE_URL", server.api_host)
    assert main(["ls"]) == 0
    port = free_port()
    assert main(["ls", "--port", str(port)]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
    monkeypatch.setenv("LM_STUDIO_BASE_URL", "http://a b")
    assert main(["ls"]) == 2


def test_messages_as_many_as_wanted(shell: Shell) -> None:
    shell("load", "owl", "--quiet")
    assert shell.err == ""
    shell("load", "nonsense", "--quiet", code=1)
    assert shell.err.startswith("error: ")
    shell("load", "nonsense", "--log-level", "none", code=1)
    assert shell.err == ""
    shell("ps", "--verbose")
    assert "DEBUG lmstudio.websocket" in shell.err


def test_sizes() -> None:
    assert [disk_size(size) for size in (999, 1000, 4_920_000_000)] == ["999 B", "1.00 KB", "4.92 GB"]
    assert memory_size(65.68 * 2**30) == "65.68 GiB"
