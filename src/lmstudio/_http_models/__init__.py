"""What travels over LM Studio's HTTP surfaces, one module for each: requests, replies and events as msgspec structs.

The server reads requests with them and writes replies, the client (`lmstudio.http`) does it the other way round.
Surfaces and evidence for each member: the API references of LM Studio, OpenAI and Anthropic.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, inspect

from lmstudio import _lenient
from lmstudio._struct import wire_names
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

__all__ = [
    "Count",
    "Fraction",
    "HttpReply",
    "HttpStruct",
    "JsonObject",
    "NonNegative",
    "always",
    "decode_reply",
    "encode",
    "refusal",
    "replaced",
]

JsonObject: TypeAlias = dict[str, Any]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
NonNegative: TypeAlias = Annotated[float, Meta(ge=0)]

T = TypeVar("T")
StructT = TypeVar("StructT", bound="HttpStruct")

_Path: TypeAlias = "tuple[str | tuple[int, int], ...]"
"""From the outside to the inside: names of members, and of an element of a list its index and how many there are."""


def always(value: T) -> T:
    """A default for who makes the struct; the member is written even when it has this value."""
    default: T = msgspec.field(default_factory=lambda: value)  # omit_defaults knows constants only
    return default


class _Source:
    """What structs were read from; parsed when somebody asks for what they do not know of it."""

    __slots__ = ("_data", "_is_parsed")

    def __init__(self, data: object, *, is_parsed: bool) -> None:
        self._data, self._is_parsed = data, is_parsed

    def at(self, path: _Path) -> Any:
        """The value at *path*; None if it is not there."""
        if not self._is_parsed:
            assert isinstance(self._data, (bytes, msgspec.Raw))
            self._data, self._is_parsed = _lenient.plain_value(self._data), True
        value: Any = self._data
        for key in path:
            if isinstance(key, str):
                value = value.get(key) if isinstance(value, dict) else None
            else:
                index, length = key
                # What cannot be read at all is left out of a list: then nobody knows which element is which.
                value = value[index] if isinstance(value, list) and len(value) == length else None
        return value


class HttpStruct(msgspec.Struct, kw_only=True, omit_defaults=True, dict=True):
    """A value as it travels: members are spelled as on the wire, one that is absent is None here.

    Members that have to be there even when they are null have no default, or one of `always`. A subclass has to say
    `kw_only` again. Construction does not validate; `from_dict` and what sends a request do.
    """

    # `dict` is for `_origin`: where the struct was read, and at which path. No member, so it counts in no comparison.

    def __copy__(self) -> Self:
        return _rebuilt(type(self), {name: getattr(self, name) for name in self.__struct_fields__}, vars(self))

    def __reduce__(self) -> tuple[Any, ...]:
        # For pickle and deepcopy, which otherwise lose what is no member.
        members = {name: getattr(self, name) for name in self.__struct_fields__}
        return _rebuilt, (type(self), members, dict(vars(self)))

    @property
    def extra(self) -> Mapping[str, Any]:
        """The members that were there when this was read, and that this version does not know."""
        origin = vars(self).get("_origin")
        if origin is None:
            return {}
        source, path = origin
        members, known = source.at(path), _known_members(type(self))
        return {name: value for name, value in (members or {}).items() if name not in known}

    def remember(self, data: bytes) -> None:
        """This was read from *data*, where `extra` finds what it does not know; what is inside it does without."""
        vars(self)["_origin"] = (_Source(data, is_parsed=False), ())

    def to_dict(self) -> JsonObject:
        """The value as JSON has it: absent members left out, and unknown ones, inside it too, as they were read."""
        members: JsonObject = msgspec.to_builtins(self)
        _add_extra(self, members)
        return members

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build the struct, and the structs inside it, from names in snake_case or camelCase.

        Names inside free-form JSON (schemas, tool arguments) stay as they are. Unknown members are kept in `extra`.

        Raises:
            LMStudioValueError: a member is missing or has a value that is not valid; the message names it.
        """
        try:
            named = wire_names(cls, data)
            return _with_origin(msgspec.convert(named, cls), named, is_parsed=True)
        except msgspec.ValidationError as error:
            raise LMStudioValueError(f"Cannot read a {cls.__name__}: {error}.") from error

    def checked(self, attempted: str) -> JsonObject:
        """As `to_dict`, after a look at every value: construction takes anything.

        Raises:
            LMStudioValueError: a value is not valid; the message names the parameter. *attempted* completes
                "Could not ...".
        """
        try:
            members: JsonObject = msgspec.to_builtins(self)
            msgspec.convert(members, type(self))
        except (msgspec.ValidationError, TypeError) as error:
            raise refusal(error, attempted) from error
        _add_extra(self, members)
        return members


