"""The settings of a plugin, described for LM Studio's interface, and the values that the user has given them.

::

    schematics = (
        create_config_schematics()
        .string("city", "Oslo", display_name="City", placeholder="Where do you live?")
        .scope("forecast", lambda scope: scope.numeric("days", 3, int=True, min=1, max=7))
        .build()
    )
    config = schematics.parse(kv)
    config["city"]  # what the user has entered, or "Oslo"
    config.get("forecast.days", int)  # the same, and known to be an int

Settings as attributes of a class are in `config_schemas`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

import msgspec
from msgspec import UNSET
from typing_extensions import TypedDict, Unpack

from lmstudio._near import near_matches
from lmstudio._sdk_models import (
    KvConfig,
    KvConfigField,
    SerializedKVConfigSchematics,
    SerializedKVConfigSchematicsField,
)
from lmstudio.errors import LMStudioValueError

from ._app_value_types import kv_value_types_library
from ._value_types import FieldDependency, FieldParams, SelectOption, ValueProblem, ValueType, read_value

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._value_types import KVFieldValueTypeLibrary, SliderRange

__all__ = [
    "CommonFieldParams",
    "ConfigSchematics",
    "ConfigSchematicsBuilder",
    "ConfigSchematicsField",
    "KVConfigBuilder",
    "ParsedConfig",
    "create_config_schematics",
]

T = TypeVar("T")
AccessPermission = Literal["read", "readWrite", "none"]


class SharedFieldParams(TypedDict, total=False):
    """What can be said about any setting, apart from its name and its explanation."""

    subtitle: str | None
    warning: str | None
    model_centric: bool | None
    non_configurable: bool | None
    engine_does_not_support: bool | None
    machine_dependent: bool | None
    is_experimental: bool | None
    dependencies: Sequence[FieldDependency | Mapping[str, Any]] | None


class CommonFieldParams(SharedFieldParams, total=False):
    """What can be said about any setting."""

    display_name: str | None
    hint: str | None


class ConfigSchematicsField(msgspec.Struct, frozen=True, kw_only=True):
    """One setting."""

    key: str
    """With the names of its scopes, as in "forecast.days"."""
    type_key: str
    """The type of its values, as in "numeric"."""
    kind: ValueType[Any]
    """That type with the parameters of this setting."""
    default: Any
    """The value until the user gives another one."""

    @property
    def params(self) -> FieldParams:
        """What is said about the setting."""
        params: FieldParams = self.kind.params
        return params


# Building ------------------------------------------------------------------------------------------------------------


class ConfigSchematicsBuilder:
    """Collects settings. Each method returns the builder, and refuses what LM Studio could not show.

    Every method may raise LMStudioValueError: the key exists already, a parameter does not fit the type or another
    parameter, or the default is no value of the setting.
    """

    def __init__(self, library: KVFieldValueTypeLibrary = kv_value_types_library) -> None:
        self._library = library
        self._fields: dict[str, ConfigSchematicsField] = {}
        self._extension_prefixes: list[str] = []

    def field(self, key: str, value_type: str, params: Mapping[str, Any], default: Any) -> Self:
        """Add a setting of any type that the library has, e.g. `.field("days", "numeric", {"int": True}, 3)`.

        Names in *params* are those of lmstudio.js, or the same in snake_case; None counts as absent.
        """
        if not isinstance(key, str) or not key:
            raise LMStudioValueError(f"The key of a setting must be a text with at least one character; got {key!r}.")
        try:
            given = {name: item for name, item in params.items() if item is not None}
            kind = self._library.value_type(value_type, given)
        except LMStudioValueError as error:
            raise LMStudioValueError(f"The setting {key!r} cannot be as described. {error}") from error
        try:
            value = read_value(kind, default)
        except ValueProblem as error:
            message = f"The default {default!r:.60} of the setting {key!r} is none of its values: {error}."
            raise LMStudioValueError(message) from error
        self._add(ConfigSchematicsField(key=key, type_key=value_type, kind=kind, default=value))
        return self

    @overload
    def numeric(
        self,
        key: str,
        default: float,
        *,
        min: float | None = None,
        max: float | None = None,
        step: float | None = None,
        int: Literal[False] | None = None,
        precision: int | None = None,
        slider: SliderRange | Mapping[str, float] | None = None,
        short_hand: str | None = None,
        **common: Unpack[CommonFieldParams],
    ) -> Self: ...
    @overload
    def numeric(
        self,
        key: str,
        default: int,
        *,
        min: float | None = None,
        max: float | None = None,
        step: float | None = None,
        int: Literal[True],
        slider: SliderRange | Mapping[str, float] | None = None,
        short_hand: str | None = None,
        **common: Unpack[CommonFieldParams],
    ) -> Self: ...
    def numeric(self, key: str, default: float, **params: Any) -> Self:
        """Add a number: whole with `int=True`, else with `precision` decimals, which are 2 where nothing is said.

        `slider={"min": 0, "max": 1, "step": 0.1}` shows a slider, which may have a narrower range than the setting.
        """
        return self.field(key, "numeric", params, default)

    def string(
        self,
        key: str,
        default: str,
        *,
        min_length: int | None = None,
        max_length: int | None = None,
        is_paragraph: bool | None = None,
        is_protected: bool | None = None,
        is_token: bool | None = None,
        placeholder: str | None = None,
        **common: Unpack[CommonFieldParams],
    ) -> Self:
        """Add a text: of several lines with `is_paragraph`, hidden like a password with `is_protected`."""
        own = {
            "min_length": min_length,
            "max_length": max_length,
            "is_paragraph": is_paragraph,
            "is_protected": is_protected,
            "is_token": is_token,
            "placeholder": placeholder,
        }
        return self.field(key, "string", {**own, **common}, default)

    def select(
        self,
        key: str,
        default: str,
        *,
        options: Mapping[str, str] | Iterable[str | SelectOption | Mapping[str, str]],
        **common: Unpack[CommonFieldParams],
    ) -> Self:
        """Add a choice. *options* are the values, or a dict from each value to the text that is shown for it."""
        return self.field(key, "select", {"options": select_options(options), **common}, default)

    def boolean(self, key: str, default: bool, **common: Unpack[CommonFieldParams]) -> Self:
        """Add a switch."""
        return self.field(key, "boolean", common, default)

    def string_array(
        self,
        key: str,
        default: Sequence[str],
        *,
        max_num_items: int | None = None,
        allow_empty_strings: bool | None = None,
        **common: Unpack[CommonFieldParams],
    ) -> Self:
        """Add a list of texts, none of them empty unless `allow_empty_strings`."""
        own = {"max_num_items": max_num_items, "allow_empty_strings": allow_empty_strings}
        return self.field(key, "stringArray", {**own, **common}, default)

    def directory(
        self,
        key: str,
        default: str | os.PathLike[str],
        *,
        access_permission: AccessPermission | None = None,
        **common: Unpack[CommonFieldParams],
    ) -> Self:
        """Add a folder to choose; "" means that none is chosen."""
        params = {"access_permission": access_permission, **common}
        return self.field(key, "directory", params, _path_text(default))

    def directory_group(
        self,
        key: str,
        default: Sequence[str | os.PathLike[str]],
        *,
        access_permission: AccessPermission | None = None,
        **common: Unpack[CommonFieldParams],
    ) -> Self:
        """Add a list of folders to choose."""
        params = {"access_permission": access_permission, **common}
        paths = default if isinstance(default, (str, bytes)) else [_path_text(path) for path in default]
        return self.field(key, "directoryGroup", params, paths)

    def scope(self, key: str, fn: Callable[[ConfigSchematicsBuilder], ConfigSchematicsBuilder]) -> Self:
        """Add the settings that *fn* adds to the builder it is given, with *key* and a dot before their keys."""
        if not isinstance(key, str) or not key:
            raise LMStudioValueError(f"The key of a scope must be a text with at least one character; got {key!r}.")
        inner = fn(ConfigSchematicsBuilder(self._library))
        if not isinstance(inner, ConfigSchematicsBuilder):
            raise LMStudioValueError(
                f"The function of the scope {key!r} must return the builder; it returned {inner!r:.60}."
            )
        for field in inner._fields.values():
            self._add(msgspec.structs.replace(field, key=f"{key}.{field.key}"))
        self._extension_prefixes += [f"{key}.{prefix}" for prefix in inner._extension_prefixes]
        return self

    def extension(self, prefix: str) -> Self:
        """Allow keys that begin with *prefix* and a dot beside those of the settings, e.g. in a `KVConfigBuilder`."""
        self._extension_prefixes.append(f"{prefix}.")
        return self

    def build(self) -> ConfigSchematics:
        """The settings, complete.

        Raises:
            LMStudioValueError: a setting depends on one that does not exist.
        """
        for field in self._fields.values():
            for dependency in field.params.dependencies or ():
                if dependency.key not in self._fields:
                    near = near_matches(dependency.key, self._fields)
                    meant = f" Did you mean {near[0]!r}?" if near else " Give its key with all scopes, as in 'a.b'."
                    raise LMStudioValueError(
                        f"The setting {field.key!r} depends on {dependency.key!r}, which does not exist.{meant}"
                    )
        return ConfigSchematics(self._fields.values(), self._extension_prefixes)

    def _add(self, field: ConfigSchematicsField) -> None:
        if field.key in self._fields:
            raise LMStudioValueError(f"There is a setting {field.key!r} already: give each a key of its own.")
        self._fields[field.key] = field


def create_config_schematics() -> ConfigSchematicsBuilder:
    """Begin to describe the settings of a plugin."""
    return ConfigSchematicsBuilder()


def select_options(options: Any) -> Any:
    """Options of a choice in the form of the wire; what is none of the forms that are offered stays as it is."""
    if isinstance(options, Mapping):
        return [{"value": value, "displayName": shown} for value, shown in options.items()]
    return options if isinstance(options, str) or not isinstance(options, Iterable) else list(options)


def _path_text(path: str | os.PathLike[str]) -> Any:
    """A path as text; what is none stays, and is refused as a default."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


