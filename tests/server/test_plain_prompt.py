"""Tools for models whose template knows none: told in the system prompt, called and answered in plain messages."""

from __future__ import annotations

from typing import Any

import pytest
from native_client import layers, run, staged

from lmstudio.server import Reply, ScriptedEngine, ToolCall
from lmstudio.server.tool_calls.plain_prompt import knows_tools, plain_messages

ADD = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}},
}
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": "ä"}'}}
CALL_TEXT = '<tool_call>\n{"name": "add", "arguments": {"a": "ä"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("template", "expected"),
    [("{% if tools %}", True), ("{{ messages }}", False), ("{{ toolset }}", False), ("", False)],
)
def test_template_knows_tools_if_it_names_them(template: str, expected: bool) -> None:
    assert knows_tools(template) is expected


def test_tools_are_described_in_the_system_prompt() -> None:
    system, user = plain_messages([{"role": "user", "content": "Hi"}], [ADD])
    assert user == {"role": "user", "content": "Hi"}
    assert system["role"] == "system"
    assert (
        '{"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}'
        in system["content"]
    )


def test_own_system_prompt_stays_in_front_and_is_not_changed() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert plain_messages(messages, [ADD])[0]["content"].startswith("Be brief.\n\nYou can call")
    assert messages[0]["content"] == "Be brief."


def test_calls_and_results_become_text() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": "Hm.", "tool_calls": [CALL, CALL]},
        {"role": "tool", "content": "3", "tool_call_id": "1"},
        {"role": "tool", "content": "4", "tool_call_id": "1"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "5", "tool_call_id": "1"},
    ]
    assert plain_messages(messages, []) == [
        {"role": "assistant", "content": f"Hm.\n{CALL_TEXT}\n{CALL_TEXT}"},
        {
            "role": "user",
            "content": "<tool_response>\n3\n</tool_response>\n<tool_response>\n4\n</tool_response>",
        },
        {"role": "assistant", "content": CALL_TEXT},
        {"role": "user", "content": "<tool_response>\n5\n</tool_response>"},
    ]


JINJA = {"type": "jinja", "jinjaPromptTemplate": {"template": "{{ messages }}"}, "stopStrings": []}
MANUAL = {
    "type": "manual",
    "manualPromptTemplate": {
        name + side: f"<{name} {side}>" for name in ("before", "after") for side in ("System", "User", "Assistant")
    },
    "stopStrings": [],
}


@pytest.mark.parametrize("template", [JINJA, MANUAL], ids=["jinja", "manual"])
def test_template_without_tools_still_leads_to_calls(template: dict[str, Any]) -> None:
    async def test() -> None:
        async with staged(ScriptedEngine([Reply(ToolCall("add", {})), "No."])) as stage:
            await stage.load()
            tools = {"type": "toolArray", "tools": [ADD]}
            stack = layers(llm__prediction__tools=tools, llm__prediction__promptTemplate=template)
            packets = await stage.predict(predictionConfigStack=stack).rest()
            assert "You can call these tools" in stage.engine.requests[-1].prompt
            assert [packet["type"] for packet in packets].count("toolCallGenerationEnd") == 1
            await stage.predict(predictionConfigStack=layers(llm__prediction__promptTemplate=template)).rest()
            assert "You can call" not in stage.engine.requests[-1].prompt

    run(test)
