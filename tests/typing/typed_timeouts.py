"""What a type checker must make of time limits, signals and retries. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Literal

from typing_extensions import assert_type

import lmstudio as lms

PATIENT = lms.Timeout(first_token=300, idle=None)


def limits(model: lms.LLM, embedder: lms.EmbeddingModel, signal: lms.AbortSignal) -> None:
    model.respond("Hi", timeout=5, signal=signal)
    model.respond("Hi", timeout=0.5)
    model.respond("Hi", timeout=PATIENT)
    model.respond("Hi", timeout=None)
    assert_type(embedder.embed("text", timeout=5, signal=signal), list[float])
    assert_type(embedder.embed(["text"], timeout=PATIENT), list[list[float]])
    assert_type(model.tokenize("text", signal=signal), list[int])
    model.respond("Hi", timeout="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    lms.Timeout(first=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PATIENT.idle = 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def clients(timeout: lms.TimeoutInput) -> None:
    lms.Client("localhost:1234", timeout=timeout, retry=lms.RetryConfig(max_retries=0))
    lms.AsyncClient(timeout=30, retry=None)
    lms.Client(retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def failures(model: lms.LLM) -> str:
    try:
        return str(model.respond("Hi", timeout=5))
    except lms.LMStudioConnectTimeoutError as error:
        return f"{error.limit} {error.seconds}"
    except lms.LMStudioTimeoutError as error:
        assert_type(error.limit, Literal["connect", "first_token", "idle", "total"] | None)
        assert_type(error.seconds, float | None)
        return ""
