"""Writes `_sdk_models/config_keys.py`: what lmstudio.js knows about each configuration key beside its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wire_schema import JsonObject

_TEMPLATE = '''{header}
"""Defaults and bounds of the keys that configurations consist of on the wire."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {{
{defaults}
}}
"""The value that lmstudio.js assumes where a configuration does not have the key. Never change one."""

BOUNDS: dict[str, tuple[float | None, float | None, bool]] = {{
{bounds}
}}
"""Of keys whose value, or the `value` inside it, is a number: lowest, highest, whole numbers only."""
'''


def render(fields: list[JsonObject], header: str) -> str:
    """The text of the file, for the fields of `kvConfig` in the cached schema."""
    bounds = {field["key"]: limits for field in fields if (limits := _bounds(field)) is not None}
    defaults = {field["key"]: field["default"] for field in fields}
    return _TEMPLATE.format(header=header, defaults=_members(defaults), bounds=_members(bounds))


def _bounds(field: JsonObject) -> tuple[float | None, float | None, bool] | None:
    if field["valueType"] == "contextLength":
        return 1, None, True
    if field["valueType"] not in ("numeric", "checkboxNumeric"):
        return None
    params = field["params"]
    return params.get("min"), params.get("max"), params.get("int", False)


def _members(values: dict[str, Any]) -> str:
    """The lines of a dict."""
    return "\n".join(f'    "{key}": {value!r},' for key, value in values.items())
