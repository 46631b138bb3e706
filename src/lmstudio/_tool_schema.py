"""The parameters of a tool: from types to a JSON schema, and from a model's JSON to values of these types."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from ._schema_check import find_mismatch
from ._tool_signature import MISSING, bad_parameter, is_union
from .schemas import msgspec_schema

if TYPE_CHECKING:
    from .errors import LMStudioValueError

__all__ = ["ArgumentReader"]

# Types ---------------------------------------------------------------------------------------------------------------


def _adapted(annotation: Any, describe: Callable[[str], object], leaf: Callable[[Any], Any]) -> Any:
    """*annotation* in the words of a library.

    Each text in an Annotated becomes *describe(text)*, and each type *leaf(type)*.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None or origin is Literal or not arguments:
        return leaf(annotation)
    if origin is Annotated:
        inner, *metadata = arguments
        known = [item if (text := _text_of(item)) is None else describe(text) for item in metadata]
        return _annotated(_adapted(inner, describe, leaf), known)
    changed = tuple(_adapted(item, describe, leaf) for item in arguments)
    if all(new is old for new, old in zip(changed, arguments, strict=True)):
        return annotation
    if is_union(annotation):
        return Union[changed]  # noqa: UP007 - of what is known at run time only
    return annotation.copy_with(changed) if hasattr(annotation, "copy_with") else origin[changed]


def _for_msgspec(annotation: Any) -> Any:
    return _adapted(annotation, lambda text: msgspec.Meta(description=text), _with_format)


def _with_format(annotation: Any) -> Any:
    """For times without a zone msgspec leaves the format out, and the model would not know what to write."""
    if annotation in (dt.datetime, dt.time):
        name = "date-time" if annotation is dt.datetime else "time"
        return Annotated[annotation, msgspec.Meta(extra_json_schema={"format": name})]
    return annotation


def _annotated(inner: Any, metadata: list[Any]) -> Any:
    parts = (inner, *metadata)
    return cast("Any", Annotated)[parts]


def _text_of(metadata: object) -> str | None:
    """The description that metadata of an Annotated is: a text, or `typing_extensions.Doc`."""
    text = metadata if isinstance(metadata, str) else getattr(metadata, "documentation", None)
    return text if isinstance(text, str) else None


def _with_none(annotation: Any) -> Any:
    """*annotation*, or None. The metadata of an Annotated stays outside, where its description is of the whole."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return _annotated(_with_none(inner), metadata)
    return annotation if annotation is Any else Optional[annotation]  # noqa: UP045 - of what is known at run time only


def _annotations_in(annotation: Any, seen: set[Any]) -> Iterator[Any]:
    """*annotation*, and the annotations of all that is in it: arguments of generics, fields of classes."""
    yield annotation
    arguments = get_args(annotation)
    for argument in arguments:
        if get_origin(annotation) is not Literal:
            yield from _annotations_in(argument, seen)
    if not arguments and isinstance(annotation, type) and annotation not in seen:
        seen.add(annotation)
        for hint in _field_hints(annotation).values():
            yield from _annotations_in(hint, seen)


def _field_hints(cls: type) -> dict[str, Any]:
    if not any(hasattr(cls, name) for name in ("__struct_fields__", "__dataclass_fields__", "__required_keys__")):
        return {}
    try:
        return get_type_hints(cls, include_extras=True)
    except (NameError, TypeError):  # said again, and reported, when the schema is made
        return {}


def _needs_pydantic(annotation: Any) -> bool:
    """Whether something in *annotation* means nothing to msgspec but something to pydantic."""

    def is_foreign(item: Any) -> bool:
        if isinstance(item, type):
            return hasattr(item, "__get_pydantic_core_schema__") or hasattr(item, "__pydantic_core_schema__")
        if get_origin(item) is not None:
            return False
        library = type(item).__module__.partition(".")[0]
        return library in ("pydantic", "annotated_types") or hasattr(item, "__get_pydantic_core_schema__")

    return any(is_foreign(item) for item in _annotations_in(annotation, set()))


def _is_path(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, os.PathLike)  # pyright: ignore[reportGeneralTypeIssues]  # typeshed has a protocol


def _schema_of_other_type(cls: type) -> dict[str, Any]:
    if _is_path(cls):
        return {"type": "string", "format": "path"}
    raise NotImplementedError


def _value_of_other_type(cls: type, value: Any) -> Any:
    if _is_path(cls) and isinstance(value, str):
        return cls(value)
    raise ValueError(f"Expected `{cls.__name__}`, got `{type(value).__name__}`")


def _default_as_json(value: object) -> Any:
    """JSON data that stands for the default *value*; MISSING if there is none."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")  # pyright: ignore[reportAttributeAccessIssue]  # as checked above
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_other_default_as_json)
    except (TypeError, ValueError, NotImplementedError):
        return MISSING


