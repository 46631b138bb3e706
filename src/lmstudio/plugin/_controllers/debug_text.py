"""Any values as one text, for people who look for a mistake."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


def debug_text(messages: Iterable[object]) -> str:
    """*messages*, separated by spaces."""
    return " ".join(map(_text, messages))


def _text(message: object) -> str:
    if isinstance(message, BaseException):
        return "".join(traceback.format_exception(type(message), message, message.__traceback__)).rstrip()
    if isinstance(message, (dict, list, tuple, msgspec.Struct)):
        try:
            return json.dumps(msgspec.to_builtins(message), ensure_ascii=False, indent=2)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            return repr(message)
    return str(message)
