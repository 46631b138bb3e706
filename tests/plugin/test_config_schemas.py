"""Settings of plugins that are declared by a class."""

from __future__ import annotations

import dataclasses
import os
import sys
import textwrap
import types
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pytest

from lmstudio._sdk_models import KvConfig
from lmstudio.errors import LMStudioValueError
from lmstudio.plugin.config_schemas import (
    BaseConfigSchema,
    config_field,
    depends_on,
    parse_config_schema,
    schematics_of,
)
from lmstudio.plugin.sdk_api import LMStudioPluginInitError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Speed(Enum):
    FAST = "fast"
    SLOW = "slow"


class Number(Enum):
    ONE = 1


class Basic(BaseConfigSchema):
    """As with the official package."""

    name: str = config_field(label="Name", hint="Who", default="Ann")
    is_on: bool = config_field(label="On", hint="Whether", default=True)
    count: int = config_field(label="Count", hint="How many", default=3)
    share: float = config_field(label="Share", hint="How much", default=0.5)


class Rich(Basic):
    notes: ClassVar[str] = "no setting"
    comment: str = "no setting either"
    mode: Literal["a", "b"] = config_field(label="Mode", default="a", options={"b": "Second", "a": "First"})
    speed: Speed = config_field(default=Speed.SLOW)
    words: list[str] = config_field(default=["x"], max_num_items=3)
    pair: tuple[str, ...] = config_field(default=("x",))
    folder: Path = config_field(default=Path("/data"), access_permission="readWrite")
    extra: Path | None = config_field(default=None)
    folders: list[Path] = config_field(default=[Path("/a")])
    raw_folder: str = config_field(default="", value_type="directory")
    free: str = config_field(default="a", options=["a", "b"])
    key: str = config_field(default="s3cret", is_protected=True, dependencies=[depends_on("is_on", equals=True)])
    level: Annotated[float, "noted"] = config_field(default=1, min=0, max=2, slider={"min": 0, "max": 1, "step": 0.1})


class Inner(BaseConfigSchema):
    seed: int = config_field(default=1)


class Outer(BaseConfigSchema):
    first: bool = config_field(default=True)

    class Advanced(BaseConfigSchema):
        deep: Inner = Inner()
        size: int = config_field(default=4, max=9)

    sampling: Inner = Inner(seed=7)


def kv(values: Mapping[str, Any]) -> KvConfig:
    return KvConfig.from_dict({"fields": [{"key": key, "value": value} for key, value in values.items()]})


def announced(cls: type[BaseConfigSchema]) -> dict[str, tuple[str, Any, Any]]:
    fields = schematics_of(cls).to_wire().to_dict()["fields"]
    assert [field["shortKey"] for field in fields] == [field["fullKey"] for field in fields]
    return {field["fullKey"]: (field["typeKey"], field["typeParams"], field["defaultValue"]) for field in fields}


# Announcing ----------------------------------------------------------------------------------------------------------


def test_basic_types_are_announced_as_by_the_official_package() -> None:
    assert announced(Basic) == {
        "name": ("string", {"displayName": "Name", "hint": "Who"}, "Ann"),
        "is_on": ("boolean", {"displayName": "On", "hint": "Whether"}, True),
        "count": ("numeric", {"displayName": "Count", "hint": "How many", "int": True}, 3),
        "share": ("numeric", {"displayName": "Share", "hint": "How much", "int": False}, 0.5),
    }


def test_annotations_say_what_a_setting_can_be() -> None:
    settings = announced(Rich)

    assert list(settings)[:4] == list(announced(Basic))
    assert list(settings)[4:] == [
        "mode", "speed", "words", "pair", "folder", "extra", "folders", "raw_folder", "free", "key", "level",
    ]  # fmt: skip
    options = [{"value": "b", "displayName": "Second"}, {"value": "a", "displayName": "First"}]
    assert settings["mode"] == ("select", {"displayName": "Mode", "options": options}, "a")
    assert settings["speed"] == ("select", {"options": ["fast", "slow"]}, "slow")
    assert settings["words"] == ("stringArray", {"maxNumItems": 3}, ["x"])
    assert settings["pair"] == ("stringArray", {}, ["x"])
    assert settings["folder"] == ("directory", {"accessPermission": "readWrite"}, str(Path("/data")))
    assert settings["extra"] == ("directory", {}, "")
    assert settings["folders"] == ("directoryGroup", {}, [str(Path("/a"))])
    assert settings["raw_folder"] == ("directory", {}, "")
    assert settings["free"] == ("select", {"options": ["a", "b"]}, "a")
    slider = {"min": 0, "max": 1, "step": 0.1}
    assert settings["level"] == ("numeric", {"int": False, "min": 0, "max": 2, "slider": slider}, 1)


