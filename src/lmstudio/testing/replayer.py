"""Says again what was recorded, to clients that ask for the same."""

from __future__ import annotations

import asyncio
import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._wire import ABSENT as NO_PAYLOAD
from lmstudio.errors import LMStudioValueError
from lmstudio.server._known_endpoints import KNOWN_ENDPOINTS
from lmstudio.server._port import Handlers
from lmstudio.server.auth import IssuedCredentials
from lmstudio.server.embedded import Server
from lmstudio.server.errors import RequestError
from lmstudio.testing.recording import ABSENT, RecordedCall, Recording
from lmstudio.testing.requests import difference_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from starlette.routing import BaseRoute
    from typing_extensions import Self

    from lmstudio._sdk_models import SerializedLMSExtendedError
    from lmstudio.server._port import ClientContext, ServerChannel
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.testing.recording import CallKind

VOLATILE = ("instanceReference",)
"""Members that a server makes up: when there is no request with the same, another will do."""

_PREDICTIONS = ("llm/predict", "llm/completeRawText")
_COMPARED_CHARACTERS = 20_000


class Replayer:
    """A server without an engine: every request gets the answer that was recorded for it.

        with Replayer("summary.jsonl") as replayer, lmstudio.Client(replayer.api_host) as client:
            assert summarize(client, "A long text.") == "A short summary."

    A request is found by its endpoint and its parameter, whatever the order in which requests come. Of members that
    are *volatile* another value will do if no recorded request has the same. Requests that were recorded several times
    get their answers in that order; after that predictions fail, and everything else gets its last answer again.
    Whatever else was not recorded fails, with the nearest request and the differences, and is kept in `mismatches`.

    Where the client has sent something on a channel, such as a cancel, the replay waits for it, *patience_seconds* at
    most. Of what the server said nothing is delayed.

    Raises:
        LMStudioValueError: there is no such recording, or it cannot be read.
    """

    def __init__(self, file: str | Path, *, volatile: Iterable[str] = VOLATILE, patience_seconds: float = 10.0) -> None:
        self.file: Path = Path(file)
        if isinstance(volatile, str):
            raise LMStudioValueError(f"volatile must be a list of names, e.g. [{volatile!r}].")
        self._recording = Recording.read(self.file)
        self._volatile = frozenset(volatile)
        self._patience_seconds = patience_seconds
        self._used: set[RecordedCall] = set()
        self.mismatches: list[str] = []
        """Requests that were not recorded."""
        self._server = Server.for_core(_ReplayCore(self))

    @property
    def api_host(self) -> str:
        """host:port for clients."""
        return self._server.api_host

    @property
    def unused(self) -> list[RecordedCall]:
        """What was recorded, and nobody has asked for."""
        return [call for call in self._recording.calls if call not in self._used]

    def check(self, *, strict: bool = False) -> None:
        """Raise AssertionError if a request was not recorded; with *strict* also if not all were asked for."""
        found = list(self.mismatches)
        if strict:
            found += [
                f"Nobody has asked for {call.name}, line {call.line} of {self.file.name}." for call in self.unused
            ]
        if found:
            raise AssertionError("\n".join(found))

    def start(self) -> None:
        """Listen; clients can connect when this returns."""
        self._server.start()

    def stop(self) -> None:
        """End all connections."""
        self._server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # In the server's loop --------------------------------------------------------------------------------------------

    def endpoints(self, namespace: str) -> dict[str, CallKind]:
        """What can be asked for in *namespace*: all that exists, and all that was recorded."""
        known: dict[str, CallKind] = {}
        for kind, names in KNOWN_ENDPOINTS.get(namespace, {}).items():
            known |= dict.fromkeys(names, kind)
        for call in self._recording.calls:
            in_namespace, _, endpoint = call.name.partition("/")
            if in_namespace == namespace:
                known[endpoint] = call.kind
        return known

    def find(self, kind: CallKind, name: str, parameter: Any) -> RecordedCall:
        """The recorded call that is answered now.

        Raises:
            RequestError: there is none.
        """
        asked = self._recording.cleaner.clean(parameter, is_of_client=True)
        same = [call for call in self._recording.calls if (call.kind, call.name) == (kind, name)]
        exact = [call for call in same if _value(call.parameter) == asked]
        similar = [call for call in same if self._stable(_value(call.parameter)) == self._stable(asked)]
        candidates = [*(call for call in [*exact, *similar] if call not in self._used)]
        if name not in _PREDICTIONS:
            candidates += (exact or similar)[-1:]
        if not candidates:
            raise self._mismatch(name, asked, same, len(exact or similar))
        self._used.add(candidates[0])
        return candidates[0]

    def _stable(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._stable(item) for name, item in value.items() if name not in self._volatile}
        return [self._stable(item) for item in value] if isinstance(value, list) else value

    def _mismatch(self, name: str, asked: Any, same: list[RecordedCall], times: int) -> RequestError:
        what = f"The recording {self.file.name} has no such request of {name}"
        if times:
            what = f"The recording {self.file.name} has this request of {name} only {_times(times)}"
            details = f"It was asked for once more:\n{_shown(asked)}"
        elif same:
            text = _shown(asked)
            nearest = max(same, key=lambda call: _likeness(_shown(_value(call.parameter)), text))
            lines = difference_lines(_value(nearest.parameter), asked)
            details = "\n".join([f"The nearest is line {nearest.line} (- recorded, + asked for):", *lines])
        else:
            names = ", ".join(dict.fromkeys(call.name for call in self._recording.calls)) or "nothing"
            details = f"Asked for was {_shown(asked)}\nRecorded are only {names}."
        self.mismatches.append(f"{what}. {details}")
        return RequestError(what, cause=details, suggestion="Record the session again, or ask for what was recorded.")

    async def play(self, call: RecordedCall, channel: ServerChannel[Any, Any]) -> None:
        """Do on *channel* what the server did."""
        packets: asyncio.Queue[Any] = asyncio.Queue()
        channel.listen(packets.put_nowait)
        for step in call.exchange:
            if "server" in step:
                channel.send(_encoded(step["server"]))
                await channel.drain()
            else:
                await self._wait_for(step.get("client"), packets, call)
        if call.end == "error":
            raise _RecordedError(call.error)
        if call.end == "open":
            await asyncio.Event().wait()  # ends with the connection

    async def _wait_for(self, expected: Any, packets: asyncio.Queue[Any], call: RecordedCall) -> None:
        try:
            packet = await asyncio.wait_for(packets.get(), self._patience_seconds)
        except asyncio.TimeoutError:
            problem = f"{call.name}, line {call.line} of {self.file.name}, goes on when the client sends a packet"
            details = f"None has come for {self._patience_seconds:g} s. Recorded was {_shown(expected)}"
        else:
            cleaned = self._recording.cleaner.clean(packet, is_of_client=True)
            if self._stable(cleaned) == self._stable(expected):
                return
            problem = f"{call.name}, line {call.line} of {self.file.name}, goes on after another packet of the client"
            details = "\n".join(["- recorded, + sent:", *difference_lines(expected, cleaned)])
        self.mismatches.append(f"{problem}. {details}")
        raise RequestError(problem, cause=details, suggestion="Record the session again.")


