"""Channels that never end, of which not everything may be kept that nobody reads.

What arrives for a client is read at once, whoever it is for: one who does not read must not hold up the others, and
the protocol has no way to ask a server to wait. So there is a limit to what may wait for a reader. Who falls further
behind gets what there is, and then an error: nothing is left out silently.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import _wire
from ._runtime import Delivery, Outlet
from .errors import LMStudioRuntimeError
from .json_api import Channel, InT, OutT

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._endpoints import ChannelSpec
    from ._port import Port
    from ._runtime import Inbox
    from .json_api import Multiplexer

    # isort: split
    import msgspec

T = TypeVar("T")

MAX_WAITING_PACKETS: Final = 10_000
"""For one reader."""
MAX_WAITING_BYTES: Final = 64 * 2**20
"""As well. A single packet may be longer."""


class _Backlog(Outlet):
    """Passes deliveries on to an inbox as long as there is room.

    What has arrived is counted by the loop's thread, what was taken by whoever reads, so neither needs a lock.
    """

    def __init__(self, inbox: Inbox, attempted: str, last_packet: _wire.Payload) -> None:
        self._inbox, self._attempted, self._last_packet = inbox, attempted, last_packet
        self._arrived = self._arrived_bytes = self._taken = self._taken_bytes = 0
        self.multiplexer: Multiplexer | None = None
        self.channel_id: int = 0

    def put(self, delivery: Delivery) -> None:
        if type(delivery) is _wire.ChannelSend:
            size = len(delivery.message)
            waiting = self._arrived - self._taken
            waiting_bytes = self._arrived_bytes - self._taken_bytes
            if waiting and (waiting >= MAX_WAITING_PACKETS or waiting_bytes + size > MAX_WAITING_BYTES):
                self._give_up(waiting)
                return
            self._arrived += 1
            self._arrived_bytes += size
        self._inbox.put(delivery)

    def _give_up(self, waiting: int) -> None:
        if self.multiplexer is not None:
            self.multiplexer.send(self.channel_id, self._last_packet)
            self.multiplexer.forget_channel(self.channel_id)
        self._inbox.put(
            LMStudioRuntimeError(
                f"Could not {self._attempted} any longer: {waiting} messages had come that were not read, and that is "
                "as many as are kept. Read faster, for example by doing the rest of the work in another task or thread."
            )
        )

    def took(self, size: int) -> None:
        """The reader has taken a packet of this size."""
        self._taken += 1
        self._taken_bytes += size

    def wake(self) -> None:
        self._inbox.wake()


class BoundedChannel(Channel[InT, OutT]):
    """A channel without an end, with a limit to what waits for its reader.

    One who falls behind gets LMStudioRuntimeError after everything that has been kept; the server is told *last_packet*
    at once.
    """

    def __init__(
        self, port: Port, spec: ChannelSpec[Any, InT, OutT], parameter: object, attempted: str, last_packet: OutT
    ) -> None:
        super().__init__(port, spec, _wire.encode_payload(parameter), attempted)
        self._backlog = _Backlog(self._inbox, attempted, _wire.encode_payload(last_packet))
        self._decode = partial(_take, self._backlog, self._decode)

    def _open(self) -> None:
        backlog = self._backlog
        self._multiplexer = backlog.multiplexer = self._port.live_multiplexer()
        self.limits.use(self._multiplexer, self._inbox)
        self._id = backlog.channel_id = self._multiplexer.open(self._spec.name, self._parameter, backlog)


def _take(backlog: _Backlog, decode: Callable[[msgspec.Raw], T], message: msgspec.Raw) -> T:
    backlog.took(len(message))
    return decode(message)
