"""The shipped models behind HTTP, for clients that nobody here wrote. Run these with `tox -e judges`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lmstudio.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    """Of a server whose model always answers the same, and may repeat the words of a question."""
    plain = {"llm.prediction.repeatPenalty": {"checked": False, "value": 1}, "llm.prediction.temperature": 0}
    with Server(prediction_defaults=plain) as server:
        yield f"http://{server.api_host}"
