"""A prediction in flight: what is sent, who is told what and when, and how it ends."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from recorded_packets import LOAD_FIELDS, PREDICTION, fragment, progress, success
from scripted_prediction import ANSWER_SCHEMA, TARGET, predict, reply
from scripted_runtime import ScriptedRuntime, WaitsForeverError, channel_error, close, packet, run

from lmstudio._ops.prediction import complete
from lmstudio._ops.prediction_options import PredictionOptions, prediction_options
from lmstudio._sdk_models import (
    AssistantResponse,
    KvConfig,
    LlmPredictionConfig,
    LlmPredictionFragment,
    LlmStructuredPredictionSetting,
    TextData,
)
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioRuntimeError,
    LMStudioServerError,
    LMStudioTimeoutError,
    LMStudioUnknownMessageWarning,
    LMStudioValueError,
    LMStudioWebsocketError,
)
from lmstudio.history import Chat

CANCEL = {"type": "cancel"}


def text_of(fragment: LlmPredictionFragment | None) -> str:
    assert fragment is not None
    return fragment.content


class Recorder:
    """Callbacks that write down their calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def options(self) -> dict[str, Any]:
        return {
            "on_message": lambda message: self.calls.append(("message", message.content[0].text)),
            "on_first_token": lambda: self.calls.append("first token"),
            "on_prediction_fragment": lambda fragment: self.calls.append(("fragment", fragment.content)),
            "on_prompt_processing_progress": lambda value: self.calls.append(("progress", value)),
        }


# What is sent --------------------------------------------------------------------------------------------------------


def test_settings_of_a_chat_are_below_those_of_the_call_and_replace_the_session() -> None:
    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    run(predict(runtime, chat_config=KvConfig(fields=[])).run())
    parameter = runtime.sent[0]["creationParameter"]
    layers = [layer["layerName"] for layer in parameter["predictionConfigStack"]["layers"]]
    assert layers == ["conversationSpecific", "apiOverride"]
    assert parameter["ignoreServerSessionConfig"] is True


def test_respond_sends_the_chat_and_one_layer() -> None:
    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    run(predict(runtime, config={"temperature": 0.5}, preset="my preset").run())
    assert runtime.sent == [
        {
            "type": "channelCreate",
            "endpoint": "predict",
            "channelId": 1,
            "creationParameter": {
                "modelSpecifier": {"type": "query", "query": {"identifier": "qwen"}},
                "history": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
                "predictionConfigStack": {
                    "layers": [
                        {
                            "layerName": "apiOverride",
                            "config": {"fields": [{"key": "llm.prediction.temperature", "value": 0.5}]},
                        }
                    ]
                },
                "fuzzyPresetIdentifier": "my preset",
            },
        }
    ]


def layers_of(runtime: ScriptedRuntime) -> list[Any]:
    layers: list[Any] = runtime.sent[0]["creationParameter"]["predictionConfigStack"]["layers"]
    return layers


def fields_of(runtime: ScriptedRuntime, layer: int = 0) -> dict[str, Any]:
    return {item["key"]: item["value"] for item in layers_of(runtime)[layer]["config"]["fields"]}


def test_complete_sends_the_prompt_past_the_chat_template() -> None:
    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    run(complete(runtime.llm(), TARGET, "Once upon", PredictionOptions[Any]()).run())
    parameter = runtime.sent[0]["creationParameter"]
    assert parameter["history"] == {"messages": [{"role": "user", "content": [{"type": "text", "text": "Once upon"}]}]}
    assert [layer["layerName"] for layer in layers_of(runtime)] == ["apiOverride", "completeModeFormatting"]
    assert fields_of(runtime) == {"llm.prediction.stopStrings": []}
    assert fields_of(runtime, 1) == {
        "llm.prediction.promptTemplate": {
            "type": "jinja",
            "stopStrings": [],
            "jinjaPromptTemplate": {
                "bosToken": "",
                "eosToken": "",
                "template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
                "inputConfig": {"messagesConfig": {"contentConfig": {"type": "string"}}, "useTools": False},
            },
        }
    }


def test_complete_keeps_the_stop_strings_it_is_given() -> None:
    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    options = prediction_options(runtime, config={"stopStrings": ["END"]})
    run(complete(runtime.llm(), TARGET, "Once", options).run())
    assert fields_of(runtime) == {"llm.prediction.stopStrings": ["END"]}


def test_complete_continues_texts_only() -> None:
    with pytest.raises(LMStudioValueError, match=r"got Chat. For a chat use respond\(\)"):
        complete(ScriptedRuntime().llm(), TARGET, Chat("Hi"), PredictionOptions[Any]())  # type: ignore[arg-type]


