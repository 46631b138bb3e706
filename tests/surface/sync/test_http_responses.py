# Generated from ../async/test_http_responses.py by tools/make_sync.py. Edit that file instead.
"""OpenAI's responses over HTTP: `client.responses`."""

from __future__ import annotations

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.http import HttpClient
from lmstudio.http.responses import (
    FunctionCallItem,
    MessageItem,
    OutputTextDelta,
    ReasoningItem,
    ResponseCompleted,
    ResponseIncomplete,
    ResponseRequest,
)
from lmstudio.server import Gate, Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import Reasoning

MODEL = "scripted-chat"
ADD = {
    "type": "function",
    "name": "add",
    "description": "Add two numbers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
}


def client_of(server: Server) -> HttpClient:
    return HttpClient(f"http://{server.api_host}", timeout=PATIENCE_SECONDS)


# Creating ------------------------------------------------------------------------------------------------------------


def test_response_from_keywords(server: Server) -> None:
    with client_of(server) as client:
        response = client.responses.create(model=MODEL, input="Hi", metadata={"a": "b"})
    assert response.status == "completed"
    assert response.output_text == "You said: Hi"
    assert response.metadata == {"a": "b"}
    assert response.usage is not None
    assert response.usage.output_tokens == 3


def test_response_from_a_request(server: Server) -> None:
    request = ResponseRequest(model=MODEL, input=[{"role": "user", "content": "Hi"}], instructions="Be brief.")
    with client_of(server) as client:
        response = client.responses.create(request)
        other = client.responses.create(request, instructions="Be long.")
    assert response.output_text == "You said: Hi"
    assert (response.instructions, other.instructions) == ("Be brief.", "Be long.")


def test_output_items_have_types(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning(["Hm."]), "Adding.", ToolCall("add", {"a": 1, "b": 2})])
    with client_of(server) as client:
        response = client.responses.create(model=MODEL, input="Hi", tools=[ADD])
    thought, said, call = response.output
    assert isinstance(thought, ReasoningItem)
    assert isinstance(said, MessageItem)
    assert isinstance(call, FunctionCallItem)
    assert (call.type, call.name) == ("function_call", "add")


