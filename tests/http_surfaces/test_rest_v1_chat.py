"""POST /api/v1/chat over plain HTTP, with the scripted engine."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import CHAT_MODEL, PIXEL, Event, read_events, refusal
from lmstudio._http_models import rest_v1
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.engine.scripted import Reasoning, scripted_models

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/api/v1/chat"
LOAD = {"model_load.start", "model_load.progress", "model_load.end"}
STATS = {
    "input_tokens",
    "total_output_tokens",
    "reasoning_output_tokens",
    "tokens_per_second",
    "time_to_first_token_seconds",
}
IMAGE = {"type": "image", "data_url": PIXEL}


def ask(api: httpx.Client, text: Any = "Hi", **members: Any) -> dict[str, Any]:
    response = api.post(PATH, json={"model": CHAT_MODEL, "input": text, **members})
    assert response.status_code == 200, response.text
    msgspec.json.decode(response.content, type=rest_v1.ChatReply)
    body: dict[str, Any] = response.json()
    return body


def said(body: dict[str, Any]) -> str:
    return "".join(item["content"] for item in body["output"] if item["type"] == "message")


def stream(api: httpx.Client, text: Any = "Hi", **members: Any) -> list[Event]:
    """All events; each is of a known kind and repeats its name."""
    events = read_events(api.post(PATH, json={"model": CHAT_MODEL, "input": text, "stream": True, **members}))
    for event in events:
        assert event.data["type"] == event.name
        msgspec.convert(event.data, rest_v1.ChatEvent)
    return events


def names(events: list[Event]) -> list[str]:
    """The kinds of events, those in a row once."""
    kinds = [event.name for event in events]
    return [kind for number, kind in enumerate(kinds) if number == 0 or kinds[number - 1] != kind]


def refused(api: httpx.Client, **members: Any) -> tuple[int, dict[str, Any]]:
    return refusal(api.post(PATH, json={"model": CHAT_MODEL, "input": "Hi", **members}))


# Whole replies -------------------------------------------------------------------------------------------------------


def test_reply(api: httpx.Client) -> None:
    ask(api)  # loads the model
    body = ask(api)
    assert set(body) == {"model_instance_id", "output", "stats", "response_id"}
    assert body["model_instance_id"] == CHAT_MODEL
    assert body["output"] == [{"type": "message", "content": "You said: Hi"}]
    assert set(body["stats"]) == STATS
    assert body["stats"]["input_tokens"] > 0
    assert body["stats"]["total_output_tokens"] == 3
    assert body["stats"]["reasoning_output_tokens"] == 0
    assert re.fullmatch(r"resp_[0-9a-f]{48}", body["response_id"])


def test_reply_that_waited_for_a_load_says_how_long(api: httpx.Client) -> None:
    assert ask(api)["stats"]["model_load_time_seconds"] >= 0
    assert "model_load_time_seconds" not in ask(api)["stats"]


def test_reasoning_is_an_item_of_its_own(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes."])
    body = ask(api)
    assert [item["type"] for item in body["output"]] == ["reasoning", "message"]
    assert [item["content"].strip() for item in body["output"]] == ["Hm.", "Yes."]
    assert body["stats"]["reasoning_output_tokens"] > 0


def test_settings_reach_the_engine(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, temperature=0.25, top_p=0.5, top_k=7, min_p=0.1, repeat_penalty=1.3, max_output_tokens=2)
    request = engine.requests[-1]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.25, 0.5, 7)
    assert (sampling.min_p, sampling.repeat_penalty) == (0.1, 1.3)
    assert request.max_tokens == 2


def test_text_ends_at_the_limit(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "one two three four"
    body = ask(api, max_output_tokens=2)
    assert body["stats"]["total_output_tokens"] == 2


@pytest.mark.parametrize("option", ["off", "low", "medium", "high", "on"])
def test_reasoning_option(api: httpx.Client, engine: ScriptedEngine, option: str) -> None:
    ask(api, reasoning=option)
    assert engine.chats[-1].enable_thinking is (option != "off")


def test_context_length_counts_for_the_load(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, context_length=1024)
    ask(api, context_length=2048)  # it is loaded already
    assert [options.context_length for _, options in engine.loads] == [1024]


# Input ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "message"])
def test_input_in_parts(api: httpx.Client, engine: ScriptedEngine, kind: str) -> None:
    ask(api, [{"type": kind, "content": "Add"}, {"type": "text", "content": "these."}])
    assert engine.chats[-1].messages == [{"role": "user", "content": "Add these."}]


def test_system_prompt(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, system_prompt="Be brief.")
    assert [message["role"] for message in engine.chats[-1].messages] == ["system", "user"]
    assert engine.chats[-1].messages[0]["content"] == "Be brief."


@pytest.fixture
def seeing(engine: ScriptedEngine) -> Iterator[httpx.Client]:
    """A client of a server whose model can see."""
    model = replace(scripted_models()[0], vision=True)
    with (
        Server([model], engine=engine) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def test_image(seeing: httpx.Client, engine: ScriptedEngine) -> None:
    body = ask(seeing, [{"type": "text", "content": "What is it?"}, IMAGE])
    (image,) = engine.chats[-1].images
    assert image.content.startswith(b"\x89PNG")
    ask(seeing, "And now?", previous_response_id=body["response_id"])
    assert len(engine.chats[-1].images) == 1


@pytest.mark.parametrize("is_stream", [False, True])
def test_image_for_a_model_that_cannot_see(api: httpx.Client, engine: ScriptedEngine, *, is_stream: bool) -> None:
    status, error = refused(api, input=[IMAGE], stream=is_stream)
    assert (status, error["type"]) == (400, "invalid_request")
    assert "image" in error["message"]
    assert engine.loads == []


# Stored chats --------------------------------------------------------------------------------------------------------


def roles(engine: ScriptedEngine) -> list[str]:
    return [message["role"] for message in engine.chats[-1].messages]


def test_chat_goes_on(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = ask(api, "My name is Ada.")
    second = ask(api, "What is it?", previous_response_id=first["response_id"])
    assert engine.chats[-1].messages == [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "You said: My name is Ada."},
        {"role": "user", "content": "What is it?"},
    ]
    assert second["response_id"] != first["response_id"]


def test_chat_branches_at_an_older_reply(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = ask(api, "one")["response_id"]
    ask(api, "two", previous_response_id=first)
    ask(api, "three", previous_response_id=first)
    assert [message["content"] for message in engine.chats[-1].messages] == ["one", "You said: one", "three"]


def test_chat_goes_on_after_a_stream(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = stream(api, "one")[-1].data["result"]["response_id"]
    ask(api, "two", previous_response_id=first)
    assert roles(engine) == ["user", "assistant", "user"]


def test_reasoning_is_not_shown_to_the_model_again(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes."])
    first = ask(api)["response_id"]
    ask(api, previous_response_id=first)
    assert engine.chats[-1].messages[1]["content"].strip() == "Yes."


def test_system_prompt_stays_until_there_is_another(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = ask(api, system_prompt="Be brief.")["response_id"]
    second = ask(api, previous_response_id=first)["response_id"]
    assert roles(engine) == ["system", "user", "assistant", "user"]
    assert engine.chats[-1].messages[0]["content"] == "Be brief."
    ask(api, previous_response_id=second, system_prompt="Be kind.")
    assert roles(engine) == ["system", "user", "assistant", "user", "assistant", "user"]
    assert engine.chats[-1].messages[0]["content"] == "Be kind."


def test_reply_that_is_not_stored_has_no_id(api: httpx.Client, server: Server) -> None:
    assert "response_id" not in ask(api, store=False)
    assert "response_id" not in stream(api, store=False)[-1].data["result"]


def test_failed_reply_is_not_stored(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one "], error="The engine is out of order.", error_after=1)
    assert "response_id" not in stream(api)[-1].data["result"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_unknown_reply(api: httpx.Client, *, is_stream: bool) -> None:
    status, error = refused(api, previous_response_id=f"resp_{'0' * 48}", stream=is_stream)
    assert (status, error["type"], error["param"]) == (404, "invalid_request", "previous_response_id")


# Streams -------------------------------------------------------------------------------------------------------------


def test_events_in_their_order(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm. Well."), "Yes. It is."])
    ask(api)
    events = stream(api)
    assert names(events) == [
        "chat.start",
        "prompt_processing.start",
        "prompt_processing.progress",
        "prompt_processing.end",
        "reasoning.start",
        "reasoning.delta",
        "reasoning.end",
        "message.start",
        "message.delta",
        "message.end",
        "chat.end",
    ]
    assert events[0].data == {"type": "chat.start", "model_instance_id": CHAT_MODEL}
    progress = [event.data["progress"] for event in events if event.name == "prompt_processing.progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 1
    for kind in ("reasoning", "message"):
        deltas = [event.data["content"] for event in events if event.name == f"{kind}.delta"]
        (item,) = [item for item in events[-1].data["result"]["output"] if item["type"] == kind]
        assert "".join(deltas) == item["content"]


def test_last_event_has_what_a_whole_reply_has(api: httpx.Client) -> None:
    ask(api)
    whole, result = ask(api), stream(api)[-1].data["result"]
    assert set(result) == set(whole)
    assert result["output"] == whole["output"]
    assert set(result["stats"]) == set(whole["stats"])
    tokens = ("input_tokens", "total_output_tokens", "reasoning_output_tokens")
    assert [result["stats"][name] for name in tokens] == [whole["stats"][name] for name in tokens]


def test_load_is_told_when_there_is_one(api: httpx.Client) -> None:
    events = stream(api)
    assert names(events)[:5] == [
        "chat.start",
        "model_load.start",
        "model_load.progress",
        "model_load.end",
        "prompt_processing.start",
    ]
    loading = [event.data for event in events if event.name in LOAD]
    assert {event["model_instance_id"] for event in loading} == {CHAT_MODEL}
    progress = [event["progress"] for event in loading if event["type"] == "model_load.progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 1
    assert events[-1].data["result"]["stats"]["model_load_time_seconds"] == loading[-1]["load_time_seconds"]
    assert not LOAD & set(names(stream(api)))


def test_events_of_a_load_do_not_wait_for_its_end(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.load_gate = gate = Gate()
    body = {"model": CHAT_MODEL, "input": "Hi", "stream": True}
    with api.stream("POST", PATH, json=body) as response:
        lines = response.iter_lines()
        seen = [next(line for line in lines if line.startswith("event: ")) for _ in range(3)]
        assert seen == ["event: chat.start", "event: model_load.start", "event: model_load.progress"]
        assert gate.reached()
        gate.open()
        rest = [line for line in lines if line.startswith("event: ")]
    assert rest[-1] == "event: chat.end"


def test_failed_load_is_an_event_and_the_stream_ends_properly(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.fail_load = "There is not enough memory."
    events = stream(api)
    assert names(events) == ["chat.start", "model_load.start", "model_load.progress", "error", "chat.end"]
    error, end = events[-2].data["error"], events[-1].data["result"]
    assert error["type"] == "internal_error"
    assert "not enough memory" in error["message"]
    assert end["output"] == []
    assert end["stats"]["total_output_tokens"] == 0


def test_failed_load_without_a_stream(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.fail_load = "There is not enough memory."
    status, error = refused(api)
    assert (status, error["type"]) == (500, "internal_error")


def test_failure_comes_before_what_there_is(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api)
    engine.reply = Reply(["one ", "two "], error="The engine is out of order.", error_after=1)
    events = stream(api)
    assert names(events)[-5:] == ["message.start", "message.delta", "message.end", "error", "chat.end"]
    assert "out of order" in events[-2].data["error"]["message"]
    assert said(events[-1].data["result"]).startswith("one")


def test_model_that_is_unloaded_meanwhile(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api)
    gate = Gate()
    engine.reply = Reply(["one ", gate, "two"])
    body = {"model": CHAT_MODEL, "input": "Hi", "stream": True}
    with api.stream("POST", PATH, json=body) as response:
        assert gate.reached()
        assert api.post("/api/v1/models/unload", json={"instance_id": CHAT_MODEL}).status_code == 200
        events = read_events(response)
    assert names(events)[-2:] == ["error", "chat.end"]
    assert "unloaded" in events[-2].data["error"]["message"]


def test_client_that_goes_away_stops_the_model(api: httpx.Client, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply(["one", gate, "two"])
    body = {"model": CHAT_MODEL, "input": "Hi", "stream": True}
    with api.stream("POST", PATH, json=body) as response:
        chunks = response.iter_raw()  # kept, because its end would be that of the connection
        next(chunks)
        assert gate.reached()
    assert engine.wait_for_cancel(PATIENCE_SECONDS)


def test_client_that_goes_away_gives_the_load_up(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.load_gate = gate = Gate()
    body = {"model": CHAT_MODEL, "input": "Hi", "stream": True}
    with api.stream("POST", PATH, json=body) as response:
        chunks = response.iter_raw()  # kept, because its end would be that of the connection
        next(chunks)
        assert gate.reached()
    assert engine.wait_for_cancel(PATIENCE_SECONDS)
    gate.open()


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
def test_unknown_model_is_refused_with_near_names(api: httpx.Client, *, is_stream: bool) -> None:
    status, error = refused(api, model="scripted-chad", stream=is_stream)
    assert (status, error["type"], error["param"]) == (404, "model_not_found", "model")
    assert CHAT_MODEL in error["message"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_embedding_model_cannot_chat(api: httpx.Client, engine: ScriptedEngine, *, is_stream: bool) -> None:
    status, error = refused(api, model="scripted-embed", stream=is_stream)
    assert (status, error["type"], error["param"]) == (400, "invalid_request", "model")
    assert engine.loads == []


@pytest.mark.parametrize("is_stream", [False, True])
def test_prompt_that_is_too_long_is_refused_before_the_first_byte(api: httpx.Client, *, is_stream: bool) -> None:
    ask(api)
    status, error = refused(api, input="word " * 20_000, stream=is_stream)
    assert (status, error["type"], error["code"]) == (400, "invalid_request", "context_length_exceeded")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("key", ["messages", "tools", "ttl", "stop", "seed", "max_tokens"])
def test_unknown_members_are_refused(api: httpx.Client, key: str, *, is_stream: bool) -> None:
    status, error = refused(api, **{key: 1}, stream=is_stream)
    assert (status, error["type"]) == (400, "invalid_request")
    assert (error["param"], error["code"]) == (key, "unrecognized_keys")


@pytest.mark.parametrize("name", ["model", "input"])
def test_missing_member_is_named(api: httpx.Client, name: str) -> None:
    body = {"model": CHAT_MODEL, "input": "Hi"}
    del body[name]
    status, error = refusal(api.post(PATH, json=body))
    assert (status, error["type"]) == (400, "invalid_request")
    assert (error["param"], error["code"]) == (name, "missing_required_parameter")


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"input": []}, "input", None),
        ({"input": 7}, "input", "invalid_value"),
        ({"input": [{"type": "audio", "content": "x"}]}, "input[0].type", "invalid_union"),
        ({"input": [{"type": "text", "text": "x"}]}, "input[0].text", "unrecognized_keys"),
        ({"input": [{"content": "x"}]}, "input[0].type", "missing_required_parameter"),
        ({"input": [{"type": "image", "data_url": "https://example.com/a.png"}]}, "input", "invalid_value"),
        (
            {"input": [{"type": "image", "data_url": "data:text/plain;base64,SGk="}]},
            "input[0].data_url",
            "invalid_value",
        ),
        ({"temperature": 1.5}, "temperature", "invalid_value"),
        ({"top_p": -0.1}, "top_p", "invalid_value"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"reasoning": "extreme"}, "reasoning", "invalid_value"),
        ({"previous_response_id": "chatcmpl-1"}, "previous_response_id", "invalid_value"),
        ({"integrations": [{"type": "tool"}]}, "integrations[0].type", "invalid_union"),
    ],
)
def test_bad_value_is_refused_by_name(
    api: httpx.Client, engine: ScriptedEngine, members: dict[str, Any], param: str, code: str | None
) -> None:
    status, error = refused(api, **members)
    assert (status, error["type"], error["param"], error.get("code")) == (400, "invalid_request", param, code)
    assert engine.loads == []


@pytest.mark.parametrize(
    "integration",
    [
        "mcp/files",
        {"type": "plugin", "id": "mcp/files", "allowed_tools": ["read"]},
        {"type": "ephemeral_mcp", "server_label": "tides", "server_url": "http://127.0.0.1:9/mcp"},
    ],
)
def test_integrations_are_not_implemented(api: httpx.Client, engine: ScriptedEngine, integration: Any) -> None:
    status, error = refused(api, integrations=[integration])
    assert (status, error["type"], error["param"]) == (501, "not_implemented", "integrations")
    assert engine.loads == []


def test_reasoning_of_a_model_that_does_not_reason(engine: ScriptedEngine) -> None:
    model = replace(scripted_models()[0], can_reason=False)
    with (
        Server([model], engine=engine) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        status, error = refused(api, reasoning="high")
        assert (status, error["type"], error["param"]) == (400, "invalid_request", "reasoning")
        assert engine.loads == []
        ask(api, reasoning="off")


# The real engine -----------------------------------------------------------------------------------------------------


def test_shipped_model() -> None:
    with (
        Server() as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        models = api.get("/api/v1/models").json()["models"]
        model = next(each["key"] for each in models if each["type"] == "llm")
        members: dict[str, Any] = {"model": model, "temperature": 0, "max_output_tokens": 16}
        events = stream(api, "Hello!", **members)
        assert names(events)[:2] == ["chat.start", "model_load.start"]
        result = events[-1].data["result"]
        assert said(result)
        assert result["stats"]["tokens_per_second"] > 0
        second = ask(api, "And now?", **members, previous_response_id=result["response_id"])
        assert second["stats"]["input_tokens"] > result["stats"]["input_tokens"]
        code, error = refused(api, **{**members, "input": "word " * 20_000}, stream=True)
        assert (code, error["code"]) == (400, "context_length_exceeded")
