"""The examples of LM Studio's developer pages that are done with OpenAI's client, E10 to E18."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import openai
import pytest
from patience import PATIENCE_SECONDS

from docs.http_programs import CAPITAL, EMBEDDER, GET_WEATHER, MODEL, OSLO, PLAIN, shows
from lmstudio.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

NOW: ChatCompletionToolParam = {"type": "function", "function": {"name": "now", "description": "Get the time"}}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serves the shipped models."""
    with Server(prediction_defaults=PLAIN) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's client. Nothing but the address is LM Studio's."""
    base_url = f"http://{server.api_host}/v1"
    with openai.OpenAI(base_url=base_url, api_key="lm-studio", timeout=PATIENCE_SECONDS, max_retries=0) as client:
        yield client


def user(text: str) -> ChatCompletionMessageParam:
    return {"role": "user", "content": text}


@shows(10)
def test_openai_chat(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Be brief."}, user(CAPITAL)]
    message = client.chat.completions.create(model=MODEL, messages=messages, temperature=0.1).choices[0].message
    assert message.role == "assistant"
    assert "Paris" in (message.content or "")
    with pytest.raises(openai.BadRequestError, match="model-identifier"):  # the placeholder
        client.chat.completions.create(model="model-identifier", messages=messages)


@shows(11)
def test_openai_embeddings(client: openai.OpenAI) -> None:
    def embed(text: str, model: str = EMBEDDER) -> list[float]:
        return client.embeddings.create(input=[text.replace("\n", " ")], model=model).data[0].embedding

    vector = embed("It rains\nin Oslo.")
    assert len(vector) == 128
    assert all(isinstance(number, float) for number in vector)
    assert embed("It rains in Oslo.", EMBEDDER.removeprefix("text-embedding-")) == vector  # names are shortened


@shows(12)
def test_openai_structured_output(client: openai.OpenAI) -> None:
    bird = {"type": "object", "properties": {"kind": {"enum": ["heron", "owl"]}}, "required": ["kind"]}
    birds = {"type": "array", "items": bird, "minItems": 1, "maxItems": 3}
    schema = {"type": "object", "properties": {"birds": birds}, "required": ["birds"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "birds", "schema": schema}}
    completion = client.chat.completions.create(model=MODEL, messages=[user("Name birds.")], response_format=form)
    (*_, last) = json.loads(completion.choices[0].message.content or "")["birds"]
    assert last["kind"] in ("heron", "owl")


@shows(13)
def test_openai_single_turn_with_a_tool(client: openai.OpenAI) -> None:
    def get_weather(city: str) -> str:
        return f"It snows in {city}."

    reply = client.chat.completions.create(model=MODEL, messages=[user(OSLO)], tools=[GET_WEATHER])
    assert reply.choices[0].message.tool_calls
    call: Any = reply.choices[0].message.tool_calls[0]
    arguments = eval(call.function.arguments)  # as there: what was written has to be a literal of Python as well
    assert {"get_weather": get_weather}[call.function.name](**arguments) == "It snows in Oslo."


@shows(14)
def test_openai_multi_turn_with_a_tool(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "system", "content": "Use the tools you are given."}, user(OSLO)]
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[GET_WEATHER])
    assert first.system_fingerprint == first.model == MODEL
    assert first.usage
    assert first.usage.prompt_tokens > 0 < first.usage.completion_tokens
    (choice,) = first.choices
    assert (choice.index, choice.finish_reason, choice.message.content) == (0, "tool_calls", None)
    assert choice.message.tool_calls
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert re.fullmatch("[0-9]{9}", call.id)
    used = {"id": call.id, "type": call.type, "function": call.function}
    messages.append({"role": "assistant", "tool_calls": [used]})
    messages.append({"role": "tool", "content": json.dumps({"sky": "snow"}), "tool_call_id": call.id})
    last = client.chat.completions.create(model=MODEL, messages=messages)
    assert "snow" in (last.choices[0].message.content or "")


@shows(15)
def test_openai_agent_with_several_tools(client: openai.OpenAI) -> None:
    """Until the model calls no more tools, for one user's line after the other."""
    forecast: Any = {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
            "required": ["city"],
        },
    }
    timer: Any = {
        "name": "set_timer",
        "description": "Set a timer",
        "parameters": {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]},
    }
    nothing: Any = {"name": "now", "description": "Get the time", "parameters": {"type": "object", "properties": {}}}
    tools: Any = [{"type": "function", "function": each} for each in (forecast, timer, nothing)]
    functions: dict[str, Callable[..., Any]] = {
        "get_weather": lambda city, unit="C": {"city": city, "sky": "snow", "unit": unit},
        "set_timer": lambda minutes: {"set": True, "minutes": minutes},
        "now": lambda: {"time": "12:30"},
    }
    messages: list[Any] = []
    results, answers = [], []
    for line in (OSLO, "Set a timer for 25 minutes."):
        messages.append({"role": "user", "content": line})
        while calls := (reply := say(client, messages, tools)).tool_calls:
            messages.append({"role": "assistant", "tool_calls": [call.model_dump() for call in calls]})
            for call in calls:
                results.append(result_of(call, functions))
                messages.append({"role": "tool", "content": json.dumps(results[-1]), "tool_call_id": call.id})
        messages.append({"role": "assistant", "content": reply.content})
        answers.append(reply.content or "")
    assert results == [{"city": "Oslo", "sky": "snow", "unit": "C"}, {"set": True, "minutes": 25}]
    assert "snow" in answers[0]
    assert answers[1]
    (call,) = say(client, messages, tools, tool_choice={"type": "function", "function": {"name": "now"}}).tool_calls
    assert result_of(call, functions) == {"time": "12:30"}


