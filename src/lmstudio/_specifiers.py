"""Which loaded model is meant: what callers write, as the wire's specifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import UNSET

from ._kv_config import read_config
from ._ops.models import check_key
from ._sdk_models import ModelQuery, ModelSpecifierInstanceReference, ModelSpecifierQuery
from .errors import LMStudioValueError

AnyModelSpecifier: TypeAlias = (
    "str | ModelQuery | ModelSpecifierQuery | ModelSpecifierInstanceReference | Mapping[str, Any]"
)
"""An identifier, a query, an instance reference; the latter two also as dicts."""


def read_specifier(specifier: AnyModelSpecifier) -> ModelSpecifierQuery | ModelSpecifierInstanceReference:
    """The wire form of *specifier*. Raises LMStudioValueError if it is none."""
    if isinstance(specifier, str):
        return ModelSpecifierQuery(query=ModelQuery(identifier=check_key(specifier, "identifier")))
    if isinstance(specifier, ModelSpecifierInstanceReference):
        return instance_target(specifier.instance_reference)
    if isinstance(specifier, ModelSpecifierQuery):
        return _checked(read_config(ModelSpecifierQuery, specifier))
    if isinstance(specifier, ModelQuery):
        return _checked(ModelSpecifierQuery(query=read_config(ModelQuery, specifier)))
    if not isinstance(specifier, Mapping):
        raise LMStudioValueError(
            f"Expected a model's identifier, a query or an instance reference, got {type(specifier).__name__}."
        )
    members = {key: value for key, value in specifier.items() if key != "type"}
    if specifier.get("type") == "instanceReference":
        return instance_target(read_config(ModelSpecifierInstanceReference, members).instance_reference)
    if specifier.get("type") == "query":
        return _checked(read_config(ModelSpecifierQuery, members))
    return _checked(ModelSpecifierQuery(query=read_config(ModelQuery, specifier)))


def read_query(
    specifier: AnyModelSpecifier | None, members: Mapping[str, Any]
) -> ModelSpecifierQuery | ModelSpecifierInstanceReference:
    """The wire form of a query given either whole or as its *members*; UNSET and None are absent members.

    None as a device is the server's own.

    Raises:
        LMStudioValueError: given in both ways, or not a query.
    """
    given = {
        key: value
        for key, value in members.items()
        if value is not UNSET and (value is not None or key == "device_identifier")
    }
    if specifier is None:
        return read_specifier(given)
    if given:
        raise LMStudioValueError(f"Give either a query or its members, not both; got {', '.join(given)} as well.")
    return read_specifier(specifier)


def instance_target(instance_reference: str) -> ModelSpecifierInstanceReference:
    """Exactly one loaded instance, by the reference that its information has."""
    if not isinstance(instance_reference, str) or not instance_reference:
        raise LMStudioValueError(f"An instance reference is a non-empty string, got {instance_reference!r:.60}.")
    return ModelSpecifierInstanceReference(instance_reference=instance_reference)


def _checked(specifier: ModelSpecifierQuery) -> ModelSpecifierQuery:
    if "\\" in (specifier.query.path or ""):
        raise LMStudioValueError(f"A model's path has forward slashes only; got {specifier.query.path!r}.")
    return specifier
