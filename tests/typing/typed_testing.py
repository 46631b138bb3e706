"""What a type checker must make of the tools for users' tests. Checked by mypy and pyright, never run."""

from __future__ import annotations

import re
from pathlib import Path

from typing_extensions import assert_type

import lmstudio as lms
from lmstudio.testing import (
    BrokenToolCall,
    Call,
    EmbeddingRequest,
    FaultProxy,
    Gate,
    PredictionRequest,
    Reasoning,
    Recorder,
    Replayer,
    Reply,
    ScriptedServer,
    ToolCall,
)


def scripted(server: ScriptedServer) -> None:
    server.reply("one", ["two", Gate()], Reply("three"), {"a": 1}, lambda request: request.text, times=None)
    server.reply([Reasoning("Well."), ToolCall("add", {"a": 1})], BrokenToolCall("{"), to=re.compile("x"))
    server.reply("four", to=lambda request: bool(request.system))
    server.reply(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no reply
    server.reply_vector([0.5], to="cat")
    server.reply_vector(lambda text: [float(len(text))])
    server.fail("No", on="predict", display_data={"code": "generic.noModelMatchingQuery"})
    assert_type(server.requests, list[PredictionRequest])
    assert_type(server.last_request.tool_results, list[str])
    assert_type(server.embeddings, list[EmbeddingRequest])
    assert_type(server.calls, list[Call])
    assert_type(server.network, FaultProxy)
    server.assert_called_with("Hi", model="m", tools=["add"], config={"temperature": 0.2})
    server.assert_called_with(texts="Hi")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # misspelt


def recorded() -> None:
    with Recorder("localhost:1234", "session.jsonl", secrets=["x"]) as recorder, lms.Client(recorder.api_host):
        assert_type(recorder, Recorder)
    with Replayer(Path("session.jsonl"), volatile=("seed",)) as replayer:
        assert_type(replayer.mismatches, list[str])