class _RecordedError(RequestError):
    """What the server has said, word for word."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error.get("title", "")) if isinstance(error, dict) else "")
        self._error = error

    def to_wire(self) -> SerializedLMSExtendedError:
        return cast("SerializedLMSExtendedError", _encoded(self._error))  # it is only written down


class _ReplayCore:
    """A server's core that asks a replayer."""

    def __init__(self, replayer: Replayer) -> None:
        self.credentials = IssuedCredentials()
        self._replayer = replayer

    def handlers(self, namespace: str) -> Handlers:
        """All endpoints of a namespace."""
        handlers = Handlers()
        for endpoint, kind in self._replayer.endpoints(namespace).items():
            if kind == "rpc":
                self._add_rpc(handlers, f"{namespace}/{endpoint}", endpoint)
            else:
                self._add_channel(handlers, f"{namespace}/{endpoint}", endpoint)
        return handlers

    def http_routes(self, settings: HttpSettings) -> list[BaseRoute]:  # noqa: ARG002 (there are none)
        """Recorded is what travels over WebSockets."""
        return []

    async def wind_down(self, grace_seconds: float) -> None:
        """Nothing has to end."""

    async def aclose(self) -> None:
        """Nothing is open."""

    def _add_rpc(self, handlers: Handlers, name: str, endpoint: str) -> None:
        async def answer(_: ClientContext, parameter: Any) -> Any:
            call = self._replayer.find("rpc", name, parameter)
            if call.end == "error":
                raise _RecordedError(call.error)
            if call.end == "open":
                raise RequestError(f"The recording ended before {name} was answered", suggestion="Record it again.")
            return None if call.result is ABSENT else _encoded(call.result)

        handlers.rpc(Rpc(endpoint, Any, Any), answer)

    def _add_channel(self, handlers: Handlers, name: str, endpoint: str) -> None:
        async def serve(_: ClientContext, parameter: Any, channel: ServerChannel[Any, Any]) -> None:
            await self._replayer.play(self._replayer.find("channel", name, parameter), channel)

        handlers.channel(ChannelSpec(endpoint, Any, Any, Any), serve)


def _value(parameter: Any) -> Any:
    return None if parameter is ABSENT else parameter


def _encoded(value: Any) -> msgspec.Raw:
    return NO_PAYLOAD if value is ABSENT else msgspec.Raw(json.dumps(value).encode())


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one[:_COMPARED_CHARACTERS], other[:_COMPARED_CHARACTERS], False).ratio()
