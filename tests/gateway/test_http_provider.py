"""The provider "http": what differs from the native protocol, and servers that are not LM Studio."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest
from http_surfaces.http_stage import ADD, read_events
from patience import PATIENCE_SECONDS
from tcp_wire import TcpWire

from gateway.gateway_stage import CHAT, CHAT_MODEL, EMBEDDING_MODEL, USER, Studio, error_of, new_gateway
from gateway.gateway_stage import running_gateway as any_gateway
from gateway.other_server import MODEL, OtherServer, Visit, call, chunk
from lmstudio.server import Gate, Reply
from lmstudio.server.engine.scripted import scripted_model
from lmstudio.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import httpx

TOOLS = [{"type": "function", "function": ADD}]
STREAM = {**CHAT, "stream": True}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 5}}
END = {**chunk(), "choices": [], "usage": USAGE}


def running_gateway(address: str, **settings: Any) -> AbstractContextManager[httpx.Client]:
    return any_gateway(address, **{"provider": "http", **settings})


@contextmanager
def in_front_of(*chunks: Any, **settings: Any) -> Iterator[tuple[httpx.Client, OtherServer]]:
    """A client of a gateway, and the server behind it, which answers with *chunks*."""
    with OtherServer(lambda visit: visit.stream(*chunks)) as server, running_gateway(server.url, **settings) as api:
        yield api, server


def ask(api: httpx.Client, **more: Any) -> httpx.Response:
    return api.post("/v1/chat/completions", json={"messages": USER, **more})


# What is sent --------------------------------------------------------------------------------------------------------


def test_members_that_mean_nothing_here_pass_through() -> None:
    others = {"cache_prompt": True, "mirostat_mode": 2, "user": "ada", "something_else": {"x": [1]}}
    with in_front_of(chunk("stop", content="four"), END) as (api, server):
        assert ask(api, **others).status_code == 200
        api.post("/v1/completions", json={"prompt": "x", **others})
    for _, body in server.bodies:
        assert {name: body[name] for name in others} == others
    assert [path for path, _ in server.bodies] == ["/v1/chat/completions", "/v1/completions"]


def test_parameters_are_sent_as_they_came_with_the_defaults_of_the_gateway() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    sent = {
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.25,
        "repeat_penalty": 1.5,
        "presence_penalty": -1.5,
        "frequency_penalty": 1.25,
        "stop": ["six"],
        "seed": 42,
        "logit_bias": {"5": -100, "6": 1.5},
        "max_tokens": -1,
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "tools": TOOLS,
        "tool_choice": "auto",
        "ttl": 90.0,
        "preset": "mine",
        "draft_model": "small",
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}},
    }
    with in_front_of(chunk("stop", content="four")) as (api, server):
        ask(api, **sent)
        ask(api)
    (_, body), (_, plain) = server.bodies
    assert body == {
        **sent,
        "model": MODEL,
        "messages": USER,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert (plain["temperature"], plain["max_tokens"]) == (0.7, 100)


def test_thinking_of_anthropics_api_becomes_the_nearest_effort() -> None:
    with in_front_of(chunk("stop", content="four")) as (api, server):
        for thinking in (
            {"type": "disabled"},
            {"type": "enabled", "budget_tokens": 1024},
            {"type": "enabled", "budget_tokens": 9999},
        ):
            api.post("/v1/messages", json={"messages": USER, "model": MODEL, "max_tokens": 5, "thinking": thinking})
    assert [body["reasoning_effort"] for _, body in server.bodies] == ["none", "medium", "high"]


def test_key_of_the_server_is_sent() -> None:
    seen: list[str | None] = []

    def answer(visit: Visit) -> None:
        seen.append(visit.headers["authorization"])
        visit.stream(chunk("stop", content="four"))

    with OtherServer(answer) as server, running_gateway(server.url, api_token="sk-other") as api:
        assert ask(api).status_code == 200
    assert seen == ["Bearer sk-other"]


# What comes back -----------------------------------------------------------------------------------------------------


def test_reasoning_under_either_name() -> None:
    chunks = [chunk(reasoning_content="hm"), chunk(reasoning=" so"), chunk("stop", content="four"), END]
    with in_front_of(*chunks) as (api, _):
        (choice,) = (reply := ask(api).json())["choices"]
        answer = api.post("/v1/messages", json={"messages": USER, "model": MODEL, "max_tokens": 5}).json()
    assert (choice["message"]["reasoning_content"], choice["message"]["content"]) == ("hm so", "four")
    assert reply["usage"]["prompt_tokens_details"] == {"cached_tokens": 5}
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (7, 3)


@pytest.mark.parametrize("indexes", [(0, 1), (None, None)])
def test_two_calls_in_pieces(indexes: tuple[int | None, int | None]) -> None:
    first, second = indexes
    chunks = [
        call(first, "add", call_id="a"),
        call(first, arguments='{"a": 1,'),
        call(first, arguments=' "b": 2}'),
        call(second, "add", '{"a": 3, "b": 4}', "b"),
        chunk("tool_calls"),
        END,
    ]
    with in_front_of(*chunks) as (api, _):
        (choice,) = ask(api, tools=TOOLS).json()["choices"]
        streamed = read_events(ask(api, tools=TOOLS, stream=True))[:-1]
    calls = choice["message"]["tool_calls"]
    assert [(each["id"], json.loads(each["function"]["arguments"])) for each in calls] == [
        ("a", {"a": 1, "b": 2}),
        ("b", {"a": 3, "b": 4}),
    ]
    assert choice["finish_reason"] == "tool_calls"
    pieces = [piece for event in streamed for piece in event.data["choices"][0]["delta"].get("tool_calls", ())]
    assert "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == 1) == '{"a": 3, "b": 4}'


def test_calls_that_are_written_at_once_are_502() -> None:
    with in_front_of(call(0, "add", call_id="a"), call(1, "add", call_id="b"), call(0, arguments="{}")) as (api, _):
        assert ask(api, tools=TOOLS).status_code == 502


def test_arguments_that_are_no_json_become_text() -> None:
    with in_front_of(call(0, "add", '{"a": ', "a"), chunk("tool_calls")) as (api, _):
        (choice,) = ask(api, tools=TOOLS).json()["choices"]
    assert choice["message"]["content"] == '{"a": '
    assert "tool_calls" not in choice["message"]


def test_log_probabilities() -> None:
    token = {"token": "four", "logprob": -0.5, "bytes": [102], "top_logprobs": [{"token": "five", "logprob": -1.5}]}
    written = chunk("stop", content="four")
    written["choices"][0]["logprobs"] = {"content": [token]}
    with in_front_of(written) as (api, _):
        (choice,) = ask(api, logprobs=True, top_logprobs=1).json()["choices"]
    (found,) = choice["logprobs"]["content"]
    assert (found["token"], found["logprob"], found["top_logprobs"][0]["token"]) == ("four", -0.5, "five")


def test_log_probabilities_of_texts() -> None:
    logprobs = {"tokens": ["four"], "token_logprobs": [-0.5], "top_logprobs": [{"five": -1.5}], "text_offset": [0]}
    choice = {"index": 0, "text": "four", "logprobs": logprobs, "finish_reason": "length"}
    with in_front_of({"model": MODEL, "choices": [choice]}) as (api, server):
        (found,) = api.post("/v1/completions", json={"prompt": "x", "logprobs": 1}).json()["choices"]
    assert server.bodies[0][1]["logprobs"] == 1
    assert (found["text"], found["finish_reason"]) == ("four", "length")
    assert found["logprobs"] == logprobs


def test_server_that_does_not_count_has_its_chunks_counted() -> None:
    with in_front_of(chunk(content="four"), chunk("stop", content=" five")) as (api, _):
        assert ask(api).json()["usage"]["completion_tokens"] == 2


def test_answer_of_another_model_of_the_list_is_not_passed_on() -> None:
    with in_front_of(chunk("stop", content="a secret", model="other-2")) as (api, server):
        server.models.append("other-2")
        response = ask(api, model=MODEL)
        assert (response.status_code, error_of(response)["code"]) == (404, "model_mismatch")
        assert "a secret" not in response.text
        server.models.remove("other-2")
        assert ask(api, model=MODEL).status_code == 200  # a longer name of the same, as OpenAI has them


# Failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"message": "No.", "param": "top_k", "code": None}, (400, "top_k")),
        (401, {"message": "Who are you?"}, (502, None)),
        (404, {"message": "No.", "code": "model_not_found"}, (404, "model")),
        (404, {"message": "no such path"}, (502, None)),
        (429, {"message": "Later."}, (429, None)),
        (500, {"message": "The device is lost."}, (500, None)),
        (502, {"message": "Nobody is there."}, (502, None)),
        (503, {"message": "Too busy."}, (502, None)),
        (504, {"message": "Too late."}, (504, None)),
    ],
)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_refusals_of_the_server(status: int, error: Any, expected: tuple[int, str | None], is_streamed: bool) -> None:
    def answer(visit: Visit) -> None:
        visit.reply({"error": error}, status, {"retry-after": "3"})

    with OtherServer(answer) as server, running_gateway(server.url) as api:
        response = ask(api, stream=is_streamed)
    assert (response.status_code, error_of(response)["param"]) == expected
    if status == 401:  # the gateway's own affair
        assert error_of(response)["message"].startswith("LM Studio does not let the gateway in.")
    else:
        assert error["message"].rstrip(".") in error_of(response)["message"]
    assert response.headers.get("retry-after") == ("3" if status == 429 else None)
    assert len(server.bodies) == 1  # nothing is tried twice


def test_stream_that_ends_too_early_is_an_error_event_after_what_has_come() -> None:
    def answer(visit: Visit) -> None:
        visit.stream(chunk(content="four"), ends=False)

    with OtherServer(answer) as server, running_gateway(server.url) as api:
        *events, failure, done = read_events(ask(api, stream=True))
    assert events[-1].data["choices"][0]["delta"] == {"content": "four"}
    assert (failure.name, failure.data["error"]["code"]) == ("error", "upstream_unavailable")
    assert done.data == "[DONE]"


def test_server_without_tokens_to_count_says_so() -> None:
    def answer(visit: Visit) -> None:
        visit.reply({"error": "no such path"}, 404)

    with OtherServer(answer) as server, running_gateway(server.url) as api:
        response = api.post("/v1/messages/count_tokens", json={"model": MODEL, "messages": USER})
    assert response.status_code == 501
    assert "does not count tokens" in response.json()["error"]["message"]


def test_beginning_of_an_answer_is_refused() -> None:
    messages = [*USER, {"role": "assistant", "content": "The answer:"}]
    with in_front_of(chunk("stop")) as (api, server):
        response = api.post("/v1/messages", json={"model": MODEL, "max_tokens": 10, "messages": messages})
    assert response.status_code == 400
    assert server.bodies == []


# Connections ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True])
def test_connection_that_the_server_closes_as_idle_costs_no_request(is_streamed: bool) -> None:
    visits: list[Visit] = []

    def answer(visit: Visit) -> None:
        visits.append(visit)
        visit.stream(chunk("stop", content="four")) if len(visits) != 2 else visit.hang_up()

    with OtherServer(answer) as server, running_gateway(server.url) as api:
        assert [ask(api, stream=is_streamed).status_code for _ in range(2)] == [200, 200]
        assert (len(server.bodies), server.connections) == (3, 2)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_new_connection_that_is_lost_before_the_first_chunk_is_502(studio: Studio, is_streamed: bool) -> None:
    gate = Gate()
    studio.engine.reply = Reply([gate, "four"])
    responses: list[httpx.Response] = []
    with FaultProxy(studio.server.port) as network, running_gateway(network.api_host, max_idle_connections=0) as api:
        asking = threading.Thread(target=lambda: responses.append(ask(api, stream=is_streamed)))
        asking.start()
        assert gate.reached()
        network.reset_connections()
        asking.join(PATIENCE_SECONDS)
    assert responses[0].status_code == 502


def test_idle_connections_are_kept_and_no_more_than_wanted(studio: Studio) -> None:
    with FaultProxy(studio.server.port) as network:
        with running_gateway(network.api_host, max_idle_connections=1) as api:
            for _ in range(3):
                assert ask(api).status_code == 200
            assert network.open_connections == 1
        with running_gateway(network.api_host, max_idle_connections=0) as api:
            assert ask(api).status_code == 200
            assert network.wait_until_closed()


def test_client_that_does_not_read_holds_up_nobody(studio: Studio) -> None:
    word = "x" * 10_000
    studio.engine.reply = lambda request: Reply([word] * 4000) if "forever" in request.prompt else Reply("four five")
    with new_gateway(studio.api_host, provider="http") as gateway:
        with TcpWire(gateway) as wire:
            body = {**STREAM, "messages": [{"role": "user", "content": "forever"}], "max_tokens": -1}
            content = json.dumps(body).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n\r\n"
            wire.send(head.encode() + content)
            wire.until(b"200 OK")
            with openai.OpenAI(base_url=f"http://{gateway.api_host}/v1", api_key="none", max_retries=0) as client:
                reply = client.chat.completions.create(model=CHAT_MODEL, messages=[{"role": "user", "content": "x"}])
            assert reply.choices[0].message.content == "four five"
        assert studio.engine.wait_for_cancel(PATIENCE_SECONDS)


# Models --------------------------------------------------------------------------------------------------------------


def test_gateway_behind_a_gateway(studio: Studio) -> None:
    with new_gateway(studio.api_host, provider="lmstudio") as inner, running_gateway(inner.api_host) as api:
        assert {model["id"] for model in api.get("/v1/models").json()["data"]} == {CHAT_MODEL, EMBEDDING_MODEL}
        assert ask(api, model=CHAT_MODEL).status_code == 200
        assert api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": "x"}).status_code == 200
        health = api.get("/health").json()
        counted = api.post("/v1/messages/count_tokens", json={"model": CHAT_MODEL, "messages": USER})
    assert (health["status"], health["provider"]["name"], health["models_loaded"]) == ("ok", "http", 2)
    assert health["lmstudio_version"]
    assert counted.json()["input_tokens"] > 3


def test_time_to_live_reaches_a_server_that_loads_on_use() -> None:
    studio = Studio([scripted_model("phi-4")])
    try:
        with running_gateway(studio.api_host, jit_loading=True) as api:
            assert ask(api, model="phi", ttl=90).json()["model"] == "phi-4"
            (loaded,) = api.get("/v1/models").json()["data"]
        assert (len(studio.engine.loads), loaded["id"]) == (1, "phi-4")
    finally:
        studio.server.stop()


def test_model_that_many_want_at_once_is_loaded_once_however_long_it_takes() -> None:
    studio = Studio([scripted_model("phi-4")])
    studio.engine.load_delay_seconds = 0.6  # four times
    responses: list[httpx.Response] = []
    try:
        with running_gateway(studio.api_host, jit_loading=True, timeout_seconds=2.0) as api:
            threads = [threading.Thread(target=lambda: responses.append(ask(api, model="phi"))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_SECONDS)
        assert [response.status_code for response in responses] == [200] * 8
        assert len(studio.engine.loads) == 1
    finally:
        studio.server.stop()


def test_model_that_cannot_be_loaded_ahead_ends_the_start() -> None:
    from lmstudio.server.errors import ServerStartError

    with in_front_of(chunk("stop"), preload=[]) as (_, server), pytest.raises(ServerStartError, match="no model 'x'"):
        new_gateway(server.url, provider="http", preload=["x"]).start()


def test_tokens_of_everything_that_a_chat_can_have_are_counted(studio: Studio) -> None:
    messages = [
        {"role": "user", "content": "one two three"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "add", "input": {"a": 1, "b": 2}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "3"}]},
    ]
    tools = [{"name": ADD["name"], "description": ADD["description"], "input_schema": ADD["parameters"]}]
    body = {"model": CHAT_MODEL, "system": "Be brief.", "messages": messages, "tools": tools}
    counts = []
    for provider in ("lmstudio", "http"):
        with any_gateway(studio.api_host, provider=provider) as api:
            counts.append(api.post("/v1/messages/count_tokens", json=body).json()["input_tokens"])
    assert counts[0] == counts[1]
