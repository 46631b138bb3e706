"""What the examples of the HTTP pages are done with: curl, requests, and the clients of OpenAI and Anthropic."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import requests
from http_surfaces.tide_server import TideServer
from mcp import types
from patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionToolParam

    from lmstudio.server import Server

MODEL = "pebble-2.6m"
EMBEDDER = "text-embedding-pebble-embed-0.8m"
TOKEN = "sk-lm-h29tests:0123456789abcdefghij"
WEATHER_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
CAPITAL = "What is the capital of France?"
OSLO = "What is the weather in Oslo?"
PLAIN = {"llm.prediction.repeatPenalty": {"checked": False, "value": 1}, "llm.prediction.temperature": 0}
"""With these the shipped model always answers the same, and may repeat the words of a question."""
GET_WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Get the weather", "parameters": WEATHER_SCHEMA},
}
F = TypeVar("F", bound=Callable[..., Any])


def shows(*examples: int) -> Callable[[F], F]:
    """Marks the test of these examples: *E1* is 1."""

    def mark(test: F) -> F:
        vars(test)["http_examples"] = examples
        return test

    return mark


class WeatherServer(TideServer):
    """An MCP server with two tools, of which the shipped model uses the first."""

    async def _list(self, _context: Any, _params: Any) -> types.ListToolsResult:
        descriptions = {"get_weather": "Get the weather", "forget_weather": "Forget the weather"}
        tools = [
            types.Tool(name=name, description=text, input_schema=WEATHER_SCHEMA) for name, text in descriptions.items()
        ]
        return types.ListToolsResult(tools=tools)

    async def _call(self, _context: Any, params: Any) -> types.CallToolResult:
        self.calls.append((params.name, params.arguments))
        return types.CallToolResult(content=[types.TextContent(type="text", text="snowy, -3 degrees")])


class Program:
    """Sends what an example sends, and has what its user gets to see."""

    def __init__(self, server: Server, token: str | None = None) -> None:
        self.url = f"http://{server.api_host}"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def with_header(self, name: str, value: str) -> Program:
        """The same with one header more."""
        self._headers[name] = value
        return self

    def text(self, path: str, body: Any = None) -> str:
        """What is printed: POST with *body*, GET without."""
        raise NotImplementedError

    def __call__(self, path: str, body: Any = None) -> Any:
        """The answer, which is JSON."""
        return json.loads(self.text(path, body))


class Requests(Program):
    """A program in Python with `requests`."""

    def text(self, path: str, body: Any = None) -> str:
        with requests.Session() as session:
            session.trust_env = False
            response = session.request(
                "GET" if body is None else "POST",
                self.url + path,
                json=body,
                headers=self._headers,
                timeout=PATIENCE_SECONDS,
            )
            assert response.headers["content-type"].startswith("application/json")
            return response.text


class Curl(Program):
    """A command line with curl."""

    def text(self, path: str, body: Any = None) -> str:
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("curl is not installed")
        # Without the settings and the proxies of this user.
        command = [curl, "-q", "--noproxy", "*", "--max-time", f"{PATIENCE_SECONDS:g}", "-sS", self.url + path]
        for name, value in self._headers.items():
            command += ["-H", f"{name}: {value}"]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        ended = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout
