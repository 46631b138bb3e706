"""What servers answer that are not the embedded one: the surfaces of the client with a transport of ours."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import lmstudio as lms
from lmstudio.http import AsyncHttpClient, HttpClient
from lmstudio.http.anthropic import TextBlock
from lmstudio.http.responses import MessageItem, OutputTextDelta, UnknownEvent
from lmstudio.http.rest_v1 import DownloadJob, LlmModel

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = {"job_id": "job_1", "total_size_bytes": 10}
SHORT_CHAT: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}


class Answers:
    """Answers requests with *replies*, one after the other, and keeps the requests."""

    def __init__(self, *replies: Any) -> None:
        self._replies = list(replies)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self._replies.pop(0)
        if isinstance(reply, str):
            return httpx.Response(200, text=reply, headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json=reply)

    @property
    def sent(self) -> Any:
        """The body of the last request."""
        return json.loads(self.requests[-1].content)


def client_of(answers: Callable[[httpx.Request], httpx.Response]) -> HttpClient:
    return HttpClient("http://localhost:1234", transport=httpx.MockTransport(answers))


def stream_of(*events: dict[str, Any], named: bool = True) -> str:
    return "".join(
        (f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events
    )


# Downloads -----------------------------------------------------------------------------------------------------------


def test_paused_download_is_waited_for() -> None:
    states = ["downloading", "paused", "downloading", "completed"]
    answers = Answers(*({**JOB, "status": state} for state in states))
    seen: list[str] = []
    with client_of(answers) as client:
        job = client.rest_v1.wait_for_download("job_1", lambda job: seen.append(job.status), interval_seconds=0)
    assert job is not None
    assert (job.status, seen) == ("completed", states)
    assert {request.url.path for request in answers.requests} == {"/api/v1/models/download/status/job_1"}


def test_failed_download_without_a_reason() -> None:
    client = client_of(Answers({**JOB, "status": "failed"}))
    with (
        pytest.raises(lms.LMStudioServerError, match="job_1 has failed: the server does not say why") as caught,
        client,
    ):
        client.rest_v1.wait_for_download("job_1")
    assert caught.value.context["endpoint"] == "api/v1/models/download/status/{job_id}"


def test_coroutine_function_hears_of_progress() -> None:
    answers = Answers({**JOB, "status": "downloading"}, {**JOB, "status": "completed"})
    seen: list[str] = []

    async def hear(job: DownloadJob) -> None:
        await asyncio.sleep(0)
        seen.append(job.status)

    async def main() -> None:
        async with AsyncHttpClient("http://localhost:1234", transport=httpx.MockTransport(answers)) as client:
            await client.rest_v1.wait_for_download("job_1", hear, interval_seconds=0)

    asyncio.run(main())
    assert seen == ["downloading", "completed"]


def test_coroutine_function_is_refused_where_nothing_can_await_it() -> None:
    async def hear(job: DownloadJob) -> None: ...

    answers = Answers()
    with client_of(answers) as client, pytest.raises(lms.LMStudioValueError, match="on_progress is a coroutine"):
        client.rest_v1.wait_for_download("job_1", hear)
    assert answers.requests == []


# What is new ---------------------------------------------------------------------------------------------------------


def test_unknown_members_of_replies_are_kept() -> None:
    model = {
        "type": "llm",
        "publisher": "acme",
        "key": "heron",
        "display_name": "Heron",
        "architecture": "llama",
        "quantization": {"name": "Q4", "bits_per_weight": 4, "group": 32},
        "size_bytes": 1,
        "params_string": None,
        "loaded_instances": [],
        "max_context_length": 10,
        "format": "gguf",
        "capabilities": {"vision": False, "trained_for_tool_use": True},
        "description": None,
        "license": "MIT",
    }
    with client_of(Answers({"models": [model]})) as client:
        (heron,) = client.rest_v1.list_models()
    assert isinstance(heron, LlmModel)
    assert heron.extra == {"license": "MIT"}
    assert heron.to_dict()["quantization"]["group"] == 32


def test_message_of_a_stream_keeps_what_is_unknown_at_its_begin() -> None:
    begin: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 14, "output_tokens": 0},
        "container": "c1",
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begin},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Ahoy"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "new_reason"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    with client_of(Answers(stream_of(*events))) as client:
        message = client.messages.stream(**SHORT_CHAT).wait_for_result()
    assert message.content == [TextBlock(text="Ahoy")]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (14, 2)
    assert (message.stop_reason, message.stop_sequence) == ("new_reason", None)
    assert message.extra == {"container": "c1"}


def test_stream_of_lm_studio_s_documentation() -> None:
    stats = {
        "input_tokens": 12,
        "total_output_tokens": 3,
        "reasoning_output_tokens": 0,
        "tokens_per_second": 90.1,
        "time_to_first_token_seconds": 0.08,
    }
    reply = {"model_instance_id": "m", "output": [{"type": "message", "content": "Good morning."}], "stats": stats}
    events: list[dict[str, Any]] = [
        {"type": "chat.start", "model_instance_id": "m"},
        {"type": "prompt_processing.start"},
        {"type": "prompt_processing.progress", "progress": 1},
        {"type": "prompt_processing.end"},
        {"type": "tool_call.name", "name": "add"},
        {"type": "message.start"},
        {"type": "message.delta", "content": "Good "},
        {"type": "message.delta", "content": "morning."},
        {"type": "message.end"},
        {"type": "chat.end", "result": reply},
    ]
    with client_of(Answers(stream_of(*events))) as client, client.rest_v1.stream_chat(model="m", input="Hi") as stream:
        seen = list(stream)
        result = stream.result()
    assert [event.name if isinstance(event, UnknownEvent) else event.type for event in seen] == [
        event["type"] for event in events
    ]
    assert (result.text, result.stats.tokens_per_second) == ("Good morning.", 90.1)


def test_responses_of_lm_studio_lack_much() -> None:
    item = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
    }
    begin = {"id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress", "model": "m", "output": []}
    end = {**begin, "status": "completed", "output": [item, {"type": "web_search_call", "id": "ws_1"}]}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begin},
        {
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": "Hi",
        },
        {"type": "response.completed", "response": end},
    ]
    client = client_of(Answers(stream_of(*events, named=False)))
    with client, client.responses.stream(model="m", input="Hi") as stream:
        deltas = [event.delta for event in stream if isinstance(event, OutputTextDelta)]
        response = stream.result()
    assert (deltas, response.output_text, response.status) == (["Hi"], "Hi", "completed")
    assert [type(each) for each in response.output] == [MessageItem]
    assert response.to_dict()["usage"] is None


def test_failed_response_is_the_result_of_its_stream() -> None:
    begin = {"id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress", "model": "m", "output": []}
    failed = {**begin, "status": "failed", "error": {"code": "server_error", "message": "Out of memory."}}
    events = [{"type": "response.created", "response": begin}, {"type": "response.failed", "response": failed}]
    with client_of(Answers(stream_of(*events))) as client:
        response = client.responses.stream(model="m", input="Hi").wait_for_result()
    assert response.status == "failed"
    assert response.error is not None
    assert response.error.message == "Out of memory."


# Failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "It is too much."}},
        {"type": "error", "code": "server_error", "message": "It is too much.", "param": None},
        {"error": "It is too much."},
    ],
)
@pytest.mark.parametrize("surface", ["responses", "messages", "rest_v1"])
def test_error_in_a_stream_is_raised(surface: str, event: dict[str, Any]) -> None:
    text = f"event: error\ndata: {json.dumps(event)}\n\n"
    with client_of(Answers(text)) as client:
        streams: dict[str, Callable[[], Any]] = {
            "responses": lambda: client.responses.stream(model="m", input="Hi"),
            "messages": lambda: client.messages.stream(**SHORT_CHAT),
            "rest_v1": lambda: client.rest_v1.stream_chat(model="m", input="Hi"),
        }
        with pytest.raises(lms.LMStudioServerError, match=r"It is too much\."):
            streams[surface]().wait_for_result()


@pytest.mark.parametrize("surface", ["responses", "messages", "rest_v1"])
def test_stream_that_breaks_off_is_no_success(surface: str) -> None:
    text = stream_of({"type": "something.new"})
    with client_of(Answers(text)) as client:
        streams: dict[str, Callable[[], Any]] = {
            "responses": lambda: client.responses.stream(model="m", input="Hi"),
            "messages": lambda: client.messages.stream(**SHORT_CHAT),
            "rest_v1": lambda: client.rest_v1.stream_chat(model="m", input="Hi"),
        }
        with pytest.raises(lms.LMStudioError, match="before its last event"):
            streams[surface]().wait_for_result()


# What is sent --------------------------------------------------------------------------------------------------------


def test_request_is_sent_as_it_was_given() -> None:
    answers = Answers({"input_tokens": 5})
    block = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    with client_of(answers) as client:
        client.messages.count_tokens(
            model="m",
            messages=[{"role": "user", "content": [block]}],
            system=[TextBlock(text="Be brief.")],
            extra_body={"model": "other", "betas": ["x"]},
        )
    assert answers.sent == {
        "model": "other",
        "messages": [{"role": "user", "content": [block]}],
        "system": [{"type": "text", "text": "Be brief."}],
        "betas": ["x"],
    }


def test_names_in_camel_case_are_those_of_the_wire() -> None:
    answers = Answers(stream_of({"type": "chat.end", "result": {"model_instance_id": "m", "output": []}}))
    with client_of(answers) as client:
        client.rest_v1.stream_chat({"model": "m", "input": "Hi", "maxOutputTokens": 5, "topK": None}).wait_for_result()
    assert answers.sent == {"model": "m", "input": "Hi", "max_output_tokens": 5, "stream": True}


def test_model_of_extra_body_has_to_be_allowed_as_well() -> None:
    answers = Answers()
    settings = lms.Settings(allowed_models=["m"])
    client = HttpClient("http://localhost:1234", transport=httpx.MockTransport(answers), settings=settings)
    with client, pytest.raises(lms.LMStudioValueError, match="not one of allowed_models"):
        client.responses.create(model="m", input="Hi", extra_body={"model": "other"})
    with client, pytest.raises(lms.LMStudioValueError, match="extra_body must be a mapping"):
        client.rest_v1.chat(model="m", input="Hi", extra_body=5)  # type: ignore[arg-type]  # no mapping
    assert answers.requests == []
