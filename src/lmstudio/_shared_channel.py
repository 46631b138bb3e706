"""Channels that several callers share: one request on the wire, and everyone gets its packets.

LM Studio loads a model once for each request that names it, even if the requests arrive together. So those of one
client that ask for the same thing at the same time send a single one. A `SharedChannel` is used like any other channel;
the request behind it belongs, like its connection, to the multiplexer's thread, so that threads need no lock for it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import _wire
from ._port import named_model
from ._runtime import Delivery, Outlet
from .json_api import Channel, InT, OutT

if TYPE_CHECKING:
    from ._port import Port
    from ._runtime import Inbox
    from .json_api import Multiplexer


class SharedRequest(Outlet):
    """One request in flight and the callers who wait for it. Only inside posted actions."""

    def __init__(self, multiplexer: Multiplexer, key: tuple[str, bytes]) -> None:
        self.channel_id = 0
        self._multiplexer, self._key = multiplexer, key
        self._members: list[Inbox] = []
        self._so_far: list[Delivery] = []
        self.put = self._put
        multiplexer.shared[key] = self

    def _put(self, delivery: Delivery) -> None:
        self._so_far.append(delivery)
        for member in self._members:
            member.put(delivery)
        if type(delivery) is not _wire.ChannelSend:
            self._retire()

    def wake(self) -> None:
        for member in self._members:
            member.wake()

    def join(self, inbox: Inbox) -> None:
        """Deliver to *inbox*, too, beginning with what has come so far."""
        self._members.append(inbox)
        for delivery in self._so_far:
            inbox.put(delivery)
        inbox.wake()

    def leave(self, inbox: Inbox, last_packet: _wire.Payload | None) -> None:
        """Stop delivering to *inbox*. The last one who leaves ends the request, with the packet it brings."""
        if inbox not in self._members:
            return
        self._members.remove(inbox)
        was_joinable = self._is_joinable
        if last_packet is None or not self._members:
            # Who leaves without a packet has the result: whoever asks from now on has to ask anew.
            self._retire()
        if not self._members:
            if last_packet is not None and was_joinable:
                self._multiplexer.send(self.channel_id, last_packet)
            self._multiplexer.forget_channel(self.channel_id)

    @property
    def _is_joinable(self) -> bool:
        return self._multiplexer.shared.get(self._key) is self

    def _retire(self) -> None:
        if self._is_joinable:
            del self._multiplexer.shared[self._key]


class SharedChannel(Channel[InT, OutT]):
    """A channel whose request is sent once for all who open one with the same parameter at the same time.

    A packet that is sent here goes out only if the others have left by then, when this one is closed: all that there is
    to say to such a request is that nobody wants it any more.
    """

    def __init__(self, port: Port, spec: Any, parameter: object, attempted: str) -> None:
        super().__init__(port, spec, _wire.encode_payload(parameter), attempted, named_model(parameter))
        self._key = (spec.name, bytes(_wire.encode(parameter)))
        self._request: SharedRequest | None = None
        self._last_packet: _wire.Payload | None = None

    def _open(self) -> None:
        multiplexer = self._port.live_multiplexer()
        self.limits.use(multiplexer, self._inbox)
        request = multiplexer.shared.get(self._key)
        if request is None:
            request = SharedRequest(multiplexer, self._key)
            request.channel_id = multiplexer.open(self._spec.name, self._parameter, request)
        self._request = request
        request.join(self._inbox)

    def send(self, packet: OutT) -> None:
        if not self.finished:
            self._last_packet = _wire.encode_payload(packet)

    def send_last(self, packet: OutT) -> None:
        self.send(packet)
        self.close()

    def close(self) -> None:
        self.finished = self._is_closed = True
        # One action for both: between two of them another caller might leave, and neither would be the last.
        self._port.runtime.post(partial(self._leave, self._last_packet))

    def _leave(self, last_packet: _wire.Payload | None) -> None:
        if self._request is not None:
            self._request.leave(self._inbox, last_packet)
        self._inbox.put(self._cancelled())
        self._inbox.wake()