def test_nothing_is_sent_before_the_start() -> None:
    runtime = ScriptedRuntime()
    prediction = predict(runtime)
    assert not prediction.is_started
    assert runtime.multiplexers == []


def test_a_prediction_starts_once() -> None:
    prediction = predict(ScriptedRuntime())
    prediction.start()
    with pytest.raises(LMStudioRuntimeError, match="already been started"):
        prediction.start()


def test_a_schema_travels_byte_for_byte_in_its_order() -> None:
    runtime = ScriptedRuntime()
    predict(runtime, response_format=ANSWER_SCHEMA).start()
    sent = json.dumps(fields_of(runtime)["llm.prediction.structured"])
    assert sent == json.dumps({"type": "json", "jsonSchema": ANSWER_SCHEMA})


@pytest.mark.parametrize(
    "structured",
    [
        {"type": "json", "jsonSchema": ANSWER_SCHEMA},
        LlmStructuredPredictionSetting(type="json", json_schema=ANSWER_SCHEMA),
    ],
)
def test_a_format_inside_the_config_counts_like_a_response_format(structured: Any) -> None:
    runtime = ScriptedRuntime(*map(packet, [fragment('{"zebra": 1}'), success()]))
    config = LlmPredictionConfig(temperature=0.5, structured=structured)
    assert run(predict(runtime, config=config).run()).parsed == {"zebra": 1}
    assert list(fields_of(runtime)) == ["llm.prediction.temperature", "llm.prediction.structured"]


def test_two_formats_are_one_too_many() -> None:
    with pytest.raises(LMStudioValueError, match="given twice"):
        predict(ScriptedRuntime(), config={"structured": {"type": "json"}}, response_format=ANSWER_SCHEMA)


def test_the_format_none_inside_the_config_means_free_text() -> None:
    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    assert not run(predict(runtime, config={"structured": {"type": "none"}}).run()).structured
    assert fields_of(runtime) == {}


def test_a_bad_configuration_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(LMStudioValueError, match="Did you mean 'temperature'"):
        predict(ScriptedRuntime(), config={"temprature": 1})


# Fragments and result ------------------------------------------------------------------------------------------------


def test_fragments_come_one_by_one_and_then_the_result() -> None:
    prediction = predict(ScriptedRuntime(*map(packet, PREDICTION)))
    assert text_of(run(prediction.next_fragment())) == "Hello"
    assert (prediction.is_finished, prediction.result_or_none) == (False, None)
    assert text_of(run(prediction.next_fragment())) == " world"
    assert run(prediction.next_fragment()) is None
    assert prediction.is_finished
    assert prediction.result_or_none is prediction.result()
    assert run(prediction.next_fragment()) is None


def test_a_result_has_everything_the_server_said() -> None:
    result = reply(*PREDICTION)
    assert result.content == result.parsed == result.non_reasoning_content == "Hello world"
    assert result.reasoning_content == ""
    assert not result.structured
    assert (result.stop_reason, result.stats.total_tokens_count) == ("eosFound", 14)
    assert result.model_info.identifier == "qwen"
    assert [item.key for item in result.load_config_kv.fields] == [item["key"] for item in LOAD_FIELDS]
    assert result.prediction_config.max_tokens == 100


def test_an_empty_reply_is_a_reply() -> None:
    recorder = Recorder()
    assert reply(success(), **recorder.options()).content == ""
    assert recorder.calls == [("message", "")]


def test_waiting_after_the_end_returns_the_result_again() -> None:
    prediction = predict(ScriptedRuntime(*map(packet, PREDICTION)))
    assert run(prediction.run()) is run(prediction.run())


def test_the_channel_is_forgotten_after_the_result() -> None:
    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    run(predict(runtime).run())
    assert runtime.multiplexers[0].is_idle
    assert runtime.sent_packets() == []
    runtime.arrive(close())


def test_there_is_no_result_before_the_end() -> None:
    prediction = predict(ScriptedRuntime())
    with pytest.raises(LMStudioRuntimeError, match="has not been started yet"):
        prediction.result()
    prediction.start()
    with pytest.raises(LMStudioRuntimeError, match="has not been completed yet"):
        prediction.result()


def test_tool_call_packets_do_not_disturb() -> None:
    call = {"type": "toolCallGenerationEnd", "toolCallRequest": {"type": "function", "name": "add"}}
    assert reply({"type": "toolCallGenerationStart"}, call, *PREDICTION).content == "Hello world"


def test_a_packet_of_a_new_kind_does_not_stop_a_prediction() -> None:
    with pytest.warns(LMStudioUnknownMessageWarning):
        assert reply({"type": "thoughtBubble"}, *PREDICTION).content == "Hello world"


