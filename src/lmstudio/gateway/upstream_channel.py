"""A prediction of LM Studio as the gateway follows it: all packets that are there at once, and only so many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio._async_io import AsyncioInbox
from lmstudio._endpoints.llm import PREDICT
from lmstudio._sdk_models import LlmChannelPredictToServerPacketCancel
from lmstudio._wire import encode_payload
from lmstudio.errors import LMStudioError
from lmstudio.json_api import Channel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from lmstudio._port import Port
    from lmstudio._sdk_models import LlmChannelPredictCreationParameter

__all__ = ["PredictChannel"]

MAX_WAITING_PACKETS: Final = 16_384
"""A client that is so many packets behind is given up: the connection to LM Studio carries the packets of all clients,
so these cannot wait for it. That is a few megabytes, and minutes of what a fast model writes."""


class _LimitedInbox(AsyncioInbox):
    """Tells when too much waits in it."""

    __slots__ = ("on_full",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.on_full: Callable[[], None] | None = None

    def wake(self) -> None:
        if len(self._items) > MAX_WAITING_PACKETS and self.on_full is not None:
            self.on_full()
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