def test_schemas_inside_one_another_are_scopes() -> None:
    assert {key: default for key, (_, _, default) in announced(Outer).items()} == {
        "first": True,
        "Advanced.deep.seed": 1,
        "Advanced.size": 4,
        "sampling.seed": 7,
    }


def test_schema_without_settings_announces_none() -> None:
    class Empty(BaseConfigSchema):
        pass

    assert len(schematics_of(Empty)) == len(schematics_of(BaseConfigSchema)) == 0
    assert parse_config_schema(Empty, kv({"x": 1})) == Empty()


# Reading -------------------------------------------------------------------------------------------------------------


def test_values_have_the_types_of_the_annotations() -> None:
    given = {
        "count": 5.0,
        "share": 1,
        "mode": "b",
        "speed": "fast",
        "words": ["y", "z"],
        "pair": [],
        "folder": "/other",
        "extra": "/e",
        "folders": ["/b"],
        "level": 2,
        "unknown": 3,
    }

    config = parse_config_schema(Rich, kv(given))

    assert config == Rich(
        count=5,
        share=1.0,
        mode="b",
        speed=Speed.FAST,
        words=["y", "z"],
        pair=(),
        folder=Path("/other"),
        extra=Path("/e"),
        folders=[Path("/b")],
        level=2.0,
    )
    assert (type(config.count), type(config.share)) == (int, float)


@pytest.mark.parametrize("cls", [Basic, Rich, Outer])
def test_no_values_are_the_defaults(cls: type[BaseConfigSchema]) -> None:
    assert parse_config_schema(cls, None) == cls()


def test_folder_that_is_not_chosen_is_the_default_or_none() -> None:
    config = parse_config_schema(Rich, kv({"folder": "", "extra": ""}))

    assert config.folder == Path("/data")
    assert config.extra is None


def test_scopes_are_attributes() -> None:
    config = parse_config_schema(Outer, kv({"Advanced.deep.seed": 2, "sampling.seed": 3}))

    assert config.Advanced.deep.seed == 2
    assert config.Advanced.size == 4
    assert config.sampling == Inner(seed=3)


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (Basic, {"count": 1.5}, "'count' does not fit: expected integer"),
        (Rich, {"speed": "medium"}, "'speed' does not fit: expected one of"),
        (Outer, {"Advanced.size": 10}, r"'Advanced.size' does not fit: expected at most 9, got 10"),
    ],
)
def test_invalid_value_is_an_error_that_names_the_key(
    cls: type[BaseConfigSchema], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(LMStudioValueError, match=message):
        parse_config_schema(cls, kv(values))


# Data classes --------------------------------------------------------------------------------------------------------


def test_schemas_are_data_classes() -> None:
    config = Rich(name="Bob", comment="c")

    assert dataclasses.asdict(Basic()) == {"name": "Ann", "is_on": True, "count": 3, "share": 0.5}
    assert Basic.name == "Ann"
    assert dataclasses.replace(config, name="Ann", comment="no setting either") == Rich()
    assert config.words is not Rich().words
    assert "s3cret" not in repr(config)


def test_default_of_an_inherited_setting_can_be_changed() -> None:
    class Other(Basic):
        name: str = "Eve"

    assert announced(Other)["name"] == ("string", {"displayName": "Name", "hint": "Who"}, "Eve")
    assert parse_config_schema(Other, None).name == "Eve"


def test_class_is_read_though_its_module_is_gone() -> None:
    source = textwrap.dedent(
        """
        from __future__ import annotations
        from typing import Literal
        from lmstudio.plugin.config_schemas import BaseConfigSchema, config_field

        class ConfigSchema(BaseConfigSchema):
            mode: Literal["a", "b"] = config_field(label="Mode", hint="", default="a")
        """
    )
    module = types.ModuleType("plugin_that_is_gone")
    assert module.__name__ not in sys.modules

    exec(source, module.__dict__)

    assert announced(module.ConfigSchema)["mode"][:2] == (
        "select",
        {"displayName": "Mode", "hint": "", "options": ["a", "b"]},
    )


# Mistakes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "arguments", "message"),
    [
        (int, {"default": "x"}, r"Bad\.it: The default 'x' .*expected integer"),
        (int, {"default": 5, "max": 3}, r"Bad\.it: The default 5 .*at most 3"),
        (str, {"default": "x", "max": 3}, r"Bad\.it: .*has no setting 'max'"),
        (object, {"default": {1: 2}}, r"Unsupported type for a plugin config field: <class 'object'>"),
        (dict[str, str], {"default": {}}, r"Unsupported type for a plugin config field: dict\[str, str\]"),
        (tuple[str, int], {"default": ("a", 1)}, r"Unsupported type .* list\[str\] and list\[Path\]"),
        (Number, {"default": Number.ONE}, r"Unsupported type .*Literal and Enum of texts"),
        (int | None, {"default": None}, r"Bad\.it: The default None .*expected integer, got null"),
        (Literal["a", "b"], {"default": "a", "options": ["a", "c"]}, r"options has \['a', 'c'\], but the annotation"),
        (str, {"default": "a", "value_type": "colour"}, r"no type of settings 'colour'"),
        ("Unknown", {"default": "a"}, r"The type of .*Bad\.it cannot be read: name 'Unknown' is not defined"),
        (None, {"default": "a"}, r"Bad\.it has no type: write `it: str = config_field"),
    ],
)
def test_wrong_declaration_is_refused_where_it_is_made(
    annotation: Any, arguments: dict[str, Any], message: str
) -> None:
    body: dict[str, Any] = {"it": config_field(**arguments)}
    if annotation is not None:
        body["__annotations__"] = {"it": annotation}

    with pytest.raises(LMStudioPluginInitError, match=message):
        types.new_class("Bad", (BaseConfigSchema,), exec_body=lambda namespace: namespace.update(body))


