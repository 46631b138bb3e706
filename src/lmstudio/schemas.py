"""Structured output: from what the caller names as response format to a JSON schema, and back to the caller's type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

import msgspec
from msgspec import ValidationError

from ._struct import LMStudioStruct
from .errors import LMStudioStructuredOutputError, LMStudioValueError
from .results import ParsedT

if TYPE_CHECKING:
    from ._sdk_models import LlmStructuredPredictionSetting

__all__ = ["AnyLMStudioStruct", "BaseModel", "DictObject", "DictSchema", "ModelSchema", "ValidationError"]

AnyLMStudioStruct: TypeAlias = LMStudioStruct
DictObject: TypeAlias = Mapping[str, Any]
"""JSON-compatible data with string keys."""
DictSchema: TypeAlias = Mapping[str, Any]
"""A JSON schema."""


AdaptedT_co = TypeVar("AdaptedT_co", covariant=True)


@runtime_checkable
class ModelSchema(Protocol):
    """A class that can describe itself as a JSON schema, as pydantic models and `BaseModel` do."""

    @classmethod
    def model_json_schema(cls) -> DictSchema:
        """The JSON schema of the class."""
        raise NotImplementedError


class SchemaAdapter(Protocol[AdaptedT_co]):
    """An object that describes a type and reads it, as pydantic's `TypeAdapter` does."""

    def json_schema(self) -> DictSchema:
        """The JSON schema of the type."""
        raise NotImplementedError

    def validate_json(self, data: str, /) -> AdaptedT_co:
        """The value that the JSON text *data* stands for; raises ValueError."""
        raise NotImplementedError


class BaseModel(msgspec.Struct, kw_only=True):
    """Base for response formats without another library; fields are declared as in a dataclass.

    ::

        class Book(lms.BaseModel):
            title: str
            year: int
    """

    @classmethod
    def model_json_schema(cls) -> DictSchema:
        """The JSON schema of the class, properties in the order of the fields."""
        return msgspec_schema(cls)

    def __getitem__(self, name: str) -> Any:
        """The field *name*: with the official package, replies are dicts."""
        if name not in self.__struct_fields__:
            raise KeyError(name)
        return getattr(self, name)


ResponseSchema: TypeAlias = "type[ModelSchema | msgspec.Struct | Any] | DictSchema"
"""What `response_format` accepts: see `resolve_response_format`."""


class ResponseFormat(msgspec.Struct, Generic[ParsedT], frozen=True):
    """A response format that has been understood."""

    setting: LlmStructuredPredictionSetting | None
    """What the server gets; None for free text."""
    parse_json: Callable[[str], ParsedT] | None
    """From the model's JSON to the caller's type; None where the text itself is the value."""

    @classmethod
    def unstructured(cls) -> ResponseFormat[Any]:
        """Free text."""
        return ResponseFormat(None, None)

    @property
    def is_structured(self) -> bool:
        """A schema or grammar restricts the reply."""
        return self.setting is not None

    def parse(self, content: str, answer: str, stop_reason: str) -> ParsedT:
        """The caller's type from a complete reply. *answer* is *content* without reasoning.

        Raises:
            LMStudioStructuredOutputError: it does not match.
        """
        if self.parse_json is None:
            return cast("ParsedT", content)
        try:
            return self.parse_json(answer)
        except (ValueError, RecursionError) as error:  # of json, msgspec and pydantic alike
            lines = str(error).split("\n")[:3]  # pydantic: how many errors, and the first: where, what
            reason = " ".join(line.strip() for line in lines) or type(error).__name__
            error.__context__ = error.__traceback__ = None  # their frames would keep the prediction alive
            raise LMStudioStructuredOutputError(
                f"The reply does not match the response format ({reason}); the model stopped because of "
                f"{stop_reason!r}. The text is in `content`.",
                content,
                stop_reason,
            ) from error


