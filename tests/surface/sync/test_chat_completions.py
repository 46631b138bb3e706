# Generated from ../async/test_chat_completions.py by tools/make_sync.py. Edit that file instead.
"""The four methods of the contract on the native client: chats, streams of chunks, models, health."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio._http_models.openai import ChatCompletionChunk
from lmstudio.contract import ChatMessage, ChatRole, ChatStream, Chunk, Completed, SdkContract
from lmstudio.server import Gate, Reasoning, Reply, ScriptedEngine, Server, ToolCall
from surface.background import Background
from surface.odd_servers import free_port

if TYPE_CHECKING:
    from surface.fault_proxy import FaultProxy

ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
PIECES: list[Any] = [Reasoning("Hm."), "one", " two", ToolCall("add", {"a": 1})]


def without_chance(value: Any) -> Any:
    """*value* as plain data, without what differs between two replies to the same chat."""
    plain = value.to_dict() if hasattr(value, "to_dict") else value
    if isinstance(plain, dict):
        return {name: without_chance(each) for name, each in plain.items() if name not in ("id", "created", "stats")}
    return [without_chance(each) for each in plain] if isinstance(plain, list) else plain


def over_http(server: Server, **body: Any) -> Any:
    """What the server answers to the same chat over HTTP: the reply, or the chunks of the stream."""
    url = f"http://{server.api_host}/v1/chat/completions"
    reply = httpx.post(url, json={"messages": [{"role": "user", "content": "Hi"}], **body}, timeout=PATIENCE_SECONDS)
    assert reply.status_code == 200, reply.text
    if "stream" not in body:
        return reply.json()
    data = [line[len("data: ") :] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return list(map(json.loads, data))


def listed_over_http(server: Server) -> Any:
    """The list of models as it is over HTTP."""
    return httpx.get(f"http://{server.api_host}/v1/models").json()["data"]


# Replies -------------------------------------------------------------------------------------------------------------


def test_the_client_keeps_the_contract(server: Server) -> None:
    assert isinstance(lms.Client(server.api_host), SdkContract)


def test_a_reply_is_that_of_http(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(PIECES)
    params: Any = {"max_tokens": 50, "temperature": 0.2, "logprobs": True, "top_logprobs": 1, "tools": [ADD]}
    with lms.Client(server.api_host) as client:
        reply = client.chat_completion("Hi", model="scripted-chat", **params)
    assert without_chance(reply) == without_chance(over_http(server, model="scripted-chat", **params))
    assert reply.choices[0].message.reasoning_content == "Hm."
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.id.startswith("chatcmpl-")


@pytest.mark.parametrize("with_usage", [False, True])
def test_chunks_are_those_of_http(server: Server, engine: ScriptedEngine, with_usage: bool) -> None:
    engine.reply = Reply(PIECES)
    params: Any = {"tools": [ADD], "logprobs": True, "stream_options": {"include_usage": with_usage}}
    with lms.Client(server.api_host) as client:
        with client.stream_chat_completion("Hi", model="scripted-chat", **params) as stream:
            chunks = [chunk for chunk in stream]
        result = stream.result()
    assert without_chance(chunks) == without_chance(over_http(server, model="scripted-chat", stream=True, **params))
    assert {type(chunk) for chunk in chunks} == {ChatCompletionChunk}
    assert {chunk.id for chunk in chunks} == {result.id}


def test_a_stream_comes_to_the_same_reply(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(PIECES)
    with lms.Client(server.api_host) as client:
        whole = client.chat_completion("Hi", model="scripted-chat", tools=[ADD])
        streamed = client.stream_chat_completion("Hi", model="scripted-chat", tools=[ADD]).wait_for_result()
    assert without_chance(streamed) == without_chance(whole)


PARAMETERS: dict[str, Any] = {
    "max_completion_tokens": 7,
    "temperature": 0.3,
    "top_p": 0.9,
    "top_k": 11,
    "min_p": 0.01,
    "stop": ["END"],
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "repeat_penalty": 1.2,
    "logit_bias": {"5": -100, "6": 1.5},
    "seed": 3,
    "mirostat_mode": 2,
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
    "reasoning_effort": "low",
    "logprobs": True,
    "top_logprobs": 2,
    "cache_prompt": True,
    "user": "nina",
}


def test_parameters_mean_what_they_mean_over_http(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        client.chat_completion("Hi", model="scripted-chat", **PARAMETERS)
    over_http(server, model="scripted-chat", **PARAMETERS)
    native, http = engine.requests
    assert native == http
    assert native.max_tokens == 7


def test_names_may_be_in_camel_case(server: Server, engine: ScriptedEngine) -> None:
    camel: Any = {"maxTokens": 3, "topP": 0.5}
    with lms.Client(server.api_host) as client:
        client.chat_completion("Hi", model="scripted-chat", **camel)
    assert engine.requests[0].max_tokens == 3
    assert engine.requests[0].sampling.top_p == 0.5


@pytest.mark.parametrize(
    "messages",
    [
        "Hi",
        lms.Chat.from_history("Hi"),
        [{"role": "user", "content": "Hi"}],
        [ChatMessage(ChatRole.USER, "Hi")],
        ChatMessage(ChatRole.USER, "Hi"),
        [("user", "Hi")],
    ],
    ids=["text", "chat", "dicts", "messages", "message", "pairs"],
)
def test_a_chat_may_be_anything(server: Server, messages: Any) -> None:
    with lms.Client(server.api_host) as client:
        reply = client.chat_completion(messages, model="scripted-chat")
    assert reply.choices[0].message.content == "You said: Hi"


def test_the_reply_goes_on_in_the_chat(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1})])
    with lms.Client(server.api_host) as client:
        reply = client.chat_completion("1 + 2?", model="scripted-chat", tools=[ADD])
        message = reply.choices[0].message
        assert message.tool_calls is not None
        result = ChatMessage(ChatRole.TOOL, "3", tool_call_id=message.tool_calls[0].id)
        engine.reply = Reply(["Three."])
        reply = client.chat_completion([("user", "1 + 2?"), message, result], tools=[ADD])
    assert reply.choices[0].message.content == "Three."
    assert [each["role"] for each in engine.chats[-1].messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("stop", [None, False])
def test_only_one_tool_call_if_asked_for(server: Server, engine: ScriptedEngine, stop: bool | None) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})])
    with lms.Client(server.api_host) as client:
        reply = client.chat_completion("?", model="scripted-chat", tools=[ADD], parallel_tool_calls=stop)
    assert len(reply.choices[0].message.tool_calls or ()) == (2 if stop is None else 1)
    assert reply.choices[0].finish_reason == "tool_calls"


# Models --------------------------------------------------------------------------------------------------------------


def test_without_a_name_a_loaded_model_answers(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        client.llm.load_new_instance("scripted-chat", "mine")
        reply = client.chat_completion("Hi")
    assert reply.model == "mine"


def test_without_a_name_some_model_must_be_loaded(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        stream = client.stream_chat_completion("Hi")
        with pytest.raises(lms.LMStudioModelNotFoundError, match="No LLM is loaded"):
            stream.start()
        with pytest.raises(lms.LMStudioModelNotFoundError, match="No LLM is loaded"):
            stream.result()


def test_without_a_name_the_model_of_the_settings_is_loaded(server: Server) -> None:
    settings = lms.Settings(default_model="scripted-chat")
    with lms.Client(server.api_host, settings=settings) as client:
        assert (client.chat_completion("Hi")).model == "scripted-chat"


def test_only_models_that_are_allowed_answer(server: Server) -> None:
    settings = lms.Settings(allowed_models=["scripted-*"])
    with lms.Client(server.api_host, settings=settings) as client:
        client.chat_completion("Hi", model="scripted-chat")
        with pytest.raises(lms.LMStudioValueError, match="is not one of allowed_models"):
            client.stream_chat_completion("Hi", model="other")


def test_models_are_listed_as_over_http(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        client.llm.load_new_instance("scripted-chat", "mine")
        models = client.list_models()
        ready = client.list_models(status="ready")
        others = client.list_models({"status": "not-loaded"}, limit=1)
        nobody = client.list_models(owned_by="nobody")
    listed = listed_over_http(server)
    assert [model.id for model in models.data] == [model["id"] for model in listed]
    assert {model.owned_by for model in models} == {model["owned_by"] for model in listed}
    assert [model.id for model in ready] == ["mine"]
    assert len(others) == 1
    assert "mine" not in [model.id for model in others]
    assert nobody == []


# Leaving -------------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_stream_is_used(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        stream = client.stream_chat_completion("Hi", model="scripted-chat")
        assert "not started" in repr(stream)
        stream.close()
        with pytest.raises(lms.LMStudioCancelledError):
            stream.start()
    assert engine.requests == []


def test_leaving_the_block_stops_the_model(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    with lms.Client(server.api_host) as client:
        with client.stream_chat_completion("Hi", model="scripted-chat") as stream:
            for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
        assert engine.wait_for_cancel()
        with pytest.raises(lms.LMStudioCancelledError):
            stream.result()


def test_cancelling_keeps_the_text_so_far(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    with lms.Client(server.api_host) as client:
        with client.stream_chat_completion("Hi", model="scripted-chat") as stream:
            events = [next(stream.events())]
            stream.cancel()
            events += [event for event in stream.events()]
        result = stream.result()
    assert events[0] == Chunk("one")
    assert events[-1] == Completed(result)
    assert result.choices[0].finish_reason == "stop"
    assert engine.wait_for_cancel()


def test_events_end_with_the_whole_reply(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "one", " two"])
    with lms.Client(server.api_host) as client:
        stream = client.stream_chat_completion("Hi", model="scripted-chat")
        assert isinstance(stream, ChatStream)
        *chunks, last = [event for event in stream.events()]
        assert [event for event in stream.events()] == []
    assert chunks == [Chunk("one"), Chunk(" two")]
    assert isinstance(last, Completed)
    assert last.result.choices[0].message.content == "one two"
    assert [event.kind for event in (chunks[0], last)] == ["chunk", "completed"]


def test_a_signal_ends_the_answer(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    signal = lms.AbortSignal()
    with lms.Client(server.api_host) as client:
        events = client.stream_chat_completion("Hi", model="scripted-chat", signal=signal).events()
        assert next(events) == Chunk("one")
        signal.abort()
        *_, last = [event for event in events]
    assert isinstance(last, Completed)
    assert last.result.choices[0].message.content in ("one", "one two")
    assert engine.wait_for_cancel()


def test_cancelling_gives_a_load_up(server: Server, engine: ScriptedEngine) -> None:
    engine.load_gate = Gate()
    with lms.Client(server.api_host) as client, Background() as background:
        stream = client.stream_chat_completion("Hi", model="scripted-chat")
        running = background.start(stream.wait_for_result)
        background.wait(engine.load_gate.reached)
        stream.cancel()
        with pytest.raises(lms.LMStudioCancelledError):
            running.result()
        engine.load_gate.open()
        assert client.list_models(status="ready") == []


def test_a_time_limit_is_for_all_of_it(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    with lms.Client(server.api_host) as client:
        with pytest.raises(lms.LMStudioTimeoutError) as caught:
            client.chat_completion("Hi", model="scripted-chat", timeout=0.2)
    assert caught.value.limit == "total"
    assert engine.wait_for_cancel()


def test_an_unloaded_model_is_an_error(server: Server, gate: Gate) -> None:
    with lms.Client(server.api_host) as client:
        stream = client.stream_chat_completion("Hi", model="scripted-chat")
        events = stream.events()
        assert next(events) == Chunk("one")
        client.llm.unload("scripted-chat")
        with pytest.raises(lms.LMStudioPredictionError, match="unloaded meanwhile"):
            for _ in events:
                pass


def test_a_hundred_at_once(server: Server) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        client.llm.model("scripted-chat")
        running = [
            background.start(partial(client.chat_completion, f"text {n}", model="scripted-chat")) for n in range(100)
        ]
        replies = [each.result() for each in running]
    assert [reply.choices[0].message.content for reply in replies] == [f"You said: text {n}" for n in range(100)]


# Bad input and dead servers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temprature": 1}, "no parameter 'temprature'. Did you mean 'temperature'?"),
        ({"extra_body": {}}, "no parameter 'extra_body'"),
        ({"stream": True}, "stream_chat_completion"),
        ({"temperature": -1}, "temperature: expected"),
        ({"top_p": "much"}, "top_p: expected"),
        ({"n": 2}, "n must be 1"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"tools": [{"type": "robot"}]}, r"tools\[0\] must be"),
        ({"tool_choice": "required"}, "there are no tools"),
        ({"logit_bias": {"word": 1}}, "no token id"),
        ({"reasoning_effort": "very"}, "reasoning_effort must be one of"),
        ({"response_format": {"type": "xml"}}, "response_format.type must be"),
        ({"ttl": -1}, "ttl: expected"),
        ({"timeout": "soon"}, "timeout must be"),
        ({"signal": "stop"}, "signal must be"),
        ({"model": ""}, "model key must have"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_refused_before_anything_is_sent(params: Any, message: str) -> None:
    with lms.Client(f"localhost:{free_port()}") as client:
        with pytest.raises(lms.LMStudioValueError, match=message) as caught:
            client.chat_completion("Hi", **params)
        if not {"timeout", "signal", "model"} & params.keys():  # whose errors are not those of a parameter of the API
            (param,) = caught.value.context["errors"]
            assert re.match(r"\w+", param)[0] in params  # type: ignore[index]  # it matches
        with pytest.raises(lms.LMStudioValueError, match=message):
            client.stream_chat_completion("Hi", **params)


@pytest.mark.parametrize("messages", [[], [{"role": "robot", "content": "x"}], 3, None])
def test_bad_messages_are_refused_before_anything_is_sent(messages: Any) -> None:
    with lms.Client(f"localhost:{free_port()}") as client:
        with pytest.raises(lms.LMStudioValueError):
            client.chat_completion(messages)


@pytest.mark.parametrize("wanted", [{"status": "good"}, {"limit": -1}, {"owner": "x"}])
def test_bad_filters_are_refused_before_anything_is_sent(wanted: Any) -> None:
    with lms.Client(f"localhost:{free_port()}") as client:
        with pytest.raises(lms.LMStudioValueError):
            client.list_models(wanted)


def test_health_tells_whether_the_server_answers(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        assert client.health() is True
        server.stop()
        assert client.health() is False
    with lms.Client(f"localhost:{free_port()}") as client:
        assert client.health() is False


def test_health_waits_no_longer_than_for_a_connection(server: Server, proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host, timeout=lms.Timeout(connect=0.3)) as client:
        assert client.health() is True
        proxy.go_silent()
        if True:
            assert client.health() is False
