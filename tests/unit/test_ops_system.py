"""The namespace system and calls by name, with a scripted server."""

from __future__ import annotations

from typing import Any

import pytest
from recorded_packets import EMBEDDING_INFO, LLM_INFO
from scripted_runtime import ScriptedRuntime, result, rpc_error, run, void

from lmstudio._ops.system import list_downloaded_model_variants, list_downloaded_models, remote_call
from lmstudio._sdk_models import EmbeddingModelInfo, LlmInfo, ModelQuery
from lmstudio.errors import LMStudioServerError, LMStudioValueError


def test_downloaded_models_are_language_and_embedding_models() -> None:
    runtime = ScriptedRuntime(result([LLM_INFO, EMBEDDING_INFO]))
    infos = run(list_downloaded_models(runtime.port("system")))
    assert [type(info) for info in infos] == [LlmInfo, EmbeddingModelInfo]
    assert runtime.sent == [{"type": "rpcCall", "endpoint": "listDownloadedModels", "callId": 1}]


def test_a_model_of_an_unknown_kind_or_form_does_not_hide_the_others() -> None:
    listing = [
        {**LLM_INFO, "type": "imageGen"},
        {**LLM_INFO, "format": "futuristic"},
        {"type": "tts", "modelKey": "voice"},
        "not a model",
        {**EMBEDDING_INFO, "format": "pte", "quantization": {"name": "Q1", "bits": "one"}},
    ]
    infos = run(list_downloaded_models(ScriptedRuntime(result(listing)).port("system")))
    assert [(type(info), info.format) for info in infos] == [(LlmInfo, "futuristic"), (EmbeddingModelInfo, "pte")]


def test_the_variants_of_a_model_are_listed() -> None:
    runtime = ScriptedRuntime(result([LLM_INFO]))
    (variant,) = run(list_downloaded_model_variants(runtime.port("system"), "qwen"))
    assert variant.model_key == LLM_INFO["modelKey"]
    assert runtime.sent[0]["endpoint"] == "listDownloadedModelVariants"
    assert runtime.sent[0]["parameter"] == {"modelKey": "qwen"}
    with pytest.raises(LMStudioValueError, match="model key"):
        run(list_downloaded_model_variants(runtime.port("system"), ""))


def test_any_rpc_can_be_called_by_name() -> None:
    runtime = ScriptedRuntime(result({"version": "0.4.0", "build": 5}))
    assert run(remote_call(runtime.port("system"), "version", None)) == {"version": "0.4.0", "build": 5}
    assert runtime.sent == [{"type": "rpcCall", "endpoint": "version", "callId": 1}]


def test_a_called_rpc_takes_structs_and_plain_data() -> None:
    runtime = ScriptedRuntime(void(1), void(2))
    assert run(remote_call(runtime.llm(), "find", ModelQuery(identifier="a"))) is None
    assert run(remote_call(runtime.llm(), "find", {"camelCase": [1]})) is None
    assert [message["parameter"] for message in runtime.sent] == [{"identifier": "a"}, {"camelCase": [1]}]


def test_a_failing_call_names_its_endpoint() -> None:
    runtime = ScriptedRuntime(rpc_error({"title": "No such endpoint"}))
    with pytest.raises(LMStudioServerError, match=r"^Could not call llm.nonsense: No such endpoint"):
        run(remote_call(runtime.llm(), "nonsense", None))


@pytest.mark.parametrize("endpoint", ["", None, 5])
def test_an_endpoint_without_a_name_is_refused(endpoint: Any) -> None:
    with pytest.raises(LMStudioValueError, match="endpoint must "):
        run(remote_call(ScriptedRuntime().llm(), endpoint, None))


def test_a_parameter_that_cannot_be_json_is_refused() -> None:
    with pytest.raises(LMStudioValueError, match="cannot be JSON"):
        run(remote_call(ScriptedRuntime().llm(), "find", object()))
