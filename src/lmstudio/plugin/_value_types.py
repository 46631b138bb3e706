"""What the value of a setting can be: the types of values that LM Studio knows, and the parameters of each.

`basic_kv_value_types_library` has the types that plugins are shown with, `kv_value_types_library` also those of LM
Studio's own settings. Both answer as the libraries of these names in lmstudio.js do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from lmstudio._config_input import read_config
from lmstudio._near import near_matches
from lmstudio._schema_check import are_equal, find_mismatch
from lmstudio._struct import LMStudioStruct
from lmstudio.errors import LMStudioValueError

from . import _js_text

__all__ = [
    "DependencyCondition",
    "FieldDependency",
    "FieldParams",
    "KVFieldValueTypeLibrary",
    "SelectOption",
    "SliderRange",
    "ValueType",
    "basic_kv_value_types_library",
    "depends_on",
]

Translate: TypeAlias = Callable[[str, str], str]
"""Gives the text for a key of LM Studio's translations; the second argument is the English one."""

_Count: TypeAlias = Annotated[int, Meta(ge=0)]
_Unset: Any = object()

# Parameters ----------------------------------------------------------------------------------------------------------


class DependencyEquals(LMStudioStruct, kw_only=True, tag_field="type", tag="equals"):
    """The other setting has this value."""

    value: Any


class DependencyNotEquals(LMStudioStruct, kw_only=True, tag_field="type", tag="notEquals"):
    """The other setting has another value than this one."""

    value: Any


DependencyCondition: TypeAlias = DependencyEquals | DependencyNotEquals
"""What has to be true of another setting."""


class FieldDependency(LMStudioStruct, kw_only=True):
    """A setting is shown only while another one, `key`, fulfils `condition`. `depends_on` makes them."""

    key: str
    condition: DependencyCondition


def depends_on(key: str, *, equals: Any = _Unset, not_equals: Any = _Unset) -> FieldDependency:
    """Show a setting only while the one called *key* has, or has not, a value: for `dependencies=[...]`.

    Raises:
        LMStudioValueError: not exactly one of *equals* and *not_equals* is given.
    """
    if (equals is _Unset) == (not_equals is _Unset):
        raise LMStudioValueError(f"depends_on({key!r}) needs either equals=... or not_equals=...: give one of them.")
    if equals is not _Unset:
        return FieldDependency(key=key, condition=DependencyEquals(value=equals))
    return FieldDependency(key=key, condition=DependencyNotEquals(value=not_equals))


class FieldParams(LMStudioStruct, kw_only=True):
    """What can be said about a setting of any type."""

    display_name: str | None = None
    hint: str | None = None
    subtitle: str | None = None
    warning: str | None = None
    model_centric: bool | None = None
    non_configurable: bool | None = None
    engine_does_not_support: bool | None = None
    machine_dependent: bool | None = None
    is_experimental: bool | None = None
    dependencies: list[FieldDependency] | None = None


class SliderRange(LMStudioStruct, kw_only=True):
    """The range of a slider, which may be narrower than that of the setting."""

    min: int | float
    max: int | float
    step: int | float


class NumericParams(FieldParams, kw_only=True):
    """Parameters of `numeric`."""

    min: int | float | None = None
    max: int | float | None = None
    step: int | float | None = None
    is_int: bool | None = msgspec.field(name="int", default=None)
    precision: Annotated[int, Meta(ge=0, le=100)] | None = None
    slider: SliderRange | None = None
    short_hand: str | None = None


class StringParams(FieldParams, kw_only=True):
    """Parameters of `string`."""

    min_length: _Count | None = None
    max_length: _Count | None = None
    is_paragraph: bool | None = None
    is_protected: bool | None = None
    is_token: bool | None = None
    placeholder: str | None = None


class SelectOption(LMStudioStruct, kw_only=True):
    """A value to choose, and the text that stands for it."""

    value: str
    display_name: str


class SelectParams(FieldParams, kw_only=True):
    """Parameters of `select`."""

    options: list[str | SelectOption]

    def values(self) -> list[str]:
        """What can be chosen, in order."""
        return [option if isinstance(option, str) else option.value for option in self.options]


class StringArrayParams(FieldParams, kw_only=True):
    """Parameters of `stringArray`."""

    max_num_items: _Count | None = None
    allow_empty_strings: bool | None = None


class DirectoryParams(FieldParams, kw_only=True):
    """Parameters of `directory` and `directoryGroup`."""

    access_permission: Literal["read", "readWrite", "none"] | None = None


ParamsT = TypeVar("ParamsT", bound=FieldParams)


class StringifyOptions(msgspec.Struct, frozen=True):
    """How to write a value."""

    desired_length: int | None = None
    translate: Translate = lambda _key, english: english


# One type ------------------------------------------------------------------------------------------------------------


