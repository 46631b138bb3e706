"""The server for users' own tests: what it says, how it fails, and what it remembers."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio._endpoints.llm import COMPLETE_RAW_TEXT
from lmstudio._sdk_models import (
    KvConfigStack,
    LlmChannelCompleteRawTextCreationParameter,
    ModelQuery,
    ModelSpecifierQuery,
)
from lmstudio.json_api import run_blocking
from lmstudio.server.engine.base import GenerationRequest, LoadOptions, Sampling, TextChunk
from lmstudio.testing import BrokenToolCall, Gate, PredictionRequest, Reasoning, Reply, ScriptedServer, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHAT, EMBED = "scripted-chat", "scripted-embed"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[lms.Client]:
    with lms.Client(server.api_host) as client:
        yield client


@pytest.fixture
def model(client: lms.Client) -> lms.LLM:
    return client.llm.model(CHAT)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


# Replies -------------------------------------------------------------------------------------------------------------


def test_replies_are_given_in_order(server: ScriptedServer, model: lms.LLM) -> None:
    server.reply("first", "second")
    server.reply("third")
    assert [model.respond("Hi").content for _ in range(3)] == ["first", "second", "third"]


def test_words_are_repeated_as_long_as_nothing_is_planned(model: lms.LLM) -> None:
    assert model.respond("Hi").content == "You said: Hi"


def test_prediction_that_no_reply_fits_fails(server: ScriptedServer, model: lms.LLM) -> None:
    server.reply("Oslo", to="Norway")
    with pytest.raises(lms.LMStudioServerError, match=r"no scripted reply for scripted-chat: 'Sweden\?'; plan one"):
        model.respond("Sweden?")


def test_replies_are_selected_by_text_expression_and_function(server: ScriptedServer, model: lms.LLM) -> None:
    def has_system_prompt(request: PredictionRequest) -> bool:
        return bool(request.system)

    server.reply("by function", to=has_system_prompt)
    server.reply("by text", to="Norway")
    server.reply("by expression", to=re.compile("^swe", re.IGNORECASE))
    chat = lms.Chat("Be brief.")
    chat.add_user_message("Hi")
    assert model.respond("Sweden").content == "by expression"
    assert model.respond("About Norway").content == "by text"
    assert model.respond(chat).content == "by function"


def test_replies_for_always_come_last(server: ScriptedServer, model: lms.LLM) -> None:
    server.reply("always", times=None)
    server.reply("twice", times=2)
    assert [model.respond("Hi").content for _ in range(4)] == ["twice", "twice", "always", "always"]


def test_function_makes_a_reply_of_the_request(server: ScriptedServer, model: lms.LLM) -> None:
    server.reply(lambda request: f"{request.text.upper()} with {request.config['temperature']}")
    assert model.respond("hi", config={"temperature": 0.5}).content == "HI with 0.5"


def test_dict_is_structured_output(server: ScriptedServer, model: lms.LLM) -> None:
    class Person(lms.BaseModel):
        name: str

    server.reply({"name": "Nina"})
    assert model.respond("Who?", response_format=Person).parsed.name == "Nina"
    assert server.last_request.config["structured"]["type"] == "json"


def test_reasoning_and_stop_reason(server: ScriptedServer, model: lms.LLM) -> None:
    server.reply(Reply([Reasoning("Well."), "Yes"], stop_reason="maxPredictedTokensReached"))
    fragments = list(stream := model.respond_stream("Really?"))
    assert "".join(each.content for each in fragments if each.reasoning_type == "reasoning") == "Well."
    assert stream.result().stats.stop_reason == "maxPredictedTokensReached"


def test_rounds_of_tools_are_requests_with_results(server: ScriptedServer, model: lms.LLM) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    server.reply([ToolCall("add", {"a": 1, "b": 2}, id="call-1")], "It is 3.")
    model.act("What is 1 + 2?", [add])
    assert [request.tool_results for request in server.requests] == [[], ["3"]]
    assert server.last_request.tool_names == ["add"]
    assert server.last_request.tools[0]["parameters"]["required"] == ["a", "b"]
    server.assert_called_with(tools=["add"], tool_results=["3"])


def test_broken_tool_call(server: ScriptedServer, model: lms.LLM) -> None:
    def add(a: int) -> int:
        """Add."""
        return a

    server.reply([BrokenToolCall("{oops")])
    with pytest.raises(lms.ToolCallRequestInvalidFormatError):
        model.act("Hi", [add])


def test_reply_stands_at_a_gate(server: ScriptedServer, model: lms.LLM) -> None:
    gate = Gate()
    server.reply(["one", gate, " two"])
    fragments = iter(model.respond_stream("Count."))
    assert next(fragments).content == "one"
    assert gate.reached(PATIENCE_SECONDS)
    gate.open()
    assert [fragment.content for fragment in fragments] == [" two"]


def test_vectors_are_selected_by_text(server: ScriptedServer, client: lms.Client) -> None:
    server.reply_vector(lambda text: [float(len(text)), 0.0])
    server.reply_vector([1.0, 2.0], to="cat")
    assert client.embedding.model(EMBED).embed(["a cat", "dog"]) == [[1.0, 2.0], [3.0, 0.0]]
    assert sorted(request.text for request in server.embeddings) == ["a cat", "dog"]
    assert server.embeddings[0].model == EMBED


def test_bad_plans_are_refused(server: ScriptedServer) -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        server.reply()
    with pytest.raises(ValueError, match=r"from 1 on.*got 0"):
        server.reply("x", times=0)
    with pytest.raises(ValueError, match="Cannot reply with 5"):
        server.reply(cast("Any", 5))
    with pytest.raises(ValueError, match="5 is no piece of a reply"):
        server.reply(["one", cast("Any", 5)])
    with pytest.raises(ValueError, match="A list is one reply"):
        server.reply([cast("Any", Reply("one")), "two"])
    with pytest.raises(lms.LMStudioValueError, match=r"no endpoint 'predcit'\. Did you mean 'llm/predict'"):
        server.fail("No", on="predcit")
    with pytest.raises(lms.LMStudioValueError, match="display_data is not as the protocol has it"):
        server.fail("No", display_data={"code": "generic.pathNotFound"})
    with pytest.raises(ValueError, match="from 0 on, got -1"):
        server.network.lose_after(-1)


# Models and errors ---------------------------------------------------------------------------------------------------


def test_models_of_the_users_own_names() -> None:
    with ScriptedServer(["qwen/qwen3-4b", "nomic-embed"]) as server, lms.Client(server.api_host) as client:
        server.add_model("other/seer", vision=True, loaded=True)
        kinds = {model.model_key: model.type for model in client.list_downloaded_models()}
        assert kinds == {"qwen/qwen3-4b": "llm", "nomic-embed": "embedding", "other/seer": "llm"}
        assert [model.identifier for model in client.list_loaded_models()] == ["other/seer"]
        assert client.llm.model("other/seer").get_info().vision
        client.llm.model("qwen/qwen3-4b").respond("Hi")
        server.assert_called_with(model="qwen/qwen3-4b")


def test_model_that_does_not_exist(client: lms.Client) -> None:
    with pytest.raises(lms.LMStudioModelNotFoundError, match="no-such-model"):
        client.llm.model("no-such-model")


def test_load_fails_after_progress(server: ScriptedServer, client: lms.Client) -> None:
    server.fail_load("Not enough memory", CHAT)
    progress: list[float] = []
    with pytest.raises(lms.LMStudioServerError, match="Not enough memory"):
        client.llm.load_new_instance(CHAT, on_load_progress=progress.append)
    assert progress[0] == 0
    assert len(progress) > 1
    assert client.embedding.model(EMBED).identifier == EMBED


def test_errors_have_display_data(server: ScriptedServer, model: lms.LLM) -> None:
    data = {"code": "generic.noModelMatchingQuery", "query": {}, "loadedModelsSample": ["a"], "totalLoadedModels": 1}
    server.fail("Gone", cause="A reason.", suggestion="Do this.", display_data=data)
    with pytest.raises(lms.LMStudioModelNotFoundError, match="Gone") as raised:
        model.respond("Hi")
    assert (raised.value.cause, raised.value.suggestion) == ("A reason.", "Do this.")
    assert server.last_request.error == "Gone"
    assert model.respond("Hi").content == "You said: Hi"


def test_error_in_the_middle_of_a_text(server: ScriptedServer, model: lms.LLM) -> None:
    server.reply(Reply(["one", " two"], error="Out of memory", error_after=1))
    fragments = iter(model.respond_stream("Count."))
    assert next(fragments).content == "one"
    with pytest.raises(lms.LMStudioServerError, match="Out of memory"):
        next(fragments)


# Faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fragments", "arrive"), [(0, []), (1, ["one"]), (2, ["one", " two"])])
def test_connection_is_lost_after_so_many_fragments(
    server: ScriptedServer, model: lms.LLM, fragments: int, arrive: list[str]
) -> None:
    server.reply(["one", " two", " three"], times=2)
    server.network.lose_after(fragments)
    seen: list[str] = []
    with pytest.raises(lms.LMStudioWebsocketError, match="lost"):
        model.respond("Count.", on_prediction_fragment=lambda fragment: seen.append(fragment.content))
    assert seen == arrive
    assert model.respond("Count.").content == "one two three"


def test_refused_connections(server: ScriptedServer, client: lms.Client) -> None:
    server.network.refuse_connections()
    with pytest.raises(lms.LMStudioWebsocketError):
        client.llm.model(CHAT)
    server.network.accept_connections()
    assert client.llm.model(CHAT).identifier == CHAT


def test_answers_are_held_up(server: ScriptedServer, model: lms.LLM) -> None:
    answers: list[str] = []
    server.network.hold()
    thread = in_thread(lambda: answers.append(model.respond("Hi").content))
    assert server.wait_for_requests(timeout=PATIENCE_SECONDS)
    assert server.last_request.wait_finished(PATIENCE_SECONDS)
    assert answers == []
    server.network.release()
    thread.join(PATIENCE_SECONDS)
    assert answers == ["You said: Hi"]


def test_silent_connection_is_given_up_in_time(server: ScriptedServer, model: lms.LLM, client: lms.Client) -> None:
    server.network.go_silent()
    with pytest.raises(lms.LMStudioTimeoutError):
        model.respond("Hi", timeout=0.05)
    client.close()
    server.stop()


def test_garbage(server: ScriptedServer, model: lms.LLM) -> None:
    gate = Gate()
    server.reply([gate, "late"])
    failed: list[Exception] = []

    def ask() -> None:
        try:
            model.respond("Hi")
        except lms.LMStudioError as error:
            failed.append(error)

    thread = in_thread(ask)
    assert gate.reached(PATIENCE_SECONDS)
    server.network.send(b"\x83garbage")
    thread.join(PATIENCE_SECONDS)
    assert "broke the WebSocket protocol" in str(failed[0])
    assert server.last_request.wait_cancelled(PATIENCE_SECONDS)


def test_restarted_server_has_the_same_address_and_no_model(server: ScriptedServer, client: lms.Client) -> None:
    server.add_model("mine")
    client.llm.model("mine")
    server.reply("after")
    server.restart()
    assert client.list_loaded_models() == []
    assert client.llm.model("mine").respond("Hi").content == "after"


def test_reset_forgets_everything(server: ScriptedServer, model: lms.LLM, client: lms.Client) -> None:
    model.respond("Hi")
    server.reply("never")
    server.fail("Never")
    server.fail_load("Never")
    server.reset()
    server.check(strict=True)
    assert server.calls == []
    assert client.llm.model(CHAT).respond("Hi").content == "You said: Hi"


# What was asked for --------------------------------------------------------------------------------------------------


def test_requests_are_plain_values(server: ScriptedServer, model: lms.LLM) -> None:
    chat = lms.Chat("Be brief.")
    chat.add_user_message("One?")
    chat.add_assistant_response("1")
    chat.add_user_message("Two?")
    model.respond(chat, config={"temperature": 0.2, "maxTokens": 7, "stopStrings": ["."]})
    request = server.last_request
    assert request.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
    ]
    assert request.config == {"temperature": 0.2, "max_tokens": 7, "stop_strings": ["."]}
    assert (request.model, request.system, request.text) == (CHAT, "Be brief.", "Two?")
    assert request.raw["history"]["messages"][0]["role"] == "system"
    assert (request.name, request.cancelled, request.error) == ("llm/predict", False, None)
    assert request.wait_finished(PATIENCE_SECONDS)
    assert [call.name for call in server.calls] == ["llm/getOrLoad", "llm/predict"]


def test_raw_text_is_a_request_with_its_prompt(server: ScriptedServer, model: lms.LLM, client: lms.Client) -> None:
    server.reply(" upon a time", to="Once")
    target = ModelSpecifierQuery(query=ModelQuery(identifier=CHAT))
    parameter = LlmChannelCompleteRawTextCreationParameter(
        model_specifier=target, raw_prompt="Once", prediction_config_stack=KvConfigStack(layers=[])
    )
    channel = client.llm._port.channel(COMPLETE_RAW_TEXT, parameter, "continue a text").open()
    while run_blocking(channel.receive()).type != "success":
        pass
    request = server.last_request
    assert (request.name, request.messages, request.text) == ("llm/completeRawText", [], "Once")


@pytest.mark.parametrize("leave", ["cancel", "close"])
def test_cancelled_requests(server: ScriptedServer, model: lms.LLM, client: lms.Client, leave: str) -> None:
    gate = Gate()
    server.reply(["one", gate])
    stream = model.respond_stream("Count.")
    fragments = iter(stream)
    assert next(fragments).content == "one"
    assert not server.last_request.cancelled
    stream.cancel() if leave == "cancel" else client.close()
    assert server.last_request.wait_cancelled(PATIENCE_SECONDS)
    stream.close()


def test_waiting_for_requests(server: ScriptedServer, model: lms.LLM) -> None:
    assert not server.wait_for_requests(timeout=0)
    thread = in_thread(lambda: model.respond("Hi"))
    assert server.wait_for_requests(timeout=PATIENCE_SECONDS)
    thread.join(PATIENCE_SECONDS)


def test_assertions_hold(server: ScriptedServer, model: lms.LLM) -> None:
    server.assert_not_called()
    model.respond("One", config={"temperature": 0.2})
    model.respond("Two")
    server.assert_called()
    server.assert_called(2)
    server.assert_called_with("Two", model=CHAT, messages=[{"role": "user", "content": "Two"}], tools=[], config={})
    server.assert_called_with(re.compile("^T"), system="")
    server.assert_any_call("One", config={"temperature": 0.2})


DIFFERENT: list[tuple[dict[str, Any], str]] = [
    ({"text": "Three"}, "text: expected 'Three', sent 'Two'"),
    ({"text": re.compile("x+")}, "text: expected something like 'x\\+', sent 'Two'"),
    ({"model": "other"}, "model: expected 'other', sent 'scripted-chat'"),
    ({"config": {"temperature": 0.7}}, "config\\['temperature'\\]: expected 0.7, sent 0.2"),
    ({"config": {"max_tokens": 7}}, "config\\['max_tokens'\\]: expected 7, sent nothing"),
    ({"tools": ["add"]}, '(?s)tools \\(- expected, \\+ sent\\):.*-  "add"'),
    ({"messages": [{"role": "user", "content": "2"}]}, '(?s)-   "content": "2".*\\+   "content": "Two"'),
]


@pytest.mark.parametrize(("expected", "said"), DIFFERENT)
def test_failed_assertion_shows_the_difference(
    server: ScriptedServer, model: lms.LLM, expected: dict[str, Any], said: str
) -> None:
    model.respond("Two", config={"temperature": 0.2})
    with pytest.raises(AssertionError, match=said) as last:
        server.assert_called_with(**expected)
    assert "The last prediction (1 of 1) is different" in str(last.value)
    with pytest.raises(AssertionError, match=said) as nearest:
        server.assert_any_call(**expected)
    assert "No prediction was as expected" in str(nearest.value)


def test_failed_counts_show_the_requests(server: ScriptedServer, model: lms.LLM) -> None:
    with pytest.raises(AssertionError, match=r"No prediction was asked for\. What was: llm/getOrLoad\."):
        _ = server.last_request
    with pytest.raises(AssertionError, match="No prediction was asked for"):
        server.assert_called_with("Hi")
    with pytest.raises(AssertionError, match="0 predictions were asked for, at least one was expected"):
        server.assert_called()
    model.respond("Hi")
    with pytest.raises(
        AssertionError, match=r"(?s)1 predictions were asked for, 0 were expected.*1\. scripted-chat: 'Hi'"
    ):
        server.assert_not_called()


def test_strict_check_names_what_was_not_used(server: ScriptedServer, model: lms.LLM) -> None:
    server.reply("used", "unused")
    server.reply("no", to="Norway")
    server.fail("Never", on="embedString")
    server.reply("always", times=None, to="never")
    model.respond("Hi")
    server.check()
    with pytest.raises(AssertionError) as raised:
        server.check(strict=True)
    assert str(raised.value).splitlines() == [
        "Nobody has asked for the reply 'unused'.",
        "Nobody has asked for the reply 'no' to 'Norway'.",
        "Nobody has got the error 'Never' on embedString.",
    ]


def test_strict_server_wants_a_reply_for_each_prediction() -> None:
    with ScriptedServer(strict=True) as server, lms.Client(server.api_host) as client:
        with pytest.raises(lms.LMStudioServerError, match="no scripted reply"):
            client.llm.model(CHAT).respond("Hi")
        with pytest.raises(AssertionError, match="There is no scripted reply for scripted-chat: 'Hi'"):
            server.check()


def test_reply_function_that_raises_is_reported(server: ScriptedServer, model: lms.LLM) -> None:
    def reply(request: PredictionRequest) -> str:
        raise KeyError(request.text)

    server.reply(reply)
    with pytest.raises(lms.LMStudioServerError):
        model.respond("Hi")
    with pytest.raises(AssertionError, match="A scripted reply to scripted-chat: 'Hi' failed: KeyError: 'Hi'"):
        server.check()


def test_reply_function_with_a_bad_result_is_reported(server: ScriptedServer, model: lms.LLM) -> None:
    server.reply(lambda _: cast("Any", None))
    with pytest.raises(lms.LMStudioServerError):
        model.respond("Hi")
    with pytest.raises(AssertionError, match="failed: LMStudioValueError: Cannot reply with None"):
        server.check()


def test_what_comes_on_another_way_is_a_request_too(server: ScriptedServer) -> None:
    async def generate() -> str:
        model = await server.engine.load(server.models[0], LoadOptions(), lambda _: None)
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
        prompt = await model.render_chat(messages, tools=[{"type": "function", "function": {"name": "add"}}])
        request = GenerationRequest(prompt, Sampling(temperature=0.5), max_tokens=7)
        async with aclosing(model.generate(request)) as events:
            return "".join([event.text async for event in events if isinstance(event, TextChunk)])

    server.reply("Hello!", to="Hi")
    assert asyncio.run(generate()) == "Hello!"
    server.assert_called_with("Hi", model=CHAT, system="Be brief.", tools=["add"])
    assert server.last_request.name == "http/generate"
    assert server.last_request.config == {"max_tokens": 7, "temperature": 0.5}


def test_shortened_chat_takes_one_reply() -> None:
    with ScriptedServer([]) as server, lms.Client(server.api_host) as client:
        server.add_model("small", max_context_length=40)
        chat = lms.Chat()
        for number in range(30):
            chat.add_user_message(f"question {number}")
            chat.add_assistant_response(f"answer {number}")
        chat.add_user_message("last")
        server.reply("one", "two")
        model = client.llm.model("small", config={"contextLength": 40})
        assert model.respond(chat, config={"contextOverflowPolicy": "truncateMiddle"}).content == "one"
        assert model.respond("Hi").content == "two"


def test_server_that_does_not_run_has_no_address() -> None:
    server = ScriptedServer()
    server.stop()
    with pytest.raises(lms.LMStudioRuntimeError, match="has not been started"):
        _ = server.api_host
