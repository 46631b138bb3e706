"""What a type checker must make of system, diagnostics and runtime. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Literal

from typing_extensions import assert_type

import lmstudio as lms


def looks(client: lms.Client) -> None:
    assert_type(client.system.get_lm_studio_version().build, int)
    assert_type(client.system.get_info().is_daemon, bool)
    assert_type(client.system.get_experiment_flags(), list[str])
    client.system.start_http_server(port="1234")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def runs(client: lms.Client) -> None:
    (engine,) = client.runtime.engine.list()
    assert_type(engine, lms.RuntimeEngineInfo)
    selected = client.runtime.engine.get_selections()
    assert_type(selected, dict[lms.ModelFormatName, lms.RuntimeEngineSpecifier])
    client.runtime.engine.select(engine, "GGUF")
    client.runtime.engine.select({"name": "llama.cpp", "version": "1"}, "MLX")
    client.runtime.engine.select(engine, "gguf")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.runtime.survey_hardware("selected")
    client.runtime.survey_hardware([engine, {"name": "llama.cpp", "version": "1"}])
    assert_type(client.runtime.survey_hardware(lms.RuntimeHardwareSurveyScopeAll()), lms.RuntimeHardwareSurveyResult)
    client.runtime.survey_hardware("some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    (extension,) = client.runtime.extensions.search("llama.cpp")
    assert_type(extension.type, Literal["engine", "framework"])
    client.runtime.extensions.download(extension, on_progress=lambda update: print(update.downloaded_bytes))


def watches(client: lms.Client) -> None:
    with client.diagnostics.stream_logs("server.log", timeout=5) as events:
        assert_type(events, lms.LogStream)
        for event in events:
            assert_type(event, lms.DiagnosticsLogEvent)
            if event.data.type == "llm.prediction.input":
                assert_type(event.data, lms.DiagnosticsLogEventDataLlmPredictionInput)
    client.diagnostics.stream_logs(["debug"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def watches_asynchronously(client: lms.AsyncClient) -> None:
    async with client.diagnostics.stream_logs(["runtime.log", "server.log"]) as events:
        assert_type(events, lms.AsyncLogStream)
        async for event in events:
            assert_type(event.data, lms.DiagnosticsLogEventData)
