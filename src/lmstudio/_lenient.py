"""Decode what a newer or older server sends, without failing for anything that is not essential.

The generated structs are strict, which is right for what we send and for the embedded server's input. What we *receive*
is decoded strictly first (fast); only if that fails, the value is built member by member:

- unknown members are dropped, unknown enumeration values are kept as they are;
- a missing or mistyped member gets its default, or a neutral value of its type;
- an element of a list that cannot be understood at all is left out, except from lists of numbers, such as vectors;
- a tag chooses among several types; where only one can come it does not matter;
- a value that has none of the members its type requires is not of that type: that is an error;
- so is a member that is essential, where a neutral value would be a wrong one. Endpoints name those.

What was not as expected is told in `Findings`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec
from msgspec import inspect as mi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
"""msgspec raises more than its own: for text that is not valid Unicode, and for JSON that is nested too deeply."""

Findings: TypeAlias = "list[tuple[str, str]]"
"""What was not as expected: its JSON path, and what it is."""
Essentials: TypeAlias = "tuple[str, ...]"
"""What must not be replaced by a neutral value: wire names from the outside to the inside, joined by dots.

`[]` stands for each element of a list, which is left out if it lacks what is essential. Where several types can come,
a path begins with the tag: `result.content` is the member `content` of the packet `result`. A tag with dots of its own
ends with a colon: `message.delta:content`.
"""
_Tree: TypeAlias = "Mapping[str, _Tree]"


class UnknownTagError(msgspec.ValidationError):
    """The value is of a kind that this version does not know."""

    def __init__(self, field: str, tag: object, path: str) -> None:
        super().__init__(f"Unknown value {tag!r:.80} of member {field!r} - at `{path}`")
        self.tag = tag


def decode(
    decoder: Callable[[bytes | msgspec.Raw], T],
    expected_type: Any,
    data: bytes | msgspec.Raw,
    essentials: Essentials = (),
    findings: Findings | None = None,
) -> T:
    """Decode *data* with the strict *decoder*, else leniently as *expected_type*.

    *findings* gets what was not as expected, if *data* could be decoded in the end.

    Raises:
        UnknownTagError: a tagged union with a tag that is not ours.
        msgspec.ValidationError: not of that type at all, or without something essential; names the JSON path.
        msgspec.DecodeError: not JSON.
    """
    try:
        return decoder(data)
    except DECODE_ERRORS as strict_error:
        if isinstance(strict_error, msgspec.DecodeError) and not isinstance(strict_error, msgspec.ValidationError):
            raise
        reading = _Reading()
        value: T = reading.convert(_type_info(expected_type), plain_value(data), "$", _tree(essentials))
        if findings is not None:
            findings += reading.findings or [("$", str(strict_error))]
        return value


def find_unknown(expected_type: Any, data: bytes | msgspec.Raw) -> Findings:
    """What is in *data*, which can be decoded, and not in its type."""
    reading = _Reading()
    with suppress(*DECODE_ERRORS):  # it could be decoded: what is odd otherwise is nobody's business
        reading.convert(_type_info(expected_type), plain_value(data), "$", {})
    return reading.findings


def convert(expected_type: type[T], data: object) -> T:
    """As `decode`, for data that is already a Python object."""
    try:
        return msgspec.convert(data, expected_type)
    except msgspec.ValidationError:
        structure: Any = expected_type
        value: T = _Reading().convert(_type_info(structure), data, "$", {})
        return value


@lru_cache(maxsize=512)
def _type_info(expected_type: Any) -> mi.Type:
    return mi.type_info(expected_type)


@lru_cache(maxsize=64)
def _tree(essentials: Essentials) -> _Tree:
    tree: dict[str, Any] = {}
    for path in essentials:
        node = tree
        tag, colon, members = path.partition(":")
        for name in [tag, *members.split(".")] if colon else path.split("."):
            node = node.setdefault(name, {})
    return tree


def plain_value(data: bytes | msgspec.Raw) -> Any:
    """JSON as a Python object, with what is not valid Unicode replaced.

    Raises:
        msgspec.ValidationError: it is no JSON.
    """
    try:
        try:
            return msgspec.json.decode(data)
        except ValueError:
            # Not valid Unicode, or a number beyond all bounds.
            return json.loads(bytes(data).decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise msgspec.ValidationError(f"{error} - at `$`") from error


class _Reading:
    """The conversion of one value."""

    def __init__(self) -> None:
        self.findings: Findings = []

    def convert(self, info: mi.Type, value: Any, path: str, essential: _Tree) -> Any:
        """*value* as its type."""
        if isinstance(info, mi.Metadata):
            return self.convert(info.type, value, path, essential)
        if isinstance(info, mi.StructType):
            return self._struct(info, value, path, essential)
        if isinstance(info, mi.UnionType):
            return self._union(info, value, path, essential)
        if isinstance(info, (mi.ListType, mi.VarTupleType, mi.SetType)) and isinstance(value, list):
            return self._items(info.item_type, value, path, essential.get("[]", {}))
        if isinstance(info, mi.TupleType):
            return self._tuple(info, value, path)
        if isinstance(info, mi.DictType) and isinstance(value, dict):
            return {key: self.convert(info.value_type, item, f"{path}[...]", {}) for key, item in value.items()}
        if isinstance(info, mi.LiteralType):
            return self._literal(info, value, path)
        if isinstance(info, mi.RawType):
            return msgspec.Raw(msgspec.json.encode(value))
        return _scalar(info, value, path)

    def _literal(self, info: mi.LiteralType, value: Any, path: str) -> Any:
        if type(value) not in map(type, info.values):
            raise msgspec.ValidationError(f"Unexpected `{type(value).__name__}` - at `{path}`")
        if value not in info.values:
            self.findings.append((path, f"Unknown value {value!r:.80}"))
        return value

    def _items(self, item_type: mi.Type, values: list[Any], path: str, essential: _Tree) -> list[Any]:
        items = []
        for index, value in enumerate(values):
            item_path = f"{path}[{index}]"
            try:
                items.append(self._attempt(item_type, value, item_path, essential))
            except msgspec.ValidationError as error:
                if isinstance(item_type, (mi.IntType, mi.FloatType)):
                    raise  # without one of its numbers a vector is another vector
                self.findings.append((item_path, f"Left out an element: {error}"))
        return items

    def _tuple(self, info: mi.TupleType, value: Any, path: str) -> tuple[Any, ...]:
        """Each element has a meaning of its own: without one of them it is no such thing."""
        expected = len(info.item_types)
        if not isinstance(value, list) or len(value) != expected:
            raise msgspec.ValidationError(f"Expected `array` of {expected} elements - at `{path}`")
        return tuple(
            self.convert(item_type, item, f"{path}[{index}]", {})
            for index, (item_type, item) in enumerate(zip(info.item_types, value, strict=True))
        )

    def _attempt(self, info: mi.Type, value: Any, path: str, essential: _Tree) -> Any:
        """Convert, and if that fails, forget what was found in it: the failure says it."""
        count = len(self.findings)
        try:
            return self.convert(info, value, path, essential)
        except msgspec.ValidationError:
            del self.findings[count:]
            raise

    def _union(self, info: mi.UnionType, value: Any, path: str, essential: _Tree) -> Any:
        structs = [member for member in info.types if isinstance(member, mi.StructType)]
        if isinstance(value, dict) and structs:
            tag_field = structs[0].tag_field
            if tag_field is None or len(structs) == 1:
                return self._struct(structs[0], value, path, essential)
            tag = value.get(tag_field)
            for struct in structs:
                if struct.tag == tag:
                    return self._struct(struct, value, path, essential.get(str(tag), {}))
            raise UnknownTagError(tag_field, tag, path)
        failure: msgspec.ValidationError | None = None
        for member in info.types:
            try:
                return self._attempt(member, value, path, essential)
            except msgspec.ValidationError as error:
                failure = error
        raise failure or msgspec.ValidationError(f"Unexpected value - at `{path}`")

    def _struct(self, info: mi.StructType, value: Any, path: str, essential: _Tree) -> Any:
        required = [field.encode_name for field in info.fields if field.required]
        tagged = _has_tag(info, value, path, required)
        members: dict[str, Any] = {}
        failures: list[msgspec.ValidationError] = []
        for field in info.fields:
            try:
                if field.encode_name in value or field.required:
                    members[field.name] = self._member(field, value, path, essential)
            except msgspec.ValidationError as error:
                if field.encode_name in essential:
                    raise
                failures.append(error)
        if not (tagged or members or not required):
            raise _none_of(required, path, failures[0])
        self.findings += [(path, f"Replaced by a default: {failure}") for failure in failures]
        for field in info.fields:
            if field.required and field.name not in members:
                members[field.name] = _neutral(field.type)
        self._note_unknown(info, value, path)
        return info.cls(**members)

    def _member(self, field: mi.Field, value: Mapping[str, Any], path: str, essential: _Tree) -> Any:
        name = field.encode_name
        if name not in value:
            raise msgspec.ValidationError(f"It is missing - at `{path}.{name}`")
        return self._attempt(field.type, value[name], f"{path}.{name}", essential.get(name, {}))

    def _note_unknown(self, info: mi.StructType, value: Mapping[str, Any], path: str) -> None:
        known = {field.encode_name for field in info.fields} | {info.tag_field}
        self.findings += [(f"{path}.{name}", "Unknown member") for name in value if name not in known]


_PLAIN_TYPES: dict[type[mi.Type], type] = {
    mi.StrType: str,
    mi.IntType: int,
    mi.FloatType: float,
    mi.BoolType: bool,
    mi.NoneType: type(None),
    mi.ListType: list,
    mi.DictType: dict,
}


def _scalar(info: mi.Type, value: Any, path: str) -> Any:
    expected = _PLAIN_TYPES.get(type(info))
    if expected is None or (isinstance(value, expected) and not (expected is int and isinstance(value, bool))):
        return value
    if expected is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return _float(value, path)
    raise msgspec.ValidationError(f"Expected `{expected.__name__}`, got `{type(value).__name__}` - at `{path}`")


def _float(value: int, path: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise msgspec.ValidationError(f"Number out of range - at `{path}`") from None


def _has_tag(info: mi.StructType, value: Any, path: str, required: list[str]) -> bool:
    """Whether *value* says that it is of this type; raises if it cannot be."""
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"Expected `object`, got `{type(value).__name__}` - at `{path}`")
    if info.tag_field is not None and value.get(info.tag_field) == info.tag:
        return True
    if not any(name in value for name in required):
        if info.tag_field is not None and info.tag_field in value:
            raise UnknownTagError(info.tag_field, value[info.tag_field], path)
        if required:
            raise _none_of(required, path)
    return False


def _none_of(required: list[str], path: str, failure: msgspec.ValidationError | None = None) -> msgspec.ValidationError:
    reason = f" - at `{path}`" if failure is None else f": {failure}"
    return msgspec.ValidationError(f"Object has none of the required members {', '.join(required)}{reason}")


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
