# Generated from ../async/test_http_anthropic.py by tools/make_sync.py. Edit that file instead.
"""Anthropic's messages over HTTP: `client.messages`."""

from __future__ import annotations

from typing import Any

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.http import HttpClient
from lmstudio.http.anthropic import (
    ContentBlockDelta,
    InputMessage,
    MessagesRequest,
    MessageStart,
    MessageStop,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    Tool,
    ToolUseBlock,
)
from lmstudio.server import Gate, Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import Reasoning

MODEL = "scripted-chat"
USER = [{"role": "user", "content": "Hi"}]
WEATHER = Tool(
    name="get_weather",
    input_schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def client_of(server: Server, **members: Any) -> HttpClient:
    return HttpClient(f"http://{server.api_host}", timeout=PATIENCE_SECONDS, **members)


# Whole messages ------------------------------------------------------------------------------------------------------


def test_message_from_keywords(server: Server, engine: ScriptedEngine) -> None:
    with client_of(server) as client:
        message = client.messages.create(model=MODEL, max_tokens=20, messages=USER, system="Be brief.")
    assert (message.role, message.model, message.stop_reason) == ("assistant", MODEL, "end_turn")
    assert message.text == "You said: Hi"
    assert message.content == [TextBlock(text="You said: Hi")]
    assert (message.usage.input_tokens > 0, message.usage.output_tokens) == (True, 3)
    assert [each["role"] for each in engine.chats[-1].messages] == ["system", "user"]


def test_message_from_a_request_or_a_dict(server: Server) -> None:
    request = MessagesRequest(model=MODEL, max_tokens=20, messages=[InputMessage(role="user", content="Hi")])
    with client_of(server) as client:
        from_struct = client.messages.create(request)
        from_dict = client.messages.create({"model": MODEL, "maxTokens": 20, "messages": USER})
        shorter = client.messages.create(request, max_tokens=1)
    assert from_struct.text == from_dict.text == "You said: Hi"
    assert shorter.stop_reason == "max_tokens"


def test_blocks_have_types(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning(["Hm."]), "Looking.", ToolCall("get_weather", {"city": "Oslo"})])
    with client_of(server) as client:
        message = client.messages.create(model=MODEL, max_tokens=50, messages=USER, tools=[WEATHER])
    thought, said, call = message.content
    assert isinstance(thought, ThinkingBlock)
    assert (thought.type, thought.thinking) == ("thinking", "Hm.")
    assert isinstance(said, TextBlock)
    assert isinstance(call, ToolUseBlock)
    assert (call.name, call.input) == ("get_weather", {"city": "Oslo"})
    assert message.stop_reason == "tool_use"


def test_answer_can_be_sent_back(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("get_weather", {"city": "Oslo"})]), Reply("It rains.")]
    with client_of(server) as client:
        first = client.messages.create(model=MODEL, max_tokens=50, messages=USER, tools=[WEATHER])
        (call,) = first.content
        assert isinstance(call, ToolUseBlock)
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
        answers: list[dict[str, Any]] = [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ]
        second = client.messages.create(model=MODEL, max_tokens=50, messages=[*USER, *answers], tools=[WEATHER])
    assert second.text == "It rains."
    assert [each["role"] for each in engine.chats[-1].messages] == ["user", "assistant", "tool"]


def test_model_of_the_settings_is_used(server: Server) -> None:
    settings = lms.Settings(default_model=MODEL, allowed_models=[MODEL])
    with client_of(server, settings=settings) as client:
        assert (client.messages.create(max_tokens=20, messages=USER)).model == MODEL
        with pytest.raises(lms.LMStudioValueError, match="not one of allowed_models"):
            client.messages.create(model="other", max_tokens=20, messages=USER)


