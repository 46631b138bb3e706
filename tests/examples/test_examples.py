"""The examples run, as they are, against the embedded server with the real engine."""

from __future__ import annotations

import asyncio
import inspect
import io
import runpy
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import lmstudio as lms
from lmstudio import _discovery
from lmstudio.http import close_default_client
from lmstudio.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server, lms.Client(server.api_host) as client:
        for model in client.list_downloaded_models():
            model.model()
        yield server


@pytest.fixture(autouse=True)
def found_by_default(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients without an address find the embedded server, as they would find LM Studio."""
    monkeypatch.setattr(_discovery, "API_SERVER_PORTS", (server.port,))
    yield
    lms.close_default_client()


def run(name: str) -> None:
    program = runpy.run_path(str(EXAMPLES / name))
    main = program["main"]
    if not inspect.iscoroutinefunction(main):
        main()
    elif "trio" in program:
        trio.run(main)
    else:
        asyncio.run(main())


def test_every_example_has_a_test_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in source] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quick_start.py", "Norway"),
        ("structured_output.py", "Nina is 31"),
        ("async_concurrent.py", "What is 7 - 4?"),
        ("trio_client.py", "What is 7 - 4?"),
        ("time_limits.py", "which limit it was: total"),
        ("embeddings.py", "The capital of France is Paris."),
        ("testing_your_code.py", "ok"),
        ("one_contract.py", "http: "),
        ("record_and_replay.py", "the same answer without LM Studio: True"),
        ("tools_and_act.py", "multiply({'a': 12, 'b': 34})"),
        ("tools_without_act.py", "The result is 408."),
        ("act_async.py", "10:15 in Paris"),
        ("events.py", "[prompt 100%"),
        ("images_and_files.py", "line 3: Oslo is the capital of Norway."),
        ("openai_messages.py", '"content": "What is 2 + 3?"'),
        ("download_model.py", "downloaded text-embedding-pebble-embed-0.8m"),
        ("cancel_from_elsewhere.py", "a king: Aborted: enough of stories"),
    ],
)
def test_example_prints_what_it_promises(name: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(name)
    # What the tiny model says varies; quick_start's question is answered with the country or with an apology.
    printed = capsys.readouterr().out
    assert expected in printed or (name == "quick_start.py" and printed.strip())


def test_the_mcp_example_uses_the_tool_of_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mcp.server", reason="needs the extra `mcp`")
    if version("mcp").startswith("1."):
        pytest.skip("the example is for version 2 of the mcp package")
    run("mcp_tools.py")
    assert "tools: get_weather" in capsys.readouterr().out


def test_the_http_example_shows_its_five_parts(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", server.api_host)
    try:
        run("http_client.py")
    finally:
        close_default_client()
    printed = capsys.readouterr().out
    assert f"health: ok at http://{server.api_host}/v1" in printed
    assert "models: pebble-2.6m, " in printed
    assert printed.count("completion: '") == 2
    assert "stream: " in printed
    assert "error: client_error, status 400: " in printed
    assert "error: network_error, worth another try later: True" in printed


def test_the_chat_example_remembers_and_ends_with_the_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(["Hello!", "What is 2 + 3?"])

    def read(prompt: str) -> str:
        print(prompt, end="")
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    run("chat.py")
    printed = io.StringIO(capsys.readouterr().out).read()
    assert printed.count("you> ") == 3
    assert len(printed) > len("you> ") * 3 + 5