class ValueType(Generic[ParamsT]):
    """A type of values together with its parameters: what the values of one setting can be."""

    params_type: ClassVar[type[FieldParams]] = FieldParams

    def __init__(self, params: ParamsT) -> None:
        self.params: ParamsT = params

    def check(self) -> None:
        """Raise LMStudioValueError for parameters that contradict each other."""

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the values."""
        raise NotImplementedError

    def problem(self, value: Any) -> str | None:
        """Why *value* is none of these; None if it is one."""
        mismatch = find_mismatch(value, self.schema())
        return None if mismatch is None else str(mismatch)

    def read(self, value: Any) -> Any:
        """A value without problem, as Python has it; nobody else holds it."""
        return _copied(value)

    def equals(self, a: Any, b: Any) -> bool:
        """Whether two values have the same effect."""
        return are_equal(a, b)

    def stringify(self, value: Any, options: StringifyOptions) -> str:  # noqa: ARG002  # some types heed them
        """The value as a text for people."""
        return self.text(value)

    def text(self, value: Any) -> str:
        """The value as a text for people, where that is the same at any length and in any language."""
        return str(value)


def _copied(value: Any) -> Any:
    """Plain JSON data as lists and dicts of its own."""
    if isinstance(value, Mapping):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, (list, tuple)) else value


def number_schema(params: Any) -> dict[str, Any]:
    """The JSON schema of a number within `min` and `max`, whole if `is_int` says so."""
    bounds = {"minimum": params.min, "maximum": params.max}
    kind = "integer" if params.is_int else "number"
    return {"type": kind, **{name: value for name, value in bounds.items() if value is not None}}


def number_problem(value: Any) -> str | None:
    """Why a number cannot travel; None for everything else."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    is_fine = not is_number or -sys.float_info.max <= value <= sys.float_info.max
    return None if is_fine else f"expected a finite number, got {value!r:.40}"


def check_number_params(params: Any) -> None:
    """Refuse what contradicts itself in the parameters of a number."""
    if params.is_int and params.precision is not None:
        raise LMStudioValueError("int and precision exclude each other: whole numbers have no decimals.")
    _check_range("min", params.min, "max", params.max)
    if params.step is not None and params.step <= 0:
        raise LMStudioValueError(f"step must be above 0; got {params.step}.")
    if params.slider is not None:
        _check_range("slider.min", params.slider.min, "slider.max", params.slider.max)


def _check_range(low_name: str, low: float | None, high_name: str, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise LMStudioValueError(f"{low_name} ({low}) exceeds {high_name} ({high}): no value would be allowed.")


# The basic types -----------------------------------------------------------------------------------------------------


class NumericType(ValueType[NumericParams]):
    params_type = NumericParams

    def check(self) -> None:
        check_number_params(self.params)

    def schema(self) -> dict[str, Any]:
        return number_schema(self.params)

    def problem(self, value: Any) -> str | None:
        return number_problem(value) or super().problem(value)

    def read(self, value: Any) -> int | float:
        return int(value) if self.params.is_int else float(value)

    def text(self, value: Any) -> str:
        if self.params.is_int:
            return _js_text.rounded_text(value)
        return _js_text.fixed_text(value, 2 if self.params.precision is None else self.params.precision)


class StringType(ValueType[StringParams]):
    params_type = StringParams

    def check(self) -> None:
        _check_range("min_length", self.params.min_length, "max_length", self.params.max_length)

    def schema(self) -> dict[str, Any]:
        bounds = {"minLength": self.params.min_length, "maxLength": self.params.max_length}
        return {"type": "string", **{name: value for name, value in bounds.items() if value is not None}}

    def problem(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return super().problem(value)
        # The host counts as JavaScript does: an emoji is two.
        size, least, most = _js_text.length(value), self.params.min_length or 0, self.params.max_length
        if size < least:
            return f"expected at least {least} characters, got {size}"
        return None if most is None or size <= most else f"expected at most {most} characters, got {size}"

    def stringify(self, value: Any, options: StringifyOptions) -> str:
        if self.params.is_protected:
            return "********"
        if self.params.is_paragraph and not value:
            return options.translate("config:customInputs.string.emptyParagraph", "<Empty>")
        text, gap = (value, " ... ") if self.params.is_paragraph else (_js_text.quoted(value), "...")
        if options.desired_length is None or _js_text.length(text) <= options.desired_length:
            return text
        return _js_text.shortened(text, options.desired_length, gap)


class SelectType(ValueType[SelectParams]):
    params_type = SelectParams

    def check(self) -> None:
        values = self.params.values()
        if not values:
            raise LMStudioValueError("options is empty: give at least one value to choose.")
        if "" in values:
            raise LMStudioValueError("options has an empty value: give it a name, and display_name the text to show.")
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise LMStudioValueError(f"options has {', '.join(map(repr, twice))} more than once.")

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": self.params.values()}


class BooleanType(ValueType[FieldParams]):
    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def text(self, value: Any) -> str:
        return "ON" if value else "OFF"


class StringArrayType(ValueType[StringArrayParams]):
    params_type = StringArrayParams

    def schema(self) -> dict[str, Any]:
        items = {"type": "string"} if self.params.allow_empty_strings else {"type": "string", "minLength": 1}
        limit = {} if self.params.max_num_items is None else {"maxItems": self.params.max_num_items}
        return {"type": "array", "items": items, **limit}

    def stringify(self, value: Any, options: StringifyOptions) -> str:
        texts = [_js_text.quoted(item) for item in value]
        if not texts:
            return options.translate("config:customInputs.stringArray.empty", "<Empty>")
        if len(texts) > 2 and options.desired_length is not None:
            sizes = [_js_text.length(text) for text in texts]
            used = sizes[0] + sizes[1] + 6
            for index in range(1, len(texts) - 1):
                used += sizes[index] + 2
                if used >= options.desired_length:
                    return f"{', '.join(texts[:index])}, ...{texts[-1]}"
        return ", ".join(texts)


class DirectoryType(ValueType[DirectoryParams]):
    params_type = DirectoryParams

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class DirectoryGroupType(ValueType[DirectoryParams]):
    params_type = DirectoryParams

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}}

    def text(self, value: Any) -> str:
        return ", ".join(value) if value else "<Empty>"