def test_bad_requests_are_refused_before_anything_is_sent() -> None:
    client = HttpClient("http://localhost:9")  # where nobody listens
    with pytest.raises(lms.LMStudioValueError, match=r"Could not create a message: max_tokens: it is required\."):
        client.messages.create(model=MODEL, messages=USER)
    with pytest.raises(lms.LMStudioValueError, match=r"messages\[0\].role: it is required"):
        client.messages.create(model=MODEL, max_tokens=20, messages=[{"content": "Hi"}])
    with pytest.raises(lms.LMStudioValueError, match="max_tokens: expected `int` >= 1"):
        client.messages.create(model=MODEL, max_tokens=0, messages=USER)
    with pytest.raises(lms.LMStudioValueError, match="Did you mean 'stop_sequences'"):
        client.messages.create(model=MODEL, max_tokens=20, messages=USER, stop_sequence=["a"])  # type: ignore[call-arg]  # a slip
    client.close()


def test_what_this_version_does_not_know_is_sent_as_it_is(server: Server) -> None:
    block = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    with client_of(server) as client:
        message = client.messages.create(
            {
                "model": MODEL,
                "max_tokens": 20,
                "messages": [{"role": "user", "content": [block]}],
                "service_tier": "auto",
            }
        )
    assert message.text == "You said: Hi"


def test_model_that_does_not_exist(server: Server) -> None:
    with client_of(server) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError) as caught:
            client.messages.create(model="nobody", max_tokens=20, messages=USER)
    assert caught.value.status_code == 404
    assert caught.value.context["endpoint"] == "v1/messages"


# Tokens --------------------------------------------------------------------------------------------------------------


def test_tokens_are_those_of_the_message(server: Server) -> None:
    with client_of(server) as client:
        count = client.messages.count_tokens(model=MODEL, messages=USER, system="Be brief.")
        message = client.messages.create(model=MODEL, max_tokens=20, messages=USER, system="Be brief.")
    assert count == message.usage.input_tokens


def test_tokens_of_a_request_for_a_message(server: Server) -> None:
    request = MessagesRequest(model=MODEL, max_tokens=20, messages=[InputMessage(role="user", content="Hi")])
    with client_of(server) as client:
        plain = client.messages.count_tokens(request)
        with_tool = client.messages.count_tokens(request, tools=[WEATHER])
    assert 0 < plain < with_tool


# Streaming -----------------------------------------------------------------------------------------------------------


def test_stream_of_events_ends_with_the_message(server: Server) -> None:
    with client_of(server) as client:
        whole = client.messages.create(model=MODEL, max_tokens=20, messages=USER)
        with client.messages.stream(model=MODEL, max_tokens=20, messages=USER) as stream:
            events = [event for event in stream]
            message = stream.result()
    texts = [
        event.delta.text
        for event in events
        if isinstance(event, ContentBlockDelta) and event.delta.type == "text_delta"
    ]
    assert "".join(texts) == "You said: Hi"
    assert isinstance(events[0], MessageStart)
    assert isinstance(events[-1], MessageStop)
    assert (message.content, message.stop_reason) == (whole.content, whole.stop_reason)
    assert message.usage.output_tokens == whole.usage.output_tokens


def test_tool_call_of_a_stream_is_put_together(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["Looking.", ToolCall("get_weather", {"city": "Oslo", "days": [1, 2]})])
    with client_of(server) as client:
        stream = client.messages.stream(model=MODEL, max_tokens=50, messages=USER, tools=[WEATHER])
        message = stream.wait_for_result()
    assert [block.type for block in message.content] == ["text", "tool_use"]
    call = message.content[1]
    assert isinstance(call, ToolUseBlock)
    assert call.input == {"city": "Oslo", "days": [1, 2]}


def test_cancelled_stream_has_what_has_come(server: Server, gate: Gate) -> None:
    with client_of(server) as client:
        with client.messages.stream(model=MODEL, max_tokens=20, messages=USER) as stream:
            for event in stream:
                if isinstance(event, ContentBlockDelta) and event.delta == TextDelta(text=" two"):
                    stream.cancel()
        message = stream.result()
    assert (message.text, message.stop_reason) == ("one two", None)


def test_failure_of_a_stream_is_raised(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one ", "two "], error="The engine is out of order.", error_after=1)
    with client_of(server) as client:
        with pytest.raises(lms.LMStudioServerError, match="out of order"):
            with client.messages.stream(model=MODEL, max_tokens=20, messages=USER) as stream:
                for _ in stream:
                    pass
        with pytest.raises(lms.LMStudioServerError, match="out of order"):
            stream.result()
