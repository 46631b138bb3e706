"""Both clients and the embedded server: models, chats, completions, embeddings, streams."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS
from two_surfaces import SURFACES, open_client

import lmstudio as lms
from lmstudio.contract import AsyncChatStream, ChatStream
from lmstudio.http import (
    AsyncHttpClient,
    AsyncSdkContract,
    ChatCompletionRequest,
    ChatMessage,
    ChatRole,
    Chunk,
    Completed,
    CompletionRequest,
    EmbeddingRequest,
    ErrorType,
    HttpClient,
    ListModelsFilter,
    SdkContract,
    Settings,
)
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.engine.scripted import Reasoning, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio.http import ChatCompletionResponse

CHAT = "scripted-chat"
EMBED = "scripted-embed"
ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}},
}


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def server(engine: ScriptedEngine) -> Iterator[Server]:
    with Server(engine=engine) as server:
        yield server


@pytest.fixture(params=SURFACES)
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Any]:
    """A client of each surface, with the methods of the synchronous one."""
    yield from open_client(request.param, server.api_host, timeout=PATIENCE_SECONDS)


def plain(reply: ChatCompletionResponse) -> dict[str, Any]:
    """A reply without what differs from one to the next, and without the statistics, which streams do not have."""
    members = reply.to_dict()
    return {name: value for name, value in members.items() if name not in ("id", "created", "stats")}


# Models --------------------------------------------------------------------------------------------------------------


def test_models_are_listed_by_what_is_asked_for(client: Any) -> None:
    assert [model.id for model in client.list_models()] == [CHAT, EMBED]
    assert client.list_models(status="ready") == []
    client.embed("load it", model=EMBED)
    assert [model.id for model in client.list_models(status="ready")] == [EMBED]
    assert [model.id for model in client.list_models(status="not-loaded")] == [CHAT]
    assert [model.id for model in client.list_models(ListModelsFilter(limit=1))] == [EMBED]
    assert [model.id for model in client.list_models({"ownedBy": "organization_owner"}, limit=1)] == [EMBED]
    assert client.list_models(owned_by="nobody") == []


def test_the_publisher_is_an_owner_too(client: Any, server: Server) -> None:
    listed = httpx.get(f"http://{server.api_host}/api/v0/models", timeout=PATIENCE_SECONDS).json()["data"]
    publisher = listed[0]["publisher"]
    assert publisher != "organization_owner"  # which the plain list says of all
    assert [model.id for model in client.list_models(owned_by=publisher.upper())] == [CHAT, EMBED]


@pytest.mark.parametrize("bad", [{"status": "asleep"}, {"limit": -1}, {"limit": True}, {"filter": {"onwed_by": "x"}}])
def test_a_filter_that_makes_no_sense_is_refused(client: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(lms.LMStudioValueError):
        client.list_models(**bad)


def test_one_model_is_found_by_its_id(client: Any) -> None:
    assert client.retrieve_model(CHAT).id == CHAT
    with pytest.raises(lms.LMStudioModelNotFoundError, match="scripted-chit") as caught:
        client.retrieve_model("scripted-chit")
    assert (caught.value.error_type, caught.value.status_code) == (ErrorType.CLIENT_ERROR, 404)


# Chats ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        "Hi",
        [{"role": "user", "content": "Hi"}],
        [ChatMessage(ChatRole.USER, "Hi")],
        [ChatMessage("user", [{"type": "text", "text": "Hi"}])],
        lms.Chat.from_history("Hi"),
    ],
    ids=["text", "dicts", "messages", "parts", "chat"],
)
def test_a_chat_is_answered_in_whatever_form_it_comes(client: Any, messages: Any) -> None:
    reply = client.chat_completion(messages, model=CHAT)
    assert reply.choices[0].message.content == "You said: Hi"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_request_may_be_an_object_or_a_dict(client: Any) -> None:
    request = ChatCompletionRequest(model=CHAT, messages="Hi there", stream=False, temperature=0.7, max_tokens=2)
    as_dict = {"model": CHAT, "messages": [{"role": "user", "content": "Hi there"}], "maxTokens": 2}
    for given in (request, as_dict):
        reply = client.create_chat_completion(given)
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("You said:", "length")


def test_parameters_may_be_in_camel_case(client: Any) -> None:
    reply = client.chat_completion("Hi there", model=CHAT, maxTokens=2, topP=0.5)
    assert reply.choices[0].finish_reason == "length"


def test_a_reply_can_be_a_message_of_the_next_chat(client: Any) -> None:
    first = client.chat_completion("Hi", model=CHAT)
    second = client.chat_completion(
        [ChatMessage("user", "Hi"), first.choices[0].message, {"role": "user", "content": "Bye"}], model=CHAT
    )
    assert second.choices[0].message.content == "You said: Bye"


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"temprature": 1}, "Did you mean 'temperature'"),
        ({"maxtokens": 1}, "Did you mean 'max_tokens'"),
        ({"temperature": "warm"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"max_tokens": 1, "maxTokens": 2}, "twice"),
        ({"stream": True}, "stream_"),
        ({"extra_body": 3}, "extra_body"),
        ({"messages": []}, "messages is empty"),
        ({"messages": [{"role": "nobody", "content": [7]}]}, "role 'nobody'|content"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_sent(params: dict[str, Any], complaint: str) -> None:
    nowhere = HttpClient("localhost:1")
    arguments: dict[str, Any] = {"messages": "Hi", "model": CHAT, **params}
    for method in (nowhere.chat_completion, nowhere.stream_chat_completion):
        with pytest.raises(lms.LMStudioValueError, match=complaint):
            method(**arguments)


def test_a_bad_parameter_is_named_for_programs() -> None:
    with pytest.raises(lms.LMStudioValueError) as caught:
        HttpClient("localhost:1").chat_completion("Hi", top_p=2)
    assert caught.value.context["errors"] == {"top_p": "expected `float` <= 1.0"}


def test_a_member_of_extra_body_goes_before_all_others(client: Any) -> None:
    extra = {"max_completion_tokens": 1, "dry_multiplier": 0.8}
    reply = client.chat_completion("Hi there", model="nope", extra_body={**extra, "model": CHAT})
    assert reply.choices[0].finish_reason == "length"


def test_an_error_of_the_server_has_its_class_and_context(client: Any) -> None:
    with pytest.raises(lms.LMStudioModelNotFoundError, match="nope") as caught:
        client.chat_completion("Hi", model="nope")
    assert caught.value.status_code == 400
    assert caught.value.context["model"] == "nope"
    assert caught.value.context["endpoint"] == "v1/chat/completions"
    assert caught.value.context["attempted"] == "complete a chat"
    assert client.chat_completion("Hi", model=CHAT).choices[0].message.content == "You said: Hi"


def test_tools_are_offered_and_called(client: Any, engine: ScriptedEngine) -> None:
    engine.reply = ["Let me see.", ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})]
    reply = client.chat_completion("1 and 2?", model=CHAT, tools=[ADD], tool_choice="auto")
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in choice.message.tool_calls] == [{"a": 1}, {"a": 2}]
    results = [
        ChatMessage("tool", str(number), tool_call_id=call.id) for number, call in enumerate(choice.message.tool_calls)
    ]
    engine.reply = "It is 3."
    again = client.chat_completion([ChatMessage("user", "1 and 2?"), choice.message, *results], model=CHAT)
    assert again.choices[0].message.content == "It is 3."
    assert [message["role"] for message in engine.chats[-1].messages] == ["user", "assistant", "tool", "tool"]


# Streams -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "params"),
    [
        ("Once upon a time.", {}),
        (["Once upon a time."], {"logprobs": True, "top_logprobs": 2}),
        (["Let me see.", ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})], {"tools": [ADD]}),
        ([ToolCall("add", {"a": 1})], {"tools": [ADD]}),
        ([Reasoning("Hm."), "Yes."], {}),
        ("Once upon a time.", {"max_tokens": 2}),
    ],
    ids=["text", "probabilities", "tools", "tool", "reasoning", "limit"],
)
def test_a_stream_adds_up_to_the_reply_without_one(
    client: Any, engine: ScriptedEngine, answer: Any, params: dict[str, Any]
) -> None:
    engine.reply = Reply(answer) if isinstance(answer, list) else answer
    whole = client.chat_completion("Hi", model=CHAT, **params)
    stream = client.stream_chat_completion("Hi", model=CHAT, **params)
    with stream:
        assert all(chunk.choices for chunk in stream)  # programs look at the first choice of each
    streamed, expected = plain(stream.result()), plain(whole)
    for reply in (streamed, expected):
        for call in reply["choices"][0]["message"].get("tool_calls", ()):
            call.pop("id")
            # As the model wrote them in one, and written anew in the other.
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    assert streamed == expected


def test_a_stream_needs_no_block_and_has_its_result(client: Any) -> None:
    stream = client.stream_chat_completion("Hi there", model=CHAT)
    assert stream.wait_for_result().choices[0].message.content == "You said: Hi there"


def test_the_events_of_a_stream_are_its_text_and_the_whole(client: Any) -> None:
    events = list(client.stream_chat_completion("Hi there", model=CHAT).events())
    assert [event.content for event in events[:-1]] == ["You", " said:", " Hi", " there"]
    assert {type(event) for event in events[:-1]} == {Chunk}
    assert isinstance(events[-1], Completed)
    assert events[-1].result.choices[0].message.content == "You said: Hi there"


def test_a_request_can_ask_for_a_stream(client: Any) -> None:
    request = ChatCompletionRequest(model=CHAT, messages="Hi", stream=True)
    with client.create_chat_completion(request) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "You said: Hi"
    assert client.create_chat_completion(request, stream=False).choices[0].message.content == "You said: Hi"
    text = CompletionRequest(model=CHAT, prompt="Hi", stream=True)
    with client.create_completion(text) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == "You said: Hi"


def test_who_asks_for_the_number_of_tokens_gets_its_event(client: Any) -> None:
    with client.stream_chat_completion("Hi", model=CHAT, stream_options={"include_usage": True}) as stream:
        *_, last = stream
    assert last.choices == []
    assert last.usage == stream.result().usage
    with client.stream_chat_completion("Hi", model=CHAT, stream_options={"include_usage": False}) as stream:
        chunks = list(stream)
    assert all(chunk.usage is None for chunk in chunks)
    assert stream.result().usage is None


def test_leaving_a_stream_early_stops_the_server(client: Any, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = ["Once", gate, " upon a time."]
    with client.stream_chat_completion("Hi", model=CHAT) as stream:
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
    assert engine.wait_for_cancel(PATIENCE_SECONDS)
    engine.reply = None
    assert client.chat_completion("Hi", model=CHAT).choices[0].message.content == "You said: Hi"


def test_leaving_the_events_early_stops_the_server(client: Any, engine: ScriptedEngine) -> None:
    engine.reply = ["Once", Gate(), " upon a time."]
    stream = client.stream_chat_completion("Hi", model=CHAT)
    for event in stream.events():
        assert event.content == "Once"
        break
    assert engine.wait_for_cancel(PATIENCE_SECONDS)


def test_a_stream_that_is_cancelled_has_what_came(client: Any, engine: ScriptedEngine) -> None:
    engine.reply = ["Once", Gate(), " upon a time."]
    stream = client.stream_chat_completion("Hi", model=CHAT)
    with stream:
        events = iter(stream.events())
        assert next(events).content == "Once"
        stream.cancel()
        assert next(events).result.choices[0].message.content == "Once"
    assert engine.wait_for_cancel(PATIENCE_SECONDS)


def test_an_error_before_the_first_event_is_raised_on_entry(client: Any) -> None:
    stream = client.stream_chat_completion("Hi", model="nope")
    with pytest.raises(lms.LMStudioModelNotFoundError), stream:
        pass


def test_an_error_in_the_middle_of_a_stream_is_raised(client: Any, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["Once", " upon"], error="The model is tired.", error_after=1)
    stream = client.stream_chat_completion("Hi", model=CHAT)
    with stream, pytest.raises(lms.LMStudioServerError, match="tired"):
        for _ in stream:
            pass
    with pytest.raises(lms.LMStudioServerError, match="tired"):
        stream.result()


def test_closing_the_client_ends_its_streams(client: Any, engine: ScriptedEngine) -> None:
    engine.reply = ["Once", Gate(), " upon a time."]
    stream = client.stream_chat_completion("Hi", model=CHAT)
    chunks = iter(stream)
    next(chunks)
    next(chunks)
    client.close()
    with pytest.raises(lms.LMStudioError):
        next(chunks)
    assert engine.wait_for_cancel(PATIENCE_SECONDS)


# Texts and embeddings ------------------------------------------------------------------------------------------------


def test_a_text_goes_on(client: Any) -> None:
    reply = client.complete("A B", model=CHAT, max_tokens=3)
    assert (reply.choices[0].text, reply.choices[0].finish_reason) == ("You said: A", "length")
    assert [choice.text for choice in client.complete(["A", "B"], model=CHAT).choices] == ["You said: A", "You said: B"]
    assert client.create_completion_simple(CHAT, "A", echo=True).choices[0].text == "AYou said: A"


def test_a_streamed_text_adds_up(client: Any) -> None:
    whole = client.complete("A B", model=CHAT, logprobs=1)
    with client.stream_completion("A B", model=CHAT, logprobs=1) as stream:
        for _ in stream:
            pass
    streamed = stream.result()
    assert streamed.choices == whole.choices
    assert streamed.usage.total_tokens == whole.usage.total_tokens


def test_texts_are_embedded_in_their_order(client: Any) -> None:
    both = client.embed(["one", "two"], model=EMBED)
    assert both == [client.embed("one", model=EMBED), client.embed("two", model=EMBED)]
    assert len(both[0]) == 16


def test_texts_that_are_none_are_refused_at_once(client: Any) -> None:
    for given in (3, {"text": "one"}, ["one", 2]):
        with pytest.raises(lms.LMStudioValueError, match="embed a text"):
            client.embed(given, model=EMBED)
        with pytest.raises(lms.LMStudioValueError, match="complete a text"):
            client.complete(given, model=CHAT)


def test_base64_is_read_as_numbers_unless_it_was_asked_for(client: Any) -> None:
    numbers = client.create_embeddings(EmbeddingRequest(model=EMBED, input="one"))
    encoded = client.create_embeddings({"model": EMBED, "input": "one", "encodingFormat": "base64"})
    assert isinstance(encoded.data[0].embedding, str)
    decoded = client.embed("one", model=EMBED, extra_body={"encoding_format": "base64"})
    assert decoded == pytest.approx(numbers.data[0].embedding)
    assert numbers.usage.prompt_tokens == 1


# Settings, life and load ---------------------------------------------------------------------------------------------


def test_the_model_of_the_settings_is_used(server: Server) -> None:
    settings = Settings(api_host=server.api_host, default_model=CHAT, allowed_models=[CHAT])
    with HttpClient(settings=settings) as client:
        assert client.chat_completion("Hi").model == CHAT
        with pytest.raises(lms.LMStudioValueError, match="allowed_models"):
            client.embed("one", model=EMBED)
        with pytest.raises(lms.LMStudioValueError, match="allowed_models"):
            client.stream_chat_completion("Hi", model=EMBED)


def test_a_client_of_httpx_is_used_and_left_open(server: Server) -> None:
    asked: list[str] = []

    def note(request: httpx.Request) -> None:
        asked.append(request.url.path)

    with httpx.Client(event_hooks={"request": [note]}, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        with HttpClient(server.api_host, http_client=http) as client:
            assert client.chat_completion("Hi", model=CHAT).choices[0].message.content == "You said: Hi"
        assert not http.is_closed
    assert asked == ["/v1/chat/completions"]


def test_the_result_of_a_stream_can_be_asked_for_at_once(server: Server) -> None:
    with HttpClient(server.api_host) as client:
        assert client.stream_chat_completion("Hi", model=CHAT).result().choices[0].message.content == "You said: Hi"


def test_a_client_shows_where_it_is_and_no_secret(server: Server) -> None:
    with HttpClient(server.api_host, api_key="sk-my-secret") as client:
        assert repr(client) == f"HttpClient(base_url='http://{server.api_host}/v1')"
        assert "my-secret" not in repr(vars(client))


def test_a_hundred_tasks_share_a_client(server: Server) -> None:
    async def main() -> list[str | None]:
        async with AsyncHttpClient(server.api_host, timeout=PATIENCE_SECONDS) as client:

            async def ask(number: int) -> str | None:
                if number % 2:
                    reply = await client.chat_completion(f"Number {number}", model=CHAT)
                else:
                    reply = await client.stream_chat_completion(f"Number {number}", model=CHAT).wait_for_result()
                return reply.choices[0].message.content

            return list(await asyncio.gather(*map(ask, range(100))))

    assert asyncio.run(main()) == [f"You said: Number {number}" for number in range(100)]


def test_a_hundred_threads_share_a_client(server: Server) -> None:
    with HttpClient(server.api_host, timeout=PATIENCE_SECONDS) as client, ThreadPoolExecutor(100) as pool:

        def ask(number: int) -> str | None:
            if number % 2:
                return client.chat_completion(f"Number {number}", model=CHAT).choices[0].message.content
            with client.stream_chat_completion(f"Number {number}", model=CHAT) as stream:
                return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

        assert list(pool.map(ask, range(100))) == [f"You said: Number {number}" for number in range(100)]


@pytest.mark.parametrize("make", [HttpClient, AsyncHttpClient])
def test_clients_keep_the_contract(make: Callable[[], object]) -> None:
    client: Any = make()
    is_sync = make is HttpClient
    assert isinstance(client, SdkContract if is_sync else AsyncSdkContract)
    assert isinstance(client.stream_chat_completion("Hi"), ChatStream if is_sync else AsyncChatStream)
