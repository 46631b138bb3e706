# Generated from ../async/test_acceptance_models.py by tools/make_sync.py. Edit that file instead.
"""What users of models ask for, from the call to the engine: contexts, configurations, images, thinking, results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest
from sample_files import PNG
from typing_extensions import TypedDict

import lmstudio as lms
from lmstudio.server import Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import scripted_models

if TYPE_CHECKING:
    from surface.fault_proxy import FaultProxy


def sent_fields(proxy: FaultProxy, endpoint: str, stack: str) -> dict[str, Any]:
    """The settings in the last request of a channel, by their keys."""
    (*_, last) = [each for each in proxy.messages("channelCreate") if each["endpoint"] == endpoint]
    layers = last["creationParameter"][stack]["layers"]
    return {item["key"]: item.get("value") for layer in layers for item in layer["config"]["fields"]}


# The context ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["stopAtLimit", "truncateMiddle", "rollingWindow"])
def test_policy_for_a_full_context_is_sent_and_its_stop_reason_visible(
    proxy: FaultProxy, engine: ScriptedEngine, policy: Any
) -> None:
    engine.reply = Reply("word " * 100)
    with lms.Client(proxy.api_host) as client:
        model = client.llm.load_new_instance("scripted-chat", config=lms.LlmLoadModelConfig(context_length=64))
        assert (model.context_length, model.get_context_length(), model.max_context_length) == (64, 64, 4096)
        result = model.respond("Hi", config=lms.LlmPredictionConfig(context_overflow_policy=policy))
    assert sent_fields(proxy, "predict", "predictionConfigStack")["llm.prediction.contextOverflowPolicy"] == policy
    assert result.stop_reason == "contextLengthReached"
    assert result.usage.total_tokens == 64


def test_prompt_that_does_not_fit_is_an_error_with_the_numbers(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.load_new_instance("scripted-chat", config={"contextLength": 64})
        prompt = "word " * 100
        tokens = model.count_chat_tokens(prompt)
        with pytest.raises(lms.LMStudioServerError, match=rf"{tokens} tokens.* context of 64"):
            model.respond(prompt)


def test_tools_count_as_tokens_of_the_chat(server: Server) -> None:
    tool = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Hi", tools=[tool])
        assert model.count_chat_tokens("Hi", tools=[tool]) == result.usage.prompt_tokens
        assert model.count_chat_tokens("Hi") < result.usage.prompt_tokens


# Configurations ------------------------------------------------------------------------------------------------------


def test_loaded_model_has_the_configuration_that_was_given(server: Server) -> None:
    given: lms.LlmLoadModelConfigDict = {"contextLength": 100, "seed": 7, "flashAttention": False, "evalBatchSize": 8}
    with lms.Client(server.api_host) as client:
        model = client.llm.load_new_instance("scripted-chat", config=given)
        loaded = (model.get_load_config()).to_dict()
    assert {name: loaded.get(name) for name in given} == given


def test_parallel_slots_can_be_asked_for(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        config: lms.LlmLoadModelConfigDict = {"maxParallelPredictions": 3, "useUnifiedKvCache": True}
        client.llm.load_new_instance("scripted-chat", config=config)
    fields = sent_fields(proxy, "loadModel", "loadConfigStack")
    assert fields["llm.load.numParallelSessions"] == 3
    assert fields["llm.load.useUnifiedKvCache"] is True


def test_value_that_is_none_of_the_known_ones_is_refused_with_these(server: Server) -> None:
    bad: Any = {"contextOverflowPolicy": "guess"}
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioValueError, match="one of 'rollingWindow', 'stopAtLimit', 'truncateMiddle'"):
            model.respond("Hi", config=bad)


@pytest.mark.parametrize("thinks", [True, False])
def test_thinking_can_be_switched_and_bounded(proxy: FaultProxy, engine: ScriptedEngine, thinks: bool) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        model.respond("Hi", config={"enableThinking": thinks, "reasoningBudget": 50})
    assert engine.chats[-1].enable_thinking is thinks
    fields = sent_fields(proxy, "predict", "predictionConfigStack")
    assert fields["llm.prediction.reasoning.budgetTokens"] == {"checked": True, "value": 50}


@pytest.mark.parametrize(
    "config", [{"reasoningBudget": 5}, {"toolChoice": {"mode": "none"}}, {"rawTools": {"type": "none"}}]
)
def test_completion_refuses_what_needs_a_chat(proxy: FaultProxy, config: Any) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.create_dynamic_handle("scripted-chat")
        with pytest.raises(lms.LMStudioValueError, match=r"complete\(\) continues a text and cannot use"):
            model.complete("Once", config=config)
    assert proxy.messages("channelCreate") == []


# Structured output ---------------------------------------------------------------------------------------------------


class PydanticFruit(pydantic.BaseModel):
    zebra: int
    apple: str


class StructFruit(msgspec.Struct):
    zebra: int
    apple: str


class OurFruit(lms.BaseModel):
    zebra: int
    apple: str


@dataclass
class DataFruit:
    zebra: int
    apple: str


class DictFruit(TypedDict):
    zebra: int
    apple: str


SCHEMA = {"type": "object", "properties": {"zebra": {"type": "integer"}, "apple": {"type": "string"}}}
CLASSES: list[Any] = [PydanticFruit, StructFruit, OurFruit, DataFruit, DictFruit]
OPENAI = {"type": "json_schema", "json_schema": {"name": "fruit", "schema": SCHEMA}}


@pytest.mark.parametrize("kind", [*CLASSES, pydantic.TypeAdapter(PydanticFruit), SCHEMA, OPENAI])
def test_properties_reach_the_engine_in_their_order(server: Server, engine: ScriptedEngine, kind: Any) -> None:
    engine.reply = '{"zebra": 1, "apple": "red"}'
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Hi", response_format=kind)
    schema = engine.requests[-1].json_schema
    assert schema is not None
    assert list(schema["properties"]) == ["zebra", "apple"]
    expected = kind(zebra=1, apple="red") if isinstance(kind, type) else {"zebra": 1, "apple": "red"}
    assert result.parsed == (PydanticFruit(zebra=1, apple="red") if hasattr(kind, "validate_json") else expected)


# Images --------------------------------------------------------------------------------------------------------------


def test_image_for_a_model_that_cannot_see_is_refused(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        chat = lms.Chat()
        chat.add_user_message("What is this?", images=[client.prepare_image(PNG, "cat.png")])
        refused = pytest.raises(lms.LMStudioValueError, match=r"'cat\.png'.* does not understand images")
        with refused:
            model.respond(chat)
        with refused:
            model.act(chat, [])
    assert [each["endpoint"] for each in proxy.messages("channelCreate")] == ["getOrLoad"]


def test_images_of_messages_given_as_data_are_seen(engine: ScriptedEngine) -> None:
    with Server([replace(scripted_models()[0], vision=True)], engine=engine) as server:
        with lms.Client(server.api_host) as client:
            model = client.llm.model("scripted-chat")
            image = client.prepare_image(PNG, "cat.png")
            model.respond([{"role": "user", "content": "What is this?", "images": [image]}])
    assert len(engine.chats[-1].images) == 1


# Results -------------------------------------------------------------------------------------------------------------


def test_last_event_has_everything_that_the_result_has(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hello")
        events = [event for event in stream.events()]
        result = stream.wait_for_result()
    last = events[-1]
    assert last.kind == "result"
    assert last.result is result
    stats = result.stats
    assert (result.stop_reason, result.model, result.content) == ("eosFound", "scripted-chat", "You said: Hello")
    assert None not in (stats.time_to_first_token_sec, stats.tokens_per_second, stats.total_time_sec)
    assert None not in (stats.prompt_tokens_count, stats.predicted_tokens_count, stats.total_tokens_count)


def test_turn_in_the_form_of_openai_needs_no_act(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply(["Let me see.", ToolCall("add", {"b": 2, "a": 1}, id="call_1")]), Reply("It is 3.")]
    parameters = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "integer"}}}
    tool = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": parameters}}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What is 1 + 2?"}]
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        first = model.respond(messages, tools=[tool])
        chat = lms.Chat.from_openai(messages)
        chat.add_assistant_response(first)
        messages = chat.to_openai()
        (call,) = messages[-1]["tool_calls"]
        assert (call["id"], call["function"]["name"]) == ("call_1", "add")
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": "3"})
        second = model.respond(lms.Chat.from_openai(messages), tools=[tool])
    assert second.content == "It is 3."
    assert list(engine.chats[0].tools[0]["function"]["parameters"]["properties"]) == ["b", "a"]
    assert [message["role"] for message in engine.chats[1].messages] == ["user", "assistant", "tool"]
    assert engine.chats[1].messages[-1]["content"] == "3"


def test_client_knows_its_name_towards_the_server(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host, client_identifier="editor", client_passkey="secret") as client:
        client.llm.list_loaded()
        assert client.client_identifier == "editor"
    assert [frame.message["clientIdentifier"] for frame in proxy.frames if "authVersion" in (frame.message or {})] == [
        "editor"
    ]
    assert lms.Client(proxy.api_host).client_identifier != lms.Client(proxy.api_host).client_identifier