def resolve_response_format(response_format: Any) -> ResponseFormat[Any]:
    """Understand what a caller gave as *response_format*.

    - None: free text.
    - A class with `model_json_schema()` (pydantic model, `BaseModel`): parsed into an instance of it.
    - A msgspec struct, a dataclass (pydantic's, too) or a TypedDict: parsed into that.
    - A pydantic `TypeAdapter`, or any object with `json_schema()` and `validate_json()`: parsed by it.
    - A JSON schema as a dict: parsed into plain data. It goes to the server as it is, in its order.
    - `{"type": "json"}` or `{"type": "json", "jsonSchema": ...}`, LM Studio's own form.
    - `{"type": "gbnf", "gbnfGrammar": ...}`: a llama.cpp grammar; the text is not parsed.
    - `{"type": "json_schema", "json_schema": {"schema": ...}}` or `{"type": "json_schema", "schema": ...}`, the forms
      of the OpenAI API.

    Raises:
        LMStudioValueError: none of these.
    """
    if response_format is None:
        return ResponseFormat.unstructured()
    if isinstance(response_format, ResponseFormat):
        return response_format
    if isinstance(response_format, Mapping):
        return _from_mapping(response_format)
    if isinstance(response_format, LMStudioStruct):
        return _from_mapping(response_format.to_dict())
    # Python 3.10 takes list[int] for a class.
    if isinstance(response_format, type) and get_origin(response_format) is None:
        return _from_class(response_format)
    if hasattr(response_format, "json_schema") and hasattr(response_format, "validate_json"):
        return _json_format(_with_inlined_root(response_format.json_schema()), response_format.validate_json)
    raise _unusable(response_format)


def _unusable(response_format: object) -> LMStudioValueError:
    return LMStudioValueError(
        f"Cannot use {response_format!r:.80} as response_format. Expected a JSON schema (dict), a class with "
        "model_json_schema() such as a pydantic model or lmstudio.BaseModel, a msgspec struct, a dataclass or a "
        "TypedDict, or {'type': 'gbnf', 'gbnfGrammar': ...}."
    )


def _from_class(cls: type[Any]) -> ResponseFormat[Any]:
    if isinstance(getattr(cls, "model_json_schema", None), Callable):  # type: ignore[arg-type]  # abstract Callable
        schema = _with_inlined_root(cls.model_json_schema())
        if issubclass(cls, msgspec.Struct):
            return _json_format(schema, lambda text: msgspec.json.decode(text, type=cls))
        if isinstance(getattr(cls, "model_validate_json", None), Callable):  # type: ignore[arg-type]  # as above
            return _json_format(schema, cls.model_validate_json)
        return _json_format(schema, json.loads)
    if not _has_fields(cls):
        raise _unusable(cls)
    if hasattr(cls, "__pydantic_validator__"):  # a dataclass of pydantic, whose checks msgspec does not know
        from pydantic import TypeAdapter

        return resolve_response_format(TypeAdapter(cls))
    return _json_format(msgspec_schema(cls), lambda text: msgspec.json.decode(text, type=cls))


def _has_fields(cls: type[Any]) -> bool:
    return issubclass(cls, msgspec.Struct) or hasattr(cls, "__dataclass_fields__") or _is_typed_dict(cls)


def _is_typed_dict(cls: type[Any]) -> bool:
    return issubclass(cls, dict) and hasattr(cls, "__total__") and hasattr(cls, "__required_keys__")


# Keywords that a JSON schema of an object or value may consist of, with the form of what they hold; a dict with none of
# them is something else.
_SCHEMA_KEYWORDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("properties", "$defs"), (Mapping,)),
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "enum", "prefixItems"), (list, tuple)),
    **dict.fromkeys(("items", "not"), (Mapping, bool, list)),
    "$ref": (str,),
    "const": (object,),
}
_SCHEMA_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")


