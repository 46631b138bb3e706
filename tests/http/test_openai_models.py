"""The structs of the HTTP surfaces: what they take, what they keep, what they write."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import msgspec
import pytest

from lmstudio._http_models import HttpReply, HttpStruct, decode_reply, encode
from lmstudio._http_models.openai import (
    ChatCompletionChunk,
    ChatCompletionParams,
    ChatCompletionRequest,
    ChatCompletionResponse,
    CompletionChoice,
    CompletionParams,
    CompletionRequest,
    CompletionResponse,
    CompletionUsage,
    Model,
    ModelList,
)
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE = {"role": "assistant", "content": "Hi", "mood": {"happy": 1}, "tool_calls": []}
REPLY = b"""{
    "id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "m", "kv_hits": [1],
    "choices": [{"index": 0, "logprobs": null, "finish_reason": "stop", "seen": true,
        "message": {"role": "assistant", "content": "Hi", "mood": {"happy": 1}, "tool_calls": []}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "watts": 4.5}
}"""


def test_unknown_members_of_a_reply_are_kept_where_they_were() -> None:
    reply = decode_reply(ChatCompletionResponse, REPLY)
    (choice,) = reply.choices
    assert reply.extra == {"kv_hits": [1]}
    assert choice.extra == {"seen": True}
    assert choice.message.extra == {"mood": {"happy": 1}}
    assert reply.usage is not None
    assert reply.usage.extra == {"watts": 4.5}


def test_a_reply_is_written_with_what_this_version_does_not_know() -> None:
    assert decode_reply(ChatCompletionResponse, REPLY).to_dict() == msgspec.json.decode(REPLY)


def test_a_changed_reply_is_written_as_it_was_changed() -> None:
    reply = decode_reply(ChatCompletionResponse, REPLY)
    reply.usage = None
    reply.choices[0].message.content = "Ho"
    written = reply.to_dict()
    assert "usage" not in written
    assert written["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Ho",
        "mood": {"happy": 1},
        "tool_calls": [],
    }
    assert written["kv_hits"] == [1]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda reply: pickle.loads(pickle.dumps(reply))])
def test_copies_keep_unknown_members(copied: Callable[[ChatCompletionResponse], ChatCompletionResponse]) -> None:
    reply = decode_reply(ChatCompletionResponse, REPLY)
    other = copied(reply)
    assert other == reply
    assert other.to_dict() == reply.to_dict()
    assert other.choices[0].message.extra == {"mood": {"happy": 1}}


def test_where_it_was_read_makes_no_difference_to_a_comparison() -> None:
    made = Model(id="m", owned_by="o", created=3)
    assert decode_reply(Model, encode(made)) == made == Model.from_dict(made.to_dict())
    assert made.extra == {}


def test_a_list_with_an_element_that_cannot_be_read_mixes_nothing_up() -> None:
    models = decode_reply(ModelList, b'{"object": "list", "data": [7, {"id": "a", "size": 1}, {"id": "b", "size": 2}]}')
    assert [model.id for model in models.data] == ["a", "b"]
    assert [model.extra for model in models.data] == [{}, {}]  # it is not known which is which


def test_odd_members_of_a_reply_get_a_neutral_value() -> None:
    reply = decode_reply(
        CompletionResponse, b'{"id": 7, "choices": [{"text": "Hi", "finish_reason": "tired"}], "usage": {}}'
    )
    assert (reply.id, reply.object, reply.created) == ("", "text_completion", 0)
    assert reply.choices == [CompletionChoice(text="Hi", finish_reason="tired")]  # type: ignore[arg-type]  # a new one
    assert reply.usage == CompletionUsage(prompt_tokens=0, completion_tokens=0, total_tokens=0)


def test_what_is_no_such_reply_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="choices"):
        decode_reply(ChatCompletionResponse, b'{"hello": "world"}')
    with pytest.raises(LMStudioValueError, match="Cannot read a ModelList"):
        ModelList.from_dict({"hello": "world"})


def test_a_value_can_be_made_of_camel_case_and_of_snake_case() -> None:
    made = CompletionRequest.from_dict({"model": "m", "prompt": "p", "maxTokens": 5, "top_p": 0.5, "bestOf": 1})
    assert made == CompletionRequest(model="m", prompt="p", max_tokens=5, top_p=0.5, best_of=1)
    chunk = ChatCompletionChunk.from_dict({"choices": [{"delta": {"toolCalls": []}, "finishReason": "stop"}]})
    assert chunk.choices[0].finish_reason == "stop"
    assert chunk.choices[0].delta.tool_calls == []


def test_a_bad_value_is_refused_by_name() -> None:
    with pytest.raises(LMStudioValueError, match=r"CompletionRequest.*temperature"):
        CompletionRequest.from_dict({"model": "m", "prompt": "p", "temperature": -1})
    with pytest.raises(LMStudioValueError, match="prompt"):
        CompletionRequest.from_dict({"model": "m"})


def test_a_request_is_checked_when_it_is_sent() -> None:
    request = CompletionRequest(model="m", prompt="p", top_p=1.5)
    with pytest.raises(LMStudioValueError, match=r"Could not complete a text: top_p: expected `float` <= 1\.0\."):
        request.checked("complete a text")


def test_a_request_that_was_read_passes_unknown_members_on() -> None:
    request = CompletionRequest.from_dict(
        {"model": "m", "prompt": "p", "mirostat_tau": 5.0, "logitBias": {"maxTokens": 1}}
    )
    assert request.extra == {"mirostat_tau": 5.0}
    assert request.checked("complete a text") == {
        "model": "m",
        "prompt": "p",
        "mirostat_tau": 5.0,
        "logit_bias": {"maxTokens": 1},
    }


def test_members_that_have_to_be_there_are_written_even_with_their_default() -> None:
    assert Model(id="m").to_dict() == {"id": "m", "object": "model", "owned_by": "", "created": 0}
    assert CompletionChoice(text="t").to_dict() == {"index": 0, "text": "t", "logprobs": None, "finish_reason": None}


@pytest.mark.parametrize(
    ("params", "request_type", "own"),
    [
        (ChatCompletionParams, ChatCompletionRequest, {"model", "messages", "stream"}),
        (CompletionParams, CompletionRequest, {"model", "prompt", "stream"}),
    ],
)
def test_the_keywords_are_the_members_of_the_request(
    params: type, request_type: type[HttpStruct], own: set[str]
) -> None:
    keywords = {name for base in params.__mro__ for name in getattr(base, "__annotations__", {})}
    assert keywords == set(request_type.__struct_fields__) - own


def test_all_replies_are_read_leniently() -> None:
    assert issubclass(ChatCompletionResponse, HttpReply)
    assert issubclass(Model, HttpReply)