@pytest.mark.parametrize(
    ("annotation", "default", "type_key"),
    [
        (list, ["a"], "stringArray"),
        (Sequence[str], [], "stringArray"),
        (os.PathLike[str], Path("a"), "directory"),
        (tuple[Path, ...], (Path("a"),), "directoryGroup"),
    ],
)
def test_annotations_of_lists_and_paths_are_understood_in_any_spelling(
    annotation: Any, default: Any, type_key: str
) -> None:
    body = {"it": config_field(default=default), "__annotations__": {"it": annotation}}

    cls = types.new_class("Schema", (BaseConfigSchema,), exec_body=lambda namespace: namespace.update(body))

    assert announced(cls)["it"][0] == type_key
    assert parse_config_schema(cls, None) == cls()


def test_type_without_an_annotation_of_its_own_is_named() -> None:
    class Schema(BaseConfigSchema):
        limit: dict[str, Any] = config_field(default={"checked": False, "value": 1}, value_type="checkboxNumeric")

    assert announced(Schema)["limit"] == ("checkboxNumeric", {}, {"checked": False, "value": 1})
    assert parse_config_schema(Schema, None).limit is not Schema().limit


@pytest.mark.parametrize("annotation", ["object", Any, "str | None"])
def test_type_follows_from_the_default_where_the_annotation_says_nothing(annotation: Any) -> None:
    body = {"it": config_field(default="a"), "__annotations__": {"it": annotation}}

    cls = types.new_class("Schema", (BaseConfigSchema,), exec_body=lambda namespace: namespace.update(body))

    assert announced(cls)["it"] == ("string", {}, "a")


def test_setting_outside_of_a_schema_is_refused() -> None:
    # Python 3.11 and older wrap what `__set_name__` raises.
    with pytest.raises((LMStudioPluginInitError, RuntimeError)) as caught:
        type("Plain", (), {"it": config_field(default=1)})

    error = caught.value if isinstance(caught.value, LMStudioPluginInitError) else caught.value.__cause__
    assert "Plain.it is a config_field outside of a configuration" in str(error)


def test_attribute_without_default_is_refused() -> None:
    class Bad(BaseConfigSchema):
        it: int

    with pytest.raises(LMStudioPluginInitError, match=r"Bad has an attribute without a default: .*'it'"):
        schematics_of(Bad)


def test_dependency_on_an_unknown_setting_is_refused() -> None:
    class Bad(BaseConfigSchema):
        it: int = config_field(default=1, dependencies=[depends_on("that", equals=1)])

    with pytest.raises(LMStudioPluginInitError, match=r"Bad: The setting 'it' depends on 'that', which does not exist"):
        schematics_of(Bad)


def test_something_else_than_a_schema_is_refused() -> None:
    with pytest.raises(LMStudioPluginInitError, match="derived from BaseConfigSchema; got <class 'int'>"):
        schematics_of(int)  # type: ignore[arg-type]  # on purpose
