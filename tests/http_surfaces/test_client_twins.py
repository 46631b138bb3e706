"""The clients of OpenAI and Anthropic and this package's own get the same out of the same requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import ADD, CHAT_MODEL, USER
from lmstudio.http import HttpClient
from lmstudio.server import Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import Reasoning

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGING = {"id", "call_id", "created_at", "completed_at", "item_id", "usage", "obfuscation"}
"""What no two replies have in common."""
ANSWERS = [
    Reply("Hello there"),
    Reply([Reasoning(["Let me ", "see."]), "Yes", " indeed."]),
    Reply(["Adding.", ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})]),
]
RESPONSE: dict[str, Any] = {"model": CHAT_MODEL, "input": "Hi", "tools": [{"type": "function", **ADD}]}
MESSAGE: dict[str, Any] = {
    "model": CHAT_MODEL,
    "messages": USER,
    "max_tokens": 50,
    "tools": [{"name": "add", "input_schema": ADD["parameters"]}],
}


@pytest.fixture
def own(server: Server) -> Iterator[HttpClient]:
    """This package's client."""
    with HttpClient(f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture
def of_openai(server: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's."""
    with openai.OpenAI(base_url=f"http://{server.api_host}/v1", api_key="x", timeout=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture
def of_anthropic(server: Server) -> Iterator[anthropic.Anthropic]:
    """Anthropic's."""
    with anthropic.Anthropic(base_url=f"http://{server.api_host}", api_key="x", timeout=PATIENCE_SECONDS) as client:
        yield client


def lasting(value: Any) -> Any:
    """JSON without what changes, and without what is null: the clients differ in what they say of that."""
    if isinstance(value, list):
        return [lasting(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: lasting(item) for name, item in value.items() if name not in CHANGING and item is not None}


@pytest.mark.parametrize("answer", ANSWERS)
def test_response(own: HttpClient, of_openai: openai.OpenAI, engine: ScriptedEngine, answer: Reply) -> None:
    engine.reply = answer
    theirs = of_openai.responses.create(**RESPONSE)
    ours = own.responses.create(**RESPONSE)
    assert lasting(ours.to_dict()) == lasting(theirs.to_dict())
    assert ours.output_text == theirs.output_text


@pytest.mark.parametrize("answer", ANSWERS)
def test_events_of_a_response(own: HttpClient, of_openai: openai.OpenAI, engine: ScriptedEngine, answer: Reply) -> None:
    engine.reply = answer
    theirs = [event.to_dict() for event in of_openai.responses.create(**RESPONSE, stream=True)]
    with own.responses.stream(**RESPONSE) as stream:
        ours = [event.to_dict() for event in stream]
    assert lasting(ours) == lasting(theirs)


@pytest.mark.parametrize("answer", ANSWERS)
def test_message(own: HttpClient, of_anthropic: anthropic.Anthropic, engine: ScriptedEngine, answer: Reply) -> None:
    engine.reply = answer
    theirs = of_anthropic.messages.create(**MESSAGE)
    ours = own.messages.create(**MESSAGE)
    assert lasting(ours.to_dict()) == lasting(theirs.to_dict())


@pytest.mark.parametrize("answer", ANSWERS)
def test_message_of_a_stream(
    own: HttpClient, of_anthropic: anthropic.Anthropic, engine: ScriptedEngine, answer: Reply
) -> None:
    engine.reply = answer
    with of_anthropic.messages.stream(**MESSAGE) as stream:
        theirs = stream.get_final_message()
    ours = own.messages.stream(**MESSAGE).wait_for_result()
    assert lasting(ours.to_dict()) == lasting(theirs.to_dict())
    assert ours.usage.output_tokens == theirs.usage.output_tokens
