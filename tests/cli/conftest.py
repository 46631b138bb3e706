"""What tests of commands have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lmstudio.cli.state import FOLDER_VARIABLE, StateFolder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFolder:
    """A folder of its own for what commands remember; and no other server of this machine is found."""
    folder = tmp_path / "state"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv("LMS_API_SERVER_INFO_PATH", str(tmp_path / "none.json"))
    return StateFolder(folder)