def test_a_stop_reason_that_is_new_is_kept() -> None:
    assert reply(success(stopReason="powerCut")).stop_reason == "powerCut"


# Callbacks -----------------------------------------------------------------------------------------------------------


def test_callbacks_come_in_the_order_of_events() -> None:
    recorder = Recorder()
    reply(*PREDICTION, **recorder.options())
    assert recorder.calls == [
        ("progress", 0.0),
        ("progress", 0.5),
        ("progress", 1.0),
        "first token",
        ("fragment", "Hello"),
        ("fragment", " world"),
        ("message", "Hello world"),
    ]


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        ([], [0.0, 1.0]),
        ([0.0, 1.0], [0.0, 1.0]),
        ([0.3, 0.3, 0.1, 0.6], [0.0, 0.3, 0.6, 1.0]),
        ([1.0], [0.0, 1.0]),
    ],
)
def test_prompt_progress_starts_at_0_never_falls_and_ends_at_1(sent: list[float], reported: list[float]) -> None:
    values: list[float] = []
    reply(*map(progress, sent), fragment("a"), success(), on_prompt_processing_progress=values.append)
    assert values == reported


def test_prompt_progress_without_text_does_not_end() -> None:
    values: list[float] = []
    reply(progress(0.5), success(), on_prompt_processing_progress=values.append)
    assert values == [0.0, 0.5]


def test_on_message_gets_a_message_that_a_chat_can_append() -> None:
    chat = Chat()
    reply(*PREDICTION, on_message=chat.append)
    assert list(chat) == [AssistantResponse(content=[TextData(text="Hello world")])]


@pytest.mark.parametrize("name", ["on_first_token", "on_prediction_fragment", "on_prompt_processing_progress"])
def test_an_error_of_a_callback_is_logged_with_its_traceback(name: str, caplog: pytest.LogCaptureFixture) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("in the callback")

    assert reply(*PREDICTION, **{name: fails}).content == "Hello world"
    assert "the operation goes on" in caplog.text
    assert "ZeroDivisionError: in the callback" in caplog.text


def test_an_error_of_on_message_propagates() -> None:
    def fails(message: AssistantResponse) -> None:
        raise ZeroDivisionError

    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    with pytest.raises(ZeroDivisionError):
        run(predict(runtime, on_message=fails).run())
    assert runtime.sent_packets() == []


@pytest.mark.parametrize("name", ["on_first_token", "on_prediction_fragment", "on_prompt_processing_progress"])
def test_a_keyboard_interrupt_in_a_callback_stops_the_prediction(name: str) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    with pytest.raises(KeyboardInterrupt):
        run(predict(runtime, **{name: interrupted}).run())
    assert runtime.sent_packets() == [CANCEL]


# Cancelling ----------------------------------------------------------------------------------------------------------


def test_cancel_drops_further_fragments_and_the_result_stands() -> None:
    recorder = Recorder()
    stopped = success(stopReason="userStopped")
    steps = map(packet, [fragment("Hello"), progress(1.0), fragment(" world"), stopped])
    prediction = predict(runtime := ScriptedRuntime(*steps), **recorder.options())
    run(prediction.next_fragment())
    prediction.cancel()
    assert run(prediction.next_fragment()) is None
    assert prediction.result().content == "Hello"
    assert prediction.result().stop_reason == "userStopped"
    assert ("fragment", " world") not in recorder.calls
    assert recorder.calls[-1] == ("message", "Hello")
    assert runtime.sent_packets() == [CANCEL]


def test_cancel_is_sent_once() -> None:
    runtime = ScriptedRuntime()
    prediction = predict(runtime)
    prediction.start()
    for _ in range(3):
        prediction.cancel()
    prediction.abandon()
    assert runtime.sent_packets() == [CANCEL]


def test_cancelling_what_is_over_or_has_not_begun_sends_nothing() -> None:
    runtime = ScriptedRuntime(*map(packet, PREDICTION))
    prediction = predict(runtime)
    prediction.cancel()
    run(prediction.run())
    prediction.cancel()
    prediction.abandon()
    assert runtime.sent_packets() == []


def test_a_prediction_that_is_interrupted_while_it_is_sent_is_cancelled() -> None:
    runtime = ScriptedRuntime()
    runtime.interrupt_next_post = True
    prediction = predict(runtime)
    with pytest.raises(KeyboardInterrupt):
        prediction.start()
    assert runtime.sent_packets() == [CANCEL]
    with pytest.raises(LMStudioCancelledError, match="because of KeyboardInterrupt"):
        prediction.result()


