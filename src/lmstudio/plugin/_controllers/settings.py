"""The settings of a plugin, as its author has declared them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from lmstudio.errors import LMStudioValueError
from lmstudio.plugin._schematics import ConfigSchematics
from lmstudio.plugin.config_schemas import BaseConfigSchema, parse_config_schema

if TYPE_CHECKING:
    from lmstudio._sdk_models import KvConfig
    from lmstudio.plugin._schematics import ParsedConfig

SchemaT = TypeVar("SchemaT", bound=BaseConfigSchema)


def parse_settings(schematics: ConfigSchematics | type[SchemaT], kv: KvConfig | None) -> ParsedConfig | SchemaT:
    """The values in *kv*.

    Raises:
        LMStudioValueError: a value does not fit, or *schematics* declares no settings.
    """
    if isinstance(schematics, ConfigSchematics):
        return schematics.parse(kv)
    if isinstance(schematics, type) and issubclass(schematics, BaseConfigSchema):
        return parse_config_schema(schematics, kv)
    raise LMStudioValueError(
        "Settings are read with what create_config_schematics() has made, or with a class derived from "
        f"BaseConfigSchema; got {schematics!r:.80}."
    )
