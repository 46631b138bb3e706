"""The pages in docs/ name whatever the namespaces and the controllers of plugins offer."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import lmstudio as lms
from lmstudio import plugin

DOCS = Path(__file__).parents[2] / "docs"
CLIENT = lms.AsyncClient()  # connects to nothing
EVERYWHERE = set(dir(type(CLIENT.files))) & set(dir(type(CLIENT.system))) & set(dir(type(CLIENT.llm)))
"""What every namespace has; docs/server.md says so once."""
OFFERED: dict[str, tuple[type, ...]] = {
    "server": (
        type(CLIENT.system),
        type(CLIENT.runtime),
        type(CLIENT.runtime.engine),
        type(CLIENT.runtime.extensions),
        type(CLIENT.diagnostics),
        lms.AsyncLogStream,
    ),
    "downloads": (
        type(CLIENT.repository),
        type(CLIENT.repository.lm_link),
        lms.AsyncAvailableModel,
        lms.AsyncModelDownloadOption,
        lms.AsyncArtifactDownloadPlanner,
    ),
    "using-plugins": (
        type(CLIENT.plugins),
        lms.AsyncLLMGeneratorHandle,
        lms.AsyncPluginRegistration,
        lms.AsyncSelfRegistrationHost,
    ),
    "plugins": (
        plugin.PromptPreprocessorController,
        plugin.PredictionLoopHandlerController,
        plugin.ToolsProviderController,
        plugin.TokenGeneratorController,
        plugin.StatusBlockController,
        plugin.ContentBlockController,
        plugin.ToolStatusController,
        plugin.AsyncToolCallContext,
        plugin.PluginContext,
    ),
}


@cache
def words_of(page: str) -> frozenset[str]:
    """The names in the code of a page."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    code = re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL)
    return frozenset(re.findall(r"\w+", " ".join(code)))


@pytest.mark.parametrize("page", OFFERED)
def test_page_names_what_is_offered(page: str) -> None:
    offered = {name for kind in OFFERED[page] for name in dir(kind) if not name.startswith("_")}
    assert sorted(offered - EVERYWHERE - words_of(page)) == []


def test_what_every_namespace_has_is_named_once() -> None:
    assert {"connected", "connect", "disconnect", "remote_call"} <= EVERYWHERE & words_of("server")
