"""The messages of all connections in the log: logger `lmstudio.traffic`, levels 5 (received) and 7 (sent), below DEBUG.

Credentials are never part of it: they are exchanged before the messages begin.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ._wire import LongText

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Numbers without names: other packages have names of their own for some of them.
RECV = 5
SEND = 7

logger = logging.getLogger("lmstudio.traffic")

_LONGEST = 10_000
"""Characters of a message in the log; a file or a long chat has millions."""


def log_received(messages: Iterable[bytes]) -> Sequence[bytes]:
    """Write *messages* into the log; returns them."""
    found = list(messages)
    for message in found:
        logger.log(RECV, "Received %s", _text(message))
    return found


def log_sent(message: bytes | LongText) -> None:
    """Write *message* into the log; of a long one, which is made while it is written, only its size."""
    text = f"(a message of {message.size_bytes} bytes)" if isinstance(message, LongText) else _text(message)
    logger.log(SEND, "Sent %s", text)


def _text(message: bytes | bytearray) -> str:
    text = bytes(message[:_LONGEST]).decode(errors="replace")
    return text if len(message) <= _LONGEST else f"{text}... ({len(message)} bytes)"
