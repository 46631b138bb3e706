"""The settings of a plugin: as its author declares them, and as the host sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio.plugin import config_schemas
from lmstudio.plugin._schematics import ConfigSchematics
from lmstudio.plugin.config_schemas import BaseConfigSchema

if TYPE_CHECKING:
    from lmstudio._sdk_models import KvConfig
    from lmstudio.plugin._definition import ConfigInput

__all__ = ["parse_config", "schematics_of"]


def schematics_of(declared: ConfigInput) -> ConfigSchematics:
    """What the host is told."""
    return declared if isinstance(declared, ConfigSchematics) else config_schemas.schematics_of(declared)


def parse_config(declared: ConfigInput | None, found: KvConfig) -> Any:
    """The values that hooks get: an instance of the plugin's own class, or what its schematics make.

    Raises:
        LMStudioError: a value that the plugin does not allow.
    """
    if isinstance(declared, ConfigSchematics):
        return declared.parse(found)
    return config_schemas.parse_config_schema(declared or BaseConfigSchema, found)
