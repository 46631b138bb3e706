"""A prediction of LM Studio, as the surfaces of the gateway see it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketSuccess,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
    LlmPredictionStats,
)
from lmstudio.errors import LMStudioError, LMStudioModelNotFoundError
from lmstudio.gateway.upstream_errors import as_http
from lmstudio.server.http.backend import Running
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.observer import PredictionObserver, observed
from lmstudio.server.http.work import arguments_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from lmstudio.gateway.upstream import FoundModel, UpstreamModel
    from lmstudio.gateway.upstream_channel import PredictChannel
    from lmstudio.server.output import Packet

__all__ = ["UpstreamRunning"]

_PROGRESS = LlmChannelPredictToClientPacketPromptProcessingProgress
_TEXT = LlmChannelPredictToClientPacketFragment
_TOOL_PACKETS = (
    LlmChannelPredictToClientPacketToolCallGenerationStart,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
)


class UpstreamRunning(Running):
    """Packets pass through as LM Studio has sent them."""

    def __init__(
        self, start: Callable[[UpstreamModel], PredictChannel], model: FoundModel, *, is_one_call: bool
    ) -> None:
        """*start* makes the channel of a prediction, and sends nothing yet."""
        self._start = start
        self._model = model
        self._channel = start(model)
        self._has_begun = self._is_cancelled = False
        self._is_one_call = is_one_call
        self._has_call = False
        self._calls = _WholeCalls()
        self._ahead: list[Packet] = []
        self._success: LlmChannelPredictToClientPacketSuccess | None = None
        self._has_content = False
        self._has_failed = False
        self._observer = PredictionObserver()

    def begin(self) -> None:
        """Send the request. Nothing is awaited."""
        self._observer = observed().predicting(self._model.key)
        self._channel.open()

    async def packets(self) -> AsyncIterator[list[Packet]]:
        """As `Running.packets`.

        Raises:
            HttpError: it failed.
        """
        while True:
            batch, self._ahead = self._ahead, []
            if not batch and self._success is None:
                batch = await self._next()
            if batch:
                yield batch
            if self._success is not None:
                self._check_end(self._success.stats)
                return

    def pass_on_text(self, take: Callable[[list[Packet]], bool]) -> None:
        """As `Running.pass_on_text`."""

        def take_text(packets: list[Any]) -> bool:
            # Text after a tool call may not be for the client, and the first of all is told to the observer.
            is_text = self._has_content and not self._has_call
            return is_text and all(type(packet) is _TEXT for packet in packets) and take(packets)

        self._channel.pass_on(take_text)

    async def wait_for_first(self, *, is_progress_enough: bool = False) -> None:
        """As `Running.wait_for_first`.

        Raises:
            HttpError: it failed.
        """
        while self._success is None and all(
            not is_progress_enough and isinstance(packet, _PROGRESS) for packet in self._ahead
        ):
            self._ahead += await self._next()
        if self._success is not None:
            self._check_end(self._success.stats)

    async def _next(self) -> list[Packet]:
        """What has come, without the last packet."""
        try:
            packets = await self._receive()
        except Exception as error:
            self._has_failed = True
            if isinstance(error, LMStudioError):
                raise self._error(error) from error
            raise
        if type(packets[-1]) is LlmChannelPredictToClientPacketSuccess:
            success = self._success = packets.pop()
            self._check_model(success)
        if not self._has_content and not all(isinstance(packet, _PROGRESS) for packet in packets):
            self._has_content = True
            self._observer.first_content()
        if self._has_call:
            return []
        for number, packet in enumerate(packets):
            if isinstance(packet, _TOOL_PACKETS):
                return [*packets[:number], *self._with_calls(packets[number:])]
        return packets

    async def _receive(self) -> list[Any]:
        try:
            packets = await self._channel.receive_all()
        except LMStudioModelNotFoundError as error:
            if self._has_begun:
                raise
            model = await self._model.again(error)
            if self._is_cancelled:
                raise
            self._has_begun = True
            self._channel = self._start(model).open()
            packets = await self._channel.receive_all()
        self._has_begun = True
        return packets

    def _with_calls(self, packets: list[Any]) -> Iterator[Packet]:
        for packet in packets:
            yield from self._calls.complete(packet)
            if self._is_one_call and isinstance(packet, LlmChannelPredictToClientPacketToolCallGenerationEnd):
                self._has_call = True
                self._channel.cancel()
                return

    def _error(self, error: LMStudioError) -> HttpError:
        if self._channel.is_overrun:
            message = "The client has not read what the model has written, for so long that it was stopped."
            return HttpError("unavailable", message, code="client_too_slow")
        return as_http(error)

    def _check_model(self, packet: LlmChannelPredictToClientPacketSuccess) -> None:
        """Raise HttpError if another model than the one that was asked for has answered."""
        wanted, found = self._model, packet.model_info
        # A model in several variants may go by another key than in the list, but it has one path.
        is_same_model = found.model_key == wanted.info.model_key or found.path == wanted.info.path
        if found.identifier != wanted.identifier or not is_same_model:
            message = (
                f"LM Studio has answered with the model {found.identifier!r} ({found.model_key}), not with "
                f"{wanted.identifier!r} ({wanted.info.model_key}), which was asked for. Name the one that it has."
            )
            raise HttpError("model_not_found", message, param="model", code="model_mismatch")

    def _check_end(self, stats: LlmPredictionStats) -> None:
        """Raise what the end means to a client that is only told of good ones."""
        if stats.stop_reason == "modelUnloaded":
            message = f"The model {self._model.identifier!r} was unloaded during the request. Send it again."
            raise HttpError("internal", message, code="model_unloaded")
        if stats.stop_reason == "failed":
            message = f"The model {self._model.identifier!r} stopped because of an error. LM Studio's log may say more."
            raise HttpError("internal", message, code="upstream_error")

    @property
    def stats(self) -> LlmPredictionStats:
        """The statistics, once the packets have ended."""
        assert self._success is not None
        stats = self._success.stats
        is_ended_by_call = self._has_call and stats.stop_reason == "userStopped"
        return msgspec.structs.replace(stats, stop_reason="toolCalls") if is_ended_by_call else stats

    def cancel(self) -> None:
        """Let it end, with what there is."""
        self._is_cancelled = True
        self._channel.cancel()

    def stop(self) -> None:
        """End it, if it has not ended."""
        self._channel.leave()
        if self._success is not None:
            self._observer.ended(self.stats)
        else:
            # One whose client has gone does not wait for LM Studio to say how it has ended.
            self._observer.ended(None if self._has_failed else LlmPredictionStats(stop_reason="userStopped"))


class _WholeCalls:
    """Older versions of LM Studio tell of a tool call only when it is whole, and give it no id."""

    def __init__(self) -> None:
        self._call_id: str | None = None
        self._has_name = self._has_arguments = False

    def complete(self, packet: Any) -> Iterator[Packet]:
        """*packet*, and before it what should have come."""
        match packet:
            case LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=call_id):
                yield self._start(call_id)
            case LlmChannelPredictToClientPacketToolCallGenerationNameReceived():
                self._has_name = True
                yield packet
            case LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated():
                self._has_arguments = True
                yield packet
            case LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request):
                if self._call_id is None:
                    yield self._start(request.id)
                if not self._has_name:
                    yield LlmChannelPredictToClientPacketToolCallGenerationNameReceived(name=request.name)
                if not self._has_arguments:
                    text = arguments_text(request.arguments)
                    yield LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated(content=text)
                self._call_id = None
                yield packet
            case _:
                yield packet

    def _start(self, call_id: str | None) -> LlmChannelPredictToClientPacketToolCallGenerationStart:
        self._call_id = call_id or f"call_{secrets.token_hex(8)}"
        self._has_name = self._has_arguments = False
        return LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=self._call_id)
