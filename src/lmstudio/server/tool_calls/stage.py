"""Tool calls told apart from text while both stream."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final, Literal

from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
    ToolCallRequest,
)
from lmstudio.server.errors import RequestError
from lmstudio.server.held_text import HeldText
from lmstudio.server.output import fragment
from lmstudio.server.tool_calls.call_reader import CallReader, MalformedCallError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lmstudio._sdk_models import LlmPredictionStopReason
    from lmstudio.server.engine.base import TextChunk
    from lmstudio.server.held_text import Piece
    from lmstudio.server.output import Packet
    from lmstudio.server.reasoning import ReasoningSplitter
    from lmstudio.server.tool_calls.formats import Opening, ToolCallFormat
    from lmstudio.server.tool_calls.naming import ToolNames

__all__ = ["ToolCallStage"]

_ENDS: Final[Mapping[LlmPredictionStopReason, str]] = {
    "maxPredictedTokensReached": "the limit of tokens was reached",
    "contextLengthReached": "the context is full",
    "modelUnloaded": "the model was unloaded",
}
_SPACE: Final = " \t\r\n"
_BETWEEN: Final = _SPACE + ";,"
"""What may stand between two calls without markers."""


def random_id() -> str:
    """Nine digits: what the templates of all families accept as the id of a call."""
    return f"{secrets.randbelow(10**9):09d}"


class _Call:
    """A call that is being read. Positions count from where the held text begins: white space, marker, JSON."""

    def __init__(self, opening: Opening, begin: int, *, is_in_array: bool = False) -> None:
        self.opening = opening
        self.begin = begin
        """Where the call itself begins."""
        self.is_certain = opening.is_certain or is_in_array
        """Whether it is a call, however it goes on."""
        self.position = self.json_begin = begin + (0 if is_in_array else len(opening.marker))
        """How much of the text has been looked at; and where the JSON can begin."""
        self.is_in_array = is_in_array
        self.phase: Literal["before", "json", "after", "array end", "skip"] = "before"
        self.reader = CallReader()
        self.id: str | None = None
        """Set as soon as the client knows of the call."""
        self.is_name_sent = False
        self.problem = ""


class ToolCallStage:
    """Text into fragments and tool call packets. No text of a call becomes a fragment.

    Text that may be the beginning of a call is held back until that is decided, and so is white space, which is dropped
    around calls. Reasoning comes before the first call: what looks like a call in it is none, and after a call all is
    text or calls. A call that the user stopped is dropped without a word; one that ended for another reason has failed.
    """

    def __init__(
        self,
        splitter: ReasoningSplitter,
        form: ToolCallFormat,
        names: ToolNames,
        *,
        is_forced: bool = False,
        new_id: Callable[[], str] = random_id,
    ) -> None:
        """*is_forced*: the prompt ended with `ToolCallFormat.forced_opening`."""
        self._splitter = splitter
        self._form = form
        self._names = names
        self._new_id = new_id
        self._marker_starts = {opening.marker[:1] for opening in form.openings if opening.marker}
        self._held = HeldText()
        self._packets: list[Packet] = []
        self._call: _Call | None = None
        self._has_called = False
        self._is_fresh = True
        """Whether nothing but white space has come since the beginning, or since the last call."""
        if is_forced:
            self._held.add(form.forced_opening(), 0, ())
            self._scan()

    def feed(self, chunk: TextChunk) -> Sequence[Packet]:
        """The packets that *chunk* completes."""
        self._add(self._splitter.feed(chunk))
        return self._taken()

    def finish(self, reason: LlmPredictionStopReason) -> Sequence[Packet]:
        """The packets for what was held back: text, a call whose end is missing, or its failure."""
        self._add(self._splitter.finish())
        while self._call is not None:
            self._end_unfinished(self._call, reason)
            self._scan()
        if not self._is_between_calls():
            self._release(len(self._held.text))
        return self._taken()

    def _add(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if self._is_plain(piece):
                self._packets.append(fragment(piece))
            elif piece.kind == "none" or self._has_called or self._call is not None:
                self._held.add(piece.text, piece.token_count, piece.tokens, has_drafted=piece.has_drafted)
                self._scan()
            else:
                self._release(len(self._held.text))
                self._packets.append(fragment(piece))
                self._is_fresh = True

    def _taken(self) -> Sequence[Packet]:
        packets, self._packets = self._packets, []
        return packets

    def _is_plain(self, piece: Piece) -> bool:
        """Whether *piece* can be nothing but text. Most are, so that this saves looking for markers."""
        text = piece.text
        return not (
            piece.kind != "none"
            or self._is_fresh
            or self._held
            or self._call is not None
            or text[-1:].isspace()
            or any(character in text for character in self._marker_starts)
        )

    # Text ------------------------------------------------------------------------------------------------------------

    def _release(self, length: int) -> None:
        """Send held text as text."""
        if length:
            if not self._held.text[:length].isspace():
                self._is_fresh = False
            self._packets.append(fragment(self._held.take(length)))

    def _scan(self) -> None:
        """Go as far as the held text allows."""
        while self._advance(self._call) if self._call is not None else self._find_opening():
            pass

    def _find_opening(self) -> bool:
        text = self._held.text
        found = [(at, opening) for opening in self._form.openings if (at := self._position_of(opening, text)) >= 0]
        if found:
            start, opening = min(found, key=lambda match: match[0])
            end = 0 if self._is_between_calls(start) else len(text[:start].rstrip())
            self._release(end)
            self._call = _Call(opening, start - end)
            return True
        if self._is_between_calls():
            return False
        length = len(text) - max(self._held.partial(opening.marker) for opening in self._form.openings)
        # White space before a call is dropped, so it waits as well.
        self._release(len(text[:length].rstrip()))
        return False

    def _is_between_calls(self, end: int | None = None) -> bool:
        """Whether a call has ended, and nothing has come since but what may stand between two."""
        between = _BETWEEN if any(not opening.marker for opening in self._form.openings) else _SPACE
        return self._has_called and self._is_fresh and not self._held.text[:end].strip(between)

    def _position_of(self, opening: Opening, text: str) -> int:
        if opening.marker:
            return text.find(opening.marker)
        start = len(text) - len(text.lstrip(_BETWEEN if self._has_called else _SPACE))
        return start if self._is_fresh and text[start : start + 1] == "{" else -1

    # Calls -----------------------------------------------------------------------------------------------------------

    def _advance(self, call: _Call) -> bool:
        """Read on in *call*; False when more text is needed."""
        match call.phase:
            case "before":
                return self._begin_json(call)
            case "json":
                return self._read_json(call)
            case "after":
                return self._read_closing(call)
            case "array end":
                return self._close_array(call)
            case "skip":
                return self._skip_to_closing(call)

    def _begin_json(self, call: _Call) -> bool:
        text = self._held.text
        if call.opening.has_label and not call.is_in_array:
            label = re.compile(r"[\w-]*\s?").match(text, call.json_begin)
            call.position = max(call.position, label.end() if label else 0)
        rest = text[call.position :].lstrip(_BETWEEN if call.is_in_array else _SPACE)
        call.position = len(text) - len(rest)
        if not rest:
            return False
        if rest[0] == "{":
            call.phase = "json"
        elif rest[0] == "[" and not call.is_in_array:
            call.is_in_array = True
            call.position += 1
        elif rest[0] == "]" and call.is_in_array:
            call.position += 1
            call.phase = "array end"
        elif self._form.name_end and not call.is_in_array:
            return self._read_name(call, rest)
        else:
            self._fail(call, "The tool call is not a JSON object.")
        return True

    def _read_name(self, call: _Call, rest: str) -> bool:
        """Mistral's newer way: the name before the arguments."""
        name, marker, _ = rest.partition(self._form.name_end)
        if marker:
            call.position += len(name) + len(marker)
            name, _, given_id = name.partition(self._form.id_marker)
            call.reader = CallReader(name.strip(), given_id.strip() or None)
            call.phase = "json"
            return True
        if "{" in rest or "\n" in rest:
            self._fail(call, "The tool call is not a JSON object.")
            return True
        return False

    def _read_json(self, call: _Call) -> bool:
        reader = call.reader
        call.position += reader.feed(self._held.text[call.position :])
        if not call.is_certain:
            if reader.name is None and not (reader.is_complete or reader.is_broken):
                return False
            if (reader.name or "") not in self._names:
                self._fail(call, "No such tool was offered.")
                return True
            call.is_certain = True
        self._report(call)
        if reader.is_broken:
            self._fail(call, "The tool call is not valid JSON.")
        elif reader.is_complete:
            call.phase = "after"
        return reader.is_broken or reader.is_complete

    def _report(self, call: _Call) -> None:
        """Tell the client what is new."""
        reader = call.reader
        if call.id is None and (reader.is_id_decided or reader.is_complete or reader.is_broken):
            self._start(call)
        if call.id is None or reader.name is None:
            return
        if not call.is_name_sent:
            call.is_name_sent = True
            name = self._names.original(reader.name)
            self._packets.append(LlmChannelPredictToClientPacketToolCallGenerationNameReceived(name=name))
        if text := reader.take_arguments():
            self._packets.append(
                LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated(content=text)
            )

    def _start(self, call: _Call) -> None:
        call.id = call.reader.id or self._new_id()
        self._has_called = True
        self._packets.append(LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=call.id))

    def _read_closing(self, call: _Call) -> bool:
        if call.is_in_array or not call.opening.closing:
            self._complete(call, call.position)
            return True
        text, closing = self._held.text, call.opening.closing
        end, next_call = text.find(closing, call.position), text.find(call.opening.marker, call.position)
        if end >= 0 and (next_call < 0 or end <= next_call):
            # Small models add a brace now and then: what stands before the marker belongs to the call.
            self._complete(call, end + len(closing))
        elif next_call >= 0:
            self._complete(call, call.position)
        return end >= 0 or next_call >= 0

    def _close_array(self, call: _Call) -> bool:
        rest = self._held.text[call.position :]
        stripped, closing = rest.lstrip(), call.opening.closing
        if closing and stripped != closing and closing.startswith(stripped):
            return False
        is_closed = bool(closing) and stripped.startswith(closing)
        self._drop(call.position + (len(rest) - len(stripped) + len(closing) if is_closed else 0))
        return True

    def _complete(self, call: _Call, length: int) -> None:
        """The call is the first *length* characters."""
        raw = self._held.text[call.begin : length]
        try:
            name, arguments = call.reader.parse()
        except MalformedCallError as error:
            self._send_failure(call, str(error), raw)
        else:
            request = ToolCallRequest(name=self._names.original(name), id=call.id, arguments=arguments)
            self._packets.append(
                LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request, raw_content=raw)
            )
        self._drop(length)
        if call.is_in_array:
            self._call = _Call(call.opening, 0, is_in_array=True)

    def _drop(self, length: int) -> None:
        """Forget the text of the call, which has ended."""
        self._held.take(length)
        self._call = None
        self._has_called = self._is_fresh = True

    # Failures --------------------------------------------------------------------------------------------------------

    def _fail(self, call: _Call, problem: str) -> None:
        """This is not what a call looks like: it is text after all, or a call that went wrong."""
        if call.is_certain:
            call.problem, call.phase = problem, "skip"
            return
        self._call = None
        # At least the marker, so that it is not found again.
        self._release(call.json_begin if call.opening.marker else call.position)

    def _skip_to_closing(self, call: _Call) -> bool:
        text, opening = self._held.text, call.opening
        # The character at which the JSON broke may be the first one of the marker.
        start = max(call.position - 1, call.json_begin)
        ends = [text.find(opening.closing, start) + len(opening.closing)] if opening.closing in text[start:] else []
        # A model that forgot to end this call may have begun another one.
        ends += [text.find(opening.marker, start)] if opening.marker in text[start:] else []
        ends = [end for end in ends if end > start]
        if not ends:
            return False
        self._send_failure(call, call.problem, text[call.begin : min(ends)])
        self._drop(min(ends))
        return True

    def _send_failure(self, call: _Call, problem: str, raw: str) -> None:
        if call.id is None:
            self._start(call)
        error = RequestError(
            f"The model wrote a tool call that cannot be understood. {problem}", suggestion="Ask the model again."
        )
        self._packets.append(
            LlmChannelPredictToClientPacketToolCallGenerationFailed(error=error.to_wire(), raw_content=raw)
        )

    def _end_unfinished(self, call: _Call, reason: LlmPredictionStopReason) -> None:
        """The text is over, and *call* is not."""
        text, closing = self._held.text, call.opening.closing
        if call.phase == "after":
            self._complete(call, call.position)
        elif call.phase == "array end":
            self._drop(call.position)
        elif call.is_in_array and call.phase == "before":
            self._drop(len(text))
        elif not call.is_certain:
            self._call = None
            self._release(len(text))
        elif reason == "userStopped":
            self._drop(len(text))
        else:
            # A quote that was not closed has swallowed what follows: the call ends at the first closing marker then.
            end = text.find(closing) + len(closing) if closing and closing in text else len(text)
            cut = f" because {_ENDS[reason]}" if reason in _ENDS else ""
            self._send_failure(call, call.problem or f"It ends in the middle{cut}.", text[call.begin : end])
            self._drop(end)
