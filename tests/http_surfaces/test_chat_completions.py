"""POST /v1/chat/completions over plain HTTP, with the scripted engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from http_surfaces.http_stage import ADD, CHAT_MODEL, EMBEDDING_MODEL, PIXEL, USER, Event, read_events
from lmstudio.server import BrokenToolCall, Gate, Reply, ToolCall
from lmstudio.server.engine.scripted import Reasoning

if TYPE_CHECKING:
    import httpx

    from lmstudio.server import ScriptedEngine, Server

PATH = "/v1/chat/completions"
REMOTE_IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/image.png"}}
TOOLS = [{"type": "function", "function": ADD}]


def ask(api: httpx.Client, **members: Any) -> dict[str, Any]:
    response = api.post(PATH, json={"model": CHAT_MODEL, "messages": USER, **members})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def stream(api: httpx.Client, **members: Any) -> list[Event]:
    return read_events(api.post(PATH, json={"model": CHAT_MODEL, "messages": USER, "stream": True, **members}))


def refused(api: httpx.Client, **members: Any) -> tuple[int, dict[str, Any]]:
    response = api.post(PATH, json={"model": CHAT_MODEL, "messages": USER, **members})
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error


# Whole replies -------------------------------------------------------------------------------------------------------


def test_reply_has_the_members_of_openai_and_of_lm_studio(api: httpx.Client) -> None:
    body = ask(api)
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert isinstance(body["created"], int)
    assert body["model"] == body["system_fingerprint"] == CHAT_MODEL
    (choice,) = body["choices"]
    assert choice == {
        "index": 0,
        "logprobs": None,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "You said: Hi"},
    }
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] > 0
    assert body["stats"] == {}


def test_config_reaches_the_engine(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(
        api,
        temperature=0.25,
        top_p=0.5,
        top_k=7,
        min_p=0.1,
        max_tokens=20,
        stop="END",
        presence_penalty=0.1,
        frequency_penalty=0.2,
        repeat_penalty=1.3,
        logit_bias={"5": -100, "6": 3},
        seed=11,
        mirostat_mode=2,
    )
    request = engine.requests[-1]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.25, 0.5, 7, 0.1)
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.repeat_penalty) == (0.1, 0.2, 1.3)
    assert list(sampling.logit_bias) == [(5, float("-inf")), (6, 3)]
    assert sampling.seed == 11
    assert sampling.mirostat is not None
    assert sampling.mirostat[0] == 2
    assert request.max_tokens == 20
    assert list(request.stop_strings) == ["END"]


@pytest.mark.parametrize("limit", [{"max_tokens": -1}, {}])
def test_minus_one_is_no_limit(api: httpx.Client, engine: ScriptedEngine, limit: dict[str, int]) -> None:
    ask(api, **limit)
    assert engine.requests[-1].max_tokens is None


def test_newer_name_of_the_limit_counts(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "one two three four"
    body = ask(api, max_completion_tokens=2)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


def test_all_roles_reach_the_model(api: httpx.Client, engine: ScriptedEngine) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Add"}, {"type": "text", "text": "these."}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a":1,"b":2}'}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "3"},
    ]
    ask(api, messages=messages, tools=TOOLS)
    chat = engine.chats[-1]
    assert [message["role"] for message in chat.messages] == ["system", "user", "assistant", "tool"]
    assert chat.messages[3]["content"] == "3"
    assert chat.tools[0]["function"]["name"] == "add"


def test_reasoning_is_told_apart_under_both_names(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes."])
    body = ask(api)
    message = body["choices"][0]["message"]
    assert message["content"].strip() == "Yes."
    assert message["reasoning"] == message["reasoning_content"]
    assert message["reasoning"].strip() == "Hm."
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


@pytest.mark.parametrize("effort", ["none", "low", "high"])
def test_effort_of_reasoning_reaches_the_template(api: httpx.Client, engine: ScriptedEngine, effort: str) -> None:
    ask(api, reasoning_effort=effort)
    assert engine.chats[-1].enable_thinking is (effort != "none")


def test_structured_output(api: httpx.Client, engine: ScriptedEngine) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "strict": "true", "schema": schema}}
    body = ask(api, response_format=form)
    assert engine.requests[-1].json_schema == schema
    assert body["choices"][0]["message"]["content"] == '{"n": 0}'


def test_log_probabilities(api: httpx.Client) -> None:
    content = ask(api, logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in content) == "You said: Hi"
    assert all(len(token["top_logprobs"]) <= 2 and token["logprob"] <= 0 for token in content)
    assert bytes(content[0]["bytes"]).decode() == content[0]["token"]


# Tools ---------------------------------------------------------------------------------------------------------------


def test_tool_calls(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])
    (choice,) = ask(api, tools=TOOLS)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    calls = choice["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["add", "add"]
    assert [call["type"] for call in calls] == ["function", "function"]
    assert '"a":1' in calls[0]["function"]["arguments"]
    assert len({call["id"] for call in calls}) == 2


def test_tool_without_parameters_and_with_definitions(api: httpx.Client, engine: ScriptedEngine) -> None:
    parameters = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/X"}},
        "$defs": {"X": {"type": "string"}},
    }
    ask(
        api,
        tools=[
            {"type": "function", "function": {"name": "now"}},
            {"type": "function", "function": {"name": "x", "parameters": parameters}},
        ],
    )
    now, x = (tool["function"] for tool in engine.chats[-1].tools)
    assert now["parameters"] == {"type": "object", "properties": {}}
    assert x["parameters"]["$defs"] == {"X": {"type": "string"}}


def test_choice_of_one_tool_leaves_only_that(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("now", {})])
    tools = [*TOOLS, {"type": "function", "function": {"name": "now"}}]
    ask(api, tools=tools, tool_choice={"type": "function", "function": {"name": "now"}})
    assert [tool["function"]["name"] for tool in engine.chats[-1].tools] == ["now"]


def test_no_tool_may_be_called(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, tools=TOOLS, tool_choice="none")
    assert engine.chats[-1].tools == []


def test_call_that_cannot_be_read_stays_text(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([BrokenToolCall('{"name": "add", ')])
    (choice,) = ask(api, tools=TOOLS)["choices"]
    assert choice["finish_reason"] == "stop"
    assert '{"name": "add"' in choice["message"]["content"]


# Streams -------------------------------------------------------------------------------------------------------------


def test_stream_begins_with_the_role_and_ends_with_the_reason(api: httpx.Client) -> None:
    *chunks, done = stream(api)
    assert done.data == "[DONE]"
    assert {chunk.name for chunk in chunks} == {""}
    assert all(len(chunk.data["choices"]) == 1 for chunk in chunks)
    assert len({(chunk.data["id"], chunk.data["created"]) for chunk in chunks}) == 1
    assert all(chunk.data["object"] == "chat.completion.chunk" for chunk in chunks)
    choices = [chunk.data["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "You said: Hi"
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["finish_reason"] == "stop"


def test_usage_comes_in_a_chunk_of_its_own(api: httpx.Client) -> None:
    *chunks, last, done = stream(api, stream_options={"include_usage": True})
    assert done.data == "[DONE]"
    assert last.data["choices"] == []
    assert last.data["usage"]["total_tokens"] > 0
    assert all("usage" not in chunk.data for chunk in chunks)


def test_stream_of_tool_calls(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])
    *chunks, _ = stream(api, tools=TOOLS)
    pieces = [call for chunk in chunks for call in chunk.data["choices"][0]["delta"].get("tool_calls", ())]
    for index in (0, 1):
        first, *rest = [piece for piece in pieces if piece["index"] == index]
        assert first["type"] == "function"
        assert first["id"]
        assert first["function"] == {"name": "add", "arguments": ""}
        assert all(set(piece) == {"index", "function"} and set(piece["function"]) == {"arguments"} for piece in rest)
        assert "".join(piece["function"]["arguments"] for piece in rest).startswith("{")
    assert chunks[-1].data["choices"][0]["finish_reason"] == "tool_calls"


def test_stream_of_reasoning(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes."])
    *chunks, _ = stream(api)
    deltas = [chunk.data["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas).strip() == "Hm."
    assert all(delta.get("reasoning") == delta.get("reasoning_content") for delta in deltas)
    assert "".join(delta.get("content", "") for delta in deltas).strip() == "Yes."


def test_client_that_goes_away_stops_the_model(api: httpx.Client, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply(["one", gate, "two"])
    body = {"model": CHAT_MODEL, "messages": USER, "stream": True}
    with api.stream("POST", PATH, json=body) as response:
        chunks = response.iter_raw()  # kept, because its end would be that of the connection
        next(chunks)
        assert gate.reached()
    assert engine.wait_for_cancel()


def test_failure_in_a_stream_is_an_event(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one "], error="The engine is out of order.", error_after=1)
    *_, error, done = stream(api)
    assert error.name == "error"
    assert "out of order" in error.data["error"]["message"]
    assert error.data["error"]["type"] == "server_error"
    assert done.data == "[DONE]"


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
def test_unknown_model_is_refused_with_near_names(api: httpx.Client, *, is_stream: bool) -> None:
    status, error = refused(api, model="scripted-chad", stream=is_stream)
    assert status == 400
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "model_not_found", "model")
    assert CHAT_MODEL in error["message"]


def test_embedding_model_cannot_chat(api: httpx.Client) -> None:
    status, error = refused(api, model=EMBEDDING_MODEL)
    assert status == 400
    assert error["param"] == "model"
    assert "embedding model" in error["message"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_prompt_that_is_too_long_is_refused_before_the_first_byte(api: httpx.Client, *, is_stream: bool) -> None:
    status, error = refused(api, messages=[{"role": "user", "content": "word " * 20_000}], stream=is_stream)
    assert status == 400
    assert error["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "pirate", "content": "Ahoy"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [REMOTE_IMAGE]}]}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 2}, "n"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0]"),
        ({"tools": TOOLS, "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "sub"}}}, "tool_choice"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ],
)
def test_bad_value_is_refused_by_name(api: httpx.Client, members: dict[str, Any], param: str) -> None:
    status, error = refused(api, **members)
    assert status == 400
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def test_missing_messages_are_named(api: httpx.Client) -> None:
    response = api.post(PATH, json={"model": CHAT_MODEL})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == ("messages", "missing_required_parameter")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null"])
def test_body_that_is_no_request(api: httpx.Client, body: bytes) -> None:
    response = api.post(PATH, content=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_unknown_members_are_ignored(api: httpx.Client) -> None:
    ask(api, user="me", metadata={"a": 1}, parallel_tool_calls=True, cache_prompt=True, something=[1])


def test_image_for_a_model_that_cannot_see(api: httpx.Client) -> None:
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    status, error = refused(api, messages=[{"role": "user", "content": content}])
    assert status == 400
    assert "images" in error["message"]


def test_failure_of_the_engine_is_no_mistake_of_the_client(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([], error="The engine is out of order.")
    status, error = refused(api)
    assert status == 500
    assert error["type"] == "server_error"


def test_model_that_cannot_be_loaded(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.fail_load = "There is not enough memory."
    status, error = refused(api)
    assert status == 500
    assert "not enough memory" in error["message"]


def test_without_a_name_the_only_loaded_model_answers(api: httpx.Client) -> None:
    status, error = refused(api, model=None)
    assert status == 400
    assert error["param"] == "model"
    ask(api)
    assert ask(api, model=None)["model"] == CHAT_MODEL


def test_hundred_at_once(server: Server, api: httpx.Client) -> None:
    import asyncio

    import httpx
    from patience import PATIENCE_SECONDS

    async def main() -> list[str]:
        limits = httpx.Limits(max_connections=100)
        base_url = f"http://{server.api_host}"
        async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS, limits=limits) as client:
            calls = [
                client.post(PATH, json={"model": CHAT_MODEL, "messages": [{"role": "user", "content": f"no. {n}"}]})
                for n in range(100)
            ]
            return [reply.json()["choices"][0]["message"]["content"] for reply in await asyncio.gather(*calls)]

    ask(api)  # loaded once
    assert asyncio.run(main()) == [f"You said: no. {n}" for n in range(100)]


@pytest.mark.parametrize("is_stream", [False, True])
def test_model_that_is_unloaded_meanwhile_is_an_error(
    server: Server, api: httpx.Client, engine: ScriptedEngine, *, is_stream: bool
) -> None:
    gate = Gate()
    engine.reply = Reply(["one ", gate, "two"])
    with ThreadPoolExecutor() as pool:
        body = {"model": CHAT_MODEL, "messages": USER, "stream": is_stream}
        call = pool.submit(api.post, PATH, json=body)
        assert gate.reached()
        with lms.Client(server.api_host) as client:
            client.llm.unload(CHAT_MODEL)
        response = call.result()
    if is_stream:
        *_, event, done = read_events(response)
        assert (event.name, done.data) == ("error", "[DONE]")
        error = event.data["error"]
    else:
        assert response.status_code == 500
        error = response.json()["error"]
    assert error["code"] == "model_unloaded"


def test_model_that_dies_is_an_error_and_is_loaded_again_by_the_next_call(
    api: httpx.Client, engine: ScriptedEngine
) -> None:
    engine.reply = Reply("one two", die_after=1)
    status, error = refused(api)
    assert status == 500
    assert "stopped unexpectedly" in error["message"]
    engine.reply = None
    assert ask(api)["choices"][0]["message"]["content"] == "You said: Hi"