# Using ---------------------------------------------------------------------------------------------------------------


class ConfigSchematics:
    """The settings of a plugin. Made by `create_config_schematics()...build()`."""

    def __init__(self, fields: Iterable[ConfigSchematicsField], prefixes: Iterable[str] = ()) -> None:
        self._fields = {field.key: field for field in fields}
        self._extension_prefixes = tuple(dict.fromkeys(prefixes))

    @property
    def fields(self) -> tuple[ConfigSchematicsField, ...]:
        """The settings, in the order in which they are shown."""
        return tuple(self._fields.values())

    @property
    def extension_prefixes(self) -> tuple[str, ...]:
        """Keys that begin with one of these are allowed beside those of the settings."""
        return self._extension_prefixes

    def field(self, key: str) -> ConfigSchematicsField:
        """The setting called *key*. Raises LMStudioValueError if there is none."""
        found = self._fields.get(key)
        if found is None:
            raise _unknown(key, self._fields)
        return found

    def to_wire(self) -> SerializedKVConfigSchematics:
        """The settings as a plugin announces them."""
        return SerializedKVConfigSchematics(
            fields=[
                SerializedKVConfigSchematicsField(
                    short_key=field.key,
                    full_key=field.key,
                    type_key=field.type_key,
                    type_params=field.params.to_dict(),
                    default_value=field.default,
                )
                for field in self._fields.values()
            ],
            extension_prefixes=list(self._extension_prefixes),
        )

    def parse(self, kv: KvConfig | None) -> ParsedConfig:
        """The values in *kv*; the default where it has none. Keys that are no settings are ignored.

        Raises:
            LMStudioValueError: a value is none of its setting; the message names the key.
        """
        given = {} if kv is None else {item.key: item.value for item in kv.fields if item.value is not UNSET}
        return ParsedConfig(
            {key: self.parse_value(key, given.get(key, field.default)) for key, field in self._fields.items()}
        )

    def parse_value(self, key: str, value: Any) -> Any:
        """*value* as the setting *key* has it. Raises LMStudioValueError as `parse`, or there is no such setting."""
        try:
            return read_value(self.field(key).kind, value)
        except ValueProblem as error:
            raise LMStudioValueError(f"The value of the setting {key!r} does not fit: {error}.") from error

    def config_builder(self) -> KVConfigBuilder:
        """Begin a configuration with values of these settings."""
        return KVConfigBuilder(self)

    def __contains__(self, key: object) -> bool:
        return key in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<ConfigSchematics: {', '.join(self._fields) or 'no settings'}>"


