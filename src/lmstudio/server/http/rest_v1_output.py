"""What comes of POST /api/v1/chat: the items of the reply, and the events that tell of them as they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lmstudio._http_models import encode
from lmstudio._http_models import rest_v1 as wire
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lmstudio._sdk_models import LlmPredictionStats, ToolCallRequest
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.output import Packet

__all__ = ["EventStream", "Output", "Tally", "event_bytes"]

_Section: TypeAlias = Literal["message", "reasoning"]
_STARTS: Mapping[_Section, type[Any]] = {"message": wire.MessageStart, "reasoning": wire.ReasoningStart}
_DELTAS: Mapping[_Section, type[Any]] = {"message": wire.MessageDelta, "reasoning": wire.ReasoningDelta}
_ENDS: Mapping[_Section, type[Any]] = {"message": wire.MessageEnd, "reasoning": wire.ReasoningEnd}
_ITEMS: Mapping[_Section, type[Any]] = {"message": wire.MessageItem, "reasoning": wire.ReasoningItem}


def event_bytes(*events: wire.ChatEvent) -> bytes:
    """*events* as they travel, each under its name."""
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (str(event.__struct_config__.tag).encode(), encode(event)) for event in events
    )


class EventStream:
    """The events of a reply, in order. They are written in a task, because who reports a load cannot wait."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pending = bytearray()
        self._writing: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Something was put: errors are events from now on."""
        return self._writing is not None

    def put(self, *events: wire.ChatEvent) -> None:
        """Write *events* soon."""
        if not events:
            return
        self._pending += event_bytes(*events)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())

    async def flush(self) -> None:
        """Wait until everything is written."""
        if self._writing is not None:
            await self._writing

    def close(self) -> None:
        """Write no more."""
        if self._writing is not None:
            self._writing.cancel()

    async def _write(self) -> None:
        await self._exchange.start_stream()
        while self._pending:
            events = bytes(self._pending)
            self._pending.clear()
            await self._exchange.write(events)


class Output:
    """What the model has written and called so far. Each method returns the events that tell of it."""

    def __init__(self, providers: Mapping[str, wire.Provider]) -> None:
        """*providers* has all tools that the model may call, by name."""
        self.items: list[wire.OutputItem] = []
        self.reasoning_tokens: int = 0
        self._providers = providers
        self._calls: list[ToolCallRequest] = []
        self._section: _Section | None = None
        self._text: list[str] = []
        self._is_reading = False
        self._call_id = self._call_name = ""

    def add(self, packets: Sequence[Packet]) -> list[wire.ChatEvent]:
        """Take the next packets in."""
        return [event for packet in packets for event in self._of(packet)]

    def _of(self, packet: Packet) -> Iterator[wire.ChatEvent]:
        match packet:
            case LlmChannelPredictToClientPacketPromptProcessingProgress(progress=progress):
                yield from self._read(progress)
            case LlmChannelPredictToClientPacketFragment(fragment=fragment):
                kind = fragment.reasoning_type
                if kind == "reasoning":
                    self.reasoning_tokens += fragment.tokens_count
                if kind in ("none", "reasoning") and fragment.content:
                    yield from self._write("message" if kind == "none" else "reasoning", fragment.content)
            case LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=call_id):
                self._call_id, self._call_name = call_id or "", ""
                yield from self.end_section()
            case LlmChannelPredictToClientPacketToolCallGenerationNameReceived(name=name):
                self._call_name = name
                if name in self._providers:
                    yield wire.ToolCallStart(tool=name, provider_info=self._providers[name])
            case LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request):
                yield from self._call(request)
            case LlmChannelPredictToClientPacketToolCallGenerationFailed(error=error, raw_content=raw):
                yield self._refuse(error.title or "The call could not be read.", self._call_name, raw)
            case _:
                pass

    def _read(self, progress: float) -> Iterator[wire.ChatEvent]:
        if not self._is_reading:
            self._is_reading = True
            yield wire.PromptProcessingStart()
        yield wire.PromptProcessingProgress(progress=progress)
        if progress >= 1:
            self._is_reading = False
            yield wire.PromptProcessingEnd()

    def _write(self, section: _Section, text: str) -> Iterator[wire.ChatEvent]:
        if section != self._section:
            yield from self.end_section()
            self._section = section
            yield _STARTS[section]()
        self._text.append(text)
        yield _DELTAS[section](content=text)

    def end_section(self) -> list[wire.ChatEvent]:
        """Nothing more comes of what the model has been writing."""
        section, self._section = self._section, None
        if section is None:
            return []
        self.items.append(_ITEMS[section](content="".join(self._text)))
        self._text.clear()
        end: wire.ChatEvent = _ENDS[section]()
        return [end]

    # Calls -----------------------------------------------------------------------------------------------------------

    def _call(self, request: ToolCallRequest) -> Iterator[wire.ChatEvent]:
        request.id = request.id or self._call_id or f"call_{len(self.items)}_{len(self._calls)}"
        self._calls.append(request)
        provider = self._providers.get(request.name)
        if provider is None:
            names = ", ".join(self._providers) or "none"
            yield self._refuse(f"There is no such tool; there are: {names}.", request.name, None)
        else:
            yield wire.ToolCallArguments(tool=request.name, arguments=request.arguments or {}, provider_info=provider)

    def take_calls(self) -> list[ToolCallRequest]:
        """The calls that are to be made, each with an id: those of the last prediction."""
        calls, self._calls = self._calls, []
        return calls

    def answered(self, request: ToolCallRequest, answer: str) -> list[wire.ChatEvent]:
        """The tool of *request* has returned *answer*."""
        members: dict[str, Any] = {
            "tool": request.name,
            "arguments": request.arguments or {},
            "output": answer,
            "provider_info": self._providers[request.name],
        }
        self.items.append(wire.ToolCallItem(**members))
        return [wire.ToolCallSuccess(**members)]

    def _refuse(self, reason: str, name: str, arguments: str | None) -> wire.ToolCallFailure:
        provider = self._providers.get(name)
        call = wire.InvalidCall(
            type="invalid_name" if provider is None else "invalid_arguments",
            tool_name=name,
            arguments=None if provider is None else arguments,
            provider_info=provider,
        )
        self.items.append(wire.InvalidToolCallItem(reason=reason, metadata=call))
        return wire.ToolCallFailure(reason=reason, metadata=call)


class Tally:
    """The statistics of one reply, which is several predictions if tools are called."""

    def __init__(self) -> None:
        self._input_tokens = self._output_tokens = 0
        self._seconds = 0.0
        self._first_token_seconds: float | None = None
        self.load_seconds: float | None = None

    def add(self, stats: LlmPredictionStats) -> None:
        """Count one prediction. What the earlier ones have read and written is part of its prompt."""
        predicted = stats.predicted_tokens_count or 0
        self._input_tokens = stats.prompt_tokens_count or 0
        self._output_tokens += predicted
        if stats.tokens_per_second:
            self._seconds += predicted / stats.tokens_per_second
        if self._first_token_seconds is None:
            self._first_token_seconds = stats.time_to_first_token_sec

    def stats(self, output: Output) -> wire.ChatStats:
        """What the client is told."""
        return wire.ChatStats(
            input_tokens=self._input_tokens,
            total_output_tokens=self._output_tokens,
            reasoning_output_tokens=output.reasoning_tokens,
            tokens_per_second=self._output_tokens / self._seconds if self._seconds else 0.0,
            time_to_first_token_seconds=self._first_token_seconds or 0.0,
            model_load_time_seconds=self.load_seconds,
        )
