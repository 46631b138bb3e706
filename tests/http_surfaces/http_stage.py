"""What the tests of the HTTP surfaces have in common."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from lmstudio.server.instances import Clock

if TYPE_CHECKING:
    import httpx

CHAT_MODEL = "scripted-chat"
EMBEDDING_MODEL = "scripted-embed"
USER = [{"role": "user", "content": "Hi"}]
ADD = {
    "name": "add",
    "description": "Add two numbers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


class StillClock(Clock):
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Event(NamedTuple):
    """One event of a stream."""

    name: str
    """"" where the stream has no names."""
    data: Any
    """Decoded, or the text where it is no JSON."""


def read_events(response: httpx.Response) -> list[Event]:
    """All events of a stream. Each has at most one line `event:` and exactly one line `data:`, and a blank line."""
    assert response.status_code == 200, response.read()
    assert response.headers["content-type"].startswith("text/event-stream")
    text = response.read().decode()
    assert text.endswith("\n\n")
    events = []
    for block in text[:-2].split("\n\n"):
        lines = block.split("\n")
        name = lines.pop(0).removeprefix("event: ") if lines[0].startswith("event: ") else ""
        (line,) = lines
        assert line.startswith("data: ")
        content = line.removeprefix("data: ")
        events.append(Event(name, content if content == "[DONE]" else json.loads(content)))
    return events


def refusal(response: httpx.Response) -> tuple[int, dict[str, Any]]:
    """Status and error of a reply of /api/v1."""
    error: dict[str, Any] = response.json()["error"]
    assert set(error) <= {"type", "message", "code", "param"}
    return response.status_code, error
