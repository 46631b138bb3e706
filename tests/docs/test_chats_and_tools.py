"""Examples of the pages about chats, `act` and tools."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from docs.catalogue import documents
from docs.stage import LLM_KEY
from lmstudio.server import Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docs.stage import Stage

QUESTION = "How tall is a giraffe?"
SYSTEM_PROMPT = "You know every animal of the savanna."


@pytest.fixture
def llm(stage: Stage) -> Iterator[lms.LLM]:
    """The model that the pages speak of."""
    with lms.Client() as client:
        yield client.llm.model(LLM_KEY)


def tool_results(stage: Stage) -> list[Any]:
    """What the model was told last about its tool calls."""
    return [message["content"] for message in stage.last_chat.messages if message["role"] == "tool"]


@documents(88, 89, 92)
def test_every_form_of_a_chat_is_answered(stage: Stage, llm: lms.LLM, example: int) -> None:
    prediction = stage.run(example, llm=llm, Chat=lms.Chat)["prediction"]
    assert prediction.content == f"You said: {QUESTION}"
    contents = [message["content"] for message in stage.last_chat.messages]
    assert contents == ([QUESTION] if example == 88 else [SYSTEM_PROMPT, QUESTION])


@documents(90, 91)
def test_chat_is_made_of_data_or_text(stage: Stage, example: int) -> None:
    chat = stage.run(example, Chat=lms.Chat)["chat"]
    expected = lms.Chat(SYSTEM_PROMPT if example == 90 else None)
    expected.add_user_message(QUESTION)
    assert chat == expected


@documents(93)
def test_tool_runs_here_and_messages_print_as_data(stage: Stage) -> None:
    stage.engine.reply = [Reply([ToolCall("multiply", {"a": 6, "b": 7}, id="call-1")]), Reply("It is 42.")]
    printed = stage.run(93).printed
    assert tool_results(stage) == ["42.0"]
    shown = [
        (head, json.loads(data))
        for head, data in re.findall(r"^(\w+)\.from_dict\((.*?)\)$", printed, re.MULTILINE | re.DOTALL)
    ]
    assert [head for head, _ in shown] == ["AssistantResponse", "ToolResultMessage", "AssistantResponse"]
    assert shown[0][1]["content"][-1]["toolCallRequest"]["arguments"] == {"a": 6, "b": 7}
    assert shown[1][1]["content"][0]["content"] == "42.0"
    assert shown[2][1]["content"][0]["text"] == "It is 42."


@documents(94)
def test_model_uses_several_tools_in_several_rounds(stage: Stage) -> None:
    stage.engine.reply = [
        Reply([ToolCall("add", {"a": 12, "b": 29})]),
        Reply([ToolCall("is_prime", {"n": 41})]),
        Reply("Yes, 41 is prime."),
    ]
    printed = stage.run(94).printed
    assert tool_results(stage) == ["41", "true"]
    assert "Yes, 41 is prime." in printed
    assert printed.count(".from_dict({") == 5


@pytest.mark.skipif(os.name == "nt", reason="the example imports readline, which Windows lacks")
@documents(95)
def test_chat_loop_writes_the_file(stage: Stage) -> None:
    stage.load()
    stage.engine.reply = [
        Reply(["I will.", ToolCall("create_file", {"name": "list.txt", "content": "milk\n"})]),
        Reply(" It is there."),
        Reply([ToolCall("create_file", {"name": "list.txt", "content": "bread\n"})]),
        Reply("There is one."),
    ]
    run = stage.run(95, typed="Write a list.\nAgain!\n")
    assert (stage.folder / "list.txt").read_text(encoding="utf-8") == "milk\n"
    prompt = "You (nothing to leave): "
    assert run.printed == f"{prompt}Clerk: I will. It is there.\n{prompt}Clerk: There is one.\n{prompt}\n"
    assert [message.role for message in run["chat"]] == ["system", *["user", "assistant", "tool", "assistant"] * 2]
    assert "already" in tool_results(stage)[-1]


@pytest.mark.parametrize("arguments", [{"a": 2, "b": 3}, {"a": 2.0, "b": 3.0}])
@documents(96, 97, 98)
def test_tool_gets_arguments_of_its_types(
    stage: Stage, llm: lms.LLM, example: int, arguments: dict[str, float]
) -> None:
    run = stage.run(example)
    tool = run["add"] if example == 96 else run["tool_def"]
    stage.engine.reply = [Reply([ToolCall("add", arguments)]), Reply("5")]
    llm.act("How much is 2 + 3?", [tool])
    assert tool_results(stage) == ["5"]
    offered = stage.last_chat.tools[0]["function"]
    assert (offered["name"], offered["description"]) == ("add", "Add two whole numbers.")
    assert {name: schema["type"] for name, schema in offered["parameters"]["properties"].items()} == {
        "a": "integer",
        "b": "integer",
    }


@documents(99)
def test_tool_module_writes_a_file_once(stage: Stage) -> None:
    create_file = stage.run(99)["create_file"]
    assert create_file("a.txt", "A") == "The file is there."
    assert create_file("a.txt", "B") == "Error: there is such a file already."
    assert (stage.folder / "a.txt").read_text(encoding="utf-8") == "A"


@documents(100)
def test_tool_of_another_module_writes_the_file(stage: Stage) -> None:
    stage.save_as(99, "create_file_tool.py")
    poem = "Clickety-clack\n"
    stage.engine.reply = [Reply([ToolCall("create_file", {"name": "poem.txt", "content": poem})]), Reply("Done.")]
    stage.run(100)
    assert (stage.folder / "poem.txt").read_text(encoding="utf-8") == poem


@documents(101)
def test_error_of_a_tool_surfaces_where_the_handler_raises_it(stage: Stage) -> None:
    stage.engine.reply = [Reply([ToolCall("divide", {"numerator": 10, "denominator": 0})])]
    with pytest.raises(lms.LMStudioPredictionError, match="ZeroDivisionError") as caught:
        stage.run(101)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@documents(101)
def test_names_without_the_package_are_pythons_error(stage: Stage) -> None:
    with pytest.raises(NameError, match="'Chat' is not defined"):
        stage.run("d101_errors_as_published")