def _other_default_as_json(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise NotImplementedError


# Parameters ----------------------------------------------------------------------------------------------------------


class _Parameter:
    """One parameter of a tool: its type and what belongs to it."""

    def __init__(self, tool_name: str, name: str, given: Any) -> None:
        self.name = name
        self._tool_name = tool_name
        entry = self._entry(given)
        self.default: Any = entry.get("default", MISSING)
        self.description: str | None = entry.get("description")
        annotation = entry["type"]
        if annotation is None or isinstance(annotation, (str, Mapping)):
            raise self._error(f"expected a type, got {annotation!r:.80}", "write a type, such as str or list[int]")
        if self.default is None:
            annotation = _with_none(annotation)
        self._adapter: Any = self._pydantic_adapter(annotation) if _needs_pydantic(annotation) else None
        self.source = annotation
        self.annotation = _for_msgspec(annotation)

    def _entry(self, given: Any) -> Mapping[str, Any]:
        if not isinstance(given, Mapping):
            return {"type": given}
        unknown = given.keys() - {"type", "default", "description"}
        if unknown or "type" not in given:
            raise self._error(
                f"expected a type or a dict with 'type', 'default' and 'description', got {dict(given)!r:.80}",
                "write {'type': int, 'default': 3}; for a JSON schema there is raw_function_tool",
            )
        return given

    def _error(self, problem: str, remedy: str) -> LMStudioValueError:
        return bad_parameter(self._tool_name, f"parameter {self.name!r}: {problem}", remedy)

    def _pydantic_adapter(self, annotation: Any) -> Any:
        try:
            from pydantic import Field, TypeAdapter
        except ImportError as error:
            raise self._error("its type hint needs pydantic, which is not installed", "use msgspec.Meta") from error
        try:
            adapter = TypeAdapter(_adapted(annotation, lambda text: Field(description=text), lambda leaf: leaf))
            adapter.json_schema()
        except Exception as error:  # pydantic has many, from several places
            lines = str(error).split("\n")
            raise self._error(
                f"pydantic cannot use its type {annotation!r} ({lines[0]})", "use another type"
            ) from error
        return adapter

    @property
    def struct_type(self) -> Any:
        """The type that stands for it where msgspec makes the schema."""
        return self.annotation if self._adapter is None else Any

    def check_type(self) -> None:
        """Raise LMStudioValueError if msgspec cannot make a schema of the type."""
        if self._adapter is None:
            try:
                msgspec.json.schema(self.annotation, schema_hook=_schema_of_other_type)
            except (TypeError, NameError) as error:
                # The rest is about hooks that do not exist here.
                reason = str(error).strip().split("\n")[-1]
                remedy = "use types that JSON has, msgspec structs, dataclasses, TypedDicts or pydantic models"
                raise self._error(reason.replace("<class ", "").replace(">", ""), remedy) from error

    def complete(self, schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
        """Add to the *schema* that msgspec has made what it does not know. *definitions* are the shared `$defs`."""
        if self._adapter is not None:
            schema = dict(self._adapter.json_schema())
            for name, definition in schema.pop("$defs", {}).items():
                if definitions.setdefault(name, definition) != definition:
                    raise self._error(f"another type called {name!r} is used too", "give one of them another name")
        if self.description is not None:
            schema.setdefault("description", self.description)
        default = MISSING if self.default is MISSING else _default_as_json(self.default)
        if default is not MISSING:
            schema["default"] = default
        return schema

    def read(self, value: Any) -> Any:
        """*value*, plain JSON data, as the type.

        Raises:
            ValueError: it does not fit; the message ends in the path within it.
        """
        if self._adapter is not None:
            # As JSON, because a text may be a date there even where a model is strict.
            return self._adapter.validate_json(msgspec.json.encode(value))
        return msgspec.convert(value, self.annotation, strict=False, dec_hook=_value_of_other_type)

    def fresh_default(self) -> Any:
        """The default. A plain container is copied: a tool may keep and change it."""
        if type(self.default) in (list, dict, set):
            import copy

            return copy.deepcopy(self.default)
        return self.default


class ArgumentReader:
    """The parameters of one tool.

    *parameters* maps names to types, or to dicts of `type`, `default` and `description`.

    Raises:
        LMStudioValueError: a type cannot be described to a model.
    """

    def __init__(self, tool_name: str, parameters: Mapping[str, Any]) -> None:
        self._parameters = {name: _Parameter(tool_name, name, given) for name, given in parameters.items()}
        self.schema = self._make_schema()
        """The JSON schema of an object with the parameters as members, in their order."""

    def _make_schema(self) -> dict[str, Any]:
        parameters = list(self._parameters.values())
        # Numbered, because a name may be a keyword of Python, or no identifier.
        fields: list[Any] = [
            (
                f"p{index}",
                parameter.struct_type,
                msgspec.field(name=parameter.name)
                if parameter.default is MISSING
                # Only that there is a default: what it is goes into the schema later.
                else msgspec.field(name=parameter.name, default=msgspec.UNSET),
            )
            for index, parameter in enumerate(parameters)
        ]
        for parameter in parameters:
            parameter.check_type()
        struct = msgspec.defstruct("Parameters", fields, kw_only=True, forbid_unknown_fields=True)
        schema = msgspec_schema(struct, _schema_of_other_type)
        del schema["title"]
        definitions = schema.pop("$defs", {})
        annotations = [parameter.source for parameter in parameters]
        _refine([schema, definitions], annotations)
        schema["properties"], definitions = _with_choices_in_place(schema["properties"], definitions)
        properties = schema["properties"]
        for parameter in parameters:
            properties[parameter.name] = parameter.complete(properties[parameter.name], definitions)
        return {**schema, "$defs": definitions} if definitions else schema

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments of the call: *arguments*, which is plain JSON data, as the types say; and the defaults.

        A text that a model wrote instead of a number, boolean or null counts as that, where the type allows no text.
        Numbers are never made into texts, and a number with a fraction is no integer.

        Raises:
            ValueError: an argument is missing, unknown or does not fit; the message has its path.
        """
        for name in arguments:
            if name not in self._parameters:
                known = ", ".join(map(repr, self._parameters)) or "none"
                raise ValueError(f"there is no parameter {name!r}; parameters: {known}")
        missing = [
            repr(name)
            for name, parameter in self._parameters.items()
            if name not in arguments and parameter.default is MISSING
        ]
        if missing:
            raise ValueError(f"missing: {', '.join(missing)}")
        return {
            name: self._read_one(parameter, arguments[name]) if name in arguments else parameter.fresh_default()
            for name, parameter in self._parameters.items()
        }

    def _read_one(self, parameter: _Parameter, value: Any) -> Any:
        try:
            return parameter.read(value)
        except ValueError as error:
            # The schema knows more words about it: what was found, and which values there are.
            name = parameter.name
            part = {"properties": {name: self.schema["properties"][name]}, "$defs": self.schema.get("$defs", {})}
            mismatch = find_mismatch({name: value}, part)
            raise ValueError(_described_error(name, error) if mismatch is None else str(mismatch)) from error


def _described_error(name: str, error: ValueError) -> str:
    if hasattr(error, "errors"):  # pydantic
        first = error.errors()[0]  # pyright: ignore[reportAttributeAccessIssue]
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
        return f"{name}{steps}: {first['msg']}"
    text, _, path = str(error).partition(" - at `$")
    return f"{name}{path.rstrip('`')}: {text[:1].lower()}{text[1:].replace('`', '')}"


def _refine(schema: Any, annotations: list[Any]) -> None:
    """Put into a schema of msgspec what it leaves out: order and type of choices, texts in the Annotated of fields."""
    seen: set[Any] = set()
    found = [item for annotation in annotations for item in _annotations_in(annotation, seen)]
    orders = [order for item in found if (order := _choices(item))]
    classes = {
        item.__name__: hints
        for item in found
        if isinstance(item, type) and get_origin(item) is None and (hints := _field_hints(item))
    }
    for part in _objects_in(schema):
        if isinstance(part.get("enum"), list):
            choices = part.pop("enum")
            name = _TYPE_NAMES.get(type(choices[0])) if len({type(choice) for choice in choices}) == 1 else None
            part.update({} if name is None else {"type": name})
            part["enum"] = next((order for order in orders if _same_choices(order, choices)), choices)
        # The object may also be a table of parameters, one of which is called "title".
        properties, title = part.get("properties"), part.get("title")
        hints = classes.get(title, {}) if isinstance(title, str) else {}
        if isinstance(properties, dict) and set(hints) == set(properties):
            for name, hint in hints.items():
                texts = [text for item in getattr(hint, "__metadata__", ()) if (text := _text_of(item)) is not None]
                if texts:
                    properties[name].setdefault("description", texts[0])


_TYPE_NAMES = {str: "string", int: "integer"}


def _with_choices_in_place(properties: Any, definitions: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Write the choices of enums where they are used: prompt templates show a parameter, but follow no `$ref`."""
    choices = {
        f"#/$defs/{name}": {key: value for key, value in definition.items() if key != "title"}
        for name, definition in definitions.items()
        if "enum" in definition
    }
    for part in _objects_in([properties, definitions]):
        reference = part.get("$ref")
        if isinstance(reference, str) and reference in choices:
            part.update(choices[part.pop("$ref")])
    return properties, {name: item for name, item in definitions.items() if "enum" not in item}


def _choices(annotation: Any) -> list[Any]:
    """The values of a Literal or Enum in the order of the source, as JSON has them."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    members = getattr(annotation, "__members__", None) if isinstance(annotation, type) else None
    return [member.value for member in members.values()] if isinstance(members, Mapping) else []


def _same_choices(left: list[Any], right: list[Any]) -> bool:
    return sorted(map(repr, left)) == sorted(map(repr, right))


def _objects_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects_in(item)
