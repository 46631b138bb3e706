"""Texts as JavaScript writes them: what LM Studio shows of a value has to be the same from here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal, localcontext
from typing import Any

_LONGEST_FIXED = 10**21
"""From here on JavaScript writes numbers with an exponent."""


def number_text(value: float) -> str:
    """`String(value)`: the shortest digits that mean this number."""
    number = Decimal(repr(float(value)))
    if not number:
        return "0"
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    point = number.adjusted() + 1
    if -6 < point <= 21:
        text = format(number, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    sign = "-" if number < 0 else ""
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{sign}{mantissa}e{point - 1:+d}"


def fixed_text(value: float, decimals: int) -> str:
    """`value.toFixed(decimals)`: of the exact binary value, ties away from zero."""
    if abs(value) >= _LONGEST_FIXED:
        return number_text(value)
    with localcontext() as context:
        context.prec = 150
        rounded = Decimal(value or 0).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return format(rounded, "f")


def rounded_text(value: float) -> str:
    """`String(Math.round(value))`: ties towards the greater number."""
    if abs(value) >= _LONGEST_FIXED:
        return number_text(value)
    with localcontext() as context:
        context.prec = 150
        rounded = Decimal(value).quantize(Decimal(1), ROUND_HALF_UP if value > 0 else ROUND_HALF_DOWN)
    return number_text(float(rounded))


def quoted(text: str | None) -> str:
    """`JSON.stringify(text)`; an absent text is an empty one."""
    written = json.dumps(text or "", ensure_ascii=False)
    return re.sub(r"[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", written)


def json_text(value: Any, indent: str = "") -> str:
    """`JSON.stringify(value, null, 2)`, of plain JSON data."""
    inner = indent + "  "
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        items = [f"{quoted(name)}: {json_text(item, inner)}" for name, item in value.items()]
    else:
        items = [json_text(item, inner) for item in value]
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    separator = f",\n{inner}"
    return f"{opening}\n{inner}{separator.join(items)}\n{indent}{closing}" if items else opening + closing


def length(text: str) -> int:
    """`text.length`: in UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def shortened(text: str, size: int, gap: str) -> str:
    """`text.slice(0, Math.floor(size / 2)) + gap + text.slice(-Math.ceil(size / 2))`: beginning and end of a text."""
    units = text.encode("utf-16-le", "surrogatepass")
    head, tail = size // 2, (size + 1) // 2
    return _decoded(units[: head * 2]) + gap + _decoded(units[-tail * 2 :])


def _decoded(units: bytes) -> str:
    return units.decode("utf-16-le", "surrogatepass")
