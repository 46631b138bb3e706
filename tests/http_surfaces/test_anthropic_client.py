"""Anthropic's own Python client against the server with the shipped model: its whole range for messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from patience import PATIENCE_SECONDS
from pydantic import BaseModel

from lmstudio.server import Gate, Reply, ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropic.types import MessageParam, ToolParam

MODEL = "pebble-2.6m"
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "Get the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
QUESTION = "What is the weather in Oslo?"
CAPITAL = "What is the capital of France?"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serves the shipped models, which always answer the same, and may repeat the words of a question."""
    plain = {"llm.prediction.repeatPenalty": {"checked": False, "value": 1}, "llm.prediction.temperature": 0}
    with Server(prediction_defaults=plain) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client as LM Studio's documentation sets it up. It would try twice more what fails."""
    with anthropic.Anthropic(
        base_url=f"http://{server.api_host}", api_key="lmstudio", timeout=PATIENCE_SECONDS
    ) as client:
        yield client


def user(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def ask(client: anthropic.Anthropic, messages: list[MessageParam], **members: Any) -> anthropic.types.Message:
    reply: anthropic.types.Message = client.messages.create(
        **{"model": MODEL, "max_tokens": 200, "messages": messages, **members}
    )
    return reply


def test_message(client: anthropic.Anthropic) -> None:
    reply = ask(client, user(CAPITAL), system="Be brief.")
    assert "Paris" in text_of(reply)
    assert (reply.role, reply.model, reply.stop_reason, reply.stop_sequence) == ("assistant", MODEL, "end_turn", None)
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0


def test_stop_reasons(client: anthropic.Anthropic) -> None:
    assert ask(client, user("Tell me a story."), max_tokens=3).stop_reason == "max_tokens"
    stopped = ask(client, user(CAPITAL), stop_sequences=["Paris"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "Paris")
    assert "Paris" not in text_of(stopped)


def test_stream_of_events(client: anthropic.Anthropic) -> None:
    events = client.messages.create(model=MODEL, max_tokens=200, messages=user(CAPITAL), stream=True)
    names = [event.type for event in events]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_stream_of_text_and_final_message(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model=MODEL, max_tokens=200, messages=user(CAPITAL)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "Paris" in text
    assert text_of(final) == text
    assert final.stop_reason == "end_turn"
    assert final.usage.input_tokens > 0
    assert final.usage.output_tokens > 0


def test_stream_that_is_left_stops_the_model() -> None:
    gate = Gate()
    engine = ScriptedEngine(Reply(["one ", gate, "two"]))
    with (
        Server(engine=engine) as server,
        anthropic.Anthropic(base_url=f"http://{server.api_host}", api_key="lmstudio") as client,
    ):
        with client.messages.stream(model="scripted-chat", max_tokens=9, messages=user("Hi")) as stream:
            assert next(iter(stream.text_stream)) == "one "
        assert engine.wait_for_cancel(PATIENCE_SECONDS)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}, {"type": "auto"}])
def test_tools(client: anthropic.Anthropic, choice: Any) -> None:
    reply = ask(client, user(QUESTION), tools=[WEATHER], tool_choice=choice)
    assert reply.stop_reason == "tool_use"
    (call,) = (block for block in reply.content if block.type == "tool_use")
    assert (call.name, call.input) == ("get_weather", {"city": "Oslo"})
    history: list[MessageParam] = [
        *user(QUESTION),
        {"role": "assistant", "content": reply.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "snowy, -3 degrees"}]},
    ]
    assert "snowy" in text_of(ask(client, history, tools=[WEATHER]))


def test_no_tool(client: anthropic.Anthropic) -> None:
    reply = ask(client, user(QUESTION), tools=[WEATHER], tool_choice={"type": "none"})
    assert {block.type for block in reply.content} == {"text"}


