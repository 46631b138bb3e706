"""A prediction of a server that is asked over HTTP, as the surfaces of the gateway see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmPredictionStats,
)
from lmstudio.errors import LMStudioError
from lmstudio.gateway.upstream_errors import as_http
from lmstudio.server.http.backend import Running
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.observer import PredictionObserver, observed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lmstudio.gateway.http_packets import PacketReader
    from lmstudio.gateway.http_upstream import HttpModel
    from lmstudio.http._streams import OpenStream
    from lmstudio.server.output import Packet

__all__ = ["HttpRunning"]

_PROGRESS: Final = LlmChannelPredictToClientPacketPromptProcessingProgress


class HttpRunning(Running):
    """Packets are made of the chunks of a stream. Nothing is sent before somebody waits for them."""

    def __init__(
        self,
        stream: OpenStream[list[Packet], LlmPredictionStats],
        reader: PacketReader[Any],
        model: HttpModel,
        *,
        is_one_call: bool,
    ) -> None:
        self._stream, self._reader, self._model = stream, reader, model
        self._is_one_call = is_one_call
        self._has_call = self._is_cancelled = self._is_over = self._is_checked = False
        self._has_content = self._has_failed = False
        self._ahead: list[Packet] = []
        self._observer = PredictionObserver()

    def begin(self) -> None:
        """It begins when somebody waits for it; from now on it counts."""
        self._observer = observed().predicting(self._model.key)

    async def packets(self) -> AsyncIterator[list[Packet]]:
        """As `Running.packets`.

        Raises:
            HttpError: it failed.
        """
        while True:
            batch, self._ahead = self._ahead, []
            if not batch and not self._is_over:
                batch = await self._next()
            if batch:
                yield batch
            if self._is_over:
                return

    async def wait_for_first(self, *, is_progress_enough: bool = False) -> None:  # noqa: ARG002 (none is told of)
        """As `Running.wait_for_first`.

        Raises:
            HttpError: it failed.
        """
        while not self._is_over and not self._ahead:
            self._ahead = await self._next()

    async def _next(self) -> list[Packet]:
        try:
            events = await self._stream.next_events()
        except Exception as error:
            self._has_failed = True
            if isinstance(error, LMStudioError):
                raise as_http(error) from error
            raise
        if not events:
            self._is_over = True
            return []
        if not self._is_checked and self._reader.model:
            self._is_checked = True
            self._check_model()
        packets = [packet for event in events for packet in event]
        if not self._has_content and not all(isinstance(packet, _PROGRESS) for packet in packets):
            self._has_content = True
            self._observer.first_content()
        return self._until_call(packets) if self._is_one_call else packets

    def _until_call(self, packets: list[Packet]) -> list[Packet]:
        if self._has_call:
            # What comes after the call is only the numbers.
            return [packet for packet in packets if isinstance(packet, _PROGRESS)]
        for number, packet in enumerate(packets):
            if isinstance(packet, LlmChannelPredictToClientPacketToolCallGenerationEnd):
                self._has_call = True
                if not self._reader.has_reason:
                    self._stream.cancel()  # the next call has begun
                return packets[: number + 1]
        return packets

    def _check_model(self) -> None:
        """Raise HttpError if another model than the one that was asked for has answered.

        Servers have other names for a model than those of their list, so only such a name is that of another model.
        """
        wanted, found = self._model.identifier, self._reader.model
        if found != wanted and found in self._model.others:
            message = (
                f"The server has answered with the model {found!r}, not with {wanted!r}, which was asked for. Name the "
                "one that it has."
            )
            raise HttpError("model_not_found", message, param="model", code="model_mismatch")

    @property
    def stats(self) -> LlmPredictionStats:
        """The statistics, once the packets have ended."""
        stats = self._reader.stats(is_cancelled=self._is_cancelled and not self._reader.is_over)
        return msgspec.structs.replace(stats, stop_reason="toolCalls") if self._has_call else stats

    def cancel(self) -> None:
        """Let it end, with what there is."""
        self._is_cancelled = True
        self._stream.cancel()

    def stop(self) -> None:
        """End it, if it has not ended."""
        self._stream.abandon()
        if self._is_over and not self._has_failed:
            self._observer.ended(self.stats)
        else:
            self._observer.ended(None if self._has_failed else LlmPredictionStats(stop_reason="userStopped"))
