"""Chats that the server remembers, so that a client can go on with one by the id of a reply."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models import encode
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._sdk_models import AnyChatMessage

__all__ = ["StoredChat", "StoredChats", "new_response_id"]

_MAX_CHATS: Final = 1000
_MAX_BYTES: Final = 256 * 1024 * 1024


def new_response_id() -> str:
    """An id that nobody guesses: who knows it may go on with the chat."""
    return f"resp_{secrets.token_hex(24)}"


@dataclass(frozen=True)
class StoredChat:
    """A chat up to and with one reply."""

    id: str
    """Of the reply."""
    messages: Sequence[AnyChatMessage]
    """All that was said, oldest first. Give the messages of an earlier chat on as they are: they are counted once."""
    system_prompt: str | None = None
    """Where the surface keeps it for the next turn; it is not among the messages then."""
    reply: Any = None
    """The body of the reply, where the surface shows it again."""
    input_items: Sequence[Any] = ()
    """What the request has brought, where the surface shows that."""


class StoredChats:
    """The chats of one server, the newest ones: older ones make room for new ones. They end with the server.

    Each reply is a chat of its own, so that a client can go on from any of them.
    """

    def __init__(self, max_chats: int = _MAX_CHATS, max_bytes: int = _MAX_BYTES) -> None:
        """Keep at most *max_chats* and *max_bytes* of JSON; the newest is kept however large it is."""
        self._max_chats = max_chats
        self._max_bytes = max_bytes
        self._chats: dict[str, StoredChat] = {}
        self._own_bytes: dict[str, int] = {}
        self._messages: dict[int, _Weight] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._chats)

    def get(self, response_id: str) -> StoredChat | None:
        """The chat up to the reply *response_id*, if it is still known."""
        return self._chats.get(response_id)

    def previous(self, response_id: str) -> StoredChat:
        """The chat that a request goes on with.

        Raises:
            HttpError: it is not known, or not any more.
        """
        chat = self._chats.get(response_id)
        if chat is None:
            message = (
                f"There is no stored response {response_id[:80]!r}: it was not stored, was deleted, had to make room, "
                "or the server was restarted. Send the whole chat instead."
            )
            raise HttpError("not_found", message, param="previous_response_id", code="previous_response_not_found")
        return chat

    def put(self, chat: StoredChat) -> None:
        """Remember *chat*; the oldest ones are forgotten where there is no room."""
        own = len(encode(chat.reply)) + len(encode(chat.input_items))
        self._chats[chat.id] = chat
        self._own_bytes[chat.id] = own
        self._bytes += own
        for message in chat.messages:
            weight = self._messages.get(id(message))
            if weight is None:
                weight = self._messages[id(message)] = _Weight(len(encode(message)))
                self._bytes += weight.size
            weight.chats += 1
        while len(self._chats) > 1 and (len(self._chats) > self._max_chats or self._bytes > self._max_bytes):
            self.delete(next(iter(self._chats)))

    def delete(self, response_id: str) -> bool:
        """Forget the chat up to the reply *response_id*; False if it was not known. Others that go on with it stay."""
        chat = self._chats.pop(response_id, None)
        if chat is None:
            return False
        self._bytes -= self._own_bytes.pop(response_id)
        for message in chat.messages:
            weight = self._messages[id(message)]
            weight.chats -= 1
            if not weight.chats:
                self._bytes -= weight.size
                del self._messages[id(message)]
        return True


@dataclass
class _Weight:
    """What a message costs that several chats may share."""

    size: int
    chats: int = 0
