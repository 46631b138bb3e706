# Generated from ../async/test_runtime_client.py by tools/make_sync.py. Edit that file instead.
"""The engines of the server, and the hardware that they find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms

if TYPE_CHECKING:
    from lmstudio.server import Server

NOT_INSTALLED = lms.RuntimeEngineSpecifier(name="mlx-llm", version="1.2.3")


def test_engines_are_listed_and_selected(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        engine = client.runtime.engine
        (installed,) = engine.list()
        assert (installed.engine, installed.supported_model_format_names) == ("scripted", ["GGUF"])
        specifier = lms.RuntimeEngineSpecifier(name=installed.name, version=installed.version)
        assert engine.get_selections() == {"GGUF": specifier}
        engine.select(installed, "GGUF")
        with pytest.raises(lms.LMStudioServerError, match=r"select the engine 'mlx-llm' 1\.2\.3: .* not installed"):
            engine.select(NOT_INSTALLED, "MLX")
        with pytest.raises(lms.LMStudioServerError, match="remove the engine"):
            engine.remove({"name": installed.name, "version": installed.version})


def test_hardware_is_surveyed_by_chosen_engines(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        survey = client.runtime.survey_hardware()
        (engine,) = survey.engines
        assert survey.status == "ok"
        assert engine.memory_info.ram_capacity > 0
        for scope in ("selected", "all", [engine], lms.RuntimeHardwareSurveyScopeCustom(engines=[])):
            again = client.runtime.survey_hardware(scope)
            assert [one.name for one in again.engines] == ([engine.name] if not hasattr(scope, "engines") else [])
        with pytest.raises(lms.LMStudioServerError, match="not installed"):
            client.runtime.survey_hardware([NOT_INSTALLED])


def test_extensions_are_looked_for_and_refused_where_there_are_none(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        extensions = client.runtime.extensions
        assert extensions.search("llama.cpp:cuda", channel="beta", include_incompatible=True) == []
        with pytest.raises(lms.LMStudioServerError, match=r"download the runtime extension 'mlx-llm' 1\.2\.3"):
            extensions.download(NOT_INSTALLED, update_selections=True)


def test_what_no_server_could_do_is_refused_before_anything_is_sent() -> None:
    client = lms.Client("127.0.0.1:1")
    runtime = client.runtime
    impossible: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
        (
            runtime.engine.select,
            (NOT_INSTALLED, "gguf"),
            {},
            "'gguf' is not the name of a model format",
        ),
        (runtime.engine.select, ("llama.cpp@1", "GGUF"), {}, "has no name and no version"),
        (runtime.engine.remove, ({"name": "a"},), {}, "has no version"),
        (runtime.engine.remove, ({"name": "a", "version": 1},), {}, "engine's version must be a string"),
        (runtime.survey_hardware, ("every",), {}, '"selected", "all" or a list of engines'),
        (runtime.survey_hardware, (5,), {}, '"selected", "all" or a list of engines'),
        (runtime.extensions.search, (None,), {}, "query must be a string"),
        (runtime.extensions.search, ("a",), {"channel": ""}, "1 to 30 characters"),
        (runtime.extensions.search, ("a",), {"channel": "c" * 31}, "1 to 30 characters"),
        (
            runtime.extensions.search,
            ("a",),
            {"include_incompatible": "no"},
            "include_incompatible must be True",
        ),
        (runtime.extensions.download, (NOT_INSTALLED,), {"update_selections": 1}, "update_selections must be True"),
        (runtime.extensions.download, (NOT_INSTALLED,), {"on_start_finalizing": 1}, "on_start_finalizing must be"),
    ]
    for method, arguments, keywords, words in impossible:
        with pytest.raises(lms.LMStudioValueError, match=words):
            method(*arguments, **keywords)
    assert not runtime.connected
    assert repr(runtime.engine).endswith("runtime.engine")
    assert repr(runtime.extensions).endswith("runtime.extensions")
    client.close()
