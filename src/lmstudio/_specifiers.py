"""Which loaded model is meant: what callers write, as the wire's specifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ._kv_config import read_config
from ._ops.models import check_key
from ._sdk_models import ModelQuery, ModelSpecifierInstanceReference, ModelSpecifierQuery
from .errors import LMStudioValueError

ModelSpecifierInput: TypeAlias = (
    "str | ModelQuery | ModelSpecifierQuery | ModelSpecifierInstanceReference | Mapping[str, Any]"
)
"""An identifier, a query, an instance reference; the latter two also as dicts."""


def read_specifier(specifier: ModelSpecifierInput) -> ModelSpecifierQuery | ModelSpecifierInstanceReference:
    """The wire form of *specifier*. Raises LMStudioValueError if it is none."""
    if isinstance(specifier, str):
        return ModelSpecifierQuery(query=ModelQuery(identifier=check_key(specifier, "identifier")))
    if isinstance(specifier, ModelSpecifierInstanceReference):
        return specifier
    if isinstance(specifier, ModelSpecifierQuery):
        return read_config(ModelSpecifierQuery, specifier)
    if isinstance(specifier, ModelQuery):
        return ModelSpecifierQuery(query=read_config(ModelQuery, specifier))
    if not isinstance(specifier, Mapping):
        raise LMStudioValueError(f"Cannot read {type(specifier).__name__} as a model specifier.")
    members = {key: value for key, value in specifier.items() if key != "type"}
    if specifier.get("type") == "instanceReference":
        return read_config(ModelSpecifierInstanceReference, members)
    if specifier.get("type") == "query":
        return read_config(ModelSpecifierQuery, members)
    return ModelSpecifierQuery(query=read_config(ModelQuery, specifier))
