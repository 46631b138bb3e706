"""What is given up when nobody holds it any more, and was never made completely: Ctrl-C may strike at any line."""

from __future__ import annotations

import gc
import sys

import pytest

import lmstudio as lms
from lmstudio.http import AsyncEventStream, EventStream

PUBLIC = (
    lms.PredictionStream,
    lms.AsyncPredictionStream,
    lms.ArtifactDownloadPlanner,
    lms.AsyncArtifactDownloadPlanner,
    lms.LogStream,
    lms.AsyncLogStream,
    lms.RemoteToolUseSession,
    lms.AsyncRemoteToolUseSession,
    EventStream,
    AsyncEventStream,
)


@pytest.mark.parametrize("kind", PUBLIC)
def test_it_goes_in_silence(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    with pytest.raises(TypeError, match="missing"):
        kind()
    gc.collect()
    assert complaints == []
