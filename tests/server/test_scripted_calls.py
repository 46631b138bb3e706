"""Tool calls and reasoning of the scripted engine, as a client of the server gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from native_client import layers, run, staged, types

from lmstudio.server import BrokenToolCall, Gate, Reasoning, Reply, ScriptedEngine, ToolCall

if TYPE_CHECKING:
    from native_client import OpenChannel, Stage

    from lmstudio.server.engine.scripted import Chunk


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": parameters}}


TOOLS = {"type": "toolArray", "tools": [tool("add", a={"type": "integer"}), tool("get-time")]}
REQUIRED = {"type": "generic", "mode": "required"}


def ask(stage: Stage, text: str = "Hi", **fields: Any) -> OpenChannel:
    fields = {"tools": TOOLS, **fields}
    return stage.predict(
        text, predictionConfigStack=layers(**{f"llm__prediction__{key}": value for key, value in fields.items()})
    )


async def packets_of(stage: Stage, **fields: Any) -> list[dict[str, Any]]:
    """All packets but progress."""
    packets = await ask(stage, **fields).rest()
    return [packet for packet in packets if packet["type"] != "promptProcessingProgress"]


def texts(packets: list[dict[str, Any]]) -> str:
    return "".join(packet["fragment"]["content"] for packet in packets if packet["type"] == "fragment")


def requests(packets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [packet["toolCallRequest"] for packet in packets if packet["type"] == "toolCallGenerationEnd"]


def test_successive_replies_are_the_rounds_of_a_loop() -> None:
    async def test() -> None:
        engine = ScriptedEngine([Reply(["Let me add.", ToolCall("add", {"a": 1}, id="c1")]), "Done."])
        async with staged(engine) as stage:
            await stage.load()
            first = await packets_of(stage)
            assert texts(first) == "Let me add."
            assert requests(first) == [{"type": "function", "id": "c1", "name": "add", "arguments": {"a": 1}}]
            assert first[-1]["stats"]["stopReason"] == "eosFound"
            assert texts(await packets_of(stage)) == "Done."

    run(test)


def test_several_calls_and_texts_come_in_the_order_of_the_script() -> None:
    async def test() -> None:
        calls: list[Chunk] = [ToolCall("add", {"a": 1}), BrokenToolCall("oops"), " So.", ToolCall("add")]
        async with staged(ScriptedEngine([Reasoning("A sum."), "Well.", *calls])) as stage:
            await stage.load()
            kinds = types(await packets_of(stage))
        call = ["toolCallGenerationStart", "toolCallGenerationNameReceived"]
        assert kinds == [
            *["fragment"] * 5,
            *call,
            *["toolCallGenerationArgumentFragmentGenerated"] * 2,
            "toolCallGenerationEnd",
            "toolCallGenerationStart",
            "toolCallGenerationFailed",
            "fragment",
            *call,
            "toolCallGenerationEnd",
            "success",
        ]

    run(test)


def test_gate_stands_between_pieces_of_the_arguments() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(ToolCall("add", ['{"a":', gate, " 1}"]))) as stage:
            await stage.load()
            channel = ask(stage)
            await gate.wait_reached()
            seen: list[Any] = []
            while not seen or seen[-1].get("content") != '{"a":':
                seen.append(await channel.next())
            gate.open()
            rest = await channel.rest()
            assert [packet.get("content") for packet in rest[:1]] == [" 1}"]
            assert requests(rest)[0]["arguments"] == {"a": 1}

    run(test)


def test_raw_content_of_a_broken_call_is_all_that_the_model_wrote() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(BrokenToolCall('{"name": "add"'))) as stage:
            await stage.load()
            packets = await packets_of(stage)
            assert packets[-2]["rawContent"] == '<tool_call>\n{"name": "add"\n</tool_call>'

    run(test)


def test_cancel_in_the_middle_of_a_call_ends_normally() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(["Hm", ToolCall("add", ['{"a":', gate])])) as stage:
            await stage.load()
            channel = ask(stage)
            await gate.wait_reached()
            channel.send({"type": "cancel"})
            packets = await channel.rest()
            assert packets[-1]["stats"]["stopReason"] == "userStopped"
            assert not any(kind.endswith(("End", "Failed")) for kind in types(packets))

    run(test)


def test_stop_string_of_tool_calls_ends_the_call_and_the_reply() -> None:
    async def test() -> None:
        reply = [ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})]
        async with staged(ScriptedEngine(reply)) as stage:
            await stage.load()
            packets = await packets_of(stage, toolCallStopStrings=["</tool_call>"])
            assert [request["arguments"] for request in requests(packets)] == [{"a": 1}]
            assert packets[-1]["stats"]["stopReason"] == "toolCalls"

    run(test)


# Choice and names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [{"tools": {"type": "none"}}, {"toolChoice": {"type": "generic", "mode": "none"}}],
    ids=["tools", "choice"],
)
def test_without_tools_what_looks_like_a_call_is_text(fields: dict[str, Any]) -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(ToolCall("add", {"a": 1}))) as stage:
            await stage.load()
            packets = await packets_of(stage, **fields)
            assert texts(packets) == '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
            assert requests(packets) == []
            assert stage.engine.chats[-1].tools == []

    run(test)


def test_raw_completion_has_no_tools() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(ToolCall("add", {"a": 1}))) as stage:
            await stage.load()
            stack = layers(llm__prediction__tools=TOOLS)
            stack["layers"].append({"layerName": "completeModeFormatting", "config": {"fields": []}})
            packets = await stage.predict(predictionConfigStack=stack).rest()
            assert requests(packets) == []

    run(test)


def test_model_that_must_call_is_held_to_it() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine()) as stage:
            await stage.load()
            packets = await packets_of(stage, toolChoice=REQUIRED)
            request = stage.engine.requests[-1]
            assert request.prompt.endswith("<|assistant|>\n<tool_call>\n")
            names = [each["properties"]["name"] for each in (request.json_schema or {})["anyOf"]]
            assert names == [{"const": "add"}, {"const": "get_time"}]
            assert [each["name"] for each in requests(packets)] == ["add"]
            assert texts(packets) == ""

    run(test)


def test_script_of_a_call_goes_on_from_a_prompt_that_has_begun_one() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(ToolCall("get_time", {}))) as stage:
            await stage.load()
            assert [each["name"] for each in requests(await packets_of(stage, toolChoice=REQUIRED))] == ["get-time"]

    run(test)


def test_reasoning_that_the_template_has_begun_ends_before_a_forced_call() -> None:
    async def test() -> None:
        parsing = {"enabled": True, "startString": "<|assistant|>", "endString": "</think>"}
        async with staged(ScriptedEngine()) as stage:
            await stage.load()
            packets = await packets_of(stage, **{"toolChoice": REQUIRED, "reasoning.parsing": parsing})
            assert stage.engine.requests[-1].prompt.endswith("<|assistant|>\n</think>\n\n<tool_call>\n")
            assert len(requests(packets)) == 1

    run(test)


@pytest.mark.parametrize(
    ("fields", "is_held"),
    [
        ({}, True),
        ({"toolChoice": REQUIRED}, False),
        ({"structured": {"type": "json"}}, False),
        ({"structured": {"type": "gbnf", "gbnfGrammar": 'root ::= "x"'}}, False),
        ({"tools": {"type": "none"}}, False),
    ],
    ids=["auto", "required", "json", "grammar", "no tools"],
)
def test_model_that_may_call_is_held_to_the_form_of_a_call(fields: dict[str, Any], is_held: bool) -> None:
    async def test() -> None:
        async with staged(ScriptedEngine("{}")) as stage:
            await stage.load()
            await packets_of(stage, **fields)
            assert (stage.engine.requests[-1].triggered_grammar is not None) is is_held

    run(test)


@pytest.mark.parametrize(
    ("naming", "shown"),
    [("passThrough", "get-time"), ("removeSpecial", "get_time"), ("camelCase", "getTime"), (None, "get_time")],
)
def test_names_are_changed_for_the_model_and_back(naming: str | None, shown: str) -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(ToolCall(shown, {}))) as stage:
            await stage.load()
            packets = await packets_of(stage, **({"toolNaming": naming} if naming else {}))
            offered = [each["function"]["name"] for each in stage.engine.chats[-1].tools]
            assert offered == ["add", shown]
            assert requests(packets)[0]["name"] == "get-time"
            assert {"type": "toolCallGenerationNameReceived", "name": "get-time"} in packets

    run(test)


def test_earlier_calls_of_a_chat_are_shown_under_the_same_names() -> None:
    request = {"type": "function", "id": "1", "name": "get-time", "arguments": {}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Time?"}]},
        {"role": "assistant", "content": [{"type": "toolCallRequest", "toolCallRequest": request}]},
        {
            "role": "tool",
            "content": [{"type": "toolCallResult", "content": "12", "toolCallId": "1", "name": "get-time"}],
        },
    ]

    async def test() -> None:
        async with staged(ScriptedEngine("Noon.")) as stage:
            await stage.load()
            await stage.predict(
                history={"messages": messages}, predictionConfigStack=layers(llm__prediction__tools=TOOLS)
            ).rest()
            _, call, answer = stage.engine.chats[-1].messages
            assert call["tool_calls"][0]["function"]["name"] == "get_time"
            assert (answer["name"], answer["tool_call_id"]) == ("get_time", "1")

    run(test)
