"""POST /v1/completions and /api/v0/completions over plain HTTP, with the scripted engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, Event, read_events
from lmstudio.server import Gate, Reply, ScriptedEngine

if TYPE_CHECKING:
    import httpx

PATHS = ("/v1/completions", "/api/v0/completions")
PROMPT = "Once upon"


def ask(api: httpx.Client, prompt: Any = PROMPT, path: str = PATHS[0], **members: Any) -> dict[str, Any]:
    response = api.post(path, json={"model": CHAT_MODEL, "prompt": prompt, **members})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def stream(api: httpx.Client, prompt: Any = PROMPT, path: str = PATHS[0], **members: Any) -> list[Event]:
    return read_events(api.post(path, json={"model": CHAT_MODEL, "prompt": prompt, "stream": True, **members}))


def refused(api: httpx.Client, prompt: Any = PROMPT, **members: Any) -> tuple[int, dict[str, Any]]:
    response = api.post(PATHS[0], json={"model": CHAT_MODEL, "prompt": prompt, **members})
    error: dict[str, Any] = response.json()["error"]
    return response.status_code, error


# Whole replies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_reply_has_the_members_of_openai(api: httpx.Client, path: str) -> None:
    body = ask(api, path=path)
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert isinstance(body["created"], int)
    assert body["model"] == CHAT_MODEL
    assert body["choices"] == [{"index": 0, "text": "You said: Once upon", "logprobs": None, "finish_reason": "stop"}]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] == 2


def test_statistics_model_and_engine_are_there_in_v0_only(api: httpx.Client) -> None:
    body = ask(api, path=PATHS[1])
    assert set(body["stats"]) == {"tokens_per_second", "time_to_first_token", "generation_time", "stop_reason"}
    assert body["stats"]["stop_reason"] == "eosFound"
    assert body["model_info"] == {"arch": "scripted", "quant": "Q8_0", "format": "gguf", "context_length": 4096}
    assert body["runtime"] == {"name": "scripted", "version": "1", "supported_formats": ["gguf"]}
    assert {"stats", "model_info", "runtime"}.isdisjoint(ask(api))


def test_prompt_goes_to_the_model_without_a_template(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api)
    assert engine.requests[-1].prompt == PROMPT
    assert engine.chats == []


def test_config_reaches_the_engine(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(
        api,
        temperature=0.25,
        top_p=0.5,
        top_k=7,
        min_p=0.1,
        max_tokens=20,
        stop=["A", "B"],
        presence_penalty=0.1,
        frequency_penalty=0.2,
        repeat_penalty=1.3,
        logit_bias={"5": -100},
        seed=11,
    )
    request = engine.requests[-1]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.25, 0.5, 7, 0.1)
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.repeat_penalty) == (0.1, 0.2, 1.3)
    assert list(sampling.logit_bias) == [(5, float("-inf"))]
    assert sampling.seed == 11
    assert request.max_tokens == 20
    assert list(request.stop_strings) == ["A", "B"]


def test_text_that_reaches_the_limit(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "one two three"
    body = ask(api, max_tokens=2)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


def test_several_prompts_have_a_choice_each(api: httpx.Client) -> None:
    body = ask(api, ["a", "b c"])
    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == [
        (0, "You said: a"),
        (1, "You said: b c"),
    ]
    assert body["usage"]["prompt_tokens"] == 3


def test_prompt_can_be_part_of_the_text(api: httpx.Client) -> None:
    assert ask(api, echo=True)["choices"][0]["text"] == "Once uponYou said: Once upon"


@pytest.mark.parametrize("echo", [False, True])
def test_log_probabilities_point_into_the_text(api: httpx.Client, *, echo: bool) -> None:
    (choice,) = ask(api, logprobs=2, echo=echo)["choices"]
    found = choice["logprobs"]
    for token, offset in zip(found["tokens"], found["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)
    assert found["text_offset"][0] == (len(PROMPT) if echo else 0)
    assert all(probability <= 0 for probability in found["token_logprobs"])
    assert all(len(others) <= 2 for others in found["top_logprobs"])


def test_reasoning_is_text_like_any_other(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "<think>Hm.</think>Yes."
    assert ask(api)["choices"][0]["text"] == "<think>Hm.</think>Yes."


# Streams -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_stream_ends_with_the_reason(api: httpx.Client, path: str) -> None:
    *chunks, done = stream(api, path=path)
    assert done.data == "[DONE]"
    assert {chunk.data["object"] for chunk in chunks} == {"text_completion"}
    assert len({(chunk.data["id"], chunk.data["created"]) for chunk in chunks}) == 1
    choices = [chunk.data["choices"][0] for chunk in chunks]
    assert "".join(choice["text"] for choice in choices) == "You said: Once upon"
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert all("usage" not in chunk.data for chunk in chunks)


def test_stream_of_v0_ends_with_statistics(api: httpx.Client) -> None:
    *chunks, last, _ = stream(api, path=PATHS[1])
    assert last.data["stats"]["stop_reason"] == "eosFound"
    assert last.data["model_info"]["format"] == "gguf"
    assert last.data["runtime"]["name"] == "scripted"
    assert all("stats" not in chunk.data for chunk in chunks)


def test_usage_comes_in_a_chunk_of_its_own(api: httpx.Client) -> None:
    *_, last, _ = stream(api, stream_options={"include_usage": True})
    assert last.data["choices"] == []
    assert last.data["usage"]["total_tokens"] == 6


@pytest.mark.parametrize("echo", [False, True])
def test_log_probabilities_of_a_stream_point_into_the_whole_text(api: httpx.Client, *, echo: bool) -> None:
    *chunks, _ = stream(api, logprobs=1, echo=echo)
    choices = [chunk.data["choices"][0] for chunk in chunks]
    text = "".join(choice["text"] for choice in choices)
    assert text.startswith(PROMPT) is echo
    found = [choice["logprobs"] for choice in choices if choice["logprobs"]]
    pairs = [pair for each in found for pair in zip(each["tokens"], each["text_offset"], strict=True)]
    assert len(pairs) == 4
    assert all(text[offset:].startswith(token) for token, offset in pairs)
    assert len({offset for _, offset in pairs}) == len(pairs)


def test_failure_in_a_stream_is_an_event(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one "], error="The engine is out of order.", error_after=1)
    *_, error, done = stream(api)
    assert error.name == "error"
    assert error.data["error"]["type"] == "server_error"
    assert done.data == "[DONE]"


def test_client_that_goes_away_stops_the_model(api: httpx.Client, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply(["one", gate, "two"])
    body = {"model": CHAT_MODEL, "prompt": PROMPT, "stream": True}
    with api.stream("POST", PATHS[0], json=body) as response:
        chunks = response.iter_raw()  # kept, because its end would be that of the connection
        next(chunks)
        assert gate.reached()
    assert engine.wait_for_cancel()


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2]}, "prompt[0]"),
        ({"prompt": ["a", "b"], "stream": True}, "prompt"),
        ({"n": 2}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"logprobs": 50}, "logprobs"),
        ({"draft_model": "unknown"}, "draft_model"),
        ({"preset": "unknown"}, "preset"),
        ({"model": "unknown"}, "model"),
        ({"model": EMBEDDING_MODEL}, "model"),
    ],
)
def test_bad_value_is_refused_by_name(api: httpx.Client, members: dict[str, Any], param: str) -> None:
    status, error = refused(api, **members)
    assert status == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize("is_stream", [False, True])
def test_prompt_that_is_too_long_is_refused(api: httpx.Client, *, is_stream: bool) -> None:
    status, error = refused(api, "word " * 20_000, stream=is_stream)
    assert status == 400
    assert error["code"] == "context_length_exceeded"


def test_unknown_members_are_ignored(api: httpx.Client) -> None:
    ask(api, user="me", suffix="x", best_of=1, n=1, something=[1])


def test_failure_of_one_prompt_is_the_failure_of_all(api: httpx.Client, engine: ScriptedEngine) -> None:
    gate = Gate()

    def answer(request: Any) -> Reply:
        return Reply([], error="Out of order.") if request.prompt == "b" else Reply(["one", gate, "two"])

    engine.reply = answer
    status, error = refused(api, ["a", "b"])
    assert status == 500
    assert "Out of order" in error["message"]
    assert engine.wait_for_cancel()
