"""Read the events of streams whose data says of what kind it is; kinds that are not known are kept as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from lmstudio import _lenient
from lmstudio._http_models import HttpStruct, JsonObject, decode_reply
from lmstudio.errors import LMStudioProtocolError

if TYPE_CHECKING:
    from lmstudio.http._sse import ServerSentEvent

__all__ = ["EventDecoder", "UnknownEvent"]

EventT = TypeVar("EventT")


class UnknownEvent(HttpStruct, kw_only=True):
    """An event that this version does not know: servers are newer than clients. It says nothing to the result."""

    type: ClassVar[Literal["unknown"]] = "unknown"
    name: str
    """Its kind, as the server calls it."""
    data: JsonObject
    """All of it, `type` included."""


class EventDecoder(Generic[EventT]):
    """Reads events as one of the structs of *union*, which are told apart by `type`.

    *essentials* are as for `lmstudio._lenient`: what an event without it would say something wrong by.
    """

    def __init__(self, union: Any, essentials: _lenient.Essentials = ()) -> None:
        self._union = union
        self._essentials = essentials

    def decode(self, event: ServerSentEvent) -> EventT | UnknownEvent | None:
        """*event* as its struct; None for the mark that OpenAI's streams end with, which says nothing here.

        Raises:
            LMStudioProtocolError: it cannot be understood.
        """
        if event.data == "[DONE]":
            return None
        try:
            known: EventT = decode_reply(self._union, event.data, essentials=self._essentials)
        except _lenient.UnknownTagError:
            return _unknown(event)
        except _lenient.DECODE_ERRORS as error:
            name = event.event or "without a name"
            message = f"Could not read an event of the stream: that of kind {name!r} has an unexpected form: {error}"
            raise LMStudioProtocolError(message) from error
        return known


def _unknown(event: ServerSentEvent) -> UnknownEvent:
    members = msgspec.json.decode(event.data)
    return UnknownEvent(name=str(members.get("type") or event.event), data=members)
