"""Base class of the generated wire structs, and the conversion between them and plain dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import inspect

if TYPE_CHECKING:
    from typing_extensions import Self

_Reader: TypeAlias = Callable[[Any], Any]


class LMStudioStruct(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A value as it travels to or from LM Studio.

    Attributes are snake_case, members on the wire camelCase. An optional member that is absent on the wire is `None`
    here; where the wire also knows `null`, absent is `msgspec.UNSET`. Construction takes keywords and does not
    validate; `from_dict` does.
    """

    def to_dict(self) -> dict[str, Any]:
        """The value as LM Studio's API writes it: camelCase keys, absent members left out, tags included."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build the struct, and the structs inside it, from camelCase or snake_case keys.

        Keys inside free-form JSON (schemas, tool arguments, config values) stay as they are. Members the struct does
        not know are ignored, as on the wire. A member given in both spellings counts as the camelCase one.

        Raises:
            msgspec.ValidationError: a member is missing or has the wrong type; the message ends in its path.
        """
        return msgspec.convert(wire_names(cls, data), cls)

    def __str__(self) -> str:
        import json  # not msgspec.json, which cannot both sort and indent

        members = json.dumps(self.to_dict(), ensure_ascii=False, indent=2, sort_keys=True)
        return f"{type(self).__name__}.from_dict({members})"


def wire_names(cls: type[msgspec.Struct], data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a struct with the names that its members have on the wire, inside it too.

    Each member may be given by its attribute's name, or that in camelCase.
    """
    if isinstance(data, Mapping) and not any(isinstance(value, (Mapping, list, tuple)) for value in data.values()):
        # Making a reader takes a millisecond, and most configurations are flat.
        return _rename(_spellings(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)), data)
    renamed: dict[str, Any] = _struct_reader(cls)(data)
    return renamed


def camel_case(name: str) -> str:
    """*name*, which is in snake_case, in camelCase."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _spellings(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The wire names by the other spellings of them."""
    spellings: dict[str, str] = {}
    for name, wire_name in fields:
        spellings.update((spelling, wire_name) for spelling in (name, camel_case(name)) if spelling != wire_name)
    return spellings


def _rename(names: Mapping[str, str], data: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {names.get(key, key): value for key, value in data.items()}
    # The wire name wins over the other spelling, whichever comes last.
    renamed.update((name, data[name]) for name in names.values() if name in data)
    return renamed


@cache
def _struct_reader(struct: type[msgspec.Struct]) -> _Reader:
    """Make the function that turns the snake_case keys of one struct, and of structs in it, into wire names."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    names = _spellings((field.name, field.encode_name) for field in info.fields)
    readers = {field.encode_name: reader for field in info.fields if (reader := _reader(field.type)) is not None}

    def read(data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        renamed = _rename(names, data)
        for name in readers.keys() & renamed.keys():
            renamed[name] = readers[name](renamed[name])
        return renamed

    return read


def _reader(type_info: inspect.Type) -> _Reader | None:
    """Make the function that reads a value of any type, or None where no struct can be inside it."""
    match type_info:
        case inspect.Metadata(type=inner):
            return _reader(inner)
        case inspect.StructType(cls=struct):
            # Not _struct_reader(struct): a struct may contain itself, so it is looked up when data arrives.
            return lambda data: _struct_reader(struct)(data)  # noqa: PLW0108 - late on purpose
        case inspect.ListType(item_type=item):
            return _list_reader(_reader(item))
        case inspect.DictType(value_type=value):
            return _dict_reader(_reader(value))
        case inspect.TupleType(item_types=items):
            return _tuple_reader([_reader(item) for item in items])
        case inspect.UnionType(types=variants):
            return _union_reader(variants)
        case _:
            return None


def _list_reader(item: _Reader | None) -> _Reader | None:
    if item is None:
        return None
    return lambda data: [item(each) for each in data] if isinstance(data, (list, tuple)) else data


def _dict_reader(value: _Reader | None) -> _Reader | None:
    if value is None:
        return None
    return lambda data: {key: value(each) for key, each in data.items()} if isinstance(data, Mapping) else data


def _tuple_reader(items: list[_Reader | None]) -> _Reader | None:
    if not any(items):
        return None

    def read(data: Any) -> Any:
        if not isinstance(data, (list, tuple)) or len(data) != len(items):
            return data
        return [each if item is None else item(each) for item, each in zip(items, data, strict=True)]

    return read


def _union_reader(variants: tuple[inspect.Type, ...]) -> _Reader | None:
    """Choose the struct by its tag; at most one variant is a list, as msgspec demands."""
    structs = [variant for variant in variants if isinstance(variant, inspect.StructType)]
    by_tag = {struct.tag: struct.cls for struct in structs}
    tag_field = structs[0].tag_field if structs else None
    read_list = next((_reader(each) for each in variants if isinstance(each, inspect.ListType)), None)
    if not structs and read_list is None:
        return None

    def read(data: Any) -> Any:
        if isinstance(data, Mapping) and structs:
            tag = data.get(tag_field)
            # A list, for example, cannot be looked up.
            known = by_tag.get(tag) if isinstance(tag, (str, int)) else None
            struct = structs[0].cls if len(structs) == 1 else known
            return data if struct is None else _struct_reader(struct)(data)
        return data if read_list is None or isinstance(data, Mapping) else read_list(data)

    return read
