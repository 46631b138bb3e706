"""Decode what a newer or older server sends, without failing for anything that is not essential.

The generated structs are strict, which is right for what we send and for the embedded server's input. What we *receive*
is decoded strictly first (fast); only if that fails, the value is built member by member:

- unknown members are dropped, unknown enumeration values are kept as they are;
- a missing or mistyped member gets its default, or a neutral value of its type;
- an element of a list that cannot be understood at all is left out, except from lists of numbers, such as vectors;
- a tag chooses among several types; where only one can come it does not matter;
- a value that has none of the members its type requires is not of that type: that is an error.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import inspect as mi

from .logs import fields, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_logger = get_logger("protocol")


class UnknownTagError(msgspec.ValidationError):
    """The value is of a kind that this version does not know."""

    def __init__(self, field: str, tag: object, path: str) -> None:
        super().__init__(f"Unknown value {tag!r} of member {field!r} - at `{path}`")
        self.tag = tag


def decode(decoder: Callable[[bytes | msgspec.Raw], T], expected_type: Any, data: bytes | msgspec.Raw) -> T:
    """Decode *data* with the strict *decoder*, else leniently as *expected_type*.

    Raises:
        UnknownTagError: a tagged union with a tag that is not ours.
        msgspec.ValidationError: not of that type at all; names the JSON path.
        msgspec.DecodeError: not JSON.
    """
    try:
        return decoder(data)
    except msgspec.ValidationError as strict_error:
        value: T = _convert(_type_info(expected_type), msgspec.json.decode(data), "$")
        _logger.debug("Accepted a value that does not match the schema: %s", strict_error, extra=fields())
        return value


def convert(expected_type: type[T], data: object) -> T:
    """As `decode`, for data that is already a Python object."""
    try:
        return msgspec.convert(data, expected_type)
    except msgspec.ValidationError:
        info = mi.type_info(expected_type)
        value: T = _convert(info, data, "$")
        return value


@lru_cache(maxsize=512)
def _type_info(expected_type: Any) -> mi.Type:
    return mi.type_info(expected_type)


def _convert(info: mi.Type, value: Any, path: str) -> Any:
    if isinstance(info, mi.Metadata):
        return _convert(info.type, value, path)
    if isinstance(info, mi.StructType):
        return _struct(info, value, path)
    if isinstance(info, mi.UnionType):
        return _union(info, value, path)
    if isinstance(info, (mi.ListType, mi.VarTupleType, mi.SetType)) and isinstance(value, list):
        return _items(info.item_type, value, path)
    if isinstance(info, mi.DictType) and isinstance(value, dict):
        return {key: _convert(info.value_type, item, f"{path}[...]") for key, item in value.items()}
    if isinstance(info, mi.LiteralType) and type(value) not in map(type, info.values):
        raise msgspec.ValidationError(f"Unexpected `{type(value).__name__}` - at `{path}`")
    if isinstance(info, (mi.AnyType, mi.LiteralType, mi.EnumType)):
        return value
    expected = _PLAIN_TYPES.get(type(info))
    if expected is None or (isinstance(value, expected) and not (expected is int and isinstance(value, bool))):
        return value
    if expected is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise msgspec.ValidationError(f"Expected `{expected.__name__}`, got `{type(value).__name__}` - at `{path}`")


_PLAIN_TYPES: dict[type[mi.Type], type] = {
    mi.StrType: str,
    mi.IntType: int,
    mi.FloatType: float,
    mi.BoolType: bool,
    mi.NoneType: type(None),
    mi.ListType: list,
    mi.DictType: dict,
}


def _items(item_type: mi.Type, values: list[Any], path: str) -> list[Any]:
    items = []
    for index, value in enumerate(values):
        try:
            items.append(_convert(item_type, value, f"{path}[{index}]"))
        except msgspec.ValidationError as error:
            if isinstance(item_type, (mi.IntType, mi.FloatType)):
                raise  # without one of its numbers a vector is another vector
            _logger.debug("Left out a list element: %s", error, extra=fields())
    return items


def _union(info: mi.UnionType, value: Any, path: str) -> Any:
    structs = [member for member in info.types if isinstance(member, mi.StructType)]
    if isinstance(value, dict) and structs:
        tag_field = structs[0].tag_field
        if tag_field is None or len(structs) == 1:
            return _struct(structs[0], value, path)
        for struct in structs:
            if struct.tag == value.get(tag_field):
                return _struct(struct, value, path)
        raise UnknownTagError(tag_field, value.get(tag_field), path)
    failure: msgspec.ValidationError | None = None
    for member in info.types:
        try:
            return _convert(member, value, path)
        except msgspec.ValidationError as error:
            failure = error
    raise failure or msgspec.ValidationError(f"Unexpected value - at `{path}`")


def _struct(info: mi.StructType, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"Expected `object`, got `{type(value).__name__}` - at `{path}`")
    required = [field.encode_name for field in info.fields if field.required]
    tagged = info.tag_field is not None and value.get(info.tag_field) == info.tag
    if not tagged and not any(name in value for name in required):
        if info.tag_field is not None and info.tag_field in value:
            raise UnknownTagError(info.tag_field, value[info.tag_field], path)
        if required:
            raise _none_of(required, path)
    members: dict[str, Any] = {}
    understood = tagged or not required
    for field in info.fields:
        member_path = f"{path}.{field.encode_name}"
        if field.encode_name in value:
            try:
                members[field.name] = _convert(field.type, value[field.encode_name], member_path)
                understood = True
                continue
            except msgspec.ValidationError as error:
                _logger.debug("Replaced a member by its default: %s", error, extra=fields())
        if field.required:
            members[field.name] = _neutral(field.type)
    if not understood:
        raise _none_of(required, path)
    return info.cls(**members)


def _none_of(required: list[str], path: str) -> msgspec.ValidationError:
    return msgspec.ValidationError(f"Object has none of the required members {', '.join(required)} - at `{path}`")


def _neutral(info: mi.Type) -> Any:
    """A value that says nothing, for a required member that the server left out."""
    if isinstance(info, mi.Metadata):
        return _neutral(info.type)
    if isinstance(info, mi.StructType):
        return info.cls(**{field.name: _neutral(field.type) for field in info.fields if field.required})
    if isinstance(info, mi.UnionType):
        is_nullable = any(isinstance(member, mi.NoneType) for member in info.types)
        return None if is_nullable else _neutral(info.types[0])
    if isinstance(info, mi.LiteralType):
        # The values that the protocol itself has for this, else the empty text (or number).
        empty = "" if isinstance(info.values[0], str) else 0
        return next((value for value in ("none", "unknown") if value in info.values), empty)
    factory = _PLAIN_TYPES.get(type(info))
    return None if factory is None or factory is type(None) else factory()
