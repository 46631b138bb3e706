"""Wait for something that the server downloads: models, artifacts, runtime extensions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lmstudio._abort import check_signal, on_abort
from lmstudio._callbacks import check_callbacks, notify
from lmstudio._sdk_models import ChannelPacketDownloadProgress, ChannelPacketStartFinalizing, DownloadProgressUpdate

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._runtime import Runtime
    from lmstudio.json_api import Channel

DownloadProgressCallback: TypeAlias = Callable[[DownloadProgressUpdate], object]
DownloadFinalizedCallback: TypeAlias = Callable[[], object]

SuccessT = TypeVar("SuccessT")


@dataclass(frozen=True)
class DownloadWatch:
    """Who wants to hear of a download, and who may stop it."""

    on_progress: DownloadProgressCallback | None = None
    on_finalize: DownloadFinalizedCallback | None = None
    signal: AbortSignal | None = None

    def check(self, runtime: Runtime, finalize_name: str = "on_finalize") -> None:
        """Refuse what cannot be used, before anything is sent. *finalize_name* is what the caller calls it.

        Raises:
            LMStudioValueError: not callable, or no signal.
            LMStudioCancelledError: the signal is aborted already.
        """
        check_callbacks(runtime, on_progress=self.on_progress, **{finalize_name: self.on_finalize})
        check_signal(self.signal)
        if self.signal is not None:
            self.signal.throw_if_aborted()


async def follow_download(
    runtime: Runtime,
    channel: Channel[Any, Any],
    begin: Callable[[], object],
    cancel_packet: object,
    success_type: type[SuccessT],
    watch: DownloadWatch,
    on_other: Callable[[Any], Awaitable[None]] | None = None,
) -> SuccessT:
    """Start a download by *begin*, which opens the channel or sends on it, and wait for the packet of its success.

    Packets that are not about the download go to *on_other*.

    Leaving early in any way (signal, timeout, task cancellation, Ctrl-C) sends *cancel_packet*. A failing callback does
    not end it: it is logged. The channel is over afterwards, whatever happens.
    """
    signal = watch.signal

    def cancel() -> None:
        channel.send_last(cancel_packet)

    try:
        begin()
        with on_abort(signal, cancel):
            success = await _wait_for_success(runtime, channel, success_type, watch, on_other)
    except BaseException as error:
        cancel()
        # Whatever the abort has made of the wait, the caller gets the reason that was given for it.
        if signal is not None and signal.aborted and isinstance(error, Exception):
            raise signal.error() from None
        raise
    channel.close()
    return success


async def _wait_for_success(
    runtime: Runtime,
    channel: Channel[Any, Any],
    success_type: type[SuccessT],
    watch: DownloadWatch,
    on_other: Callable[[Any], Awaitable[None]] | None,
) -> SuccessT:
    on_finalize = watch.on_finalize
    while True:
        packet = await channel.receive()
        if isinstance(packet, success_type):
            return packet
        if isinstance(packet, ChannelPacketDownloadProgress):
            if (pending := notify(runtime, watch.on_progress, packet.update)) is not None:
                await pending
        elif isinstance(packet, ChannelPacketStartFinalizing):
            finalize, on_finalize = on_finalize, None
            if (pending := notify(runtime, finalize)) is not None:
                await pending
        elif on_other is not None:
            await on_other(packet)
