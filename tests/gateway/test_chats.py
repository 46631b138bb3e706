"""Chats and texts through the gateway: parameters, defaults, and events exactly as clients expect them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from http_surfaces.http_stage import ADD, PIXEL, read_events
from tcp_wire import TcpWire

from gateway.gateway_stage import (
    CHAT,
    CHAT_MODEL,
    EMBEDDING_MODEL,
    USER,
    Studio,
    error_of,
    native_only,
    running_gateway,
)
from lmstudio.gateway.upstream_channel import PredictChannel
from lmstudio.server import Reply, ToolCall
from lmstudio.server._port import ServerChannel
from lmstudio.server.engine.scripted import scripted_model
from lmstudio.server.lobby import DirectBody
from lmstudio.server.prediction import Prediction

if TYPE_CHECKING:
    import httpx

    from lmstudio.server import Server
    from lmstudio.testing import FaultProxy

pytestmark = pytest.mark.usefixtures("provider")

TOOLS = [{"type": "function", "function": ADD}]


def test_whole_reply(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = "four five"
    reply = api.post("/v1/chat/completions", json=CHAT).json()
    (choice,) = reply["choices"]
    assert (reply["object"], reply["model"]) == ("chat.completion", CHAT_MODEL)
    assert choice["message"] == {"role": "assistant", "content": "four five"}
    assert choice["finish_reason"] == "stop"
    assert reply["usage"]["completion_tokens"] == 2
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + 2


def test_stream_has_role_then_content_then_an_empty_delta_with_usage(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = "four five"
    events = read_events(api.post("/v1/chat/completions", json={**CHAT, "stream": True}))
    assert events.pop().data == "[DONE]"
    chunks = [event.data for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {CHAT_MODEL}
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert chunks[0]["id"].startswith("chatcmpl-")
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "four"},
        {"content": " five"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
    usages = [chunk.get("usage") for chunk in chunks]
    assert usages[:-1] == [None] * 3
    assert usages[-1]["completion_tokens"] == 2


def test_usage_has_a_chunk_of_its_own_where_that_is_asked_for(api: httpx.Client) -> None:
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    chunks = [event.data for event in read_events(api.post("/v1/chat/completions", json=body))[:-1]]
    assert [bool(chunk.get("usage")) for chunk in chunks].count(True) == 1
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_no_usage_where_it_is_not_wanted(api: httpx.Client, path: str) -> None:
    asked = {"prompt": "one two"} if path == "/v1/completions" else {"messages": USER}
    body = {"model": CHAT_MODEL, **asked, "stream": True, "stream_options": {"include_usage": False}}
    assert not any(event.data.get("usage") for event in read_events(api.post(path, json=body))[:-1])


def test_completion_streams_with_usage_at_the_end(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = "four five"
    body = {"model": CHAT_MODEL, "prompt": "one two three", "stream": True}
    *events, done = read_events(api.post("/v1/completions", json=body))
    assert done.data == "[DONE]"
    assert "".join(event.data["choices"][0]["text"] for event in events) == "four five"
    assert events[-1].data["usage"]["completion_tokens"] == 2
    (request,) = studio.engine.requests
    assert request.prompt == "one two three"  # without a chat template


# Parameters ----------------------------------------------------------------------------------------------------------


def test_defaults_count_where_a_request_says_nothing(studio: Studio, api: httpx.Client) -> None:
    api.post("/v1/chat/completions", json=CHAT)
    api.post("/v1/completions", json={"model": CHAT_MODEL, "prompt": "x"})
    for request in studio.engine.requests:
        assert (request.max_tokens, request.sampling.temperature) == (100, 0.7)


def test_defaults_can_be_set(studio: Studio, network: FaultProxy) -> None:
    with running_gateway(network.api_host, max_tokens=7, temperature=0.25) as api:
        api.post("/v1/chat/completions", json=CHAT)
    (request,) = studio.engine.requests
    assert (request.max_tokens, request.sampling.temperature) == (7, 0.25)


def test_parameters_reach_the_model(studio: Studio, api: httpx.Client) -> None:
    body = {
        "max_tokens": 5,
        "temperature": 1.5,
        "top_p": 0.5,
        "presence_penalty": -1.5,
        "frequency_penalty": 1.25,
        "stop": "six",
        "seed": 42,
        "mirostat_mode": 2,
        "cache_prompt": True,
        "something_else": {"x": 1},
    }
    assert api.post("/v1/chat/completions", json={**CHAT, **body}).status_code == 200
    (request,) = studio.engine.requests
    sampling = request.sampling
    assert (request.max_tokens, request.stop_strings) == (5, ["six"])
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (1.5, 0.5, 42)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (-1.5, 1.25)
    assert sampling.mirostat is not None


def test_lists_of_stop_strings_reach_the_model(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = "four five six"
    reply = api.post("/v1/chat/completions", json={**CHAT, "stop": ["seven", " six"]}).json()
    assert studio.engine.requests[0].stop_strings == ["seven", " six"]
    assert reply["choices"][0]["message"]["content"] == "four five"
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_roles_reach_the_model(studio: Studio, api: httpx.Client) -> None:
    said = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")]
    messages = [{"role": role, "content": content} for role, content in said]
    assert api.post("/v1/chat/completions", json={"model": CHAT_MODEL, "messages": messages}).status_code == 200
    assert [(message["role"], message["content"]) for message in studio.engine.chats[-1].messages] == said


def test_microstat_mode_is_another_spelling(studio: Studio, api: httpx.Client) -> None:
    assert api.post("/v1/chat/completions", json={**CHAT, "microstat_mode": 1}).status_code == 200
    assert studio.engine.requests[0].sampling.mirostat is not None


def test_minus_one_is_no_limit(studio: Studio, api: httpx.Client) -> None:
    api.post("/v1/chat/completions", json={**CHAT, "max_tokens": -1})
    assert studio.engine.requests[0].max_tokens is None


def test_limit_ends_with_length(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = "four five six"
    reply = api.post("/v1/chat/completions", json={**CHAT, "max_tokens": 2}).json()
    assert reply["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("top_p", 1.1),
        ("frequency_penalty", 2.5),
        ("presence_penalty", -2.5),
        ("max_tokens", 0),
        ("max_tokens", "many"),
        ("stop", 7),
        ("n", 2),
        ("messages", []),
        ("messages", [{"role": "nobody", "content": "x"}]),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_sent(
    network: FaultProxy, api: httpx.Client, param: str, value: Any
) -> None:
    response = api.post("/v1/chat/completions", json={**CHAT, param: value})
    error = error_of(response)
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"].partition("[")[0] == param
    assert network.open_connections == 0


@pytest.mark.parametrize("edge", [{"temperature": 0}, {"temperature": 2}, {"top_p": 1}, {"frequency_penalty": -2}])
def test_edges_of_ranges_are_allowed(api: httpx.Client, edge: dict[str, float]) -> None:
    assert api.post("/v1/chat/completions", json={**CHAT, **edge}).status_code == 200


def test_too_long_prompt_is_the_clients_mistake(api: httpx.Client) -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": "word " * 5000}]}
    response = api.post("/v1/chat/completions", json=body)
    assert (response.status_code, error_of(response)["code"]) == (400, "context_length_exceeded")


def test_failure_of_lm_studio_is_500(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = Reply("four five", error="The device is lost.")
    response = api.post("/v1/chat/completions", json={**CHAT, "stream": True})
    error = error_of(response)
    assert (response.status_code, error["type"]) == (500, "server_error")
    assert "The device is lost." in error["message"]


def test_failure_within_a_stream_is_an_event(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = Reply(["four", " five"], error="The device is lost.", error_after=1)
    *events, failure, done = read_events(api.post("/v1/chat/completions", json={**CHAT, "stream": True}))
    assert events[-1].data["choices"][0]["delta"] == {"content": "four"}
    assert failure.name == "error"
    assert "The device is lost." in failure.data["error"]["message"]
    assert done.data == "[DONE]"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_prediction_that_ends_in_failure_is_500(
    studio: Studio, api: httpx.Client, monkeypatch: pytest.MonkeyPatch, provider: str, is_streamed: bool
) -> None:
    monkeypatch.setattr(Prediction, "_stop_reason", lambda *_: "failed")
    studio.engine.reply = ""
    response = api.post("/v1/chat/completions", json={**CHAT, "stream": is_streamed})
    # Over HTTP the server has a word of its own for it.
    code = "upstream_error" if provider == "lmstudio" else "model_unloaded"
    assert (response.status_code, error_of(response)["code"]) == (500, code)


# Tools and images ----------------------------------------------------------------------------------------------------


def test_tool_calls_stream_in_pieces(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = ToolCall("add", {"a": 1, "b": 2})
    body = {**CHAT, "tools": TOOLS, "stream": True}
    events = read_events(api.post("/v1/chat/completions", json=body))[:-1]
    pieces = [call for event in events for call in event.data["choices"][0]["delta"].get("tool_calls", ())]
    assert pieces[0]["function"]["name"] == "add"
    assert json.loads("".join(piece["function"]["arguments"] for piece in pieces)) == {"a": 1, "b": 2}
    assert events[-1].data["choices"][0]["finish_reason"] == "tool_calls"


def test_model_is_stopped_after_the_only_call_that_is_wanted(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])]
    body = {**CHAT, "tools": TOOLS, "parallel_tool_calls": False}
    (choice,) = api.post("/v1/chat/completions", json=body).json()["choices"]
    assert len(choice["message"]["tool_calls"]) == 1
    assert choice["finish_reason"] == "tool_calls"


def test_nothing_after_the_only_call_that_is_wanted(
    studio: Studio, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PredictChannel, "cancel", lambda _: None)  # LM Studio is slow to hear of it
    studio.engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2}), *[" and"] * 200, ToolCall("add", {"a": 3, "b": 4})])
    body = {**CHAT, "tools": TOOLS, "parallel_tool_calls": False, "max_tokens": -1}
    (choice,) = api.post("/v1/chat/completions", json=body).json()["choices"]
    assert len(choice["message"]["tool_calls"]) == 1
    assert choice["message"]["content"] is None


def test_tool_calls_of_an_older_studio_are_completed(
    studio: Studio, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = ServerChannel.send

    def send_less(channel: ServerChannel[Any, Any], packet: Any) -> None:
        kind = getattr(packet, "type", "")
        if kind not in ("toolCallGenerationNameReceived", "toolCallGenerationArgumentFragmentGenerated"):
            if kind == "toolCallGenerationStart":
                packet.tool_call_id = None
            send(channel, packet)

    monkeypatch.setattr(ServerChannel, "send", send_less)
    studio.engine.reply = ["Let me see.", ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})]
    events = read_events(api.post("/v1/chat/completions", json={**CHAT, "tools": TOOLS, "stream": True}))[:-1]
    pieces = [call for event in events for call in event.data["choices"][0]["delta"].get("tool_calls", ())]
    calls = {index: [piece for piece in pieces if piece["index"] == index] for index in (0, 1)}
    assert [call[0]["function"]["name"] for call in calls.values()] == ["add", "add"]
    assert len({call[0]["id"] for call in calls.values()} - {""}) == 2
    arguments = [json.loads("".join(piece["function"]["arguments"] for piece in call)) for call in calls.values()]
    assert arguments == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_image_goes_to_a_model_that_sees() -> None:
    studio = Studio([scripted_model("seeing", vision=True), scripted_model("blind")])
    shown = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    try:
        studio.load("seeing", "blind")
        with running_gateway(studio.api_host) as api:
            body = {"messages": [{"role": "user", "content": shown}]}
            assert api.post("/v1/chat/completions", json={**body, "model": "seeing"}).status_code == 200
            refused = api.post("/v1/chat/completions", json={**body, "model": "blind"})
        (chat,) = studio.engine.chats
        assert len(chat.images) == 1
        assert refused.status_code == 400
        assert "does not understand images" in error_of(refused)["message"]
    finally:
        studio.server.stop()


# Other surfaces ------------------------------------------------------------------------------------------------------


def test_embeddings(api: httpx.Client) -> None:
    body = {"model": EMBEDDING_MODEL, "input": ["one two", "three"]}
    reply = api.post("/v1/embeddings", json=body).json()
    assert [item["index"] for item in reply["data"]] == [0, 1]
    assert reply["data"][0]["embedding"] != reply["data"][1]["embedding"]
    assert reply["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert reply["model"] == EMBEDDING_MODEL


def test_messages_and_their_tokens(studio: Studio, api: httpx.Client) -> None:
    studio.engine.reply = "four five"
    body = {"model": CHAT_MODEL, "max_tokens": 10, "messages": USER}
    reply = api.post("/v1/messages", json=body).json()
    counted = api.post("/v1/messages/count_tokens", json={"model": CHAT_MODEL, "messages": USER}).json()
    assert reply["content"] == [{"type": "text", "text": "four five"}]
    assert reply["usage"]["input_tokens"] == counted["input_tokens"] > 3


@native_only
def test_message_goes_on_with_a_beginning(studio: Studio, api: httpx.Client) -> None:
    messages = [*USER, {"role": "assistant", "content": "The answer:"}]
    api.post("/v1/messages", json={"model": CHAT_MODEL, "max_tokens": 10, "messages": messages})
    (request,) = studio.engine.requests
    assert request.prompt.endswith("The answer:")
    assert "one two three" in request.prompt


@native_only
def test_beginning_and_tools_do_not_go_together(api: httpx.Client) -> None:
    tool = {"name": "add", "input_schema": ADD["parameters"]}
    messages = [*USER, {"role": "assistant", "content": "The answer:"}]
    body = {"model": CHAT_MODEL, "max_tokens": 10, "messages": messages, "tools": [tool]}
    response = api.post("/v1/messages", json=body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "beginning" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/responses", "/api/v0/models", "/api/v1/chat", "/"])
def test_what_needs_a_memory_or_a_server_is_not_there(api: httpx.Client, path: str) -> None:
    assert api.post(path, json={}).status_code == 404


# Text on the short way ----------------------------------------------------------------------------------------------


@native_only
def test_text_is_passed_on_where_it_is_read(studio: Studio, api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    write = DirectBody.write

    def noted(self: DirectBody, data: bytes) -> bool:
        written.append(write(self, data))
        return written[-1]

    monkeypatch.setattr(DirectBody, "write", noted)
    words = [f"word{number} " for number in range(50)]
    studio.engine.reply = Reply(words, delay_seconds=0.002)
    events = read_events(api.post("/v1/chat/completions", json={**CHAT, "stream": True}))
    assert "".join(event.data["choices"][0]["delta"].get("content", "") for event in events[:-1]) == "".join(words)
    assert written.count(True) > 10
    assert events[-2].data["usage"]["completion_tokens"] == 50


@native_only
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_stream_is_whole_whatever_the_version_of_http(studio: Studio, gateway: Server, version: str) -> None:
    studio.engine.reply = Reply(["four ", "five ", "six"], delay_seconds=0.002)
    body = json.dumps({**CHAT, "stream": True})
    head = f"POST /v1/chat/completions HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n"
    with TcpWire(gateway, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()) as wire:
        header, _, answer = wire.rest().partition(b"\r\n\r\n")
    assert (b"transfer-encoding: chunked" in header.lower()) == (version == "1.1")
    if version == "1.1":
        answer = b"".join(piece for number, piece in enumerate(answer.split(b"\r\n")) if number % 2)
    texts = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith(b"data: {")]
    assert [text["choices"][0]["delta"].get("content") for text in texts] == ["", "four ", "five ", "six", None]
    assert answer.endswith(b"data: [DONE]\n\n")
