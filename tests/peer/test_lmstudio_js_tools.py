"""The npm package @lmstudio/sdk against our server: tool calls, with and without its tool loop, and reasoning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lmstudio.server import BrokenToolCall, Gate, Reasoning, Reply, ScriptedEngine, Server, ToolCall

from .node_peer import JsClient, JsError, NodePeer, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

LLM = {"key": "pebble-2.6m"}
CHAT = {"key": "scripted-chat"}
EXACT = {"temperature": 0, "repeatPenalty": False}
"""The prediction config that makes the tiny model say the same every time."""


@pytest.fixture(scope="module")
def real_server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def js(node: NodePeer, real_server: Server) -> Iterator[JsClient]:
    """A client of a server with the real engine."""
    node.take_warnings()
    with node.client(real_server) as client:
        yield client
    assert node.take_warnings() == []


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def scripted(node: NodePeer, engine: ScriptedEngine) -> Iterator[JsClient]:
    """A client of a fresh server with the scripted engine."""
    with Server(engine=engine, presets={"Calm": {"llm.prediction.temperature": 0.1}}) as server:
        node.take_warnings()
        with node.client(server) as client:
            yield client
        assert node.take_warnings() == []


def definition(name: str, **properties: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {each: {"type": type_} for each, type_ in properties.items()},
        "required": list(properties),
    }
    return {"type": "function", "function": {"name": name, "description": f"Do {name}.", "parameters": parameters}}


def raw_tools(*tools: dict[str, Any], **opts: Any) -> dict[str, Any]:
    return {"rawTools": {"type": "toolArray", "tools": [*tools]}, **opts}


WEATHER = definition("get_weather", city="string")
MULTIPLY = definition("multiply", a="integer", b="integer")
ADD = definition("add-it", a="integer")


def tool_events(run: Run) -> list[tuple[str, Any]]:
    return [(name, data) for name, data in run.events if name.startswith("tool")]


# respond with tools --------------------------------------------------------------------------------------------------


def test_every_callback_of_a_tool_call_fires_in_order(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = ["Let me add. ", ToolCall("add_it", ['{"a": ', "1}"], id="call-1"), BrokenToolCall("oops")]
    run = scripted.run("predict", model=CHAT, input="Add!", opts=raw_tools(ADD))

    request = {"id": "call-1", "type": "function", "name": "add-it", "arguments": {"a": 1}}
    raw = '<tool_call>\n{"id": "call-1", "name": "add_it", "arguments": {"a": 1}}\n</tool_call>'
    *events, (start_name, start), (failure_name, failure) = tool_events(run)
    assert events == [
        ("toolStart", {"toolCallId": "call-1"}),
        ("toolNameReceived", "add-it"),
        ("toolArgumentFragmentGenerated", '{"a": '),
        ("toolArgumentFragmentGenerated", "1}"),
        ("toolEnd", {"toolCallRequest": request, "rawContent": raw}),
    ]
    assert (start_name, failure_name) == ("toolStart", "toolFailure")
    assert start["toolCallId"].isdigit()
    assert "cannot be understood" in failure["message"]
    assert failure["rawContent"] == "<tool_call>\noops\n</tool_call>"
    assert (run.value["content"], run.value["stats"]["stopReason"]) == ("Let me add.", "eosFound")


def test_tiny_model_calls_the_tool_that_fits(js: JsClient) -> None:
    run = js.run("predict", model=LLM, input="What is the weather in Oslo?", opts=raw_tools(WEATHER, MULTIPLY, **EXACT))

    (end,) = run.all("toolEnd")
    assert (end["toolCallRequest"]["name"], end["toolCallRequest"]["arguments"]) == ("get_weather", {"city": "Oslo"})
    assert run.value["content"] == ""
    assert "".join(run.all("toolArgumentFragmentGenerated")) == '{"city": "Oslo"}'


def test_tiny_model_answers_where_no_tool_is_needed(js: JsClient) -> None:
    run = js.run("predict", model=LLM, input="Hello!", opts=raw_tools(WEATHER, **EXACT))

    assert tool_events(run) == []
    assert run.value["content"]


@pytest.mark.parametrize(("mode", "calls"), [("none", 0), ("auto", 0), ("required", 1)])
def test_choice_decides_whether_a_greeting_becomes_a_call(js: JsClient, mode: str, calls: int) -> None:
    opts = raw_tools(WEATHER, MULTIPLY, toolChoice={"type": "generic", "mode": mode}, **EXACT)
    run = js.run("predict", model=LLM, input="Hello!", opts=opts)

    assert len(run.all("toolEnd")) == calls
    assert bool(run.value["content"]) is (calls == 0)


def test_tiny_model_that_must_call_obeys_the_schema_of_the_tool(js: JsClient) -> None:
    paint = definition("paint", coats="integer")
    paint["function"]["parameters"]["properties"]["colour"] = {"$ref": "#/$defs/Colour"}
    paint["function"]["parameters"]["required"].append("colour")
    paint["function"]["parameters"]["$defs"] = {"Colour": {"enum": ["red", "green"]}}
    opts = raw_tools(paint, MULTIPLY, toolChoice={"type": "generic", "mode": "required"}, **EXACT)
    for question in ("Hello!", "Tell me a story.", "Use paint with coats = 2."):
        (end,) = js.run("predict", model=LLM, input=question, opts=opts).all("toolEnd")
        request = end["toolCallRequest"]
        if request["name"] == "paint":
            assert isinstance(request["arguments"]["coats"], int)
            assert request["arguments"]["colour"] in ("red", "green")
        else:
            assert {type(value) for value in request["arguments"].values()} == {int}


@pytest.mark.parametrize(
    ("naming", "shown"), [("passThrough", "add-it"), ("removeSpecial", "add_it"), ("camelCase", "addIt")]
)
def test_model_sees_the_names_that_were_asked_for(
    scripted: JsClient, engine: ScriptedEngine, naming: str, shown: str
) -> None:
    engine.reply = ToolCall(shown, {"a": 1})
    run = scripted.run("predict", model=CHAT, input="Add!", opts=raw_tools(ADD, toolNaming=naming))

    assert [tool["function"]["name"] for tool in engine.chats[-1].tools] == [shown]
    assert [end["toolCallRequest"]["name"] for end in run.all("toolEnd")] == ["add-it"]


# act -----------------------------------------------------------------------------------------------------------------


def act(js: JsClient, *tools: dict[str, Any], model: dict[str, str] = CHAT, text: str = "Go!", **args: Any) -> Run:
    return js.run("act", model=model, input=text, tools=[*tools], **args)


@pytest.mark.parametrize("kind", ["function", "raw"])
def test_act_runs_the_tool_and_shows_its_result_to_the_model(
    scripted: JsClient, engine: ScriptedEngine, kind: str
) -> None:
    engine.reply = [Reply(["Let me see.", ToolCall("add", {"a": 1}, id="c1")]), "It is 3."]
    run = act(scripted, {"kind": kind, "name": "add", "result": {"sum": 3}})

    assert run.value["rounds"] == 2
    assert run.all("called") == [{"name": "add", "params": {"a": 1}, "callId": "number", "isAborted": False}]
    assistant, results, last = run.all("message")
    request = {"id": "c1", "type": "function", "name": "add", "arguments": {"a": 1}}
    assert (assistant["text"], assistant["requests"]) == ("Let me see.", [request])
    assert results["results"] == [{"toolCallId": "c1", "content": '{"sum":3}'}]
    assert last["text"] == "It is 3."
    assert [message["role"] for message in engine.chats[-1].messages] == ["user", "assistant", "tool"]
    assert engine.chats[-1].messages[-1]["content"] == '{"sum":3}'


def test_act_reports_each_step_of_a_round(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = [
        Reply(["Hm. ", ToolCall("add", {"a": 1}), ToolCall("gone", {}), ToolCall("add", {"a": "x"})]),
        "Done.",
    ]
    run = act(scripted, {"kind": "function", "name": "add", "result": 3}, onInvalid="answer")

    names = [name for name, _ in run.events]
    first = names[: names.index("roundEnd")]
    assert {name: first.count(name) for name in first} == {
        "roundStart": 1,
        "progress": 2,
        "firstToken": 1,
        "fragment": 1,
        "toolStart": 3,
        "toolNameReceived": 3,
        "toolArgumentFragmentGenerated": 5,
        "toolEnd": 1,
        "toolFinalized": 1,
        "called": 1,
        "toolFailure": 2,
        "prediction": 1,
        "toolSuccess": 1,
        "toolResult": 3,
        "message": 2,
    }
    failures = [failure["data"]["name"] for failure in run.all("toolFailure")]
    assert len(failures) == 2
    results = run.all("message")[1]["results"]
    assert [result["content"][:12] for result in results] == ["3", '{"problem":"', '{"problem":"']


def test_broken_call_fails_act_with_what_the_model_wrote(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = BrokenToolCall('{"name": ')
    with pytest.raises(JsError, match="cannot be understood") as caught:
        act(scripted, {"kind": "function", "name": "add", "result": 3})
    assert caught.value.details["rawContent"] == '<tool_call>\n{"name": \n</tool_call>'


def test_unimplemented_tool_ends_the_loop_after_its_round(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("ask", {"a": 1}), ToolCall("add", {"a": 2})]), "Never said."]
    run = act(scripted, {"kind": "unimplemented", "name": "ask"}, {"kind": "raw", "name": "add", "result": 3})

    assert run.value["rounds"] == 1
    assert [each["data"]["toolCallRequest"]["name"] for each in run.all("toolEnd")] == ["ask", "add"]
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    ("guard", "called", "content"),
    [
        ({}, [{"a": 1}], "3"),
        ({"add": {"override": {"a": 7}}}, [{"a": 7}], "3"),
        ({"add": {"deny": "Not today."}}, [], '{"error":"Not today."}'),
    ],
    ids=["allow", "override", "deny"],
)
def test_guard_decides_about_a_call(
    scripted: JsClient, engine: ScriptedEngine, guard: dict[str, Any], called: list[Any], content: str
) -> None:
    engine.reply = [Reply(ToolCall("add", {"a": 1})), "Done."]
    run = act(scripted, {"kind": "function", "name": "add", "result": 3}, guard=guard)

    assert [call["params"] for call in run.all("called")] == called
    assert run.all("message")[1]["results"][0]["content"] == content


def test_last_round_offers_no_tools(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = [Reply(ToolCall("add", {"a": 1})), "Done."]
    act(scripted, {"kind": "function", "name": "add", "result": 3}, opts={"maxPredictionRounds": 2})

    assert [len(chat.tools) for chat in engine.chats] == [1, 0]


def test_abort_in_the_middle_of_a_call_ends_act_without_an_error(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = ["Well.", ToolCall("add", ['{"a": ', Gate(), "1}"])]  # never opened
    run = act(scripted, {"kind": "function", "name": "add", "result": 3}, abortAfter=1)

    assert run.all("prediction")[0]["stopReason"] == "userStopped"
    assert (run.all("toolFailure"), run.all("called")) == ([], [])


def test_tiny_model_uses_a_tool_and_tells_the_result(js: JsClient) -> None:
    tool = {
        "kind": "raw",
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {"city": {"type": "string"}},
        "result": "rainy, 8 degrees",
    }
    run = act(js, tool, model=LLM, text="What is the weather in Oslo?", opts=EXACT)

    assert run.value["rounds"] == 2
    assert [call["params"] for call in run.all("called")] == [{"city": "Oslo"}]
    assert "rainy" in run.all("message")[-1]["text"]


# Reasoning and the rest ----------------------------------------------------------------------------------------------


def test_reasoning_comes_before_the_call_and_is_told_apart(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = [Reasoning("It wants a sum."), ToolCall("add_it", {"a": 1})]
    run = scripted.run("predict", model=CHAT, input="Add!", opts=raw_tools(ADD))

    assert (run.value["reasoningContent"], run.value["nonReasoningContent"]) == ("It wants a sum.", "")
    assert len(run.all("toolEnd")) == 1


def test_reasoning_is_cut_at_its_budget(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("one two three four five"), "Five."])
    run = scripted.run("predict", model=CHAT, input="Count!", opts={"reasoningBudget": 2})

    assert run.value["reasoningContent"].strip() == "one two"
    assert run.value["nonReasoningContent"].strip() == "Five."


def test_tiny_model_reasons_when_asked_and_stops_at_its_budget(js: JsClient) -> None:
    question = {"model": LLM, "input": "What is 4 + 5? /think"}
    free = js.run("predict", opts=EXACT, **question).value
    cut = js.run("predict", opts={**EXACT, "reasoningBudget": 4, "maxTokens": 60}, **question).value

    assert "9" in free["nonReasoningContent"]
    assert free["reasoningContent"].startswith(cut["reasoningContent"].rstrip())
    assert len(cut["reasoningContent"]) < len(free["reasoningContent"])
    assert cut["nonReasoningContent"]


def test_draft_model_of_a_single_prediction_is_used(js: JsClient) -> None:
    opts = {**EXACT, "draftModel": LLM["key"], "maxTokens": 40}
    run = js.run("predict", model=LLM, input="Tell me a story about an owl.", opts=opts)

    stats = run.value["stats"]
    assert stats["usedDraftModelKey"] == LLM["key"]
    assert 0 < stats["acceptedDraftTokensCount"] <= stats["totalDraftTokensCount"]
    assert any(fragment["containsDrafted"] for fragment in run.all("fragment"))


def test_preset_is_found_by_a_part_of_its_name(scripted: JsClient) -> None:
    fields = scripted.run("predict", model=CHAT, input="Hi", opts={"preset": "calm"}).value["predictionConfig"][
        "fields"
    ]
    assert {"key": "llm.prediction.temperature", "value": 0.1} in fields

    with pytest.raises(JsError, match="Calm"):
        scripted.run("predict", model=CHAT, input="Hi", opts={"preset": "angry"})


def test_log_probabilities_belong_to_the_text_and_not_to_the_calls(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = ["Let", " me.", ToolCall("add_it", {"a": 1}), " So."]
    run = scripted.run("predict", model=CHAT, input="Add!", opts=raw_tools(ADD, logProbs=1))

    tokens = [token["text"] for fragment in run.all("fragment") for token in fragment["tokens"]]
    assert tokens == ["Let", " me.", " So."]
