"""What a client asked the server for, in plain values, and how that differs from what a test expects."""

from __future__ import annotations

import difflib
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lmstudio.server.engine._gate import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

JsonObject: TypeAlias = dict[str, Any]
CallT = TypeVar("CallT", bound="Call")

_SHOWN_CHARACTERS = 60


@dataclass(eq=False)
class Call:
    """One rpc or channel that a client has opened."""

    namespace: str
    endpoint: str
    raw: Any = None
    """The parameter, as JSON, exactly as it was sent."""
    client: str = ""
    """The client's identifier: the same for all connections of one client."""
    error: str | None = None
    """What the client was told, if the call failed."""
    _cancelled: Signal = field(default_factory=Signal, repr=False)
    _finished: Signal = field(default_factory=Signal, repr=False)

    @property
    def name(self) -> str:
        """Namespace and endpoint, e.g. "llm/predict"."""
        return f"{self.namespace}/{self.endpoint}"

    @property
    def cancelled(self) -> bool:
        """The client has cancelled it, or has gone before its end."""
        return self._cancelled.is_set()

    @property
    def finished(self) -> bool:
        """The server has done with it, well or not."""
        return self._finished.is_set()

    def wait_cancelled(self, timeout: float = 10.0) -> bool:
        """Block until the client has cancelled it, or has gone; False after *timeout* seconds without."""
        return self._cancelled.wait(timeout)

    def wait_finished(self, timeout: float = 10.0) -> bool:
        """Block until the server has done with it; False after *timeout* seconds without."""
        return self._finished.wait(timeout)

    def note_cancel(self) -> None:
        """For the server: the client wants no more of it."""
        self._cancelled.set()

    def note_end(self, error: str | None = None) -> None:
        """For the server: it is over."""
        self.error = error
        self._finished.set()


@dataclass(eq=False)
class PredictionRequest(Call):
    """One prediction that was asked for: by `respond`, `complete`, or one round of `act`."""

    model: str = ""
    """The identifier of the model, which is its key unless it was loaded under another."""
    messages: list[JsonObject] = field(default_factory=list)
    """The chat in OpenAI's form: `{"role": "user", "content": "Hi"}`; results of tools have the role "tool"."""
    tools: list[JsonObject] = field(default_factory=list)
    """What was offered: "name", "description" and "parameters" of each tool."""
    config: JsonObject = field(default_factory=dict)
    """What the client has set, and nothing else, by the names of `LlmPredictionConfig`, e.g. "max_tokens"."""
    prompt: str | None = None
    """What the model got to read. None: the prediction has not come so far."""

    @property
    def text(self) -> str:
        """The text of the last message of the user; of a completion, its prompt."""
        return self._text("user") if self.messages else self.prompt or ""

    @property
    def system(self) -> str:
        """The system prompt, "" without one."""
        return self._text("system")

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools that were offered."""
        return [tool["name"] for tool in self.tools]

    @property
    def tool_results(self) -> list[str]:
        """What the tools said that the model has called so far."""
        return [message["content"] for message in self.messages if message["role"] == "tool"]

    def _text(self, role: str) -> str:
        return next((_plain_text(each["content"]) for each in reversed(self.messages) if each["role"] == role), "")

    def __str__(self) -> str:
        return f"{self.model}: {shortened(self.text)}"


@dataclass(eq=False)
class EmbeddingRequest(Call):
    """One text that was to be embedded."""

    model: str = ""
    text: str = ""


def _plain_text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def shortened(text: str) -> str:
    """The text as an error may quote it."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}...")


class RequestLog:
    """Everything that clients have asked for, in order. From any thread."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._changed = threading.Condition()

    def add(self, call: Call) -> None:
        """Note a call."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def all(self, kind: type[CallT]) -> list[CallT]:
        """Those of one kind."""
        with self._changed:
            return [call for call in self._calls if isinstance(call, kind)]

    def wait_for(self, kind: type[CallT], count: int, timeout: float) -> bool:
        """Block until there are *count* of one kind; False after *timeout* seconds without."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.all(kind)) >= count, timeout)

    def clear(self) -> None:
        """Forget everything."""
        with self._changed:
            self._calls.clear()


# Expectations --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """What a prediction should have been asked for with; None says nothing."""

    text: str | re.Pattern[str] | None = None
    model: str | None = None
    system: str | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    tools: Sequence[str] | None = None
    tool_results: Sequence[str] | None = None
    config: Mapping[str, Any] | None = None

    def differences(self, request: PredictionRequest) -> list[str]:
        """One line, or block of lines, for each thing in which *request* is different."""
        found = []
        if isinstance(self.text, re.Pattern):
            if self.text.search(request.text) is None:
                found.append(f"text: expected something like {self.text.pattern!r}, sent {request.text!r}")
        else:
            found += _difference("text", self.text, request.text)
        found += _difference("model", self.model, request.model)
        found += _difference("system", self.system, request.system)
        found += _difference("messages", self.messages, request.messages)
        found += _difference("tools", self.tools, request.tool_names)
        found += _difference("tool_results", self.tool_results, request.tool_results)
        for name, value in (self.config or {}).items():
            found += _difference(f"config[{name!r}]", [value], [request.config[name]] if name in request.config else [])
        return found


def _difference(what: str, expected: Any, sent: Any) -> list[str]:
    if expected is None or (_as_list(expected) == sent if isinstance(sent, list) else expected == sent):
        return []
    if what.startswith("config"):
        return [f"{what}: expected {expected[0]!r}, sent {repr(sent[0]) if sent else 'nothing'}"]
    if isinstance(sent, str) and "\n" not in sent + expected:
        return [f"{what}: expected {expected!r}, sent {sent!r}"]
    lines = difference_lines(expected, sent)
    return ["\n    ".join([f"{what} (- expected, + sent):", *lines])]


def _as_list(value: Any) -> list[Any]:
    return [dict(item) if hasattr(item, "keys") else item for item in value]


def difference_lines(expected: Any, found: Any) -> list[str]:
    """Two values as JSON, line by line: "- " before what was expected, "+ " before what was found."""
    before, after = (_lines(value) for value in (expected, found))
    return [line.rstrip() for line in difflib.ndiff(before, after) if not line.startswith("?")]


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return json.dumps(value, indent=1, ensure_ascii=False, default=repr, sort_keys=True).splitlines()


def require_fitting(requests: Sequence[PredictionRequest], expected: Expected, *, only_last: bool) -> None:
    """Raise AssertionError unless one of *requests*, or the last one, is as *expected*."""
    if not requests:
        raise AssertionError("No prediction was asked for.")
    candidates = requests[-1:] if only_last else requests
    found = [expected.differences(request) for request in candidates]
    if all(found):
        nearest = min(range(len(found)), key=lambda number: len(found[number]))
        which = "The last prediction" if only_last else "No prediction was as expected. The nearest"
        said = f"{which} ({requests.index(candidates[nearest]) + 1} of {len(requests)}) is different:"
        raise AssertionError("\n  ".join([said, *found[nearest]]))


Matcher: TypeAlias = "str | re.Pattern[str] | Callable[[Any], object] | None"


def fits(matcher: Matcher, text: str, request: object) -> bool:
    """Whether a text contains a text, fits an expression, or a function is true of the request. None fits all."""
    if matcher is None:
        return True
    if isinstance(matcher, str):
        return matcher in text
    return matcher.search(text) is not None if isinstance(matcher, re.Pattern) else bool(matcher(request))