def test_stream_of_a_tool_call(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model=MODEL,
        max_tokens=200,
        messages=user(QUESTION),
        tools=[WEATHER],
        tool_choice={"type": "any"},
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert "".join(pieces).startswith("{")
    (call,) = (block for block in final.content if block.type == "tool_use")
    assert call.input == {"city": "Oslo"}
    assert final.stop_reason == "tool_use"


def test_loop_of_tools_that_the_client_runs(client: anthropic.Anthropic) -> None:
    asked = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Get the weather"""
        asked.append(city)
        return "snowy, -3 degrees"

    runner = client.beta.messages.tool_runner(
        model=MODEL,
        max_tokens=200,
        tools=[get_weather],
        messages=[{"role": "user", "content": QUESTION}],
    )
    last = runner.until_done()
    assert asked == ["Oslo"]
    assert "snowy" in "".join(block.text for block in last.content if block.type == "text")


def test_thinking_goes_into_history(client: anthropic.Anthropic) -> None:
    question = user("What is 4 + 5? /think")
    reply = ask(client, question, thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=300)
    thinking, text = reply.content
    assert (thinking.type, text.type) == ("thinking", "text")
    assert "9" in text_of(reply)
    history: list[MessageParam] = [
        *question,
        {"role": "assistant", "content": [*reply.content, {"type": "redacted_thinking", "data": "c2VjcmV0"}]},
        *user(CAPITAL),
    ]
    assert "Paris" in text_of(ask(client, history))
    assert {block.type for block in ask(client, question, thinking={"type": "disabled"}).content} == {"text"}


def test_stream_of_thinking(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model=MODEL,
        max_tokens=300,
        messages=user("What is 4 + 5? /think"),
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        kinds = [event.type for event in stream]
        thinking, text = stream.get_final_message().content
    assert kinds.index("thinking") < kinds.index("signature") < kinds.index("text")
    assert thinking.type == "thinking"
    assert thinking.thinking.strip()
    assert text.type == "text"


def test_given_beginning(client: anthropic.Anthropic) -> None:
    reply = ask(client, [*user(CAPITAL), {"role": "assistant", "content": "The capital of France is"}])
    assert text_of(reply).startswith(" Paris")


class Bird(BaseModel):
    """What the reply has to look like."""

    species: str
    can_fly: bool


def test_structured_output(client: anthropic.Anthropic) -> None:
    reply = client.messages.parse(model=MODEL, max_tokens=200, messages=user("Describe a bird."), output_format=Bird)
    assert isinstance(reply.parsed_output, Bird)


def test_count_of_tokens(client: anthropic.Anthropic) -> None:
    members: Any = {"model": MODEL, "messages": user(QUESTION), "system": "Be brief.", "tools": [WEATHER]}
    counted = client.messages.count_tokens(**members).input_tokens
    assert counted == client.messages.create(max_tokens=5, **members).usage.input_tokens
    assert counted > client.messages.count_tokens(model=MODEL, messages=user(QUESTION)).input_tokens
    assert client.beta.messages.count_tokens(**members).input_tokens == counted  # asks with ?beta=true


def test_asynchronous_client(server: Server) -> None:
    async def main() -> list[str]:
        async with anthropic.AsyncAnthropic(base_url=f"http://{server.api_host}", api_key="lmstudio") as client:

            async def answer() -> str:
                async with client.messages.stream(model=MODEL, max_tokens=200, messages=user(CAPITAL)) as stream:
                    return await stream.get_final_text()

            return await asyncio.gather(*(answer() for _ in range(4)))

    assert all("Paris" in text for text in asyncio.run(main()))


@pytest.mark.parametrize(
    ("members", "error_type"),
    [
        ({"model": "pebbel"}, anthropic.NotFoundError),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, anthropic.BadRequestError),
        ({"messages": []}, anthropic.BadRequestError),
        ({"max_tokens": 0}, anthropic.BadRequestError),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_errors_have_their_classes_and_nothing_is_tried_again(
    client: anthropic.Anthropic, members: Any, error_type: type[anthropic.APIStatusError], *, is_stream: bool
) -> None:
    request = {"model": MODEL, "max_tokens": 9, "messages": user("Hi"), "stream": is_stream, **members}
    with pytest.raises(error_type) as caught:
        client.messages.create(**request)
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"
    assert caught.value.type in ("not_found_error", "invalid_request_error")


def test_token_is_needed_and_taken_from_either_header() -> None:
    token = "sk-lm-abcdefgh:abcdefghijklmnopqrst"
    with Server(engine=ScriptedEngine(), api_tokens=[token]) as server:
        url = f"http://{server.api_host}"
        for client in (
            anthropic.Anthropic(base_url=url, api_key=token),
            anthropic.Anthropic(base_url=url, auth_token=token),
        ):
            with client:
                assert text_of(ask(client, user("Hi"), model="scripted-chat")) == "You said: Hi"
        with (
            anthropic.Anthropic(base_url=url, api_key="lmstudio") as client,
            pytest.raises(anthropic.AuthenticationError),
        ):
            ask(client, user("Hi"), model="scripted-chat")


def test_failure_within_a_stream_is_an_error() -> None:
    engine = ScriptedEngine(Reply(["one "], error="The engine is out of order.", error_after=1))
    with (
        Server(engine=engine) as server,
        anthropic.Anthropic(base_url=f"http://{server.api_host}", api_key="lmstudio") as client,
        client.messages.stream(model="scripted-chat", max_tokens=9, messages=user("Hi")) as stream,
        pytest.raises(anthropic.APIStatusError, match="out of order"),
    ):
        stream.get_final_message()