BASIC_TYPES: Mapping[str, type[ValueType[Any]]] = MappingProxyType(
    {
        "numeric": NumericType,
        "string": StringType,
        "select": SelectType,
        "boolean": BooleanType,
        "stringArray": StringArrayType,
        "directory": DirectoryType,
        "directoryGroup": DirectoryGroupType,
    }
)

# Libraries -----------------------------------------------------------------------------------------------------------


class KVFieldValueTypeLibrary:
    """Types of values by name. Parameters are dicts, with the spelling of the wire or with snake_case."""

    def __init__(self, value_types: Mapping[str, type[ValueType[Any]]]) -> None:
        self._value_types = dict(value_types)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the types."""
        return tuple(self._value_types)

    def value_type(self, key: str, params: Mapping[str, Any]) -> ValueType[Any]:
        """The type *key* with *params*.

        Raises:
            LMStudioValueError: there is no such type, or it cannot have these parameters.
        """
        found = self._value_types.get(key)
        if found is None:
            near = near_matches(str(key), self._value_types) or self._value_types
            raise LMStudioValueError(f"There is no type of settings {key!r}. There is {', '.join(map(repr, near))}.")
        kind = found(read_config(found.params_type, params))
        kind.check()
        return kind

    def get_schema(self, key: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON schema of the values that the type *key* has with *params*. Raises as `value_type`."""
        return self.value_type(key, params).schema()

    def parse_param_types(self, key: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """*params* checked, with the spelling of the wire. Raises as `value_type`."""
        checked: dict[str, Any] = self.value_type(key, params).params.to_dict()
        return checked

    def parse_value(self, key: str, params: Mapping[str, Any], value: Any) -> Any:
        """*value* as Python has it, once it is checked.

        Raises:
            LMStudioValueError: as `value_type`, or *value* is none of this type.
        """
        try:
            return read_value(self.value_type(key, params), value)
        except ValueProblem as error:
            raise LMStudioValueError(f"This is no value of the type {key!r}: {error}.") from error

    def effective_equals(self, key: str, params: Mapping[str, Any], a: Any, b: Any) -> bool:
        """Whether two values have the same effect; what is switched off may differ. Raises as `parse_value`."""
        kind = self.value_type(key, params)
        with _judging(key, kind, a, b):
            return kind.equals(a, b)

    def stringify(
        self,
        key: str,
        params: Mapping[str, Any],
        value: Any,
        *,
        desired_length: int | None = None,
        translate: Translate | None = None,
    ) -> str:
        """*value* as LM Studio shows it, at about *desired_length* characters. Raises as `parse_value`.

        *translate* gets the key of a text and the English text, and returns what to show for it.
        """
        kind = self.value_type(key, params)
        options = StringifyOptions(desired_length, *(() if translate is None else (translate,)))
        with _judging(key, kind, value):
            return kind.stringify(value, options)


class ValueProblem(LMStudioValueError):
    """What is wrong with a value, as a part of a sentence."""


def read_value(kind: ValueType[Any], value: Any) -> Any:
    """*value* as Python has it. Raises ValueProblem."""
    problem = kind.problem(value)
    if problem is not None:
        raise ValueProblem(problem)
    result = kind.read(value)
    try:
        json.dumps(result, allow_nan=False)  # parts of it may be anything to the schema
    except (TypeError, ValueError) as error:
        raise ValueProblem(f"it cannot be written as JSON: {error}") from error
    return result


@contextmanager
def _judging(key: str, kind: ValueType[Any], *values: Any) -> Iterator[None]:
    """Say which value is wrong if the work with them fails. Those outside of bounds can be compared and shown."""
    try:
        yield
    except (TypeError, AttributeError, LookupError, ValueError, ArithmeticError) as error:
        problem = next(filter(None, map(kind.problem, values)), str(error))
        raise LMStudioValueError(f"This is no value of the type {key!r}: {problem}.") from error


basic_kv_value_types_library: KVFieldValueTypeLibrary = KVFieldValueTypeLibrary(BASIC_TYPES)
"""The types of values that settings of plugins have."""
