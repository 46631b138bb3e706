"""What a type checker must make of the settings of plugins. Checked by mypy and pyright, never run."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, Literal

from typing_extensions import assert_type

from lmstudio import KvConfig
from lmstudio.plugin.config_schemas import (
    BaseConfigSchema,
    ConfigSchematics,
    ParsedConfig,
    config_field,
    create_config_schematics,
    parse_config_schema,
    schematics_of,
)

# Classes -------------------------------------------------------------------------------------------------------------


class Mode(Enum):
    FAST = "fast"


class Inner(BaseConfigSchema):
    seed: int = config_field(default=1, min=0)


class ConfigSchema(BaseConfigSchema):
    name: str = config_field(label="Name", hint="Who", default="Ann")
    share: float = config_field(label="Share", hint="", default=0.5, slider={"min": 0, "max": 1, "step": 0.1})
    mode: Literal["a", "b"] = config_field(label="Mode", default="a", options={"a": "First", "b": "Second"})
    speed: Mode = config_field(default=Mode.FAST)
    words: list[str] = config_field(default=[])
    folder: Path | None = config_field(default=None, access_permission="read")
    inner: Inner = Inner(seed=2)


def attributes_are_typed(kv: KvConfig) -> None:
    config = parse_config_schema(ConfigSchema, kv)
    assert_type(config, ConfigSchema)
    assert_type(config.name, str)
    assert_type(config.mode, Literal["a", "b"])
    assert_type(config.words, list[str])
    assert_type(config.folder, Path | None)
    assert_type(config.inner.seed, int)
    assert_type(schematics_of(ConfigSchema), ConfigSchematics)
    ConfigSchema(name="x", inner=Inner())


def wrong_declarations() -> None:
    ConfigSchema(nane="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # misspelt
    config_field(default=1, mim=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # misspelt
    config_field(default=1, min="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no number


# Builder -------------------------------------------------------------------------------------------------------------


def schematics_are_built() -> ConfigSchematics:
    return (
        create_config_schematics()
        .numeric("share", 0.5, precision=1, display_name="Share")
        .scope("deep", lambda scope: scope.numeric("count", 1, int=True, max=3).boolean("on", True, warning="!"))
        .select("mode", "a", options=["a", "b"])
        .directory("folder", Path("/a"), access_permission="read")
        .field("any", "string", {"isParagraph": True}, "")
        .build()
    )


def values_are_typed(schematics: ConfigSchematics) -> None:
    config = schematics.parse(None)
    assert_type(config, ParsedConfig)
    assert_type(config.get("deep.count", int), int)
    assert_type(config.get("mode"), Any)
    assert_type(config["mode"], Any)
    assert_type(schematics.config_builder().with_("mode", "b").build(), KvConfig)


def wrong_fields() -> None:
    create_config_schematics().boolean("on", "yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no bool
    create_config_schematics().directory("d", "", access_permission="all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no such permission
    create_config_schematics().boolean("on", True, label="On")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # it is display_name
