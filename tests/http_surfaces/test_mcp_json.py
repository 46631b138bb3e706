"""POST /api/v1/chat with the MCP servers that the user of the server has set up."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces import stdio_tides
from http_surfaces.http_stage import CHAT_MODEL, refusal
from http_surfaces.tide_server import TideServer
from lmstudio.server import HttpSettings, Reply, ScriptedEngine, Server, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROVIDER = {"type": "plugin", "plugin_id": "mcp/tides"}


@pytest.fixture(scope="module")
def tides() -> Iterator[TideServer]:
    """A server that is there already."""
    with TideServer() as server:
        yield server


@contextmanager
def serving(file: Path, engine: ScriptedEngine | None = None, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a server that has this file."""
    with (
        Server(engine=engine or ScriptedEngine(), http=HttpSettings(mcp_json=file, **settings)) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        yield api


def ask(api: httpx.Client, *integrations: Any) -> httpx.Response:
    body = {"model": CHAT_MODEL, "input": "When is high water?", "integrations": [*integrations]}
    return api.post("/api/v1/chat", json=body)


def written(folder: Path, **servers: dict[str, Any]) -> Path:
    file = folder / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return file


@pytest.mark.parametrize("integration", ["mcp/tides", {"type": "plugin", "id": "mcp/tides"}])
def test_server_with_an_address(tmp_path: Path, integration: Any) -> None:
    engine = ScriptedEngine()
    engine.reply = [Reply([ToolCall("tide_lookup", {"port": "Brest"})]), Reply("At 06:12.")]
    with TideServer() as tides:
        file = written(tmp_path, tides={"url": tides.url, "headers": {"X-Harbour": "Brest"}, "timeout": 5})
        with serving(file, engine) as api:
            reply = ask(api, integration).json()
    call, message = reply["output"]
    assert (call["tool"], call["arguments"], call["provider_info"]) == ("tide_lookup", {"port": "Brest"}, PROVIDER)
    assert "high 06:12" in call["output"]
    assert message == {"type": "message", "content": "At 06:12."}
    assert {headers.get("x-harbour") for headers in tides.headers} == {"Brest"}
    assert [tool["function"]["name"] for tool in engine.chats[0].tools] == ["tide_lookup", "tide_fail"]


def test_server_that_has_to_be_started(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    engine.reply = [Reply([ToolCall("tide_lookup", {})]), Reply("Done.")]
    arguments = [str(stdio_tides.__file__), "--port", "Brest"]
    file = written(tmp_path, tides={"command": sys.executable, "args": arguments, "env": {"TIDES": "spring"}})
    with serving(file, engine) as api:
        call, message = ask(api, "mcp/tides").json()["output"]
    (part,) = json.loads(call["output"])
    assert json.loads(part["text"]) == [["--port", "Brest"], "spring"]
    assert call["provider_info"] == PROVIDER
    assert message["content"] == "Done."


def test_only_allowed_tools_are_offered(tmp_path: Path, tides: TideServer) -> None:
    engine = ScriptedEngine()
    with serving(written(tmp_path, tides={"url": tides.url}), engine) as api:
        assert ask(api, {"type": "plugin", "id": "mcp/tides", "allowed_tools": ["tide_fail"]}).status_code == 200
    assert [tool["function"]["name"] for tool in engine.chats[0].tools] == ["tide_fail"]


def test_changes_of_the_file_count_at_once(tmp_path: Path, tides: TideServer) -> None:
    file = tmp_path / "mcp.json"
    with serving(file) as api:
        status, error = refusal(ask(api, "mcp/tides"))
        assert (status, error["type"], error["param"]) == (502, "plugin_connection_error", "integrations")
        assert "mcp.json" in error["message"]
        written(tmp_path, tides={"url": tides.url})
        assert ask(api, "mcp/tides").status_code == 200


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"mcpServers": {"tides": {}}}', '{"mcpServers": {"tides": {"url": 1}}}']
)
def test_file_that_cannot_be_used(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(content)
    with serving(file) as api:
        status, error = refusal(ask(api, "mcp/tides"))
    assert (status, error["type"]) == (502, "plugin_connection_error")
    assert "mcp.json" in error["message"]


def test_server_that_is_not_in_the_file(tmp_path: Path, tides: TideServer) -> None:
    with serving(written(tmp_path, tides={"url": tides.url}, moon={"url": tides.url})) as api:
        status, error = refusal(ask(api, "mcp/tide"))
        assert (status, error["type"]) == (502, "plugin_connection_error")
        assert "mcp/tides" in error["message"]


def test_server_that_cannot_be_reached_or_started(tmp_path: Path) -> None:
    secret = {"SECRET": "swordfish"}
    file = written(
        tmp_path,
        gone={"url": "http://127.0.0.1:9/mcp", "headers": secret},
        none={"command": "no-such-program-here", "env": secret},
    )
    with serving(file) as api:
        for name in ("gone", "none"):
            status, error = refusal(ask(api, f"mcp/{name}"))
            assert (status, error["type"]) == (502, "plugin_connection_error")
            assert f"'mcp/{name}'" in error["message"]
            assert "swordfish" not in error["message"]


def test_the_file_allows_no_other_plugins(tmp_path: Path) -> None:
    file = written(tmp_path)
    with serving(file) as api:
        assert refusal(ask(api, "me/helper"))[0] == 501
    with serving(file, allow_plugins=True) as api:
        assert refusal(ask(api, "me/helper"))[0] == 502


def test_both_kinds_in_one_chat(tmp_path: Path, tides: TideServer) -> None:
    brought = {
        "type": "ephemeral_mcp",
        "server_label": "brought",
        "server_url": tides.url,
        "allowed_tools": ["tide_lookup"],
    }
    own = {"type": "plugin", "id": "mcp/tides", "allowed_tools": ["tide_fail"]}
    engine = ScriptedEngine()
    with serving(written(tmp_path, tides={"url": tides.url}), engine, allow_ephemeral_mcp=True) as api:
        assert ask(api, brought, own).status_code == 200
    assert [tool["function"]["name"] for tool in engine.chats[0].tools] == ["tide_lookup", "tide_fail"]
