"""The settings of a plugin as a class, whose attributes have the values that the user has given them.

::

    class Forecast(BaseConfigSchema):
        days: int = config_field(label="Days", hint="How far to look ahead", default=3, min=1, max=7)

    class ConfigSchema(BaseConfigSchema):
        city: str = config_field(label="City", hint="Where you live", default="Oslo")
        units: Literal["metric", "imperial"] = config_field(label="Units", default="metric")
        notes: Path | None = config_field(label="Notes", default=None, access_permission="read")
        forecast: Forecast = Forecast()

    config = parse_config_schema(ConfigSchema, kv)
    config.forecast.days

The annotation says what a setting can be: `bool`, `int`, `float`, `str`, a `Literal` or `Enum` of texts (a choice),
`Path` (a folder; with `| None` it may be left open), and lists of `str` or `Path`. The subclasses are data classes. One
inside another, as an attribute or as a nested class, is a scope: its settings have keys such as "forecast.days".

Settings without a class are described by `create_config_schematics`.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin

from typing_extensions import Unpack, dataclass_transform

from lmstudio.errors import LMStudioValueError

from ._app_value_types import kv_value_types_library
from ._schematics import (
    AccessPermission,
    ConfigSchematics,
    ConfigSchematicsBuilder,
    ConfigSchematicsField,
    KVConfigBuilder,
    ParsedConfig,
    SharedFieldParams,
    create_config_schematics,
    select_options,
)
from ._value_types import (
    FieldDependency,
    KVFieldValueTypeLibrary,
    SelectOption,
    SliderRange,
    basic_kv_value_types_library,
    depends_on,
)
from .sdk_api import LMStudioPluginInitError

if TYPE_CHECKING:
    from lmstudio._sdk_models import KvConfig

__all__ = [
    "BaseConfigSchema",
    "ConfigFieldParams",
    "ConfigSchematics",
    "ConfigSchematicsBuilder",
    "ConfigSchematicsField",
    "FieldDependency",
    "KVConfigBuilder",
    "KVFieldValueTypeLibrary",
    "ParsedConfig",
    "SelectOption",
    "SliderRange",
    "basic_kv_value_types_library",
    "config_field",
    "create_config_schematics",
    "depends_on",
    "kv_value_types_library",
    "parse_config_schema",
    "schematics_of",
]

T = TypeVar("T")
SchemaT = TypeVar("SchemaT", bound="BaseConfigSchema")


class ConfigFieldParams(SharedFieldParams, total=False):
    """What can be said about a setting, depending on its type. Names are those of lmstudio.js in snake_case."""

    min: float | None
    max: float | None
    step: float | None
    precision: int | None
    slider: SliderRange | Mapping[str, float] | None
    short_hand: str | None
    min_length: int | None
    max_length: int | None
    is_paragraph: bool | None
    is_protected: bool | None
    is_token: bool | None
    placeholder: str | None
    options: Mapping[str, str] | Iterable[str | SelectOption | Mapping[str, str]] | None
    max_num_items: int | None
    allow_empty_strings: bool | None
    access_permission: AccessPermission | None


def config_field(
    *,
    label: str | None = None,
    hint: str | None = None,
    default: T,
    value_type: str | None = None,
    **params: Unpack[ConfigFieldParams],
) -> T:
    """Declare a setting in the body of a `BaseConfigSchema`. LM Studio shows *label*, and *hint* on demand.

    Its type follows from the annotation, and from *default* where that says nothing. *value_type* is for types without
    an annotation of their own, by their names in lmstudio.js, e.g. "directory" for a folder that is a `str`.
    """
    named = {"displayName": label, "hint": hint, **params}
    # Not what the annotation says: type checkers are to accept `name: str = config_field(...)`.
    return cast("T", _Declaration(default, value_type, {key: item for key, item in named.items() if item is not None}))


class _Declaration:
    """A setting in the body of its class, where the class replaces it by the default."""

    def __init__(self, default: Any, value_type: str | None, params: dict[str, Any]) -> None:
        self.default: Any = default
        self.value_type = value_type
        self.params = params

    def __set_name__(self, owner: type, name: str) -> None:
        raise LMStudioPluginInitError(
            f"{owner.__qualname__}.{name} is a config_field outside of a configuration: "
            "derive the class from BaseConfigSchema."
        )


# What an annotation means --------------------------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


@dataclasses.dataclass(frozen=True)
class _Form:
    """How values of a setting travel, and what the attribute holds instead."""

    type_key: str
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    read: Callable[[Any], Any] = _same
    write: Callable[[Any], Any] = _same
    needs_text: bool = False
    """The empty text means that the user has chosen nothing, so that the default counts."""


def _path_text(path: Any) -> Any:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _optional_path_text(path: Any) -> Any:
    return "" if path is None else _path_text(path)


def _path_texts(paths: Any) -> Any:
    return [_path_text(path) for path in paths] if isinstance(paths, (list, tuple)) else paths


_FORMS: dict[Any, _Form] = {
    bool: _Form("boolean"),
    int: _Form("numeric", {"int": True}),
    float: _Form("numeric", {"int": False}),
    str: _Form("string"),
}


def _form_of(annotation: Any) -> _Form | None:
    """The form that an annotation asks for; None if it says nothing."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _form_of(arguments[0])
    if origin is Literal and all(isinstance(value, str) for value in arguments):
        return _Form("select", {"options": list(arguments)})
    if origin in (Union, types.UnionType):
        return _optional_form([argument for argument in arguments if argument is not type(None)])
    if origin in (list, Sequence, tuple):
        return _list_form(origin, arguments)
    if annotation in (list, tuple):
        return _list_form(annotation, (str,))
    if _is_path(annotation):
        return _Form("directory", read=Path, write=_path_text, needs_text=True)  # Path("") would be the current folder
    if origin is not None or not isinstance(annotation, type):  # Python 3.10 takes `dict[str, str]` for a type
        return None
    if issubclass(annotation, Enum):
        return _enum_form(annotation)
    return _FORMS.get(annotation)