class ParsedConfig:
    """Values of all settings: `config["forecast.days"]`, or `config.get("forecast.days", int)` for type checkers.

    `dict(config)` has all of them. `repr` has the keys only, for values may be secrets.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            raise _unknown(key, self._values)
        return self._values[key]

    @overload
    def get(self, key: str) -> Any: ...
    @overload
    def get(self, key: str, value_type: type[T]) -> T: ...
    def get(self, key: str, value_type: type[Any] = object) -> Any:
        """The value of the setting *key*, which is a *value_type*: bool, int, float, str, list or dict.

        Raises:
            LMStudioValueError: there is no such setting, or its values are of another type.
        """
        value = self[key]
        is_fine = isinstance(value, value_type) and not (value_type is int and isinstance(value, bool))
        if not is_fine:
            raise LMStudioValueError(
                f"The setting {key!r} has values of the type {type(value).__name__}, not {value_type.__name__}."
            )
        return value

    def keys(self) -> tuple[str, ...]:
        """The settings, with their scopes."""
        return tuple(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, ParsedConfig) else NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # values may be lists

    def __repr__(self) -> str:
        return f"<ParsedConfig: {', '.join(self._values) or 'no settings'}>"


class KVConfigBuilder:
    """Builds a configuration that fits the settings of *schematics*."""

    def __init__(self, schematics: ConfigSchematics) -> None:
        self._schematics = schematics
        self._values: dict[str, Any] = {}

    def with_(self, key: str, value: Any) -> Self:
        """Give the setting *key* a value; the last one counts.

        Raises:
            LMStudioValueError: there is no such setting, or the value is none of it.
        """
        self._values[key] = self._schematics.parse_value(key, value)
        return self

    def with_extension_field(self, key: str, value: Any) -> Self:
        """Add a key that is no setting, and begins with one of the prefixes that `extension` has allowed.

        Raises:
            LMStudioValueError: it does not begin with any of them.
        """
        prefixes = self._schematics.extension_prefixes
        if not key.startswith(prefixes):
            allowed = f"Allowed are keys that begin with {', '.join(map(repr, prefixes))}." if prefixes else "None is."
            raise LMStudioValueError(f"The key {key!r} is not allowed beside the settings. {allowed}")
        self._values[key] = value
        return self

    def build(self) -> KvConfig:
        """The configuration: the values that were given, in the order of their first mention."""
        return KvConfig(fields=[KvConfigField(key=key, value=value) for key, value in self._values.items()])


def _unknown(key: object, known: Iterable[str]) -> LMStudioValueError:
    names = list(known)
    near = near_matches(str(key), names) or names[:10]
    more = f" There is {', '.join(map(repr, near))}." if near else " There are no settings."
    return LMStudioValueError(f"There is no setting {key!r}.{more}")
