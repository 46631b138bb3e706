"""Bodies of requests as no client should send them: valid ones, and what becomes of them when parts are exchanged."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from http_surfaces.http_stage import ADD, CHAT_MODEL, EMBEDDING_MODEL, PIXEL, USER
from lmstudio._http_models import anthropic, openai, openai_responses, rest_v1

_DEEP: Final = "<deep>"
_HUGE: Final = "<huge>"
_TOOL: Final = {"type": "function", "function": ADD}
_CALL: Final = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
_SCHEMA: Final = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "sizes": {"type": "array", "items": {"type": "number"}}},
    "required": ["name"],
}
_PNG: Final = PIXEL.partition(",")[2]
_SAMPLING: Final = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["x"], "seed": 3, "logit_bias": {"5": -100}}
_TOOL_TALK: Final[list[Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
    {"role": "assistant", "content": None, "tool_calls": [_CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "3"},
]
_ANTHROPIC_TALK: Final[list[Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}},
        ],
    },
    {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "add", "input": {"a": 1}}]},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "3"}]}],
    },
]
_RESPONSE_ITEMS: Final[list[Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look"}]},
    {"type": "reasoning", "summary": []},
    {"type": "function_call", "call_id": "1", "name": "add", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": "3"},
]
_FORM: Final = {"type": "json_schema", "json_schema": {"name": "form", "schema": _SCHEMA}}
_CHAT: Final[dict[str, Any]] = {"model": CHAT_MODEL, "messages": USER, "max_tokens": 9}
VALID: Final[dict[type[Any], list[dict[str, Any]]]] = {
    openai.ChatCompletionRequest: [
        {**_CHAT, **_SAMPLING, "logprobs": True, "top_logprobs": 2},
        {**_CHAT, "messages": _TOOL_TALK, "tools": [_TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {**_CHAT, "response_format": _FORM, "reasoning_effort": "low", "stream_options": {"include_usage": True}},
    ],
    openai.CompletionRequest: [
        {"model": CHAT_MODEL, "prompt": "Once", "max_tokens": 5, "echo": True, "logprobs": 2, **_SAMPLING},
    ],
    openai.EmbeddingRequest: [
        {"model": EMBEDDING_MODEL, "input": ["one", "two"], "encoding_format": "base64", "dimensions": 16},
    ],
    openai_responses.ResponseRequest: [
        {"model": CHAT_MODEL, "input": "Hi", "metadata": {"a": "b"}, "include": ["message.output_text.logprobs"]},
        {"model": CHAT_MODEL, "input": _RESPONSE_ITEMS, "tools": [{"type": "function", **ADD}], "truncation": "auto"},
        {
            "model": CHAT_MODEL,
            "input": "Hi",
            "text": {"format": {"type": "json_schema", "name": "f", "schema": _SCHEMA}},
        },
        {"model": CHAT_MODEL, "input": "Hi", "max_output_tokens": 5, "reasoning": {"effort": "low"}, **_SAMPLING},
    ],
    anthropic.MessagesRequest: [
        {
            **_CHAT,
            "system": "Be brief.",
            "stop_sequences": ["x"],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
        {
            **_CHAT,
            "messages": _ANTHROPIC_TALK,
            "tools": [{"name": "add", "input_schema": ADD["parameters"]}],
            "tool_choice": {"type": "any"},
        },
    ],
    anthropic.CountTokensRequest: [{"model": CHAT_MODEL, "messages": _ANTHROPIC_TALK}],
    rest_v1.LoadRequest: [{"model": CHAT_MODEL, "context_length": 512, "echo_load_config": True}],
    rest_v1.UnloadRequest: [{"instance_id": CHAT_MODEL}],
    rest_v1.DownloadRequest: [{"model": "https://example.org/owner/name", "quantization": "Q4_K_M"}],
    rest_v1.ChatRequest: [
        {"model": CHAT_MODEL, "input": "Hi", "system_prompt": "Be brief.", "temperature": 0.1, "max_output_tokens": 5},
        {
            "model": CHAT_MODEL,
            "input": [{"type": "text", "content": "Hi"}, {"type": "image", "data_url": PIXEL}],
            "integrations": ["mcp/none", {"type": "ephemeral_mcp", "server_label": "x", "server_url": "http://[::1"}],
            "context_length": 512,
        },
    ],
}
"""Bodies that are answered, or nearly."""

CHATS: Final = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"),
    *("/api/v0/chat/completions", "/api/v0/completions", "/api/v1/chat"),
)
"""The paths at which models write."""


def chat_body(path: str, *, stream: bool, text: str = "Hi") -> dict[str, Any]:
    """What asks the model for a reply to *text* at *path*."""
    body: dict[str, Any] = {"model": CHAT_MODEL, "stream": stream}
    if path.endswith("/completions") and not path.endswith("/chat/completions"):
        return {**body, "prompt": text}
    if path in ("/v1/responses", "/api/v1/chat"):
        return {**body, "input": text}
    limit = {"max_tokens": 100_000} if path == "/v1/messages" else {}
    return {**body, **limit, "messages": [{"role": "user", "content": text}]}


JUNK: Final = st.one_of(
    st.sampled_from(
        (
            *(None, True, False, 0, -1, 1, 500, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.5, 1e308),
            *(float("nan"), float("inf"), float("-inf"), "", " ", "\0", "\ud800", "\udfff\ud800", "{", "data:", PIXEL),
            *("x" * 100_000, CHAT_MODEL, EMBEDDING_MODEL, "none", "auto", "json_schema", "../../etc/passwd", "%s{0}"),
            *([], {}, [None], [[]], {"": None}, {"type": "text"}, {"type": None}, {"$ref": "#"}, _DEEP, _HUGE),
        )
    ),
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside of *value*."""
    found = [at] if at else []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        found += _places(inner, (*at, key))
    return found


@st.composite
def _mutated(draw: st.DrawFn, body_type: type[Any]) -> Any:
    body = copy.deepcopy(draw(st.sampled_from(VALID[body_type])))
    names = [field.encode_name for field in msgspec.structs.fields(body_type)]
    if "stream" in names:
        body["stream"] = draw(st.booleans())
    for _ in range(draw(st.integers(0, 3))):
        places = _places(body)
        if not places or draw(st.integers(0, 2)) == 0:
            body[draw(st.sampled_from(names))] = copy.deepcopy(draw(JUNK))
            continue
        *outer, key = draw(st.sampled_from(places))
        holder: Any = body
        for step in outer:
            holder = holder[step]
        match draw(st.sampled_from(("replace", "replace", "remove", "wrap", "repeat"))):
            case "replace":
                holder[key] = copy.deepcopy(draw(JUNK))
            case "remove":
                del holder[key]
            case "wrap":
                holder[key] = [holder[key]]
            case _:
                holder[key] = [copy.deepcopy(holder[key]) for _ in range(3)]
    return body


@st.composite
def bodies(draw: st.DrawFn, body_type: type[Any]) -> bytes:
    """The bytes of a body for *body_type*, mostly JSON."""
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return draw(st.binary(max_size=30))
    body = draw(JUNK) if kind == 1 else draw(_mutated(body_type))
    text = json.dumps(body, ensure_ascii=draw(st.booleans()))
    text = text.replace(f'"{_DEEP}"', "[" * 3000 + "]" * 3000).replace(f'"{_HUGE}"', "1e999")
    content = text.encode("utf-8", "surrogatepass")
    return content[: draw(st.integers(0, len(content)))] if kind == 2 else content
