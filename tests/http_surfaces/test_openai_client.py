"""OpenAI's own Python client against the server with the shipped models: its whole range of what LM Studio serves."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal

import openai
import pytest
from patience import PATIENCE_SECONDS
from pydantic import BaseModel

from http_surfaces.http_stage import PIXEL
from lmstudio.server import Server

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
    from openai.types.responses import FunctionToolParam

MODEL = "pebble-2.6m"
EMBEDDER = "text-embedding-pebble-embed-0.8m"
CAPITAL = "What is the capital of France?"
WEATHER = "What is the weather in Oslo?"
PARAMETERS: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
CHAT_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Get the weather", "parameters": PARAMETERS},
}
TOOL: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather",
    "parameters": PARAMETERS,
    "strict": True,
}
SNOW = '{"temperature": 3, "sky": "snow"}'


class Bird(BaseModel):
    """What a model of any size can say in a form."""

    species: Literal["heron", "owl"]
    flies: bool


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serves the shipped models, which always answer the same, and may repeat the words of a question."""
    plain = {"llm.prediction.repeatPenalty": {"checked": False, "value": 1}, "llm.prediction.temperature": 0}
    with Server(prediction_defaults=plain) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's client as LM Studio's documentation sets it up. It would try twice more what fails."""
    base_url = f"http://{server.api_host}/v1"
    with openai.OpenAI(base_url=base_url, api_key="lm-studio", timeout=PATIENCE_SECONDS, max_retries=0) as client:
        yield client


def user(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


# Models --------------------------------------------------------------------------------------------------------------


def test_models(client: openai.OpenAI) -> None:
    assert {MODEL, EMBEDDER} <= {model.id for model in client.models.list()}
    model = client.models.retrieve(MODEL)
    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "organization_owner")
    with pytest.raises(openai.NotFoundError, match="There is no model 'unknown'"):
        client.models.retrieve("unknown")


# Chat completions ----------------------------------------------------------------------------------------------------


def test_chat(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Be brief."}, *user(CAPITAL)]
    completion = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    (choice,) = completion.choices
    assert choice.finish_reason == "stop"
    assert "Paris" in (choice.message.content or "")
    assert completion.system_fingerprint == completion.model == MODEL
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_chat_that_remembers_earlier_turns(client: openai.OpenAI) -> None:
    messages = user("My name is Tom.")
    first = client.chat.completions.create(model=MODEL, messages=messages)
    messages += [{"role": "assistant", "content": first.choices[0].message.content}, *user("What is my name?")]
    second = client.chat.completions.create(model=MODEL, messages=messages)
    assert "Tom" in (second.choices[0].message.content or "")


def test_chat_as_a_stream(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model=MODEL, messages=user(CAPITAL), stream=True))
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]


def test_chat_stream_with_usage(client: openai.OpenAI) -> None:
    options = openai.types.chat.ChatCompletionStreamOptionsParam(include_usage=True)
    *chunks, last = client.chat.completions.create(
        model=MODEL, messages=user(CAPITAL), stream=True, stream_options=options
    )
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


def test_chat_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=user(CAPITAL)) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert final.choices[0].message.content == text
    assert "Paris" in text


def test_chat_with_reasoning(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(model=MODEL, messages=user(f"{CAPITAL} /think")).choices[0].message
    assert message.model_extra is not None
    assert "capital" in message.model_extra["reasoning_content"]
    assert "Paris" in (message.content or "")
    assert "<think>" not in (message.content or "")


def test_chat_with_a_tool_over_two_turns(client: openai.OpenAI) -> None:
    messages: list[Any] = [*user(WEATHER)]
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[CHAT_TOOL])
    (choice,) = first.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.id.isdigit()
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    # As in LM Studio's documentation: without content, with the client's own objects inside.
    messages.append({"role": "assistant", "tool_calls": [call]})
    messages.append({"role": "tool", "content": SNOW, "tool_call_id": call.id})
    second = client.chat.completions.create(model=MODEL, messages=messages)
    assert "snow" in (second.choices[0].message.content or "")


def test_chat_stream_with_a_tool(client: openai.OpenAI) -> None:
    now: ChatCompletionToolParam = {"type": "function", "function": {"name": "now", "description": "Get the time"}}
    calls: list[dict[str, str]] = []
    for chunk in client.chat.completions.create(
        model=MODEL, messages=user(WEATHER), tools=[CHAT_TOOL, now], stream=True
    ):
        delta = chunk.choices[0].delta
        assert not (delta.content and delta.tool_calls)
        for piece in delta.tool_calls or ():
            if piece.index == len(calls):
                calls.append({"id": "", "name": "", "arguments": ""})
            assert piece.function is not None
            call = calls[piece.index]
            call["id"] += piece.id or ""
            call["name"] += piece.function.name or ""
            call["arguments"] += piece.function.arguments or ""
    (call,) = calls
    assert call["id"].isdigit()
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Oslo"})


def test_chat_in_a_form(client: openai.OpenAI) -> None:
    schema = Bird.model_json_schema()
    form: Any = {"type": "json_schema", "json_schema": {"name": "bird", "strict": "true", "schema": schema}}
    completion = client.chat.completions.create(
        model=MODEL, messages=user("Name a bird."), response_format=form, max_tokens=50
    )
    Bird.model_validate_json(completion.choices[0].message.content or "")


def test_chat_that_is_parsed(client: openai.OpenAI) -> None:
    completion = client.chat.completions.parse(model=MODEL, messages=user("Name a bird."), response_format=Bird)
    assert isinstance(completion.choices[0].message.parsed, Bird)


def test_chat_with_log_probabilities(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MODEL, messages=user(CAPITAL), logprobs=True, top_logprobs=3, max_tokens=5
    )
    (choice,) = completion.choices
    assert choice.finish_reason == "length"
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
    assert all(len(token.top_logprobs) == 3 for token in choice.logprobs.content)


def test_chat_with_what_only_lm_studio_knows(client: openai.OpenAI) -> None:
    extra = {"ttl": 300, "top_k": 40, "repeat_penalty": 1.1, "min_p": 0.05}
    completion = client.chat.completions.create(model=MODEL, messages=user("Hello"), extra_body=extra)
    assert completion.choices[0].message.content


# Completions and embeddings ------------------------------------------------------------------------------------------


def test_completion(client: openai.OpenAI) -> None:
    completion = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8, echo=True)
    (choice,) = completion.choices
    assert choice.finish_reason == "length"
    assert choice.text.startswith("Once upon a time there was")
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 8


def test_completion_as_a_stream(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8).choices[0].text
    chunks = list(client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole
    assert chunks[-1].choices[0].finish_reason == "length"


def test_embeddings(client: openai.OpenAI) -> None:
    texts = ["What is the weather in Oslo?", "Tell me the weather in Oslo.", "Tell me a story about a dragon."]
    reply = client.embeddings.create(model=EMBEDDER, input=texts)  # as base64, which the client reads
    floats = client.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")
    vectors = [item.embedding for item in reply.data]
    for vector, item in zip(vectors, floats.data, strict=True):
        assert vector == pytest.approx(item.embedding, abs=1e-6)
    question, same, other = vectors
    assert dot(question, same) > dot(question, other)
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


# Responses -----------------------------------------------------------------------------------------------------------


def test_response(client: openai.OpenAI) -> None:
    response = client.responses.create(model=MODEL, input=CAPITAL, instructions="Be brief.", metadata={"a": "b"})
    assert "Paris" in response.output_text
    assert (response.status, response.error, response.model) == ("completed", None, MODEL)
    assert response.metadata == {"a": "b"}
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_response_that_goes_on_with_an_earlier_one(client: openai.OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="My name is Tom.")
    second = client.responses.create(model=MODEL, input="What is my name?", previous_response_id=first.id)
    assert "Tom" in second.output_text
    assert second.previous_response_id == first.id


def test_response_as_a_stream(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model=MODEL, input=CAPITAL, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == text
    assert "Paris" in text


def test_response_stream_helper(client: openai.OpenAI) -> None:
    with client.responses.stream(model=MODEL, input=f"{CAPITAL} /think", tools=[TOOL]) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.reasoning_text.delta" in names
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert "Paris" in final.output_text


def test_response_with_a_tool_over_two_turns(client: openai.OpenAI) -> None:
    first = client.responses.create(model=MODEL, input=WEATHER, tools=[TOOL])
    (call,) = first.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments), call.status) == ("get_weather", {"city": "Oslo"}, "completed")
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": SNOW}
    second = client.responses.create(model=MODEL, input=[result], previous_response_id=first.id, tools=[TOOL])
    assert "snow" in second.output_text
    # The same without the memory of the server: with the client's own objects as input.
    given: Any = [{"role": "user", "content": WEATHER}, *first.output, result]
    again = client.responses.create(model=MODEL, input=given, tools=[TOOL], store=False)
    assert again.output_text == second.output_text


def test_response_stream_with_a_tool(client: openai.OpenAI) -> None:
    with client.responses.stream(model=MODEL, input=WEATHER, tools=[TOOL]) as stream:
        deltas = [event for event in stream if event.type == "response.function_call_arguments.delta"]
        (call,) = stream.get_final_response().output
    assert call.type == "function_call"
    assert deltas[-1].snapshot == call.arguments
    assert call.parsed_arguments == {"city": "Oslo"}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
def test_response_that_has_to_call_a_tool(client: openai.OpenAI, choice: Any) -> None:
    (call,) = client.responses.create(model=MODEL, input="Hello", tools=[TOOL], tool_choice=choice).output
    assert call.type == "function_call"
    assert set(json.loads(call.arguments)) == {"city"}


def test_response_that_is_parsed(client: openai.OpenAI) -> None:
    assert isinstance(client.responses.parse(model=MODEL, input="Name a bird.", text_format=Bird).output_parsed, Bird)


def test_response_with_reasoning_and_effort(client: openai.OpenAI) -> None:
    response = client.responses.create(model=MODEL, input=f"{CAPITAL} /think", reasoning={"effort": "low"})
    reasoning, message = response.output
    assert reasoning.type == "reasoning"
    assert reasoning.content
    assert "capital" in reasoning.content[0].text
    assert message.type == "message"
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens > 0


def test_response_with_log_probabilities(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model=MODEL, input=CAPITAL, include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=5
    )
    assert (response.status, response.incomplete_details and response.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    (message,) = response.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert "".join(token.token for token in part.logprobs) == part.text
    assert all(len(token.top_logprobs) == 2 for token in part.logprobs)


def test_stored_response(client: openai.OpenAI) -> None:
    response = client.responses.create(model=MODEL, input=CAPITAL)
    assert client.responses.retrieve(response.id).output == response.output
    (item,) = client.responses.input_items.list(response.id)
    assert item.type == "message"
    assert item.role == "user"
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError, match="no stored response"):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model=MODEL, input="And now?", previous_response_id=response.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


# Errors --------------------------------------------------------------------------------------------------------------


def test_errors_are_those_of_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as unknown:
        client.chat.completions.create(model="unknown", messages=user("Hi"))
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as too_long:
        client.responses.create(model=MODEL, input="word " * 5000, stream=True)
    assert too_long.value.code == "context_length_exceeded"
    image: Any = {"role": "user", "content": [{"type": "input_image", "image_url": PIXEL, "detail": "auto"}]}
    with pytest.raises(openai.BadRequestError, match="images"):
        client.responses.create(model=MODEL, input=[image])
    with pytest.raises(openai.InternalServerError) as mcp:
        tool: Any = {"type": "mcp", "server_label": "tides", "server_url": "https://example.com/mcp"}
        client.responses.create(model=MODEL, input="Hi", tools=[tool])
    assert mcp.value.code == "not_implemented"


# The asynchronous client ---------------------------------------------------------------------------------------------


def run(server: Server, work: Any) -> None:
    async def main() -> None:
        base_url = f"http://{server.api_host}/v1"
        async with openai.AsyncOpenAI(
            base_url=base_url, api_key="lm-studio", timeout=PATIENCE_SECONDS, max_retries=0
        ) as client:
            await work(client)

    asyncio.run(main())


def test_asynchronous_client(server: Server) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        assert MODEL in [model.id async for model in client.models.list()]
        completion = await client.chat.completions.create(model=MODEL, messages=user(CAPITAL))
        assert "Paris" in (completion.choices[0].message.content or "")
        chunks = await client.chat.completions.create(model=MODEL, messages=user(CAPITAL), stream=True)
        assert "Paris" in "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
        text = await client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=4)
        assert text.choices[0].text
        vectors = await client.embeddings.create(model=EMBEDDER, input="Hello")
        assert len(vectors.data[0].embedding) == 128
        first = await client.responses.create(model=MODEL, input="My name is Tom.")
        async with client.responses.stream(
            model=MODEL, input="What is my name?", previous_response_id=first.id
        ) as stream:
            assert "Tom" in (await stream.get_final_response()).output_text
        await client.responses.delete(first.id)

    run(server, work)


def test_many_at_once(server: Server) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        def ask(city: str) -> Coroutine[Any, Any, Any]:
            return client.responses.create(model=MODEL, input=f"What is the weather in {city}?", tools=[TOOL])

        cities = ["Oslo", "Paris", "Rome", "Madrid", "Lima", "Cairo"] * 4
        responses = await asyncio.gather(*map(ask, cities))
        assert [json.loads(response.output[0].arguments)["city"] for response in responses] == cities

    run(server, work)
