"""POST /v1/embeddings and /api/v0/embeddings over plain HTTP, with the scripted engine."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

import pytest

from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL

if TYPE_CHECKING:
    import httpx

    from lmstudio.server import ScriptedEngine

PATHS = ("/v1/embeddings", "/api/v0/embeddings")


def ask(api: httpx.Client, texts: Any, path: str = PATHS[0], **members: Any) -> dict[str, Any]:
    response = api.post(path, json={"model": EMBEDDING_MODEL, "input": texts, **members})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("path", PATHS)
def test_one_text(api: httpx.Client, path: str) -> None:
    body = ask(api, "two words", path)
    (item,) = body["data"]
    assert (body["object"], item["object"], item["index"]) == ("list", "embedding", 0)
    assert body["model"] == EMBEDDING_MODEL
    assert len(item["embedding"]) == 16
    assert all(isinstance(value, float) for value in item["embedding"])
    assert body["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_several_texts_in_their_order(api: httpx.Client) -> None:
    body = ask(api, ["a", "b c"])
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert [item["embedding"] for item in body["data"]] == [
        ask(api, text)["data"][0]["embedding"] for text in ("a", "b c")
    ]
    assert body["usage"]["prompt_tokens"] == 3


def test_base64_is_the_same_in_32_bits(api: httpx.Client) -> None:
    floats = ask(api, "a", encoding_format="float")["data"][0]["embedding"]
    packed = base64.b64decode(ask(api, "a", encoding_format="base64")["data"][0]["embedding"])
    assert struct.unpack(f"<{len(floats)}f", packed) == pytest.approx(floats)


def test_own_length_may_be_asked_for(api: httpx.Client) -> None:
    assert len(ask(api, "a", dimensions=16)["data"][0]["embedding"]) == 16


def test_unknown_members_are_ignored(api: httpx.Client) -> None:
    ask(api, "a", user="me", something=[1])


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": 3}, "input"),
        ({"dimensions": 4}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"model": "unknown"}, "model"),
        ({"model": CHAT_MODEL}, "model"),
        ({"ttl": 0}, "ttl"),
    ],
)
def test_bad_value_is_refused_by_name(api: httpx.Client, members: dict[str, Any], param: str) -> None:
    response = api.post(PATHS[0], json={"model": EMBEDDING_MODEL, "input": "a", **members})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_text_that_is_too_long_is_the_mistake_of_the_client(api: httpx.Client) -> None:
    response = api.post(PATHS[0], json={"model": EMBEDDING_MODEL, "input": ["a", "word " * 2000]})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert "512" in error["message"]


def test_without_a_name_the_only_loaded_model_embeds(api: httpx.Client) -> None:
    assert api.post(PATHS[0], json={"input": "a"}).json()["error"]["param"] == "model"
    ask(api, "a")
    assert ask(api, "a", model=None)["model"] == EMBEDDING_MODEL


def test_model_that_cannot_be_loaded(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.fail_load = "There is not enough memory."
    response = api.post(PATHS[0], json={"model": EMBEDDING_MODEL, "input": "a"})
    assert response.status_code == 500
    assert "not enough memory" in response.json()["error"]["message"]
