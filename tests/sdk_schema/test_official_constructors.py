"""Constructors of the official Python SDK work unchanged, and still send all that lmstudio.js requires."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sdk_schema_samples import DEFINITIONS

import lmstudio._sdk_models as models

_MODEL: dict[str, Any] = {
    "model_key": "m",
    "format": "gguf",
    "display_name": "M",
    "path": "p/m/m.gguf",
    "size_bytes": 1,
    "max_context_length": 2048,
}
_INSTANCE: dict[str, Any] = {"identifier": "m", "instance_reference": "1", "context_length": 1024}
_LLM: dict[str, Any] = {"vision": False, "trained_for_tool_use": True}
_FRAGMENT: dict[str, Any] = {"content": "", "tokens_count": 1, "contains_drafted": False, "reasoning_type": "none"}

OFFICIAL_CALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("LlmInfo", _MODEL | _LLM, {"publisher": "", "indexedModelIdentifier": "", "deviceIdentifier": None}),
    ("EmbeddingModelInfo", _MODEL, {"publisher": "", "indexedModelIdentifier": "", "deviceIdentifier": None}),
    ("LlmInstanceInfo", _MODEL | _LLM | _INSTANCE, {"publisher": "", "ttlMs": None, "lastUsedTime": None}),
    ("EmbeddingModelInstanceInfo", _MODEL | _INSTANCE, {"publisher": "", "ttlMs": None, "lastUsedTime": None}),
    ("LlmPredictionFragment", _FRAGMENT, {"isStructural": False}),
    ("ToolCallRequest", {"type": "function", "name": "f"}, {"type": "function"}),
    ("ToolCallRequest", {"name": "f"}, {"type": "function"}),
]


@pytest.mark.parametrize(("name", "arguments", "sent"), OFFICIAL_CALLS, ids=lambda value: str(value)[:20])
def test_what_the_caller_cannot_give_is_sent_all_the_same(
    name: str, arguments: dict[str, Any], sent: dict[str, Any]
) -> None:
    struct = getattr(models, name)(**arguments)

    on_wire = msgspec.json.decode(msgspec.json.encode(struct))

    assert on_wire.keys() >= set(DEFINITIONS[name]["required"])
    assert on_wire.items() >= sent.items()


def test_unknown_kind_of_tool_call_request_is_refused_when_read_strictly() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.type"):
        msgspec.convert({"type": "custom", "name": "f"}, models.ToolCallRequest)


def test_member_of_the_official_sdk_alone_is_sent_only_if_set() -> None:
    assert models.LlmToolUseSettingToolArray(tools=[]).to_dict() == {"type": "toolArray", "tools": []}
    assert models.LlmToolUseSettingToolArray(tools=[], force=True).to_dict()["force"] is True
