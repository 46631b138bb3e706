"""What tools return, as the text that the model gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import LMStudioValueError

__all__ = ["result_text"]


def result_text(value: object) -> str:
    """What a tool has returned, as the text that the model gets: JSON, with characters beyond ASCII as they are.

    Beside plain data that may be: msgspec structs, pydantic models, dataclasses, enums, dates and times, UUIDs,
    decimals, bytes (base64), sets, paths, NumPy arrays and numbers, other mappings and sequences. NaN becomes null.

    Raises:
        LMStudioValueError: there is something else in it; the message names its type.
    """
    import json

    import msgspec

    try:
        encoded = msgspec.json.encode(value, enc_hook=_plain_result)
    except LMStudioValueError:
        raise
    except RecursionError as error:
        raise LMStudioValueError("A tool returned data that contains itself, or is nested too deeply.") from error
    except (TypeError, ValueError) as error:  # half characters, for example
        kind = type(value).__name__
        raise LMStudioValueError(f"A tool returned a {kind} that cannot be written as JSON: {error}.") from error
    return json.dumps(msgspec.json.decode(encoded), ensure_ascii=False)


def _plain_result(value: Any) -> Any:
    import os
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    if callable(getattr(value, "model_dump", None)) and not isinstance(value, type):
        return value.model_dump(mode="json")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value) in (tuple, frozenset, list):  # msgspec knows them, but not as keys
        raise LMStudioValueError(f"A tool returned a dict with a {type(value).__name__} as key. Use texts or numbers.")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Sequence, AbstractSet)):
        return list(value)
    if isinstance(value, (int, float)):  # subclasses
        return float(value) if isinstance(value, float) else int(value)
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    hint = " Await it in the tool." if hasattr(value, "__await__") else ""
    raise LMStudioValueError(
        f"A tool returned something of type {type(value).__module__}.{type(value).__qualname__}, which cannot be "
        f"written as JSON.{hint} Return text, numbers, lists, dicts, dataclasses or models."
    )
