"""The form of a recorded session: JSON lines that people can read, compare and edit.

The first line describes the file, `{"lmstudio_recording": 1, ...}`; the number is the version of the form, and a reader
refuses one that it does not know. Each other line is one call of the client, in the order in which they began:

    {"rpc": "llm/getModelInfo", "parameter": {...}, "result": {...}, "end": "closed"}
    {"rpc": "llm/unloadModel", "parameter": {...}, "end": "error", "error": {...}}
    {"channel": "llm/predict", "parameter": {...}, "exchange": [{"server": {...}}, {"client": {...}}], "end": "closed"}

- `parameter` and `result` are left out where nothing was sent, which is not the same as null.
- `exchange` are the packets of both sides, in the order in which they passed the recorder.
- `end` is "closed" (which is also meant where it is left out), "error", with the `error`, or "open": the call had not
  been answered, or the channel closed, when the recording or its connection ended.
- Ids of calls and channels, the authentication, pings and warnings are not kept: they are no part of what was asked.
- Secrets are replaced by "<removed>": whatever the authentication packets had as a passkey, texts of the form of an API
  token, and members that are called password, privateKey and the like. The same is done to what is compared with it.
  What a model writes in pieces is not searched across them.
- With `"base64": "shortened"` in the first line, long base64 of the client (images, files) is replaced by its hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

VERSION: Final = 1
REMOVED: Final = "<removed>"

_HEADER = "lmstudio_recording"
_SHORTEST_SECRET = 8
_TOKEN = re.compile(r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}")
_SECRET_MEMBERS = re.compile(
    r"(access|api|refresh)_?token|api_?key|authentication_?url|authorization|(client_?)?passkey|password|private_?key|secret",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"(?P<head>(?:base64:)?)(?P<data>[A-Za-z0-9+/]{1024,}={0,2})")

CallKind: TypeAlias = Literal["rpc", "channel"]


class _Absent:
    """Nothing was sent, not even null."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = _Absent()


@dataclass(eq=False)
class RecordedCall:
    """One line of a recording."""

    kind: CallKind
    name: str
    """Namespace and endpoint, e.g. "llm/predict"."""
    parameter: Any = ABSENT
    result: Any = ABSENT
    error: Any = ABSENT
    exchange: list[dict[str, Any]] = field(default_factory=list)
    end: Literal["closed", "error", "open"] = "open"
    line: int = 0
    """Where it is in the file."""

    def to_json(self) -> dict[str, Any]:
        """The line."""
        members = {"parameter": self.parameter, "result": self.result, "error": self.error}
        given = {name: value for name, value in members.items() if value is not ABSENT}
        exchange = {"exchange": self.exchange} if self.kind == "channel" else {}
        error = {"error": given.pop("error")} if "error" in given else {}
        return {self.kind: self.name, **given, **exchange, "end": self.end, **error}


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """What a line may have. Members that are left out stay UNSET."""

    rpc: str | msgspec.UnsetType = msgspec.UNSET
    channel: str | msgspec.UnsetType = msgspec.UNSET
    parameter: Any = msgspec.UNSET
    result: Any = msgspec.UNSET
    error: Any = msgspec.UNSET
    exchange: list[dict[Literal["server", "client"], Any]] = []
    end: Literal["closed", "error", "open"] = "closed"


@dataclass(frozen=True)
class Recording:
    """A session."""

    calls: Sequence[RecordedCall]
    cleaner: Cleaner
    """What was done to the values of the client."""

    @classmethod
    def read(cls, file: Path) -> Recording:
        """Read a recording.

        Raises:
            LMStudioValueError: there is none, or it is not one that this version can read; the message says where.
        """
        try:
            lines = file.read_bytes().decode("utf-8", "surrogatepass").split("\n")
        except OSError as error:
            raise LMStudioValueError(
                f"Cannot read the recording {file}: {error.strerror}. Record it first, with pytest "
                "--lmstudio-record=http://localhost:1234 or a Recorder."
            ) from error
        try:
            header = json.loads(lines[0])
            version = header.get(_HEADER) if isinstance(header, dict) else None
            if version is None:
                raise LMStudioValueError(f"{file} is no recording: its first line has no {_HEADER!r}.")
            if version != VERSION:
                raise LMStudioValueError(
                    f"{file} has version {version!r} of the form of recordings, this package reads {VERSION}; record "
                    "it again, or use the version of the package that it was recorded with."
                )
            calls = [_read_line(text, number) for number, text in enumerate(lines[1:], 2) if text.strip()]
        except (ValueError, RecursionError) as error:
            if isinstance(error, LMStudioValueError):
                raise
            raise LMStudioValueError(f"Cannot read the recording {file}: {error}.") from error
        return cls(calls, Cleaner(shortens_base64=header.get("base64") == "shortened"))

    def write(self, file: Path) -> None:
        """Write it, one call in a line."""
        header = {_HEADER: VERSION, "base64": "shortened" if self.cleaner.shortens_base64 else "whole"}
        values = [header, *(call.to_json() for call in self.calls)]
        text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.new")
        new.write_bytes(text.encode("utf-8", "surrogatepass"))
        new.replace(file)


def _read_line(text: str, number: int) -> RecordedCall:
    try:
        line = msgspec.convert(json.loads(text), _Line)
        if (line.rpc is msgspec.UNSET) == (line.channel is msgspec.UNSET):
            raise ValueError('a line has either "rpc" or "channel"')
    except (ValueError, msgspec.ValidationError) as problem:
        raise ValueError(f"line {number}: {problem}") from problem
    kind: CallKind = "rpc" if isinstance(line.rpc, str) else "channel"
    given = (line.parameter, line.result, line.error)
    parameter, result, error = (ABSENT if part is msgspec.UNSET else part for part in given)
    return RecordedCall(
        kind,
        str(getattr(line, kind)),
        parameter,
        result,
        error,
        exchange=[{str(side): packet for side, packet in step.items()} for step in line.exchange],
        end=line.end,
        line=number,
    )


@dataclass
class Cleaner:
    """Takes secrets out of what is recorded."""

    shortens_base64: bool = False
    secrets: set[str] = field(default_factory=set)

    def add(self, secrets: Iterable[str]) -> None:
        """Texts that may not be in the recording. Very short ones would be found in innocent words."""
        self.secrets |= {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}

    def clean(self, value: Any, *, is_of_client: bool) -> Any:
        """*value* as it may be written down."""
        if isinstance(value, dict):
            return {
                name: REMOVED
                if isinstance(item, str) and _SECRET_MEMBERS.fullmatch(name)
                else self.clean(item, is_of_client=is_of_client)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self.clean(item, is_of_client=is_of_client) for item in value]
        return self._clean_text(value, is_of_client) if isinstance(value, str) else value

    def _clean_text(self, text: str, is_of_client: bool) -> str:
        text = _TOKEN.sub(REMOVED, text)  # first: its end is also a passkey
        for secret in self.secrets:
            text = text.replace(secret, REMOVED)
        found = _BASE64.fullmatch(text) if is_of_client and self.shortens_base64 else None
        if found is None:
            return text
        data = found["data"]
        return f"{found['head']}sha256:{hashlib.sha256(data.encode()).hexdigest()}, {len(data)} characters"
