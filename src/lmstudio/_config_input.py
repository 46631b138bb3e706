"""Read what a caller gives as configuration: struct or dict, either spelling, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ._struct import wire_names
from ._wire import plain_scalar
from .errors import LMStudioValueError

if TYPE_CHECKING:
    from msgspec import inspect

    from ._struct import LMStudioStruct

StructT = TypeVar("StructT", bound="LMStudioStruct")

# Structs that hold a JSON schema of the caller's. Whatever the schema says is the caller's business.
_FREE_FORM = frozenset({"LlmToolParametersObject"})


def read_config(cls: type[StructT], config: StructT | Mapping[str, Any]) -> StructT:
    """A configuration given as struct or as dict with snake_case or camelCase keys, checked.

    Raises:
        LMStudioValueError: a key that does not exist, with the nearest one; or a value of the wrong type or range.
    """
    if not isinstance(config, (Mapping, cls)):
        raise LMStudioValueError(f"Expected {cls.__name__} or a dict, got {type(config).__name__}.")
    named: Mapping[str, Any] = {}
    try:
        data = config if isinstance(config, Mapping) else config.to_dict()  # a struct may hold anything until here
        _check_keys(cls, data, cls.__name__)
        named = wire_names(cls, data)
        try:
            typed = msgspec.convert(named, cls)
        except msgspec.ValidationError:  # subclasses are rare, and the check is fast
            typed = msgspec.convert(_plain(named), cls)
    except (msgspec.ValidationError, TypeError) as error:
        message = f"Bad value in {cls.__name__}: {error}{_found(error, named)}{_advice(cls, str(error))}"
        raise LMStudioValueError(message) from error
    keep_schemas(typed, data.get("rawTools", data.get("raw_tools")))
    return typed


def _plain(value: Any) -> Any:
    """*value* with texts and numbers of subclasses, such as those of numpy, as plain ones."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return plain_scalar(value)
    return value


def keep_schemas(config: LMStudioStruct, raw_tools: object) -> None:
    """Put the parameter schemas of *raw_tools* into a prediction configuration as they were given.

    Their struct knows a few keywords of JSON schemas only, and has them in its own order.
    """
    given = raw_tools.get("tools") if isinstance(raw_tools, Mapping) else None
    kept = getattr(getattr(config, "raw_tools", None), "tools", None)
    if not isinstance(given, (list, tuple)) or not kept or len(given) != len(kept):
        return
    for tool, source in zip(kept, given, strict=True):
        function = source.get("function") if isinstance(source, Mapping) else None
        schema = function.get("parameters") if isinstance(function, Mapping) else None
        if isinstance(schema, Mapping):
            tool.function.parameters = dict(schema)


def _found(error: Exception, data: object) -> str:
    """What is at the place that the error names."""
    place = re.search(r" - at `\$(.+)`$", str(error))
    if place is None:
        return ""
    value = data
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", place[1]):
        try:
            value = value[name] if name else value[int(index)]  # type: ignore[index]  # as the error says
        except (KeyError, IndexError, TypeError):
            return ""
    return f"; got {value!r:.60}."


def _advice(cls: type[msgspec.Struct], message: str) -> str:
    """What to write instead, where the mistake is to be expected."""
    if choice := re.search(r"^Invalid enum value .* - at `\$\.([\w.]+)`$", message):
        return f" Expected one of {', '.join(map(repr, _choices(cls, choice[1].split('.'))))}."
    if message.endswith("`$.contextLength`"):
        return " The longest that a model takes is the max_context_length of its information."
    if message.endswith("`$.gpu`"):
        return " Write the part of the model to put on the GPU as {'ratio': ...}: a number from 0 to 1, 'max' or 'off'."
    return ""


def _choices(cls: type[msgspec.Struct], place: list[str]) -> list[Any]:
    """The values that a setting can have."""
    from msgspec import inspect

    def variants(info: inspect.Type) -> list[inspect.Type]:
        return [*info.types] if isinstance(info, inspect.UnionType) else [info]

    kinds = variants(inspect.type_info(cls))
    for name in place:
        structs = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
        fields = [field for struct in structs for field in struct.fields if field.encode_name == name]
        kinds = [kind for field in fields for kind in variants(field.type)]
    return [value for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]


