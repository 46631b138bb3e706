"""POST /v1/responses over plain HTTP, with the scripted engine: whole replies, and what is refused."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, PIXEL
from http_surfaces.response_stage import PATH, TOOLS, ask, calls_of, refused, text_of
from lmstudio.server import BrokenToolCall, Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import Reasoning, scripted_models

NOW = {"type": "function", "name": "now"}
CALL = {"type": "function_call", "call_id": "7", "name": "add", "arguments": '{"a": 1, "b": 2}'}
RESULT = {"type": "function_call_output", "call_id": "7", "output": "3"}


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts]}]


# Whole replies -------------------------------------------------------------------------------------------------------


def test_response_has_the_members_of_openai(api: httpx.Client) -> None:
    body = ask(api)
    assert body["id"].startswith("resp_")
    assert isinstance(body["created_at"], int)
    assert body["completed_at"] >= body["created_at"]
    (item,) = body["output"]
    assert item["id"].startswith("msg_")
    assert item == {
        "id": item["id"],
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "You said: Hi", "annotations": [], "logprobs": []}],
    }
    usage = body["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens"] > 0
    assert set(usage["input_tokens_details"]) == {"cached_tokens", "cache_write_tokens"}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}
    rest = {name: value for name, value in body.items() if name not in ("id", "created_at", "completed_at")}
    del rest["output"], rest["usage"]
    assert rest == {
        "object": "response",
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": CHAT_MODEL,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
    }


def test_what_was_asked_for_is_repeated(api: httpx.Client) -> None:
    asked = {
        "instructions": "Be brief.",
        "max_output_tokens": 50,
        "metadata": {"ticket": "17"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": False,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tool_choice": "none",
        "tools": TOOLS,
        "top_logprobs": 2,
        "top_p": 0.5,
        "truncation": "auto",
    }
    body = ask(api, **asked)
    assert {name: body[name] for name in asked} == asked


def test_config_reaches_the_engine(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, temperature=0.25, top_p=0.5, top_k=7, max_output_tokens=20, seed=11, stop=["END"], repeat_penalty=1.3)
    request = engine.requests[-1]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed) == (0.25, 0.5, 7, 11)
    assert sampling.repeat_penalty == 1.3
    assert request.max_tokens == 20
    assert list(request.stop_strings) == ["END"]


def test_text_that_reaches_the_limit_is_incomplete(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "one two three four"
    body = ask(api, max_output_tokens=2)
    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["completed_at"] is None
    assert body["output"][0]["status"] == "incomplete"
    assert body["usage"]["output_tokens"] == 2


def test_reasoning_is_an_item_of_its_own(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes."])
    body = ask(api)
    reasoning, message = body["output"]
    assert reasoning["id"].startswith("rs_")
    assert reasoning["type"] == "reasoning"
    assert reasoning["summary"] == []
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert message["content"][0]["text"] == "Yes."
    assert body["usage"]["output_tokens_details"]["reasoning_tokens"] > 0


def test_reasoning_without_a_word_is_no_item(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("\n\n"), "Yes."])
    assert [item["type"] for item in ask(api)["output"]] == ["message"]
    engine.reply = Reply([Reasoning("\n\n Hm."), "Yes."])
    assert ask(api)["output"][0]["content"][0]["text"] == "\n\n Hm."


@pytest.mark.parametrize("effort", ["none", "low", "medium", "high"])
def test_effort_of_reasoning_reaches_the_template(api: httpx.Client, engine: ScriptedEngine, effort: str) -> None:
    ask(api, reasoning={"effort": effort})
    assert engine.chats[-1].enable_thinking is (effort != "none")


def test_structured_output(api: httpx.Client, engine: ScriptedEngine) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    body = ask(api, text={"format": {"type": "json_schema", "name": "n", "strict": True, "schema": schema}})
    assert engine.requests[-1].json_schema == schema
    assert json.loads(text_of(body)) == {"n": 0}
    assert body["text"]["format"]["schema"] == schema


@pytest.mark.parametrize(
    ("members", "candidates"),
    [({"include": ["message.output_text.logprobs"]}, 0), ({"top_logprobs": 2}, 2)],
)
def test_log_probabilities(api: httpx.Client, members: dict[str, Any], candidates: int) -> None:
    probabilities = ask(api, **members)["output"][0]["content"][0]["logprobs"]
    assert "".join(token["token"] for token in probabilities) == "You said: Hi"
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) <= candidates for token in probabilities)
    assert bytes(probabilities[0]["bytes"]).decode() == probabilities[0]["token"]


# Input ---------------------------------------------------------------------------------------------------------------


def test_instructions_come_first(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, instructions="Be brief.")
    assert [(message["role"], message["content"]) for message in engine.chats[-1].messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
    ]


def test_instructions_and_system_messages_are_one_system_prompt(api: httpx.Client, engine: ScriptedEngine) -> None:
    given = [
        {"role": "developer", "content": "Speak French."},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be kind."}]},
        {"role": "user", "content": "Hi"},
    ]
    ask(api, given, instructions="Be brief.")
    system, user = engine.chats[-1].messages
    assert system == {"role": "system", "content": "Be brief.\n\nSpeak French.\n\nBe kind."}
    assert user["content"] == "Hi"


def test_earlier_turns_in_the_input(api: httpx.Client, engine: ScriptedEngine) -> None:
    given = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Add 1 and 2."}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I add.", "annotations": []}]},
        {"id": "fc_1", "status": "completed", **CALL},
        {"type": "function_call", "call_id": "8", "name": "add", "arguments": '{"a": 3, "b": 4}'},
        RESULT,
        {"type": "function_call_output", "call_id": "8", "output": [{"type": "input_text", "text": "7"}]},
    ]
    ask(api, given, tools=TOOLS)
    _, assistant, three, seven = engine.chats[-1].messages
    assert assistant["content"] == "I add."
    assert [call["id"] for call in assistant["tool_calls"]] == ["7", "8"]
    assert json.loads(assistant["tool_calls"][1]["function"]["arguments"]) == {"a": 3, "b": 4}
    assert [(result["tool_call_id"], result["content"]) for result in (three, seven)] == [("7", "3"), ("8", "7")]


def test_image_reaches_a_model_that_can_see(engine: ScriptedEngine) -> None:
    chat, _ = scripted_models()
    question = user({"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PIXEL})
    with (
        Server([replace(chat, vision=True)], engine=engine) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        ask(api, question)
    assert len(engine.chats[-1].images) == 1


def test_image_for_a_model_that_cannot_see(api: httpx.Client) -> None:
    status, error = refused(api, user({"type": "input_image", "image_url": PIXEL}))
    assert status == 400
    assert "images" in error["message"]


def test_document_reaches_the_model(api: httpx.Client, engine: ScriptedEngine) -> None:
    content = base64.b64encode(b"The password is heron.").decode()
    document = {"type": "input_file", "filename": "notes.txt", "file_data": f"data:text/plain;base64,{content}"}
    ask(api, user(document, {"type": "input_text", "text": "What is the password?"}))
    assert "The password is heron." in engine.requests[-1].prompt


def test_refusal_of_an_earlier_turn_is_text(api: httpx.Client, engine: ScriptedEngine) -> None:
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    ask(api, [{"role": "user", "content": "Hi"}, refusal, {"role": "user", "content": "Please"}])
    assert engine.chats[-1].messages[1]["content"] == "No."


# Tools ---------------------------------------------------------------------------------------------------------------


def test_tool_calls(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["Well.", ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])
    body = ask(api, tools=TOOLS)
    assert [item["type"] for item in body["output"]] == ["message", "function_call", "function_call"]
    calls = calls_of(body)
    assert [json.loads(call["arguments"]) for call in calls] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert {call["name"] for call in calls} == {"add"}
    assert {call["status"] for call in calls} == {"completed"}
    assert len({call["call_id"] for call in calls} | {call["id"] for call in calls}) == 4
    assert body["tools"] == TOOLS


def test_call_without_arguments_has_an_empty_object(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("now", {})])
    (call,) = calls_of(ask(api, tools=[NOW]))
    assert call["arguments"] == "{}"


def test_call_without_the_member_arguments_has_an_empty_object(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([BrokenToolCall('{"name": "now"}')])
    (call,) = calls_of(ask(api, tools=[NOW]))
    assert (call["arguments"], call["status"]) == ("{}", "completed")


def test_tool_in_the_form_of_chat_completions(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, tools=[{"type": "function", "function": {"name": "now"}}])
    assert [tool["function"]["name"] for tool in engine.chats[-1].tools] == ["now"]


def test_one_call_at_a_time(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])
    body = ask(api, tools=TOOLS, parallel_tool_calls=False)
    assert body["status"] == "completed"
    (call,) = calls_of(body)
    assert json.loads(call["arguments"]) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("choice", "offered"),
    [
        ("auto", ["add", "now"]),
        ("required", ["add", "now"]),
        ("none", []),
        ({"type": "function", "name": "now"}, ["now"]),
        ({"type": "allowed_tools", "mode": "auto", "tools": [NOW]}, ["now"]),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]}, ["add"]),
    ],
)
def test_choice_of_tools(api: httpx.Client, engine: ScriptedEngine, choice: Any, offered: list[str]) -> None:
    if offered:
        arguments: dict[str, Any] = {"a": 1, "b": 2} if offered[0] == "add" else {}
        engine.reply = Reply([ToolCall(offered[0], arguments)])
    body = ask(api, tools=[*TOOLS, NOW], tool_choice=choice)
    assert [tool["function"]["name"] for tool in engine.chats[-1].tools] == offered
    assert [call["name"] for call in calls_of(body)] == offered[:1]
    assert body["tool_choice"] == choice


def test_required_call_is_all_that_the_engine_may_write(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("now", {})])
    ask(api, tools=[NOW], tool_choice={"type": "function", "name": "now"})
    assert engine.requests[-1].json_schema is not None


def test_call_that_cannot_be_read_stays_text(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["Well.", BrokenToolCall('{"name": "add", ')])
    body = ask(api, tools=TOOLS)
    assert body["status"] == "completed"
    assert calls_of(body) == []
    assert text_of(body).startswith("Well.")
    assert '{"name": "add"' in text_of(body)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([], "input"),
        ([{"type": "reasoning", "summary": []}], "input"),
        ([{"role": "pirate", "content": "Ahoy"}], "input[0]"),
        ([{"role": "user", "content": "Hi"}, {"role": "user"}], "input[1]"),
        ([{"type": "computer_call"}], "input[0]"),
        ([{"type": "item_reference", "id": "msg_1"}], "input[0]"),
        ([RESULT], "input[0].call_id"),
        ([CALL, {**RESULT, "call_id": "9"}], "input[1].call_id"),
        ([CALL, {**RESULT, "output": 3}], "input[1]"),
        ([{**CALL, "arguments": "{"}], "input[0]"),
        ([{**CALL, "name": None}], "input[0]"),
        ([{"role": "user", "content": ["Hi"]}], "input[0]"),
        (user({"type": "input_audio"}), "input[0]"),
        (user({"type": "input_file", "filename": "a.txt", "file_data": "nothing"}), "input[0]"),
        (user({"type": "input_text"}), "input[0]"),
        (user({"type": "input_image", "image_url": "https://example.com/image.png"}), "input[0]"),
        (user({"type": "input_image", "file_id": "file-1"}), "input[0]"),
        (user({"type": "input_file", "file_url": "https://example.com/a.pdf"}), "input[0]"),
    ],
)
def test_bad_input_is_refused_by_position(api: httpx.Client, given: Any, param: str) -> None:
    status, error = refused(api, given)
    assert status == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"top_p": 2}, "top_p"),
        ({"truncation": "middle"}, "truncation"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [*TOOLS, {"type": "function"}]}, "tools[1].name"),
        ({"tools": [{"type": "function", "function": "now"}]}, "tools[0].function"),
        ({"tools": TOOLS, "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "sub"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "mode": "all", "tools": []}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "mcp", "server_label": "a"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
def test_bad_value_is_refused_by_name(api: httpx.Client, members: dict[str, Any], param: str) -> None:
    status, error = refused(api, **members)
    assert status == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_mcp_server_is_not_implemented(api: httpx.Client) -> None:
    tool = {"type": "mcp", "server_label": "tides", "server_url": "https://example.com/mcp"}
    status, error = refused(api, tools=[tool])
    assert status == 501
    assert (error["code"], error["param"]) == ("not_implemented", "tools[0].type")


def test_missing_input_is_named(api: httpx.Client) -> None:
    response = api.post(PATH, json={"model": CHAT_MODEL})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == ("input", "missing_required_parameter")


@pytest.mark.parametrize("is_stream", [False, True])
def test_unknown_model_is_refused_with_near_names(api: httpx.Client, *, is_stream: bool) -> None:
    status, error = refused(api, model="scripted-chad", stream=is_stream)
    assert status == 400
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert CHAT_MODEL in error["message"]


def test_embedding_model_cannot_answer(api: httpx.Client) -> None:
    status, error = refused(api, model=EMBEDDING_MODEL)
    assert (status, error["param"]) == (400, "model")


@pytest.mark.parametrize("is_stream", [False, True])
def test_prompt_that_is_too_long_is_refused_before_the_first_byte(api: httpx.Client, *, is_stream: bool) -> None:
    status, error = refused(api, "word " * 20_000, stream=is_stream)
    assert status == 400
    assert error["code"] == "context_length_exceeded"


@pytest.mark.parametrize("truncation", ["auto", "disabled", None])
def test_truncation_leaves_out_the_oldest(api: httpx.Client, engine: ScriptedEngine, truncation: str | None) -> None:
    given = [
        {"role": "user", "content": "old " * 20_000},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "new"},
    ]
    if truncation == "auto":
        assert text_of(ask(api, given, truncation=truncation)) == "You said: new"
        assert "old" not in engine.requests[-1].prompt
    else:
        assert refused(api, given, truncation=truncation)[1]["code"] == "context_length_exceeded"


def test_unknown_members_are_ignored(api: httpx.Client) -> None:
    ask(api, user="me", service_tier="auto", prompt_cache_key="a", stream_options={"include_obfuscation": False})


def test_failure_of_the_engine_is_no_mistake_of_the_client(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([], error="The engine is out of order.")
    status, error = refused(api)
    assert (status, error["type"]) == (500, "server_error")


def test_chat_completion_with_one_call_at_a_time(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("now", {}), ToolCall("now", {})])
    tool = {"type": "function", "function": {"name": "now"}}
    body = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}
    (choice,) = api.post("/v1/chat/completions", json={**body, "parallel_tool_calls": False}).json()["choices"]
    assert len(choice["message"]["tool_calls"]) == 1
    assert choice["finish_reason"] == "tool_calls"