def test_abandon_sends_cancel_once_and_forgets() -> None:
    runtime = ScriptedRuntime(packet(fragment("Hello")))
    prediction = predict(runtime)
    run(prediction.next_fragment())
    prediction.abandon()
    prediction.abandon()
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle
    with pytest.raises(LMStudioCancelledError, match="left before it was complete"):
        prediction.result()
    with pytest.raises(LMStudioCancelledError):
        run(prediction.next_fragment())


def test_late_packets_after_abandon_are_ignored_silently(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    runtime = ScriptedRuntime()
    prediction = predict(runtime)
    prediction.start()
    prediction.abandon()
    runtime.arrive(*map(packet, PREDICTION), close())
    assert caplog.records == []


def test_a_prediction_that_was_closed_cannot_be_started() -> None:
    prediction = predict(runtime := ScriptedRuntime())
    prediction.abandon()
    with pytest.raises(LMStudioRuntimeError, match="closed"):
        prediction.start()
    assert runtime.sent == []


def test_abandoning_from_elsewhere_wakes_who_waits() -> None:
    runtime = ScriptedRuntime(packet(fragment("Hello")))
    prediction = predict(runtime)
    runtime.script(prediction.abandon)
    with pytest.raises(LMStudioCancelledError):
        run(prediction.run())
    assert runtime.sent_packets() == [CANCEL]


@pytest.mark.parametrize(
    "interrupt", [LMStudioTimeoutError("No message."), KeyboardInterrupt(), GeneratorExit(), RuntimeError("cancelled")]
)
def test_an_interrupted_prediction_is_cancelled_once(interrupt: BaseException) -> None:
    runtime = ScriptedRuntime(packet(fragment("Hello")), interrupt)
    with pytest.raises(type(interrupt)):
        run(predict(runtime).run())
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_an_interrupt_is_not_raised_a_second_time(interrupt: BaseException) -> None:
    # A task that reads the result later has not been interrupted.
    prediction = predict(ScriptedRuntime(interrupt))
    with pytest.raises(type(interrupt)):
        run(prediction.run())
    for _ in range(2):
        with pytest.raises(LMStudioCancelledError):
            prediction.result()


@pytest.mark.parametrize("error", [ZeroDivisionError, LMStudioValueError, KeyboardInterrupt])
def test_the_result_stands_when_on_message_fails(error: type[BaseException]) -> None:
    def fails(message: AssistantResponse) -> None:
        raise error

    prediction = predict(ScriptedRuntime(*map(packet, PREDICTION)), on_message=fails)
    with pytest.raises(error):
        run(prediction.run())
    assert prediction.result().content == "Hello world"


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), LMStudioServerError("of another call")])
def test_the_exception_of_a_with_block_is_not_the_predictions_error(error: BaseException) -> None:
    prediction = predict(ScriptedRuntime())
    prediction.start()
    prediction.abandon(error)
    with pytest.raises(LMStudioCancelledError, match=f"because of {type(error).__name__}"):
        prediction.result()


# Failing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "error", "text"),
    [
        (channel_error({"title": "Out of memory"}), LMStudioServerError, "Could not predict with model 'qwen': Out"),
        (packet({"type": "error", "error": {"title": "Old"}}), LMStudioServerError, "Could not predict .*: Old"),
        (close(), LMStudioChannelClosedError, "Could not predict with model 'qwen': the server closed"),
    ],
)
def test_a_failed_prediction_raises_and_is_not_cancelled(end: Any, error: type[Exception], text: str) -> None:
    runtime = ScriptedRuntime(packet(fragment("Hello")), end)
    prediction = predict(runtime)
    with pytest.raises(error, match=text):
        run(prediction.run())
    assert runtime.sent_packets() == []
    assert prediction.is_finished
    with pytest.raises(error, match=text):
        prediction.result()


def test_a_lost_connection_fails_the_prediction() -> None:
    runtime = ScriptedRuntime(lambda: runtime.multiplexers[0].fail(LMStudioWebsocketError("lost")))
    with pytest.raises(LMStudioWebsocketError):
        run(predict(runtime).run())
    assert len(runtime.multiplexers) == 1  # never repeated


def test_asking_again_for_a_failed_result_does_not_pile_up_tracebacks() -> None:
    prediction = predict(ScriptedRuntime(close()))
    with pytest.raises(LMStudioChannelClosedError):
        run(prediction.run())
    lengths: list[int] = []
    for _ in range(3):
        with pytest.raises(LMStudioChannelClosedError) as caught:
            prediction.result()
        lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1


def test_a_prediction_that_gets_no_answer_waits() -> None:
    with pytest.raises(WaitsForeverError):
        run(predict(ScriptedRuntime()).run())