# Keys ----------------------------------------------------------------------------------------------------------------


def _check_keys(cls: type[msgspec.Struct], data: Mapping[str, Any], path: str) -> None:
    """Refuse keys that the struct, or a struct inside it, does not have."""
    names = cls.__struct_fields__
    spelling = dict(zip(cls.__struct_encode_fields__ + names, names + names, strict=True))
    seen: dict[str, str] = {}
    for key, value in data.items():
        if key == cls.__struct_config__.tag_field:
            continue  # no field of the struct, and checked when it is read
        if key not in spelling:
            raise LMStudioValueError(f"{path} has no setting {key!r}.{_suggestion(cls, str(key))}")
        name = spelling[key]
        if name in seen:
            raise LMStudioValueError(f"{path} has {seen[name]!r} and {key!r}, which are the same setting: give one.")
        seen[name] = key
        if isinstance(value, (Mapping, list, tuple)):
            _check_inside(_field_types(cls)[name], value, f"{path}.{key}")


def _check_inside(info: inspect.Type, value: Any, path: str) -> None:
    from msgspec import inspect

    if isinstance(info, inspect.Metadata):
        _check_inside(info.type, value, path)
    elif isinstance(info, inspect.UnionType):
        kind = inspect.StructType if isinstance(value, Mapping) else inspect.ListType
        variants = [each for each in info.types if isinstance(each, kind)]
        if len(variants) > 1:
            variants = [each for each in variants if _has_tag_of(each, value)]
        for variant in variants:
            _check_inside(variant, value, path)
    elif isinstance(info, inspect.StructType) and isinstance(value, Mapping):
        if info.cls.__name__ not in _FREE_FORM:
            _check_keys(info.cls, value, path)
        elif value.get("type") != info.tag:
            raise LMStudioValueError(
                f"{path} must be a JSON schema with 'type': {info.tag!r}; got {dict(value)!r:.60}."
            )
    elif isinstance(info, inspect.ListType) and isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_inside(info.item_type, item, f"{path}[{index}]")


def _has_tag_of(info: inspect.Type, value: Any) -> bool:
    """Whether the tag in *value* is the one of a struct in a union."""
    from msgspec import inspect

    return isinstance(info, inspect.StructType) and info.tag_field is not None and value.get(info.tag_field) == info.tag


@cache
def _field_types(cls: type[msgspec.Struct]) -> dict[str, inspect.Type]:
    from msgspec import inspect

    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return {field.name: field.type for field in info.fields}


def _suggestion(cls: type[msgspec.Struct], key: str) -> str:
    """What the caller may have meant, as the end of a message; "" if nothing is near."""
    import difflib  # only for the error

    elsewhere = _other_config(cls, key)
    if elsewhere is not None:
        return f" It is a setting of {elsewhere}."
    is_snake = key == key.lower()
    names = cls.__struct_fields__ if is_snake else cls.__struct_encode_fields__
    # "top_k" is nearer to "top_k_sampling" than difflib finds it.
    begun = [name for name in names if len(key) > 2 and name.startswith(key)]
    nearest = begun[:1] or difflib.get_close_matches(key, names, n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def _other_config(cls: type[msgspec.Struct], key: str) -> str | None:
    """The name of another configuration that has the setting: loading and predicting are often mixed up."""
    from ._sdk_models import LlmLoadModelConfig, LlmPredictionConfig

    configs = (LlmLoadModelConfig, LlmPredictionConfig)
    others = {LlmLoadModelConfig: LlmPredictionConfig, LlmPredictionConfig: LlmLoadModelConfig}
    other = next((others[config] for config in configs if cls is config), None)
    if other is not None and key in (*other.__struct_fields__, *other.__struct_encode_fields__):
        return other.__name__
    return None