def test_output_that_ends_early_is_returned(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one", " two", " three"])
    with client_of(server) as client:
        response = client.responses.create(model=MODEL, input="Hi", max_output_tokens=1)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "one"


def test_unknown_members_of_a_request_are_sent(server: Server) -> None:
    # Of members that it does know, the server does not take just anything: that shows that they arrive.
    with client_of(server) as client:
        with pytest.raises(lms.LMStudioValidationError, match="background") as caught:
            client.responses.create(model=MODEL, input="Hi", extra_body={"background": True})
    assert "background" in caught.value.context["errors"]
    assert caught.value.status_code == 400


def test_bad_requests_are_refused_before_anything_is_sent() -> None:
    client = HttpClient("http://localhost:9")  # where nobody listens
    with pytest.raises(lms.LMStudioValueError, match=r"Could not create a response: input: it is required\."):
        client.responses.create(model=MODEL)
    with pytest.raises(lms.LMStudioValueError, match="top_p: expected `float` <= 1"):
        client.responses.create(model=MODEL, input="Hi", top_p=2)
    with pytest.raises(lms.LMStudioValueError, match="Did you mean 'instructions'"):
        client.responses.create(model=MODEL, input="Hi", instruction="Be brief.")  # type: ignore[call-arg]  # a slip
    with pytest.raises(lms.LMStudioValueError, match="model is required"):
        client.responses.create(input="Hi")
    with pytest.raises(lms.LMStudioValueError, match="a request is a ResponseRequest or a dict, got str"):
        client.responses.create("Hi")  # type: ignore[arg-type]  # the input has to be named
    with pytest.raises(lms.LMStudioValueError, match="stream"):
        client.responses.create(ResponseRequest(model=MODEL, input="Hi", stream=True))
    client.close()


# What is stored ------------------------------------------------------------------------------------------------------


def test_chat_goes_on_from_a_response(server: Server, engine: ScriptedEngine) -> None:
    with client_of(server) as client:
        first = client.responses.create(model=MODEL, input="My name is Ada.")
        second = client.responses.create(model=MODEL, input="What is it?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    said = [message["content"] for message in engine.chats[-1].messages]
    assert said == ["My name is Ada.", "You said: My name is Ada.", "What is it?"]


def test_stored_response_is_retrieved_and_deleted(server: Server) -> None:
    with client_of(server) as client:
        response = client.responses.create(model=MODEL, input="Hi")
        again = client.responses.retrieve(response.id)
        assert again == response
        deleted = client.responses.delete(response.id)
        assert (deleted.id, deleted.deleted) == (response.id, True)
        with pytest.raises(lms.LMStudioServerError, match="no stored response") as caught:
            client.responses.retrieve(response.id)
    assert caught.value.status_code == 404


def test_response_that_is_not_stored_is_unknown(server: Server) -> None:
    with client_of(server) as client:
        response = client.responses.create(model=MODEL, input="Hi", store=False)
        with pytest.raises(lms.LMStudioServerError, match="no stored response"):
            client.responses.delete(response.id)


def test_input_items_by_pages(server: Server) -> None:
    given = [{"role": "user", "content": text} for text in ("one", "two", "three")]
    with client_of(server) as client:
        response = client.responses.create(model=MODEL, input=given)
        page = client.responses.input_items(response.id, limit=2, order="asc")
        assert page.last_id is not None
        rest = client.responses.input_items(response.id, order="asc", after=page.last_id)
    assert (len(page.data), page.has_more) == (2, True)
    assert [item["content"] for item in rest.data] == [[{"type": "input_text", "text": "three"}]]


def test_input_items_of_an_unknown_response(server: Server) -> None:
    with client_of(server) as client:
        with pytest.raises(lms.LMStudioServerError, match="no stored response 'resp_1'"):
            client.responses.input_items("resp_1")
        with pytest.raises(lms.LMStudioValueError, match="response_id must be a text, got ''"):
            client.responses.input_items("")


# Streaming -----------------------------------------------------------------------------------------------------------


def test_stream_of_events_ends_with_the_response(server: Server) -> None:
    with client_of(server) as client, client.responses.stream(model=MODEL, input="Hi") as stream:
        events = [event for event in stream]
        result = stream.result()
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "You said: Hi"
    assert isinstance(events[-1], ResponseCompleted)
    assert result == events[-1].response
    assert result.output_text == "You said: Hi"


def test_stream_can_be_waited_for(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2})])
    with client_of(server) as client:
        result = client.responses.stream(model=MODEL, input="Hi", tools=[ADD]).wait_for_result()
        stored = client.responses.retrieve(result.id)
    assert result == stored
    assert [item.type for item in result.output] == ["function_call"]


def test_incomplete_stream_is_no_error(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one", " two"])
    with (
        client_of(server) as client,
        client.responses.stream(model=MODEL, input="Hi", max_output_tokens=1) as stream,
    ):
        events = [event for event in stream]
    assert isinstance(events[-1], ResponseIncomplete)
    assert stream.result().status == "incomplete"


def test_cancelled_stream_has_what_has_come(server: Server, gate: Gate) -> None:
    with client_of(server) as client, client.responses.stream(model=MODEL, input="Hi") as stream:
        for event in stream:
            if isinstance(event, OutputTextDelta) and event.delta == " two":
                stream.cancel()
        result = stream.result()
    assert result.output_text == "one two"
    assert result.status == "in_progress"


def test_stream_of_a_model_that_does_not_exist(server: Server) -> None:
    with client_of(server) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError) as caught:
            client.responses.stream(model="nobody", input="Hi").wait_for_result()
    assert caught.value.context["model"] == "nobody"


def test_leaving_a_stream_early_stops_the_model(server: Server, gate: Gate, engine: ScriptedEngine) -> None:
    with client_of(server) as client:
        with client.responses.stream(model=MODEL, input="Hi") as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    break
        if True:
            engine.reply = Reply(["again"])
            assert (client.responses.create(model=MODEL, input="Hi")).output_text == "again"
