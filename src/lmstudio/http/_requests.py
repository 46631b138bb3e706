"""Requests as users give them: a struct or a mapping, keywords, or keywords over one of those. All is checked here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._http_models import refusal
from lmstudio._struct import camel_case, wire_names
from lmstudio.errors import LMStudioValueError
from lmstudio.http._openai_requests import merged, refuse_typo

if TYPE_CHECKING:
    from lmstudio._http_models import HttpStruct, JsonObject
    from lmstudio.settings import Settings

__all__ = ["body_of", "checked_id"]


def body_of(
    kind: type[HttpStruct],
    attempted: str,
    settings: Settings | None,
    given: HttpStruct | Mapping[str, Any] | None = None,
    keywords: Mapping[str, Any] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    *,
    stream: bool = False,
) -> JsonObject:
    """The body of a request of that *kind*. *attempted* completes "Could not ...".

    Names may be in snake_case or camelCase, and a keyword that is None says nothing. What *kind* does not know is sent
    as it is, unless it looks like something that it knows. Without a model, the request is for the one of *settings*,
    which also say which ones are allowed; they are None for requests that use no model. *extra_body* goes over
    everything; of that only the model is looked at.

    Raises:
        LMStudioValueError: something is missing, has a bad value, or looks like a slip; the message names it.
    """
    start = f"Could not {attempted}: "
    extra = merged({}, extra_body)
    body = {**_given(kind, given, start), **_spelled(kind, keywords or {})}
    if settings is not None:
        body |= {name: value for name, value in extra.items() if name == "model"}
        _choose_model(body, settings, start)
    if body.pop("stream", None) and not stream:
        raise LMStudioValueError(f"{start}a stream has a method of its own, whose name begins with 'stream'.")
    known = {name: value for name, value in body.items() if name in kind.__struct_fields__}
    try:
        # Structs inside it are looked at as dicts are: who makes one may put anything into it.
        plain = msgspec.to_builtins(wire_names(kind, known), str_keys=True)
        msgspec.convert(plain, kind)
    except (msgspec.ValidationError, TypeError) as error:
        raise refusal(error, attempted) from error
    return {**body, **plain, **({"stream": True} if stream else {}), **extra}


def _given(kind: type[HttpStruct], given: HttpStruct | Mapping[str, Any] | None, start: str) -> JsonObject:
    """The members of what was given in one piece."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return _spelled(kind, given)
    if not isinstance(given, kind):
        raise LMStudioValueError(f"{start}a request is a {kind.__name__} or a dict, got {type(given).__name__}.")
    foreign = set(type(given).__struct_fields__) - set(kind.__struct_fields__)  # of a class derived from *kind*
    return {name: value for name, value in given.to_dict().items() if name not in foreign}


def _spelled(kind: type[HttpStruct], members: Mapping[str, Any]) -> JsonObject:
    """*members* under their names on the wire, without those that are None."""
    names = kind.__struct_fields__
    spellings = {spelling: name for name in names for spelling in (name, camel_case(name))}
    for name in members:
        if name not in spellings:
            refuse_typo(name, names)
    return {spellings.get(name, name): value for name, value in members.items() if value is not None}


def _choose_model(body: JsonObject, settings: Settings, start: str) -> None:
    model = body.setdefault("model", settings.default_model)
    if model is None:
        raise LMStudioValueError(f"{start}model is required: name one, or set default_model in the settings.")
    if isinstance(model, str):
        settings.check_model(model)


def checked_id(value: str, what: str, attempted: str) -> str:
    """*value*, which is to be a part of a path.

    Raises:
        LMStudioValueError: it is no text, or empty: the path would be another one. *what* names it.
    """
    if isinstance(value, str) and value:
        return value
    raise LMStudioValueError(f"Could not {attempted}: {what} must be a text, got {value!r:.80}.")
