"""A browser without a window, and the page of a server in it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS
from playwright.sync_api import sync_playwright

from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# Not for the session: as long as the driver is there, no other test could run an event loop in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, as this machine has it."""
    path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium, Chrome or Edge is installed")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def engine() -> ScriptedEngine:
    """Says what the test tells it to."""
    return ScriptedEngine()


@pytest.fixture
def server(engine: ScriptedEngine) -> Iterator[Server]:
    """Serves the page, and the models that the engine makes up."""
    with Server(engine=engine) as server:
        yield server


@pytest.fixture
def empty_page(browser: Browser) -> Iterator[Page]:
    """A page with nothing in it yet. Whatever goes wrong in it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def note(message: ConsoleMessage) -> None:
        # The browser itself reports a server that is away.
        if message.type == "error" and not message.text.startswith("WebSocket connection to"):
            errors.append(message.text)

    page.on("console", note)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def page(empty_page: Page, server: Server) -> Page:
    """The server's page, connected."""
    empty_page.goto(f"http://{server.api_host}/")
    empty_page.get_by_text("connected", exact=True).wait_for()
    return empty_page
