"""The Python of the README and of the pages in docs/ runs as it stands there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import threading
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import snippets
from sample_files import JPEG, pdf
from served_plugins import served_plugins

import lmstudio as lms
from lmstudio import _discovery
from lmstudio.server import HttpSettings, Reply, ScriptedEngine, Server, ToolCall, scripted_models
from lmstudio.server.models import CHAT_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.engine.base import GenerationRequest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
MODEL, EMBEDDER = "qwen2.5-7b-instruct", "nomic-embed-text-v1.5"


def answer(request: GenerationRequest) -> Any:
    """A call of the tool that is offered; when its result is there, or without tools, a text."""
    if "<|tools|>" in request.prompt and "<|tool|>" not in request.prompt:
        name = re.search(r'"name": "(\w+)"', request.prompt)
        assert name is not None
        return Reply([ToolCall(name[1], {"a": 12, "b": 34} if name[1] == "multiply" else {})])
    return "Oslo." if request.json_schema is None else '{"title": "Hunger", "year": 1890}'


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Where clients find it without an address: a server with the models that the README names, all of them loaded."""
    catalog = tmp_path / "catalog.json"
    files = [{"path": str(CHAT_MODEL_FILE)}]
    listed = {"owner": "lmstudio-community", "name": "Qwen2.5-7B-Instruct-GGUF", "files": files}
    catalog.write_text(json.dumps({"models": [listed]}))
    chat, embedding = scripted_models()
    models = [replace(chat, model_key=MODEL, vision=True), replace(embedding, model_key=EMBEDDER)]
    http = HttpSettings(allow_plugins=True)
    with Server(models, engine=ScriptedEngine(answer), catalog=catalog, http=http) as server:
        monkeypatch.setattr(_discovery, "API_SERVER_PORTS", (server.port,))
        with lms.Client() as client:
            client.llm.model(MODEL)
            client.embedding.model(EMBEDDER)
            yield server


@pytest.fixture
def surroundings(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The files, and the MCP server, that the README takes for granted."""
    mcp = pytest.importorskip("mcp", reason="needs the extra `mcp`")
    if version("mcp").startswith("1."):
        pytest.skip("the README is about version 2 of the mcp package")
    from mcp.server import MCPServer

    calendar = MCPServer("calendar", log_level="ERROR")

    @calendar.tool()
    def list_events() -> str:
        """List what is on the calendar."""
        return "nothing"

    connect = mcp.Client
    monkeypatch.setattr(mcp, "Client", lambda address: connect(calendar if address.startswith("http:") else address))
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(JPEG)
    Path("contract.pdf").write_bytes(pdf("The buyer pays for the return."))
    yield
    lms.close_default_client()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


def run(snippet: str, names: dict[str, Any], page: Path) -> None:
    result = eval(compile(snippet, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(result):
        asyncio.run(result)


@pytest.mark.usefixtures("surroundings")
def test_every_snippet_of_the_readme_runs(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {"lms": lms}
    with lms.Client() as client:
        for snippet in snippets(README):
            names.update(client=client, model=client.llm.model(MODEL))
            with monkeypatch.context() as patch:
                if "HttpClient" in snippet:  # the native clients find this server, those for HTTP have to be told
                    patch.setenv("LM_STUDIO_BASE_URL", f"http://{server.api_host}")
                run(snippet, names, README)
    printed = capsys.readouterr().out
    assert names["book"].title == "Hunger"
    assert "multiply {'a': 12, 'b': 34}" in printed
    assert "1 The buyer pays for the return." in printed


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_snippet_of_a_page_runs(page: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", f"http://{server.api_host}")
    names: dict[str, Any] = {"lms": lms}
    with served_plugins(server.api_host) if page.stem == "using-plugins" else nullcontext():
        for snippet in snippets(page):
            # The page cannot know where this server is.
            run(snippet.replace("LMStudioClient(timeout", f"LMStudioClient('{server.api_host}', timeout"), names, page)
    for client in names.values():
        if isinstance(client, lms.Client):
            client.close()


@pytest.mark.parametrize("page", [README, *PAGES], ids=[page.stem for page in (README, *PAGES)])
def test_what_a_page_points_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
