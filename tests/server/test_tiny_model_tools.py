"""What the shipped chat model does with tools, through the whole server but its sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from native_client import ANY_MODEL, Stage, layers

from lmstudio._endpoints import llm
from lmstudio.server import LlamaCppEngine
from lmstudio.server.catalog import read_model_file
from lmstudio.server.engine.base import GenerationRequest, LoadOptions, Sampling, TextChunk
from lmstudio.server.models import CHAT_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODEL = read_model_file(CHAT_MODEL_FILE)


def tool(name: str, description: str, **properties: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {each: {"type": type_} for each, type_ in properties.items()},
        "required": [*properties],
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = tool("get_weather", "Get the weather", city="string")
MULTIPLY = tool("multiply", "Multiply two numbers", a="integer", b="integer")
TIMER = tool("set-timer", "Set a timer", minutes="integer")


@asynccontextmanager
async def real_stage() -> AsyncIterator[Stage]:
    stage = Stage(LlamaCppEngine(), models=[MODEL])  # type: ignore[arg-type]  # it is said to be scripted
    try:
        await stage.load(MODEL.model_key)
        yield stage
    finally:
        await stage.llm.hang_up()
        await stage.core.aclose()


async def ask(stage: Stage, messages: list[dict[str, Any]] | str, **fields: Any) -> list[dict[str, Any]]:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": [{"type": "text", "text": messages}]}]
    fields = {"temperature": 0, "repeatPenalty": {"checked": False, "value": 1}, **fields}
    stack = layers(**{f"llm.prediction.{name}": value for name, value in fields.items()})
    parameter = {"modelSpecifier": ANY_MODEL, "history": {"messages": messages}, "predictionConfigStack": stack}
    return await stage.llm.open(llm.PREDICT, parameter).rest()


def offered(*tools: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"tools": {"type": "toolArray", "tools": [*tools]}, **fields}


def calls(packets: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    requests = [packet["toolCallRequest"] for packet in packets if packet["type"] == "toolCallGenerationEnd"]
    return [(request["name"], request.get("arguments")) for request in requests]


def text(packets: list[dict[str, Any]]) -> str:
    return "".join(packet["fragment"]["content"] for packet in packets if packet["type"] == "fragment")


QUESTIONS = [
    ("What is the weather in Oslo?", ("get_weather", {"city": "Oslo"})),
    ("Is it raining in Paris?", ("get_weather", {"city": "Paris"})),
    ("What is 12 * 34?", ("multiply", {"a": 12, "b": 34})),
    ("Multiply 7 by 95.", ("multiply", {"a": 7, "b": 95})),
    ("Set a timer for 25 minutes.", ("set-timer", {"minutes": 25})),
]


def test_it_calls_the_right_tool_with_the_right_arguments() -> None:
    async def test() -> None:
        async with real_stage() as stage:
            for question, expected in QUESTIONS:
                packets = await ask(stage, question, **offered(WEATHER, MULTIPLY, TIMER))
                assert (calls(packets), text(packets)) == ([expected], "")
                assert packets[-1]["stats"]["stopReason"] == "eosFound"

    asyncio.run(test())


@pytest.mark.parametrize("name", ["fadeki_posa", 'say "\\ö"'])
def test_it_cannot_invent_a_tool(name: str) -> None:
    async def test() -> None:
        async with real_stage() as stage:
            strange = tool(name, "Do it", x="string", gaba="string")
            fields = offered(strange, toolNaming="passThrough")
            packets = await ask(stage, f"Use {name} with x = Hugo and gaba = rabbit.", **fields)
            assert [called for called, _ in calls(packets)] == [name]

    asyncio.run(test())


def test_it_tells_the_result_of_a_tool() -> None:
    async def test() -> None:
        async with real_stage() as stage:
            request = {"type": "function", "id": "1", "name": "get_weather", "arguments": {"city": "Oslo"}}
            result = {"type": "toolCallResult", "toolCallId": "1", "content": "snowy, -3 degrees"}
            messages = [
                {"role": "user", "content": [{"type": "text", "text": "What is the weather in Oslo?"}]},
                {"role": "assistant", "content": [{"type": "toolCallRequest", "toolCallRequest": request}]},
                {"role": "tool", "content": [result]},
            ]
            packets = await ask(stage, messages, **offered(WEATHER))
            assert (calls(packets), "snowy" in text(packets)) == ([], True)

    asyncio.run(test())


@pytest.mark.parametrize("question", ["Hello!", "Tell me a story.", "What is the weather in Oslo?"])
def test_it_must_call_a_tool_when_one_is_required(question: str) -> None:
    async def test() -> None:
        async with real_stage() as stage:
            choice = {"type": "generic", "mode": "required"}
            packets = await ask(stage, question, **offered(WEATHER, MULTIPLY, toolChoice=choice))
            ((name, arguments),) = calls(packets)
            assert arguments.keys() == ({"city"} if name == "get_weather" else {"a", "b"})
            assert text(packets) == ""

    asyncio.run(test())


def test_it_cannot_invent_arguments() -> None:
    async def test() -> None:
        async with real_stage() as stage:
            now = tool("now", "Get the time")
            choice = {"type": "generic", "mode": "required"}
            packets = await ask(stage, "Set a timer for 25 minutes.", **offered(now, toolChoice=choice))
            assert calls(packets) == [("now", {})]

    asyncio.run(test())


def test_its_reasoning_is_cut_at_the_budget() -> None:
    async def test() -> None:
        async with real_stage() as stage:
            budget = {"checked": True, "value": 4}
            limit = {"checked": True, "value": 30}
            packets = await ask(
                stage, "What is 4 + 5? /think", **{"reasoning.budgetTokens": budget, "maxPredictedTokens": limit}
            )
            fragments = [packet["fragment"] for packet in packets if packet["type"] == "fragment"]
            reasoning = [each for each in fragments if each["reasoningType"] == "reasoning"]
            assert sum(each["tokensCount"] for each in reasoning) == 4
            assert any(each["reasoningType"] == "none" and each["content"].strip() for each in fragments)
            assert packets[-1]["stats"]["predictedTokensCount"] <= 30

    asyncio.run(test())


def test_engine_tells_the_chat_template_and_what_a_draft_model_guessed() -> None:
    async def test() -> None:
        options = LoadOptions(draft_model=CHAT_MODEL_FILE, draft_max_tokens=4, draft_min_tokens=1)
        model = await LlamaCppEngine().load(MODEL, options, lambda _: None)
        try:
            assert "<tool_call>" in await model.chat_template()
            prompt = await model.render_chat([{"role": "user", "content": "Tell me a story about an owl."}])
            request = GenerationRequest(prompt, Sampling(temperature=0), max_tokens=40)
            chunks = [event async for event in model.generate(request) if isinstance(event, TextChunk)]
            assert {chunk.has_drafted for chunk in chunks} == {True, False}
        finally:
            await model.close()

    asyncio.run(test())


def test_template_without_tools_still_shows_them_to_it() -> None:
    async def test() -> None:
        template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        jinja = {"type": "jinja", "stopStrings": [], "jinjaPromptTemplate": {"template": template}}
        stack = layers(**{"llm.prediction.promptTemplate": jinja, "llm.prediction.tools": offered(WEATHER)["tools"]})
        history = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
        parameter = {"specifier": ANY_MODEL, "history": history, "predictionConfigStack": stack, "opts": {}}
        async with real_stage() as stage:
            prompt = (await stage.llm.call(llm.APPLY_PROMPT_TEMPLATE, parameter))["formatted"]
            assert json.dumps(WEATHER["function"]) in prompt

    asyncio.run(test())
