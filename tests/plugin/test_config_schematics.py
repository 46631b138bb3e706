"""Settings of plugins that are described with a builder. `tests/peer` proves that they are as in lmstudio.js."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio._sdk_models import KvConfig
from lmstudio.errors import LMStudioValueError
from lmstudio.plugin.config_schemas import (
    SelectOption,
    SliderRange,
    basic_kv_value_types_library,
    create_config_schematics,
    depends_on,
    kv_value_types_library,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.plugin.config_schemas import ConfigSchematics


def kv(**values: Any) -> KvConfig:
    return KvConfig.from_dict({"fields": [{"key": key, "value": value} for key, value in values.items()]})


def weather() -> ConfigSchematics:
    return (
        create_config_schematics()
        .string("city", "Oslo")
        .scope("forecast", lambda scope: scope.numeric("days", 3, int=True, min=1, max=7).numeric("limit", 1))
        .string_array("words", ["sun"])
        .build()
    )


# Describing ----------------------------------------------------------------------------------------------------------


def test_every_type_and_parameter_has_a_keyword() -> None:
    schematics = (
        create_config_schematics()
        .numeric(
            "n", 0.5, min=0, max=1, step=0.1, precision=1, slider={"min": 0, "max": 1, "step": 0.1}, short_hand="n"
        )
        .numeric("i", 1, int=True, slider=SliderRange(min=0, max=9, step=1))
        .string(
            "s", "ab", min_length=1, max_length=9, is_paragraph=True, is_protected=True, is_token=True, placeholder="p"
        )
        .select("o", "a", options={"a": "First", "b": "Second"})
        .select("p", "a", options=["a", SelectOption(value="b", display_name="B"), {"value": "c", "displayName": "C"}])
        .boolean("b", True, display_name="B", hint="h", subtitle="s", warning="w", is_experimental=True)
        .string_array("l", [], max_num_items=2, allow_empty_strings=True, model_centric=True, machine_dependent=False)
        .directory("d", Path("/a"), access_permission="read", non_configurable=True, engine_does_not_support=False)
        .directory_group("g", [Path("/a"), "/b"], access_permission="none", dependencies=[depends_on("b", equals=True)])
        .build()
    )

    fields = schematics.to_wire().to_dict()["fields"]

    slider = {"min": 0, "max": 1, "step": 0.1}
    assert [(field["shortKey"], field["typeKey"], field["typeParams"], field["defaultValue"]) for field in fields] == [
        (
            "n",
            "numeric",
            {"min": 0, "max": 1, "step": 0.1, "precision": 1, "slider": slider, "shortHand": "n"},
            0.5,
        ),
        ("i", "numeric", {"int": True, "slider": {"min": 0, "max": 9, "step": 1}}, 1),
        (
            "s",
            "string",
            {
                "minLength": 1,
                "maxLength": 9,
                "isParagraph": True,
                "isProtected": True,
                "isToken": True,
                "placeholder": "p",
            },
            "ab",
        ),
        (
            "o",
            "select",
            {"options": [{"value": "a", "displayName": "First"}, {"value": "b", "displayName": "Second"}]},
            "a",
        ),
        (
            "p",
            "select",
            {"options": ["a", {"value": "b", "displayName": "B"}, {"value": "c", "displayName": "C"}]},
            "a",
        ),
        (
            "b",
            "boolean",
            {"displayName": "B", "hint": "h", "subtitle": "s", "warning": "w", "isExperimental": True},
            True,
        ),
        (
            "l",
            "stringArray",
            {"maxNumItems": 2, "allowEmptyStrings": True, "modelCentric": True, "machineDependent": False},
            [],
        ),
        ("d", "directory", {"accessPermission": "read", "nonConfigurable": True, "engineDoesNotSupport": False}, "/a"),
        (
            "g",
            "directoryGroup",
            {
                "accessPermission": "none",
                "dependencies": [{"key": "b", "condition": {"type": "equals", "value": True}}],
            },
            ["/a", "/b"],
        ),
    ]


def test_keys_of_scopes_are_joined_with_dots() -> None:
    schematics = (
        create_config_schematics()
        .scope("a", lambda a: a.boolean("x", True).scope("b", lambda b: b.boolean("x", False).extension("more")))
        .build()
    )

    assert [(field.full_key, field.default_value) for field in schematics.to_wire().fields] == [
        ("a.x", True),
        ("a.b.x", False),
    ]
    assert schematics.extension_prefixes == ("a.b.more.",)
    assert "a.b.x" in schematics
    assert schematics.field("a.b.x").type_key == "boolean"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda b: b.numeric("n", 5, max=3), r"The default 5 of the setting 'n' .*expected at most 3, got 5"),
        (lambda b: b.numeric("n", float("nan")), r"'n' .*a finite number, got nan"),
        (lambda b: b.numeric("n", 1.5, int=True), r"'n' .*expected integer, got number 1.5"),
        (lambda b: b.numeric("n", True), r"'n' .*expected number, got boolean true"),
        (lambda b: b.numeric("n", 1, int=True, precision=2), r"'n' .*int and precision exclude each other"),
        (lambda b: b.numeric("n", 1, min=3, max=2), r"'n' .*min \(3\) exceeds max \(2\)"),
        (lambda b: b.numeric("n", 1, step=0), r"'n' .*step must be above 0; got 0"),
        (lambda b: b.numeric("n", 1, slider={"min": 2, "max": 1, "step": 1}), r"slider.min \(2\) exceeds slider.max"),
        (lambda b: b.numeric("n", 1, mim=1), r"'n' .*has no setting 'mim'. Did you mean 'min'\?"),
        (lambda b: b.string("s", "abc", max_length=2), r"'s' .*at most 2 characters, got 3"),
        (lambda b: b.string("s", "\U0001f600", max_length=1), r"'s' .*at most 1 characters, got 2"),
        (lambda b: b.string("s", "", min_length=1), r"'s' .*at least 1 characters, got 0"),
        (lambda b: b.string("s", "", min_length=3, max_length=2), r"min_length \(3\) exceeds max_length \(2\)"),
        (lambda b: b.select("o", "c", options=["a", "b"]), r'The default \'c\' .*expected one of "a", "b"'),
        (lambda b: b.select("o", "a", options=["a", "b", "a"]), r"'o' .*options has 'a' more than once"),
        (lambda b: b.select("o", "a", options=[]), r"'o' .*options is empty"),
        (lambda b: b.select("o", "a", options="ab"), r"'o' .*Expected `array`, got `str`"),
        (lambda b: b.string_array("l", [""]), r"'l' .*\[0\]: expected at least 1 characters"),
        (lambda b: b.string_array("l", "ab"), r"'l' .*expected array, got string"),
        (lambda b: b.directory("d", "", access_permission="all"), r"'d' .*Expected one of .*'readWrite'"),
        (lambda b: b.directory_group("g", "/a"), r"'g' .*expected array"),
        (lambda b: b.field("x", "numbr", {}, 1), r"'x' .*no type of settings 'numbr'. There is 'numeric'"),
        (lambda b: b.field("", "boolean", {}, True), r"at least one character; got ''"),
        (lambda b: b.field("t", "toolUse", {}, {"type": "toolArray", "tools": [{"type": "x"}]}), r"'t' .*tools\[0\]"),
        (lambda b: b.boolean("a", True).boolean("a", False), r"a setting 'a' already"),
        (lambda b: b.boolean("a.b", True).scope("a", lambda a: a.boolean("b", True)), r"a setting 'a.b' already"),
        (lambda b: b.scope("a", lambda a: None), r"scope 'a' must return the builder; it returned None"),
        (lambda b: b.scope("", lambda a: a), r"key of a scope"),
        (
            lambda b: b.boolean("mode", True, dependencies=[depends_on("mood", equals=1)]),
            r"'mode' depends on 'mood', which does not exist. Did you mean 'mode'\?",
        ),
    ],
)
def test_what_could_not_be_shown_is_refused_with_words(build: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(LMStudioValueError, match=message):
        build(create_config_schematics()).build()


def test_dependency_has_one_condition() -> None:
    assert depends_on("a", not_equals=None).to_dict() == {
        "key": "a",
        "condition": {"type": "notEquals", "value": None},
    }
    with pytest.raises(LMStudioValueError, match="needs either equals="):
        depends_on("a")
    with pytest.raises(LMStudioValueError, match="needs either equals="):
        depends_on("a", equals=1, not_equals=2)


# Reading -------------------------------------------------------------------------------------------------------------


def test_missing_value_is_the_default_and_unknown_key_is_ignored() -> None:
    given = KvConfig.from_dict({"fields": [{"key": "forecast.days", "value": 5.0}, {"key": "city"}, {"key": "x"}]})

    config = weather().parse(given)

    assert dict(config) == {"city": "Oslo", "forecast.days": 5, "forecast.limit": 1.0, "words": ["sun"]}
    assert type(config["forecast.days"]) is int
    assert type(config["forecast.limit"]) is float
    assert len(config) == 4
    assert list(config) == list(config.keys())
    assert config == weather().parse(given) != weather().parse(None)


def test_values_of_one_reading_are_nobody_elses() -> None:
    schematics = weather()

    schematics.parse(None)["words"].append("rain")

    assert schematics.parse(None)["words"] == ["sun"]


@pytest.mark.parametrize(("value", "problem"), [(9, "at most 7"), ("x", "integer"), (None, "null"), (1.5, "integer")])
def test_invalid_value_is_an_error_that_names_the_key(value: object, problem: str) -> None:
    with pytest.raises(LMStudioValueError, match=rf"the setting 'forecast.days' does not fit: .*{problem}"):
        weather().parse(kv(**{"forecast.days": value}))


def test_value_is_got_with_its_type() -> None:
    config = weather().parse(None)

    assert config.get("forecast.days") == config.get("forecast.days", int) == 3
    assert "forecast.days" in config
    with pytest.raises(LMStudioValueError, match="'city' has values of the type str, not int"):
        config.get("city", int)
    with pytest.raises(LMStudioValueError, match=r"no setting 'forecast.day'. There is 'forecast.days'"):
        config["forecast.day"]


def test_values_do_not_show_in_the_repr() -> None:
    config = create_config_schematics().string("key", "s3cret", is_protected=True).build().parse(None)

    assert repr(config) == "<ParsedConfig: key>"


# Building configurations ---------------------------------------------------------------------------------------------


def test_built_configuration_has_the_values_that_were_given() -> None:
    schematics = create_config_schematics().numeric("n", 1, max=9).boolean("b", False).extension("ext").build()

    config = schematics.config_builder().with_("n", 2).with_extension_field("ext.x", {"y": 1}).with_("n", 3).build()

    assert config.to_dict() == {"fields": [{"key": "n", "value": 3}, {"key": "ext.x", "value": {"y": 1}}]}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("n", 10, "'n' does not fit: expected at most 9"), ("m", 1, "no setting 'm'. There is 'n'")],
)
def test_value_that_fits_no_setting_is_not_built(key: str, value: object, message: str) -> None:
    schematics = create_config_schematics().numeric("n", 1, max=9).build()

    with pytest.raises(LMStudioValueError, match=message):
        schematics.config_builder().with_(key, value)


def test_only_allowed_extensions_are_built() -> None:
    schematics = create_config_schematics().extension("ext").build()

    with pytest.raises(LMStudioValueError, match=r"'extra' is not allowed .* begin with 'ext.'"):
        schematics.config_builder().with_extension_field("extra", 1)
    with pytest.raises(LMStudioValueError, match=r"'ext.x' is not allowed .* None is"):
        create_config_schematics().build().config_builder().with_extension_field("ext.x", 1)


# Types of values -----------------------------------------------------------------------------------------------------


def test_texts_are_shown_in_the_language_of_the_caller() -> None:
    shown = kv_value_types_library.stringify(
        "checkboxNumeric", {}, {"checked": False, "value": 1}, translate=lambda key, english: f"{key}={english}"
    )

    assert shown == "config:customInputs.checkboxNumeric.off=OFF"


def test_schema_of_values_is_a_json_schema() -> None:
    schema = basic_kv_value_types_library.get_schema("numeric", {"int": True, "min": 1, "max": 2})

    assert schema == {"type": "integer", "minimum": 1, "maximum": 2}


def test_value_of_another_type_cannot_be_compared_or_shown() -> None:
    library = kv_value_types_library

    with pytest.raises(LMStudioValueError, match="no value of the type 'checkboxNumeric': expected object"):
        library.effective_equals("checkboxNumeric", {}, {"checked": True, "value": 1}, 1)
    with pytest.raises(LMStudioValueError, match="no value of the type 'numeric': expected number"):
        library.stringify("numeric", {}, "x")
    with pytest.raises(LMStudioValueError, match=r"no value of the type 'llamaStructuredOutput': .*JSON"):
        library.parse_value("llamaStructuredOutput", {}, {"type": "json", "jsonSchema": {1, 2}})
