"""A server with the models of the documentation, found as LM Studio is."""

from __future__ import annotations

import gc
import logging
import sys
from typing import TYPE_CHECKING

import pytest
from sample_files import PNG

import lmstudio as lms
from docs.stage import MODELS, Stage
from lmstudio import _discovery
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:
    """Examples run here find the server without its address. Nobody complains while they do."""
    image = tmp_path / "photo.png"
    image.write_bytes(PNG)
    folder = tmp_path / "program"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    modules = set(sys.modules)
    caplog.set_level(logging.WARNING)
    engine = ScriptedEngine()
    with Server(models=MODELS, engine=engine) as server:
        monkeypatch.setattr(_discovery, "API_SERVER_PORTS", (server.port,))
        try:
            yield Stage(engine, server, folder, image)
        finally:
            lms.close_default_client()
            gc.collect()  # here, so that what an example leaves behind warns in its own test
            for name in set(sys.modules) - modules:
                if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                    del sys.modules[name]
    assert [record.getMessage() for record in caplog.get_records("call")] == []
