"""How a failure in a plugin is told to its host."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from lmstudio._sdk_models import SerializedLMSExtendedError
from lmstudio.errors import LMStudioServerError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["fault", "own_traceback"]

_PACKAGE = __name__.partition(".")[0]
_LONGEST_CAUSE = 2_000


def fault(attempted: str, error: BaseException) -> SerializedLMSExtendedError:
    """*error* as the protocol spells it. *attempted* says what failed, as a sentence without its end.

    Applications may show the title alone, so it has the cause, too.
    """
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    cause = cause[:_LONGEST_CAUSE]
    title = f"{attempted} failed ({cause})"
    return SerializedLMSExtendedError(
        title=title,
        root_title=title,
        cause=cause,
        suggestion=error.suggestion if isinstance(error, LMStudioServerError) else None,
        stack=_stack(error),
    )


def own_traceback(error: BaseException) -> TracebackType | None:
    """From the first frame of the plugin's own code on: those of this package say nothing to its author."""
    begin = error.__traceback__
    while begin is not None and begin.tb_frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        begin = begin.tb_next
    return begin


def _stack(error: BaseException) -> str:
    begin = own_traceback(error) or error.__traceback__
    return "".join(traceback.format_exception(type(error), error, begin))