def _is_schema(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    present = [name for name in _SCHEMA_KEYWORDS if name in value]
    if not all(isinstance(value[name], _SCHEMA_KEYWORDS[name]) for name in present):
        return False
    if "type" in value:
        types = value["type"] if isinstance(value["type"], list) else [value["type"]]
        return all(name in _SCHEMA_TYPES for name in types)
    return not value or bool(present)


def _from_mapping(value: Mapping[str, Any]) -> ResponseFormat[Any]:
    kind = value.get("type")
    if kind == "none":
        return ResponseFormat.unstructured()
    if kind == "json":
        schema = value.get("jsonSchema", value.get("json_schema"))
        if schema is not None and not _is_schema(schema):
            raise _unusable(schema)
        return _json_format(schema, json.loads)
    if kind == "gbnf":
        grammar = value.get("gbnfGrammar", value.get("gbnf_grammar"))
        if not isinstance(grammar, str) or not grammar.strip():
            raise LMStudioValueError("response_format of type 'gbnf' needs the grammar as text in 'gbnfGrammar'.")
        return ResponseFormat(_setting(type="gbnf", gbnf_grammar=grammar), None)
    if kind == "json_object":
        return _json_format(None, json.loads)
    if kind == "json_schema":
        inner = value.get("json_schema", value)
        schema = inner.get("schema") if isinstance(inner, Mapping) else None
        if not _is_schema(schema):
            raise LMStudioValueError("response_format of type 'json_schema' needs {'json_schema': {'schema': {...}}}.")
        return _json_format(schema, json.loads)
    if not _is_schema(value):
        raise _unusable(dict(value))
    return _json_format(value, json.loads)


def _json_format(schema: Mapping[str, Any] | None, parse: Callable[[str], Any]) -> ResponseFormat[Any]:
    if schema is None:
        return ResponseFormat(_setting(type="json"), parse)
    return ResponseFormat(_setting(type="json", json_schema=dict(schema)), parse)


def _setting(**members: Any) -> LlmStructuredPredictionSetting:
    from ._sdk_models import LlmStructuredPredictionSetting

    return LlmStructuredPredictionSetting(**members)


def msgspec_schema(cls: type[Any], schema_hook: Callable[[type[Any]], dict[str, Any]] | None = None) -> dict[str, Any]:
    """The JSON schema of a type that msgspec understands, with an object at its root.

    *schema_hook* describes the types within it that msgspec does not know, and raises NotImplementedError for others.
    """
    try:
        schema = msgspec.json.schema(cls, schema_hook=schema_hook)
        _keep_order(schema, _typed_dicts_in(cls, {}))
    except (TypeError, NameError) as error:
        raise LMStudioValueError(f"Cannot make a JSON schema of {cls!r}: {error}") from error
    return _with_inlined_root(schema)


def _with_inlined_root(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema made from a class, without a reference at its root.

    Engines turn the root into a grammar and do not all resolve a `$ref` there, so the referenced definition is inlined;
    the definitions stay, for inner and recursive references.
    """
    schema = dict(schema)
    prefix = "#/$defs/"
    reference = schema.get("$ref", "")
    definitions = schema.get("$defs", {})
    root_name = reference.removeprefix(prefix)
    if not reference.startswith(prefix) or root_name not in definitions:
        return schema
    root = dict(definitions[root_name])
    is_recursive = json.dumps(f"{prefix}{root_name}") in json.dumps(definitions)
    remaining = {name: item for name, item in definitions.items() if name != root_name or is_recursive}
    root |= {name: value for name, value in schema.items() if name not in ("$ref", "$defs")}
    return {**root, "$defs": remaining} if remaining else root


def _typed_dicts_in(annotation: Any, found: dict[Any, list[str]]) -> dict[Any, list[str]]:
    """The TypedDicts that a type consists of, with the order of their members; other classes have an empty one."""
    for argument in get_args(annotation):
        _typed_dicts_in(argument, found)
    is_class = isinstance(annotation, type) and get_origin(annotation) is None
    if is_class and annotation not in found and _has_fields(annotation):
        hints = get_type_hints(annotation)
        found[annotation] = list(hints) if _is_typed_dict(annotation) else []
        for hint in hints.values():
            _typed_dicts_in(hint, found)
    return found


def _keep_order(schema: Any, typed_dicts: Mapping[Any, list[str]]) -> None:
    """Undo that msgspec sorts the members of TypedDicts: models write them in the order of the schema."""
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, (dict, list)):
            _keep_order(value, typed_dicts)
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return
    for cls, names in typed_dicts.items():
        if cls.__name__ == schema.get("title") and set(names) == schema["properties"].keys():
            schema["properties"] = {name: schema["properties"][name] for name in names}
            schema["required"] = [name for name in names if name in schema.get("required", ())]
