# Generated from ../async/test_predictions.py by tools/make_sync.py. Edit that file instead.
"""Predictions: results, streams, callbacks, configuration, structured output, reasoning, failures."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pydantic
import pytest

import lmstudio as lms
from lmstudio.server import Reply
from surface.background import Background

if TYPE_CHECKING:
    from lmstudio.server import Gate, ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy


class PydanticBook(pydantic.BaseModel):
    title: str
    year: int


class Book(lms.BaseModel):
    title: str
    year: int


class StructBook(msgspec.Struct):
    title: str
    year: int


@dataclasses.dataclass
class DataclassBook:
    title: str
    year: int


class DictBook(TypedDict):
    title: str
    year: int


BOOK_SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "year": {"type": "integer"}},
    "required": ["title", "year"],
}


# Results -------------------------------------------------------------------------------------------------------------


def test_result_has_text_statistics_and_model(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Hello there")
    assert result.content == str(result) == result.parsed == result.non_reasoning_content == "You said: Hello there"
    assert (result.reasoning_content, result.structured) == ("", False)
    assert result.stop_reason == result.stats.stop_reason == "eosFound"
    assert result.stats.predicted_tokens_count == 4
    assert result.stats.prompt_tokens_count is not None
    assert result.stats.total_tokens_count == result.stats.prompt_tokens_count + 4
    assert result.stats.tokens_per_second == 1000.0
    assert result.model_info.identifier == "scripted-chat"
    assert result.load_config.context_length == 4096


def test_result_has_the_effective_configuration(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Hi", config={"maxTokens": 3, "temperature": 0.25})
    assert (result.prediction_config.max_tokens, result.prediction_config.temperature) == (3, 0.25)


def test_chat_reaches_the_model_as_it_is(server: Server, engine: ScriptedEngine) -> None:
    chat = lms.Chat("Be brief.")
    chat.add_user_message("One")
    chat.add_assistant_response("Two")
    chat.add_user_message("Three")
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        model.respond(chat)
    assert [(message["role"], message["content"]) for message in engine.chats[-1].messages] == [
        ("system", "Be brief."),
        ("user", "One"),
        ("assistant", "Two"),
        ("user", "Three"),
    ]


def test_history_may_be_a_dict(server: Server, engine: ScriptedEngine) -> None:
    history = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One"}]}
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        assert (model.respond(history)).content == "You said: One"


def test_completion_gets_the_prompt_and_nothing_else(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = " upon a time"
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.complete("Once", config={"maxTokens": 2})
    assert (result.content, result.stop_reason) == (" upon a", "maxPredictedTokensReached")
    assert engine.requests[-1].prompt.endswith("Once")
    assert "user" not in engine.requests[-1].prompt


def test_raw_completion_is_streamed_and_takes_settings(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = " upon a time"
    no_switch: Any = 1
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.complete_stream("Once", config={"maxTokens": 2}, raw=True) as stream:
            result = stream.wait_for_result()
        with pytest.raises(lms.LMStudioValueError, match="raw must be True or False"):
            model.complete("Once", raw=no_switch)
    assert (result.content, result.stop_reason) == (" upon a", "maxPredictedTokensReached")
    assert engine.requests[-1].prompt == "Once"


def test_completion_may_be_streamed(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = " upon a time"
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.complete_stream("Once") as stream:
            assert [fragment.content for fragment in stream] == [" upon", " a", " time"]


def test_empty_reply_is_a_result(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = ""
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.respond_stream("Hi") as stream:
            assert [fragment.content for fragment in stream] == []
            assert stream.result().content == ""


def test_any_text_survives(server: Server, engine: ScriptedEngine) -> None:
    text = '\0\x1f"\\ \u2028 ø 蓝莓 🫐 </think> {{ x }}'
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        assert (model.respond(text)).content == f"You said: {text}"


# Streams -------------------------------------------------------------------------------------------------------------


def test_stream_yields_fragments_and_then_has_the_result(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.respond_stream("Hello there") as stream:
            assert (stream.stats, stream.model_info) == (None, None)
            texts = [fragment.content for fragment in stream]
            result = stream.result()
        assert texts == ["You", " said:", " Hello", " there"]
        assert (result.content, stream.stats, stream.model_info) == ("".join(texts), result.stats, result.model_info)
        assert stream.wait_for_result() is result


def test_fragment_says_what_it_is(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        fragment = next(iter(model.respond_stream("Hi")))
    assert (fragment.content, fragment.tokens_count, fragment.reasoning_type) == ("You", 1, "none")
    assert (fragment.contains_drafted, fragment.is_structural) == (False, False)


def test_stream_may_be_left_to_itself_until_the_result(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi")
        assert (stream.wait_for_result()).content == "You said: Hi"


def test_rest_of_a_stream_may_be_waited_for(server: Server, gate: Gate) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.respond_stream("Hi") as stream:
            fragments = iter(stream)
            assert (next(fragments)).content == "one"
            gate.open()
            assert (stream.wait_for_result()).content == "one two three"


def test_nothing_is_sent_before_a_stream_is_used(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi")
        model.count_tokens("a round trip")
        assert engine.requests == []
        assert stream.stats is None


def test_started_stream_runs_without_being_read(server: Server, gate: Gate) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi")
        stream.start()
        assert background.wait(gate.reached)
        with pytest.raises(lms.LMStudioRuntimeError, match="has not been completed"):
            stream.result()
        with pytest.raises(lms.LMStudioRuntimeError, match="already been started"):
            stream.start()
        gate.open()
        assert [fragment.content for fragment in stream] == ["one", " two", " three"]


def test_complete_stream_can_still_be_iterated(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi")
        stream.wait_for_result()
        assert [fragment.content for fragment in stream] == ["You", " said:", " Hi"]


def test_fragments_arrive_while_the_model_predicts(server: Server, gate: Gate) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.respond_stream("Hi") as stream:
            fragments = iter(stream)
            assert [(next(fragments)).content for _ in range(2)] == ["one", " two"]
            gate.open()
            assert [fragment.content for fragment in fragments] == [" three"]


# Callbacks -----------------------------------------------------------------------------------------------------------


def test_callbacks_come_in_order(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one", " two"], prompt_steps=2)
    events: list[object] = []
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond(
            "Hi there friend",
            on_message=events.append,
            on_first_token=lambda: events.append("first"),
            on_prediction_fragment=lambda fragment: events.append(fragment.content),
            on_prompt_processing_progress=events.append,
        )
    assert events[:1] + events[-4:-1] == [0.0, "first", "one", " two"]
    progress = events[:-4]
    assert progress == sorted(progress, key=str)
    assert progress[-1] == 1.0
    message = events[-1]
    assert isinstance(message, lms.AssistantResponse)
    assert message.content[0].to_dict() == {"type": "text", "text": result.content}


def test_message_callback_may_be_the_append_of_a_chat(server: Server) -> None:
    chat = lms.Chat()
    chat.add_user_message("Hi")
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        model.respond(chat, on_message=chat.append)
        assert (model.respond(chat)).content == "You said: Hi"
    assert len(chat) == 2


def test_callbacks_of_a_stream_are_called_while_it_is_read(server: Server, gate: Gate) -> None:
    texts: list[str] = []
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi", on_prediction_fragment=lambda fragment: texts.append(fragment.content))
        fragments = iter(stream)
        next(fragments)
        assert texts == ["one"]
        next(fragments)
        assert texts == ["one", " two"]


def test_failing_callback_is_logged_and_does_not_end_the_prediction(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object) -> None:
        raise ArithmeticError("of the callback")

    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond(
            "Hi", on_first_token=fail, on_prediction_fragment=fail, on_prompt_processing_progress=fail
        )
    assert result.content == "You said: Hi"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) >= 5
    assert all("fail" in record.getMessage() for record in errors)


# Configuration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"maxTokens": 2, "temperature": 0.5, "topPSampling": 0.75, "topKSampling": 7, "stopStrings": ["never"]},
        {"max_tokens": 2, "temperature": 0.5, "top_p_sampling": 0.75, "top_k_sampling": 7, "stop_strings": ["never"]},
        lms.LlmPredictionConfig(
            max_tokens=2, temperature=0.5, top_p_sampling=0.75, top_k_sampling=7, stop_strings=["never"]
        ),
    ],
    ids=["camelCase", "snake_case", "struct"],
)
def test_configuration_reaches_the_engine(server: Server, engine: ScriptedEngine, config: Any) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Hi", config=config)
    request = engine.requests[-1]
    assert (request.max_tokens, list(request.stop_strings)) == (2, ["never"])
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.top_k) == (0.5, 0.75, 7)
    assert (result.content, result.stop_reason) == ("You said:", "maxPredictedTokensReached")


def test_stop_string_ends_the_text_before_it(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = "one two three"
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Hi", config={"stopStrings": [" two", "never"]})
    assert (result.content, result.stop_reason, result.stats.stop_string) == ("one", "stopStringFound", " two")


@pytest.mark.parametrize(
    "bad",
    [
        {"config": {"maxToken": 5}},
        {"config": {"maxTokens": "many"}},
        {"config": "fast"},
        {"response_format": 5},
        {"response_format": {"title": "Not a schema"}},
        {"response_format": {"type": "gbnf"}},
        {"response_format": Book, "config": {"structured": {"type": "json"}}},
    ],
    ids=str,
)
def test_bad_argument_is_refused_before_anything_is_sent(proxy: FaultProxy, bad: dict[str, Any]) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        sent = len(proxy.frames)
        with pytest.raises(lms.LMStudioValueError):
            model.respond("Hi", **bad)
        with pytest.raises(lms.LMStudioValueError):
            model.complete_stream("Hi", **bad)
        model.count_tokens("a round trip")
    assert len(proxy.messages("channelCreate")) == 1
    assert sent == 2


def test_bad_history_is_refused_before_anything_is_sent(server: Server, engine: ScriptedEngine) -> None:
    bad: Any = {"messages": [{"role": "nobody", "content": "Hi"}]}
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioValueError):
            model.respond(bad)
        assert engine.chats == []


def test_unknown_preset_is_an_error_of_its_own(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioPresetNotFoundError, match="no-such-preset"):
            model.respond("Hi", preset="no-such-preset")


# Structured output ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response_format",
    [
        PydanticBook,
        Book,
        StructBook,
        DataclassBook,
        DictBook,
        BOOK_SCHEMA,
        {"type": "json", "jsonSchema": BOOK_SCHEMA},
        {"type": "json_schema", "json_schema": {"name": "book", "schema": BOOK_SCHEMA}},
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value),
)
def test_response_format_restricts_and_types_the_reply(
    server: Server, engine: ScriptedEngine, response_format: Any
) -> None:
    engine.reply = '{"title": "Emma", "year": 1815}'
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("A book", response_format=response_format)
    schema = engine.requests[-1].json_schema
    assert schema is not None
    assert list(schema["properties"]) == ["title", "year"]
    expected_type = response_format if response_format in (PydanticBook, Book, StructBook, DataclassBook) else dict
    assert type(result.parsed) is expected_type
    members = (
        result.parsed
        if isinstance(result.parsed, dict)
        else {name: getattr(result.parsed, name) for name in ("title", "year")}
    )
    assert members == {"title": "Emma", "year": 1815}
    assert result.structured
    assert json.loads(str(result)) == members


def test_completions_and_streams_take_a_response_format(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        assert (model.complete("A book", response_format=Book)).parsed == Book(title="", year=0)
        for stream in (
            model.complete_stream("A book", response_format=Book),
            model.respond_stream("A book", response_format=Book),
        ):
            assert (stream.wait_for_result()).parsed == Book(title="", year=0)


def test_grammar_reaches_the_engine_and_the_text_stays_text(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = "yes"
    grammar = 'root ::= "yes" | "no"'
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Well?", response_format={"type": "gbnf", "gbnfGrammar": grammar})
    assert engine.requests[-1].grammar == grammar
    assert (result.parsed, str(result), result.structured) == ("yes", "yes", False)


def test_reply_that_was_cut_off_says_so_when_it_is_parsed(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = '{"title": "Emma", "year": 1815}'
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("A book", response_format=Book, config={"maxTokens": 2})
    assert result.content == '{"title": "Emma",'
    with pytest.raises(lms.LMStudioStructuredOutputError, match="maxPredictedTokensReached") as error:
        _ = result.parsed
    assert (error.value.content, error.value.stop_reason) == (result.content, "maxPredictedTokensReached")


# Reasoning -----------------------------------------------------------------------------------------------------------

REASONING: Any = {"reasoningParsing": {"enabled": True, "startString": "<think>", "endString": "</think>"}}


def test_reasoning_is_told_apart_from_the_answer(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["<thi", "nk>Let me", " see.</th", "ink>", "Oslo", "."])
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.respond_stream("Capital?", config=REASONING) as stream:
            kinds = {fragment.content: fragment.reasoning_type for fragment in stream}
            result = stream.result()
    assert kinds["Oslo"] == "none"
    assert "reasoning" in kinds.values()
    assert result.reasoning_content.strip() == "Let me see."
    assert result.non_reasoning_content.strip() == "Oslo."
    assert result.content == "<think>Let me see.</think>Oslo."


def test_structured_reply_after_reasoning_is_parsed(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = '<think>A book...</think>{"title": "Emma", "year": 1815}'
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("A book", response_format=Book, config=REASONING)
    assert result.parsed == Book(title="Emma", year=1815)


# Failures ------------------------------------------------------------------------------------------------------------


def test_failure_of_the_engine_is_an_error_and_the_connection_stays(proxy: FaultProxy, engine: ScriptedEngine) -> None:
    engine.reply = [Reply(["one", " two"], error="Out of ideas.", error_after=1), Reply("fine")]
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi")
        fragments = iter(stream)
        assert (next(fragments)).content == "one"
        with pytest.raises(lms.LMStudioServerError, match=r"Could not predict with .*scripted-chat(.|\n)*Out of ideas"):
            next(fragments)
        with pytest.raises(lms.LMStudioServerError, match="Out of ideas"):
            stream.result()
        with pytest.raises(lms.LMStudioServerError, match="Out of ideas"):
            stream.wait_for_result()
        assert (model.respond("Hi")).content == "fine"
        assert proxy.accepted == ["llm"]
        assert proxy.count_packets("cancel") == 0


def test_model_that_dies_fails_its_predictions(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one", " two"], die_after=1)
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioServerError, match="died"):
            model.respond("Hi")


def test_model_that_is_unloaded_meanwhile_ends_its_predictions(server: Server, gate: Gate) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        model = client.llm.model("scripted-chat")
        call = background.start(lambda: model.respond("Hi"))
        assert background.wait(gate.reached)
        model.unload()
        result = call.result()
        assert (result.content, result.stop_reason) == ("one two", "modelUnloaded")
        with pytest.raises(lms.LMStudioModelNotFoundError, match="No loaded model matches 'scripted-chat'"):
            model.respond("Hi")


def test_prompt_that_does_not_fit_is_an_error(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat", config={"contextLength": 16})
        with pytest.raises(lms.LMStudioServerError, match="context"):
            model.respond("word " * 100, config={"contextOverflowPolicy": "stopAtLimit"})