def _is_path(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    return kind is os.PathLike or (isinstance(kind, type) and issubclass(kind, PurePath))


def _optional_form(members: list[Any]) -> _Form | None:
    """The form of `... | None`. Only a folder can be left open: every other setting has a value."""
    if len(members) != 1:
        return None
    if _is_path(members[0]):
        return _Form("directory", read=lambda text: Path(text) if text else None, write=_optional_path_text)
    return _form_of(members[0])


def _list_form(kind: Any, arguments: tuple[Any, ...]) -> _Form | None:
    make: Callable[[Any], Any] = tuple if kind is tuple else list
    item = arguments[0] if arguments else None
    if kind is tuple and arguments[1:] not in ((), (...,)):
        return None
    if item is str:
        return _Form("stringArray", read=make)
    return (
        _Form("directoryGroup", read=lambda texts: make(map(Path, texts)), write=_path_texts)
        if _is_path(item)
        else None
    )


def _enum_form(annotation: type[Enum]) -> _Form | None:
    values = [member.value for member in annotation]
    if not all(isinstance(value, str) for value in values):
        return None

    def write(value: Any) -> Any:
        return value.value if isinstance(value, Enum) else value

    return _Form("select", {"options": values}, read=annotation, write=write)


def _declared_form(declaration: _Declaration, annotation: Any) -> _Form:
    """The form of a setting. Raises LMStudioPluginInitError if nothing says what it is."""
    default, form = declaration.default, _form_of(annotation)
    if declaration.value_type is not None and (form is None or form.type_key != declaration.value_type):
        return _Form(declaration.value_type, write=_path_text)
    form = form or next((_FORMS[kind] for kind in _FORMS if type(default) is kind), None)
    if form is None:
        raise LMStudioPluginInitError(
            f"Unsupported type for a plugin config field: {annotation!r} with the default {default!r:.60}. There is "
            "bool, int, float, str, Literal and Enum of texts, Path, list[str] and list[Path]; or name a value_type."
        )
    if form.type_key == "string" and "options" in declaration.params:
        return _Form("select")
    return form


# The classes ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Setting:
    """A declared setting, its type known."""

    form: _Form
    params: Mapping[str, Any]

    def add_to(self, builder: ConfigSchematicsBuilder, name: str, value: Any) -> None:
        given = {**self.form.params, **self.params}
        if "options" in self.params:
            given["options"] = self._shown_options()
        builder.field(name, self.form.type_key, given, self.form.write(value))

    def _shown_options(self) -> Any:
        """The options, which must be those of the annotation if it has any."""
        options = select_options(self.params["options"])
        expected = self.form.params.get("options")
        if expected is not None:
            given = kv_value_types_library.value_type("select", {"options": options}).params.values()
            if sorted(given) != sorted(expected):
                raise LMStudioPluginInitError(f"options has {given}, but the annotation {expected}: name the same.")
        return options


class _ConfigSchemaType(type):
    """Makes data classes of its classes."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any
    ) -> _ConfigSchemaType:
        declared = {key: value for key, value in namespace.items() if isinstance(value, _Declaration)}
        nested = {key: value for key, value in namespace.items() if isinstance(value, _ConfigSchemaType)}
        scopes = {key: value for key, value in namespace.items() if isinstance(type(value), _ConfigSchemaType)}
        body = {key: value for key, value in namespace.items() if key not in {*declared, *scopes}}
        schema: Any = super().__new__(cls, name, bases, body, **keywords)
        settings = _settings_of(schema, declared, sys._getframe(1)) if declared else {}
        for key, declaration in declared.items():
            is_shown = not declaration.params.get("is_protected")
            setattr(schema, key, _dataclass_field(declaration.default, is_shown=is_shown))
        for key, default in scopes.items():
            schema.__annotations__.setdefault(key, type(default))
            setattr(schema, key, _dataclass_field(default))
        for key, inner in nested.items():
            schema.__annotations__[key] = inner
            setattr(schema, key, dataclasses.field(default_factory=inner))
        dataclasses.dataclass(schema)
        for key, inner in nested.items():  # a field with a factory is no attribute of the class
            setattr(schema, key, inner)
        inherited = [vars(base) for base in reversed(schema.__mro__[1:]) if "__config_order__" in vars(base)]
        order = [key for key in namespace if key in {*declared, *scopes, *nested}]
        schema.__config_settings__ = {
            **{key: setting for base in inherited for key, setting in base["__config_settings__"].items()},
            **settings,
        }
        schema.__config_order__ = tuple(
            dict.fromkeys([key for base in inherited for key in base["__config_order__"]] + order)
        )
        return cast("_ConfigSchemaType", schema)


def _dataclass_field(default: Any, *, is_shown: bool = True) -> Any:
    if isinstance(default, (list, dict)) or isinstance(type(default), _ConfigSchemaType):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), repr=is_shown)
    return dataclasses.field(default=default, repr=is_shown)


def _settings_of(schema: type, declared: Mapping[str, _Declaration], frame: Any) -> dict[str, _Setting]:
    """The settings that the body of a class declares.

    Annotations are resolved now, and stay so: `dataclass` looks for the module, which what runs a plugin may not list.
    """
    try:
        annotations = inspect.get_annotations(schema)
    except NameError as error:  # Python 3.14 resolves them here
        raise LMStudioPluginInitError(f"A type in {schema.__qualname__} cannot be read: {error}.") from error
    settings = {}
    for name, declaration in declared.items():
        place = f"{schema.__qualname__}.{name}"
        if name not in annotations:
            raise LMStudioPluginInitError(f"{place} has no type: write `{name}: str = config_field(...)` or the like.")
        try:
            schema.__annotations__[name] = annotation = _resolved(annotations[name], frame)
            settings[name] = _Setting(_declared_form(declaration, annotation), declaration.params)
            settings[name].add_to(ConfigSchematicsBuilder(), name, declaration.default)
        except (NameError, SyntaxError, TypeError) as error:
            raise LMStudioPluginInitError(f"The type of {place} cannot be read: {error}.") from error
        except LMStudioValueError as error:
            raise LMStudioPluginInitError(f"{place}: {error}") from error
    return settings


def _resolved(annotation: Any, frame: Any) -> Any:
    def carrier() -> None: ...

    carrier.__annotations__ = {"it": annotation}
    return typing.get_type_hints(carrier, frame.f_globals, frame.f_locals, include_extras=True)["it"]


@dataclass_transform(field_specifiers=(config_field,))
class BaseConfigSchema(metaclass=_ConfigSchemaType):
    """Derive from it to declare settings. An instance has the value of each, or the defaults if made without any."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    __config_settings__: ClassVar[dict[str, _Setting]]
    __config_order__: ClassVar[tuple[str, ...]]


def schematics_of(cls: type[BaseConfigSchema]) -> ConfigSchematics:
    """The settings that a class declares, as LM Studio is told them. There may be none.

    Raises:
        LMStudioPluginInitError: an attribute that is no setting has no default, or a setting depends on one that does
            not exist.
    """
    try:
        return _add_all(ConfigSchematicsBuilder(), _defaults_of(cls)).build()
    except LMStudioPluginInitError:
        raise
    except LMStudioValueError as error:
        raise LMStudioPluginInitError(f"{cls.__qualname__}: {error}") from error


def parse_config_schema(cls: type[SchemaT], kv: KvConfig | None) -> SchemaT:
    """An instance with the values in *kv*, and the defaults where it has none. Keys that are no settings are ignored.

    Raises:
        LMStudioPluginInitError: as `schematics_of`.
        LMStudioValueError: a value is none of its setting; the message names the key.
    """
    return cast("SchemaT", _filled(_defaults_of(cls), schematics_of(cls).parse(kv), ""))


def _defaults_of(cls: type[BaseConfigSchema]) -> BaseConfigSchema:
    if not isinstance(cls, _ConfigSchemaType):
        raise LMStudioPluginInitError(
            f"Settings are declared by a class derived from BaseConfigSchema; got {cls!r:.60}."
        )
    try:
        return cls()
    except TypeError as error:
        problem = f"{cls.__qualname__} has an attribute without a default: {error}. Declare it with config_field(...)."
        raise LMStudioPluginInitError(problem) from error


def _add_all(builder: ConfigSchematicsBuilder, defaults: BaseConfigSchema) -> ConfigSchematicsBuilder:
    for name in defaults.__config_order__:
        value = getattr(defaults, name)
        if name in defaults.__config_settings__:
            defaults.__config_settings__[name].add_to(builder, name, value)
        else:
            builder.scope(name, lambda inner, scope=value: _add_all(inner, scope))  # type: ignore[misc]  # its type is known
    return builder


def _filled(instance: BaseConfigSchema, config: ParsedConfig, prefix: str) -> BaseConfigSchema:
    """A copy of an instance of defaults with the values of *config*."""
    values = {}
    for name in instance.__config_order__:
        default = getattr(instance, name)
        if name not in instance.__config_settings__:
            values[name] = _filled(default, config, f"{prefix}{name}.")
            continue
        form, value = instance.__config_settings__[name].form, config[prefix + name]
        values[name] = default if form.needs_text and not value else form.read(value)
    return dataclasses.replace(instance, **values)
