"""The example page that uses the gateway, in a real browser: from another origin, as its readers open it."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gateway.gateway_stage import CHAT_MODEL, EMBEDDING_MODEL, Studio
from patience import PATIENCE_SECONDS
from playwright.sync_api import expect

from lmstudio.gateway import Gateway
from lmstudio.server import Gate, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

EXAMPLES = Path(__file__).parents[2] / "examples"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    """The examples, as `python -m http.server` serves them."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(EXAMPLES)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def studio() -> Iterator[Studio]:
    """LM Studio, with a model that chats and one that embeds."""
    studio = Studio()
    studio.load(CHAT_MODEL, EMBEDDING_MODEL)
    yield studio
    studio.server.stop()


@pytest.fixture
def page(empty_page: Page, studio: Studio, site: str) -> Iterator[Page]:
    """The page, with a gateway that lets it in."""
    with Gateway(base_url=studio.api_host, port=0, allowed_origins=[site]) as gateway:
        empty_page.goto(f"{site}/gateway_page.html?gateway={gateway.base_url}")
        expect(empty_page.get_by_label("Model").locator("option")).to_have_text([CHAT_MODEL, EMBEDDING_MODEL])
        empty_page.get_by_label("Model").select_option(CHAT_MODEL)
        yield empty_page
        empty_page.goto("about:blank")


def test_answer_is_shown_as_it_is_written(page: Page, studio: Studio) -> None:
    gate = Gate()
    studio.engine.reply = Reply(["Oslo", gate, ", på norsk: Oslo 🙂"])
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("status")).to_have_text("Oslo")
    gate.open()
    expect(page.get_by_role("status")).to_have_text("Oslo, på norsk: Oslo 🙂")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert studio.engine.chats[-1].messages[-1]["content"] == "What is the capital of Norway?"


def test_stop_hangs_up_and_the_model_stops(page: Page, studio: Studio) -> None:
    studio.engine.reply = Reply(["Oslo", Gate(), " is"])
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("status")).to_have_text("Oslo")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert studio.engine.wait_for_cancel(PATIENCE_SECONDS)
    expect(page.get_by_role("alert")).to_have_text("")


def test_failure_within_the_stream_is_shown(page: Page, studio: Studio) -> None:
    studio.engine.reply = Reply(["Oslo", " is"], error="The device is lost.", error_after=1)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("The device is lost.")
    expect(page.get_by_role("status")).to_have_text("Oslo")
