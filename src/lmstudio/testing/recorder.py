"""Records what a client and a real LM Studio say to each other."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmstudio._address import parse_api_host
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError, LMStudioWebsocketError
from lmstudio.testing.network import FaultProxy
from lmstudio.testing.recording import ABSENT, Cleaner, RecordedCall, Recording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio.testing.network import PassedMessage

_CONNECT_SECONDS = 5.0


class Recorder:
    """A proxy in front of an LM Studio that writes the session to a file when it stops.

        with Recorder("localhost:1234", "summary.jsonl") as recorder, lmstudio.Client(recorder.api_host) as client:
            summarize(client, "A long text.")

    Everything of all namespaces is recorded; plain HTTP, by which clients find a server, is only passed on. *secrets*
    are texts to keep out of the file, besides those that `recording` names. *shorten_base64* keeps only the hashes of
    images and files that the client sends. An exception that leaves the `with` block leaves the file as it was.

    Raises:
        LMStudioValueError: not an address, or one that cannot be recorded from.

    Raises (`start`):
        LMStudioWebsocketError: nothing listens there.
    """

    def __init__(
        self, api_host: str, file: str | Path, *, secrets: Sequence[str] = (), shorten_base64: bool = False
    ) -> None:
        self._address = parse_api_host(api_host)
        if self._address.secure or self._address.prefix:
            raise LMStudioValueError(
                f"Cannot record from {api_host!r}: only from addresses like 'http://host:port', without TLS or a path."
            )
        self.file: Path = Path(file)
        self._cleaner = Cleaner(shorten_base64, {*secrets} - {""})
        self._calls: list[RecordedCall] = []
        self._running: dict[tuple[int, str, int], RecordedCall] = {}
        self._greeted: set[tuple[int, bool]] = set()
        self._proxy: FaultProxy | None = None

    @property
    def api_host(self) -> str:
        """host:port for clients.

        Raises:
            LMStudioRuntimeError: it has not been started.
        """
        if self._proxy is None:
            raise LMStudioRuntimeError("The recorder has not been started: use it with `with`, or call start().")
        return self._proxy.api_host

    def start(self) -> None:
        """Listen. Does nothing while it is running."""
        if self._proxy is not None:
            return
        host, port = self._address.host, self._address.port
        try:
            socket.create_connection((host, port), _CONNECT_SECONDS).close()
        except OSError as error:
            raise LMStudioWebsocketError(
                f"Cannot record: nothing answers at {self._address.authority} ({error}). Start LM Studio and its "
                "server there, or give another address."
            ) from error
        self._proxy = FaultProxy(port, host, on_message=self._note).__enter__()

    def stop(self) -> None:
        """End all connections and write the file."""
        if self._end():
            self._write()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is None:
            self.stop()
        else:
            self._end()

    def _end(self) -> bool:
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            proxy.__exit__(None, None, None)
        return proxy is not None

    def _write(self) -> None:
        # Only now, because any connection may have brought a secret.
        for call in self._calls:
            call.parameter = self._cleaned(call.parameter, is_of_client=True)
            call.result = self._cleaned(call.result, is_of_client=False)
            call.error = self._cleaned(call.error, is_of_client=False)
            call.exchange = [
                {side: self._cleaned(packet, is_of_client=side == "client") for side, packet in step.items()}
                for step in call.exchange
            ]
        Recording(self._calls, self._cleaner).write(self.file)

    def _cleaned(self, value: Any, *, is_of_client: bool) -> Any:
        return value if value is ABSENT else self._cleaner.clean(value, is_of_client=is_of_client)

    # In the proxy's thread -------------------------------------------------------------------------------------------

    def _note(self, passed: PassedMessage) -> None:
        try:
            message = json.loads(passed.text)
        except (ValueError, RecursionError):
            return  # no message: not for us to complain of
        if not isinstance(message, dict):
            return
        side = (passed.connection, passed.is_of_client)
        if side not in self._greeted:
            self._greeted.add(side)  # the first frame of each side is the authentication
            if passed.is_of_client:
                self._cleaner.add([str(message.get("clientPasskey", ""))])
        elif passed.is_of_client:
            self._note_client(passed, message)
        else:
            self._note_server(passed.connection, message)

    def _note_client(self, passed: PassedMessage, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "channelSend":
            call = self._running.get((passed.connection, "channelId", message.get("channelId", -1)))
            if call is not None:
                call.exchange.append({"client": message.get("message")})
            return
        if kind not in ("rpcCall", "channelCreate"):
            return
        name = f"{passed.namespace}/{message.get('endpoint')}"
        if kind == "rpcCall":
            call, member = RecordedCall("rpc", name, message.get("parameter", ABSENT)), "callId"
        else:
            call, member = RecordedCall("channel", name, message.get("creationParameter", ABSENT)), "channelId"
        self._calls.append(call)
        self._running[passed.connection, member, message.get(member, -1)] = call

    def _note_server(self, connection: int, message: dict[str, Any]) -> None:
        member = "channelId" if "channelId" in message else "callId"
        key = (connection, member, message.get(member, -1))
        call, kind = self._running.get(key), message.get("type")
        if call is None:
            return
        if kind == "channelSend":
            call.exchange.append({"server": message.get("message")})
            return
        if kind not in ("rpcResult", "rpcError", "channelClose", "channelError"):
            return
        del self._running[key]
        call.result = message.get("result", ABSENT)
        call.error = message.get("error", ABSENT)
        call.end = "error" if kind in ("rpcError", "channelError") else "closed"
