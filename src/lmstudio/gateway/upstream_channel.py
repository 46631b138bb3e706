"""A prediction of LM Studio as the gateway follows it: all packets that are there at once, and only so many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio._async_io import AsyncioInbox
from lmstudio._endpoints.llm import PREDICT
from lmstudio._sdk_models import LlmChannelPredictToServerPacketCancel
from lmstudio._wire import ChannelSend, encode_payload
from lmstudio.errors import LMStudioError
from lmstudio.json_api import Channel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from lmstudio._port import Port
    from lmstudio._sdk_models import LlmChannelPredictCreationParameter

__all__ = ["PredictChannel"]

MAX_WAITING_PACKETS: Final = 16_384
"""A client that is so many packets behind is given up: the connection to LM Studio carries the packets of all clients,
so these cannot wait for it. That is a few megabytes, and minutes of what a fast model writes."""


class _LimitedInbox(AsyncioInbox):
    """Tells when too much waits in it, and lets somebody take what comes before the one who waits is woken."""

    __slots__ = ("on_full", "pass_on")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.on_full: Callable[[], None] | None = None
        self.pass_on: Callable[[Sequence[object]], bool] | None = None
        """Called with all that is there, if the consumer waits for it; True if it is done with."""

    def wake(self) -> None:
        if len(self._items) > MAX_WAITING_PACKETS and self.on_full is not None:
            self.on_full()
        if self.pass_on is not None and self._waiters and self._items and self.pass_on(self._items):
            self._items.clear()
            return
        super().wake()


class PredictChannel(Channel[Any, LlmChannelPredictToServerPacketCancel]):
    """The channel of one prediction."""

    def __init__(
        self,
        port: Port,
        parameter: LlmChannelPredictCreationParameter,
        model: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(port, PREDICT, encode_payload(parameter), f"predict with model {model!r}", model)
        inbox = _LimitedInbox(loop)
        inbox.on_full = self._overrun
        self._inbox = inbox
        self._limited_inbox = inbox
        self._failure: LMStudioError | None = None
        self.is_overrun: bool = False
        """It was given up, because nobody took its packets."""

    def pass_on(self, take: Callable[[list[Any]], bool]) -> None:
        """Give packets to *take* as soon as they come, as long as it says True and somebody waits for them.

        It is called where the connection is read, and must not wait. What it refuses is received as usual.
        """

        def pass_on(deliveries: Sequence[object]) -> bool:
            packets: list[Any] = []
            try:
                for delivery in deliveries:
                    if type(delivery) is not ChannelSend:
                        return False
                    packets.append(self._decode(delivery.message))
                is_taken = take(packets)
            except Exception:
                return False  # whoever receives it, finds out; here it would end the connection, which is that of all
            if is_taken:
                self.limits.begin_wait()  # the server was not silent
            return is_taken

        self._limited_inbox.pass_on = pass_on

    async def receive_all(self) -> list[Any]:
        """The next packet, and those after it that are there already.

        Raises:
            LMStudioError: as `receive`, once the packets before it have been returned.
        """
        if self._failure is not None:
            raise self._failure
        packets = [await self.receive()]
        try:
            while self._inbox.has_items:
                packets.append(await self.receive())
        except LMStudioError as error:
            self._failure = error
        return packets

    def cancel(self) -> None:
        """Ask LM Studio to stop; it then ends with the packet `success`."""
        self.send(LlmChannelPredictToServerPacketCancel())

    def leave(self) -> None:
        """Have no more of it, whether it is over or not. Nothing waits."""
        self._limited_inbox.on_full = None
        if not self.finished:
            self.cancel()
            self.close()

    def _overrun(self) -> None:
        self.is_overrun = True
        self.leave()
