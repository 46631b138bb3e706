"""Whether a loaded model has the configuration that somebody wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._sdk_models.config_keys import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmstudio._sdk_models import KvConfig, KvConfigStack

_OTHER_ENGINES = ("llm.load.mlx.", "llm.load.yuzu.", "llm.load.vllm.")
_RATIOS = {"off": 0, "max": 1}


def load_differences(wanted: KvConfigStack, loaded: KvConfig) -> list[str]:
    """The settings in *wanted* that *loaded* has otherwise, e.g. "contextLength is 2048 instead of 4096".

    A field that the server does not report counts as its default, and as equal if the model or its engine decides
    about it.
    """
    found = {field.key: field.value for field in loaded.fields if field.value is not msgspec.UNSET}
    asked: Mapping[str, Any] = {field.key: field.value for layer in wanted.layers for field in layer.config.fields}
    differences = []
    for key, plain in asked.items():
        value = msgspec.to_builtins(plain)
        actual = found.get(key, _default(key, value))
        if _normal(actual) != _normal(value):
            differences.append(f"{key.rpartition('.')[2]} is {_shown(actual)} instead of {_shown(value)}")
    return differences


def _default(key: str, wanted: Any) -> Any:
    """What a field that the server does not report counts as."""
    if key.endswith((".autoFit", ".promptTemplate")) or key.startswith(_OTHER_ENGINES):
        return wanted
    return DEFAULTS.get(key, wanted)


def _normal(value: Any) -> Any:
    """One value for all that means the same."""
    if isinstance(value, dict):
        switch = next((name for name in ("checked", "enabled") if name in value), None)
        return None if switch is not None and not value[switch] else value
    return _RATIOS.get(value, value) if isinstance(value, str) else value


def _shown(value: Any) -> str:
    if _normal(value) is None:
        return "off"
    return repr(value["value"] if isinstance(value, dict) and value.keys() == {"checked", "value"} else value)
