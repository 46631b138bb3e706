"""What the tests of /v1/responses have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from http_surfaces.http_stage import ADD, CHAT_MODEL

if TYPE_CHECKING:
    import httpx

PATH = "/v1/responses"
TOOLS = [{"type": "function", **ADD}]


def ask(api: httpx.Client, given: Any = "Hi", **members: Any) -> dict[str, Any]:
    """The response to *given*."""
    response = api.post(PATH, json={"model": CHAT_MODEL, "input": given, **members})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def refused(api: httpx.Client, given: Any = "Hi", **members: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a request that is refused."""
    response = api.post(PATH, json={"model": CHAT_MODEL, "input": given, **members})
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error


def text_of(response: dict[str, Any]) -> str:
    """The text of all messages, as `output_text` of OpenAI's client."""
    items = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in items for part in item["content"])


def calls_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The items that are calls."""
    return [item for item in response["output"] if item["type"] == "function_call"]
