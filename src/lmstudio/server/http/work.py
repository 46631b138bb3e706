"""What the surfaces make of packets and messages, whoever the packets come from."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lmstudio._openai_chat import Collected, arguments_text
from lmstudio.errors import LMStudioValueError
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Collected", "arguments_text", "refusing_bad_messages"]


@contextmanager
def refusing_bad_messages(param: str) -> Iterator[None]:
    """Messages that cannot be read are the client's mistake.

    Raises:
        HttpError: the block raised LMStudioValueError.
    """
    try:
        yield
    except LMStudioValueError as error:
        raise HttpError("invalid_request", str(error), param=param, code="invalid_value") from None
