"""Requests to a server's application without sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes

from patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_stream(self) -> bool:
        """Whether it consists of events."""
        return self.headers["content-type"].startswith("text/event-stream")


class SlowReader:
    """A client that reads nothing after the first part of an answer, until it goes on."""

    def __init__(self) -> None:
        self.is_stuck = asyncio.Event()
        self.goes_on = asyncio.Event()


async def ask(app: ASGIApp, method: str, path: str, body: bytes | None = None) -> Answer:
    """Send a request; everything that comes back. Nobody disconnects."""
    answer = await ask_and_leave(app, method, path, body, after=None)
    assert answer is not None
    return answer


async def ask_and_leave(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes | None,
    *,
    after: int | asyncio.Event | None,
    reader: SlowReader | None = None,
) -> Answer | None:
    """As `ask`, but the client leaves *after* so many turns of the loop, or at the event.

    None if there is no whole answer by then.
    """
    raw_path, _, query = path.partition("?")
    headers = [] if body is None else [(b"content-length", str(len(body)).encode())]
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(raw_path).decode(errors="replace"),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 1234),
    }
    requests = iter([{"type": "http.request", "body": body or b"", "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        if (message := next(requests, None)) is not None:
            return message
        if isinstance(after, int):
            for _ in range(after):
                await asyncio.sleep(0)
        else:
            await (after or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        await asyncio.sleep(0)
        if reader is not None and "body" in message:
            reader.is_stuck.set()
            await reader.goes_on.wait()

    await asyncio.wait_for(app(scope, receive, send), PATIENCE_SECONDS)
    if after is not None and (not sent or sent[-1].get("more_body", False)):
        return None
    assert not sent[-1].get("more_body", False)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))
