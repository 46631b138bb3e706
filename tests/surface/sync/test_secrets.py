# Generated from ../async/test_secrets.py by tools/make_sync.py. Edit that file instead.
"""A token shows nowhere: in no repr, no message, no log, no traceback that prints the variables of its frames."""

from __future__ import annotations

import logging
import traceback
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio._transfer import FrameTransfer
from lmstudio.server import ScriptedEngine, Server
from surface.odd_servers import free_port, http_server, tcp_server, websocket_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

SECRET = "ABCDEFGHIJ0123456789"
WRONG = "sk-lm-ijklmnop:" + SECRET
BAD = "sk-" + SECRET


@pytest.fixture(autouse=True)
def all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is hidden because its frames are left out."""
    monkeypatch.setenv("LMS_KEEP_INTERNAL_STACK", "1")


@contextmanager
def seen(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """All that a failure inside writes anywhere, when it is over; without the variables of this file."""
    texts: list[str] = []
    logging.getLogger("lmstudio").setLevel(1)
    with caplog.at_level(1), pytest.raises(lms.LMStudioError) as caught:
        yield texts
    logging.getLogger("lmstudio").setLevel(logging.NOTSET)
    error: BaseException | None = caught.value
    assert isinstance(error, lms.LMStudioError)
    assert "was closed while" not in str(error)  # what one gets when the connection ended for no known reason
    texts += [repr(vars(error)), repr(dict(error.context)), caplog.text]
    while error is not None:
        texts += [str(error), repr(error)]
        for frame in traceback.TracebackException.from_exception(error, capture_locals=True).stack:
            if frame.filename != __file__:
                texts.append(f"{frame.filename}:{frame.lineno} {frame.locals}")
        error = error.__cause__ or error.__context__


def list_models(api_host: str, token: str) -> None:
    """A call that fails."""
    with lms.Client(api_host, token, timeout=lms.Timeout(connect=0.3)) as client:
        assert SECRET not in repr(client)
        client.list_downloaded_models()


@pytest.mark.parametrize(
    ("token", "name", "passkey"),
    [(BAD, None, None), (WRONG, "me", None), (None, "me", SECRET * 20), (None, "", SECRET)],
    ids=["form", "both", "passkey", "name"],
)
def test_a_refused_argument_is_not_shown(
    token: str | None, name: str | None, passkey: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with seen(caplog) as texts:
        lms.Client("localhost:1", token, client_identifier=name, client_passkey=passkey)
    assert not [text for text in texts if SECRET in text]


@pytest.mark.parametrize("api_host", ["ftp://x", "a b"])
def test_a_good_token_is_not_shown_when_something_else_is_wrong(
    api_host: str, caplog: pytest.LogCaptureFixture
) -> None:
    with seen(caplog) as texts:
        lms.Client(api_host, WRONG)
    assert not [text for text in texts if SECRET in text]


@pytest.mark.parametrize("proxy", [f"ftp://me:{SECRET}@localhost", f"http://me:{SECRET}@localhost:x"])
def test_the_password_of_a_refused_proxy_is_not_shown(proxy: str, caplog: pytest.LogCaptureFixture) -> None:
    with seen(caplog) as texts:
        lms.Client("localhost:1", proxy=proxy)
    assert not [text for text in texts if SECRET in text]


def test_a_bad_token_of_the_environment_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LM_API_TOKEN", BAD)
    with seen(caplog) as texts:
        lms.Client("localhost:1")
    assert not [text for text in texts if SECRET in text]


def test_a_token_that_the_server_refuses_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with Server(engine=ScriptedEngine(), api_tokens=["sk-lm-abcdefgh:" + "x" * 20]) as server, seen(caplog) as texts:
        list_models(server.api_host, WRONG)
    assert not [text for text in texts if SECRET in text]


def test_a_token_is_not_shown_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    with seen(caplog) as texts:
        list_models(f"localhost:{free_port()}", WRONG)
    assert not [text for text in texts if SECRET in text]


@pytest.mark.parametrize(
    "odd_server",
    [
        http_server,
        partial(tcp_server, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        partial(websocket_server, "hello"),
        partial(websocket_server, None),
    ],
    ids=["no WebSocket", "hangs up", "no LM Studio", "says nothing"],
)
def test_a_token_is_not_shown_by_a_connection_that_fails(
    odd_server: Callable[[], AbstractContextManager[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with odd_server() as api_host, seen(caplog) as texts:
        list_models(api_host, WRONG)
    assert not [text for text in texts if SECRET in text]


def fail_to_write(*_: object) -> None:
    """As a connection that breaks while the credentials are written."""
    raise OSError("broken")


@pytest.mark.parametrize("put", [fail_to_write, lambda *_: anyio.sleep(PATIENCE_SECONDS)], ids=["breaks", "hangs"])
def test_a_token_is_not_shown_when_it_cannot_be_written(
    put: Callable[..., object], server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrameTransfer, "_put", put)
    with seen(caplog) as texts:
        list_models(server.api_host, WRONG)
    assert not [text for text in texts if SECRET in text]
