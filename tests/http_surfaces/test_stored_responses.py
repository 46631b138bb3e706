"""Responses that the server remembers: going on with them, asking for them again, deleting them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from http_surfaces.http_stage import CHAT_MODEL
from http_surfaces.response_stage import PATH, TOOLS, ask, calls_of, refused
from lmstudio.server import Reply, ScriptedEngine, Server, ToolCall


def contents(engine: ScriptedEngine) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in engine.chats[-1].messages]


def test_chat_goes_on_with_an_earlier_response(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = ask(api, "One")
    second = ask(api, "Two", previous_response_id=first["id"])
    ask(api, "Three", previous_response_id=second["id"])
    assert second["previous_response_id"] == first["id"]
    assert contents(engine) == [
        ("user", "One"),
        ("assistant", "You said: One"),
        ("user", "Two"),
        ("assistant", "You said: Two"),
        ("user", "Three"),
    ]


def test_chat_branches_at_an_older_response(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = ask(api, "One")
    ask(api, "Two", previous_response_id=first["id"])
    ask(api, "Other", previous_response_id=first["id"])
    assert contents(engine) == [("user", "One"), ("assistant", "You said: One"), ("user", "Other")]


def test_instructions_do_not_stay(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = ask(api, "One", instructions="Be brief.")
    ask(api, "Two", previous_response_id=first["id"])
    assert [role for role, _ in contents(engine)] == ["user", "assistant", "user"]
    ask(api, "Two", previous_response_id=first["id"], instructions="Be kind.")
    assert contents(engine)[0] == ("system", "Be kind.")


def test_system_message_of_the_input_stays(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = ask(api, [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One"}])
    ask(api, "Two", previous_response_id=first["id"])
    assert contents(engine)[0] == ("system", "Be brief.")


def test_result_of_a_call_of_an_earlier_response(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["Let me see.", ToolCall("add", {"a": 1, "b": 2})])
    first = ask(api, "1 + 2?", tools=TOOLS)
    (call,) = calls_of(first)
    engine.reply = "3"
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "3"}
    ask(api, [result], previous_response_id=first["id"], tools=TOOLS)
    user, assistant, tool = engine.chats[-1].messages
    assert user["content"] == "1 + 2?"
    assert assistant["content"] == "Let me see."
    assert [each["id"] for each in assistant["tool_calls"]] == [call["call_id"]]
    assert (tool["tool_call_id"], tool["content"]) == (call["call_id"], "3")


def test_response_that_is_not_stored_is_not_known(api: httpx.Client) -> None:
    response_id = ask(api, store=False)["id"]
    status, error = refused(api, previous_response_id=response_id)
    assert status == 404
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        "previous_response_id",
        "previous_response_not_found",
    )
    assert api.get(f"{PATH}/{response_id}").status_code == 404


@pytest.mark.parametrize("is_stream", [False, True])
def test_unknown_response_is_refused_before_a_model_is_loaded(
    api: httpx.Client, engine: ScriptedEngine, *, is_stream: bool
) -> None:
    status, _ = refused(api, previous_response_id="resp_unknown", stream=is_stream)
    assert status == 404
    assert engine.loads == []


def test_response_once_more(api: httpx.Client) -> None:
    body = ask(api, metadata={"a": "b"})
    assert api.get(f"{PATH}/{body['id']}").json() == body


def test_deleted_response_is_not_known(api: httpx.Client) -> None:
    first = ask(api, "One")
    second = ask(api, "Two", previous_response_id=first["id"])
    path = f"{PATH}/{first['id']}"
    assert api.delete(path).json() == {"id": first["id"], "object": "response", "deleted": True}
    for reply in (api.get(path), api.delete(path), api.get(f"{path}/input_items")):
        assert reply.status_code == 404
        assert reply.json()["error"]["code"] == "response_not_found"
    assert refused(api, previous_response_id=first["id"])[0] == 404
    ask(api, "Three", previous_response_id=second["id"])


def test_stored_response_is_not_streamed_again(api: httpx.Client) -> None:
    reply = api.get(f"{PATH}/{ask(api)['id']}", params={"stream": "true"})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "stream"


def test_text_as_an_input_item(api: httpx.Client) -> None:
    (item,) = api.get(f"{PATH}/{ask(api)['id']}/input_items").json()["data"]
    assert item["id"].startswith("msg_")
    assert item == {
        "id": item["id"],
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "Hi"}],
    }


def test_input_items_by_pages(api: httpx.Client) -> None:
    given: list[dict[str, Any]] = [
        {"id": "msg_mine", "role": "user", "content": [{"type": "input_text", "text": "1 + 2?"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "7", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "7", "output": "3"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "Thanks"},
    ]
    path = f"{PATH}/{ask(api, given)['id']}/input_items"
    items = api.get(path, params={"order": "asc"}).json()["data"]
    assert [item["id"].partition("_")[0] for item in items] == ["msg", "rs", "fc", "fco", "msg", "msg"]
    assert items[0]["id"] == "msg_mine"
    assert items[4]["content"] == [{"type": "output_text", "text": "3"}]
    page = api.get(path, params={"limit": 2}).json()
    assert page == {
        "object": "list",
        "data": [items[5], items[4]],
        "first_id": items[5]["id"],
        "last_id": items[4]["id"],
        "has_more": True,
    }
    rest = api.get(path, params={"after": page["last_id"]}).json()
    assert (rest["data"], rest["has_more"]) == ([items[3], items[2], items[1], items[0]], False)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"order": "up"}, {"after": "msg_unknown"}])
def test_bad_page_is_refused_by_name(api: httpx.Client, query: dict[str, str]) -> None:
    reply = api.get(f"{PATH}/{ask(api)['id']}/input_items", params=query)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == next(iter(query))


def test_web_page_that_may_connect_may_delete(engine: ScriptedEngine) -> None:
    origin = "http://localhost:3000"
    headers = {"Origin": origin, "Access-Control-Request-Method": "DELETE"}
    with Server(engine=engine, allowed_origins=[origin]) as server:
        reply = httpx.options(f"http://{server.api_host}{PATH}/resp_1", headers=headers)
    assert "DELETE" in reply.headers["access-control-allow-methods"]


def test_model_may_change_from_turn_to_turn(api: httpx.Client, engine: ScriptedEngine) -> None:
    first = ask(api, "One")
    ask(api, "Two", previous_response_id=first["id"], model=f"lmstudio-python/{CHAT_MODEL}")
    assert len(contents(engine)) == 3