def _rebuilt(cls: type[StructT], members: dict[str, Any], others: Mapping[str, Any]) -> StructT:
    value = cls(**members)
    vars(value).update(others)
    return value


class HttpReply(HttpStruct, kw_only=True):
    """What a server sent: read leniently, because servers are older or newer than this version."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build the reply from JSON; what is missing or odd gets a neutral value, unknown members are in `extra`.

        Raises:
            LMStudioValueError: it is no such reply at all.
        """
        try:
            named = wire_names(cls, data)
            return _with_origin(_lenient.convert(cls, named), named, is_parsed=True)
        except msgspec.ValidationError as error:
            raise LMStudioValueError(f"Cannot read a {cls.__name__}: {error}.") from error


def decode_reply(
    expected_type: type[T],
    data: bytes | str,
    findings: _lenient.Findings | None = None,
    essentials: _lenient.Essentials = (),
) -> T:
    """*data*, the JSON of a server, read leniently; structs of this package keep what they do not know of it.

    *findings* and *essentials* are as for `_lenient.decode`.

    Raises:
        msgspec.MsgspecError: not of that type at all, or not JSON.
    """
    data = data.encode() if isinstance(data, str) else data
    structure: Any = expected_type
    value: T = _lenient.decode(_decoder(structure).decode, structure, data, essentials, findings)
    return _with_origin(value, data, is_parsed=False)


def replaced(value: StructT, **members: Any) -> StructT:
    """A copy of *value* with other *members*. It keeps what this version does not know of it."""
    return _rebuilt(
        type(value), {**{name: getattr(value, name) for name in value.__struct_fields__}, **members}, vars(value)
    )


encode: Final = msgspec.json.Encoder().encode
"""A struct as JSON."""


@cache
def _decoder(expected_type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(expected_type)


def refusal(error: Exception, attempted: str) -> LMStudioValueError:
    """What to raise where msgspec does not take a request; *attempted* completes "Could not ..."."""
    name, complaint = _complaint(error)
    refused = LMStudioValueError(f"Could not {attempted}: {f'{name}: ' if name else ''}{complaint}.")
    return refused.with_context(attempted=attempted, errors={name: complaint})


def _complaint(error: Exception) -> tuple[str, str]:
    """The parameter that msgspec speaks of, "" where it names none, and what it says."""
    text, separator, path = str(error).partition(" - at `$")
    name = path.removesuffix("`").lstrip(".") if separator else ""
    if text.startswith("Object missing required field"):
        missing = text.split("`")[1]
        return f"{name}.{missing}" if name else missing, "it is required"
    return name, f"{text[0].lower()}{text[1:]}"


# Unknown members ------------------------------------------------------------------------------------------------------


def _with_origin(value: T, data: object, *, is_parsed: bool) -> T:
    source = _Source(data, is_parsed=is_parsed)
    _mark(value, source, ())
    return value


def _mark(value: object, source: _Source, path: _Path) -> None:
    """Note in *value*, and in the structs inside it, where it was read."""
    if isinstance(value, HttpStruct):
        vars(value)["_origin"] = (source, path)
        for name, wire_name in _members_with_structs(type(value)):
            member = getattr(value, name)
            if member is not None:
                _mark(member, source, (*path, wire_name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _mark(item, source, (*path, (index, len(value))))
    elif isinstance(value, dict):
        for key, item in value.items():
            _mark(item, source, (*path, key))


def _add_extra(value: object, members: Any) -> None:
    """Add to *members*, made of *value*, what it does not know of its origin."""
    if isinstance(value, HttpStruct):
        members.update(value.extra)
        for name, wire_name in _members_with_structs(type(value)):
            if wire_name in members:
                _add_extra(getattr(value, name), members[wire_name])
    elif isinstance(value, list):
        for item, item_members in zip(value, members, strict=True):
            _add_extra(item, item_members)
    elif isinstance(value, dict):
        for key, item in value.items():
            _add_extra(item, members[key])


@cache
def _known_members(cls: type[HttpStruct]) -> frozenset[str]:
    tag_field = cls.__struct_config__.tag_field
    return frozenset((*cls.__struct_encode_fields__, *((tag_field,) if tag_field else ())))


@cache
def _members_with_structs(cls: type[HttpStruct]) -> tuple[tuple[str, str], ...]:
    """The members that can have structs in them: name of the attribute, and on the wire."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return tuple((field.name, field.encode_name) for field in info.fields if _has_struct(field.type))


def _has_struct(info: inspect.Type) -> bool:
    match info:
        case inspect.StructType():
            return True
        case inspect.Metadata(type=inner):
            return _has_struct(inner)
        case inspect.UnionType(types=variants):
            return any(map(_has_struct, variants))
        case inspect.ListType(item_type=item) | inspect.DictType(value_type=item):
            return _has_struct(item)
        case _:
            return False