def result_of(call: Any, functions: dict[str, Callable[..., Any]]) -> Any:
    """What the function says; nothing at all is no arguments."""
    text = call.function.arguments
    return functions[call.function.name](**(json.loads(text) if text.strip() else {}))


def say(client: openai.OpenAI, messages: Any, tools: Any, **members: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=messages, tools=tools, **members).choices[0].message


@shows(16, 17)
def test_openai_streaming_chatbot_with_tools(client: openai.OpenAI) -> None:
    calls: dict[int, dict[str, str]] = {}
    pieces: list[dict[str, Any]] = []
    for chunk in client.chat.completions.create(
        model=MODEL, messages=[user(OSLO)], tools=[NOW, GET_WEATHER], stream=True
    ):
        delta = chunk.choices[0].delta  # there is one in every chunk
        if delta.content:
            assert not delta.tool_calls
        elif delta.tool_calls:
            for piece in delta.tool_calls:
                assert piece.function
                call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += piece.id or ""
                call["name"] += piece.function.name or ""
                call["arguments"] += piece.function.arguments or ""
                pieces.append(piece.model_dump(exclude_unset=True))
    (call,) = calls.values()
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Oslo"})
    first, *others = pieces
    assert first == {
        "index": 0,
        "id": call["id"],
        "type": "function",
        "function": {"name": "get_weather", "arguments": ""},
    }
    assert others
    assert all(set(piece) == {"index", "function"} and set(piece["function"]) == {"arguments"} for piece in others)
    told: list[Any] = [
        user(OSLO),
        {"role": "assistant", "tool_calls": [{"id": call["id"], "type": "function", "function": call_of(call)}]},
        {"role": "tool", "content": "snowy, -3 degrees", "tool_call_id": call["id"]},
    ]
    stream = client.chat.completions.create(model=MODEL, messages=told, stream=True)
    assert "snowy" in "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def call_of(call: dict[str, str]) -> dict[str, str]:
    return {"name": call["name"], "arguments": call["arguments"]}


@shows(18)
def test_openai_with_nothing_but_the_address(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    base_url = f"http://{server.api_host}/v1"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(openai.OpenAIError, match="OPENAI_API_KEY"):
        openai.OpenAI(base_url=base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "a key of OpenAI")
    with openai.OpenAI(base_url=base_url) as client:
        assert MODEL in [model.id for model in client.models.list()]
