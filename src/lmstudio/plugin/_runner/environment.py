"""What a host tells the process of a plugin in its environment."""

from __future__ import annotations

import os
from typing import Final

from lmstudio._auth import Secret
from lmstudio.plugin.sdk_api import LMStudioPluginRuntimeError

from .running import HostAccess

__all__ = ["access_from_environment", "environment_of"]

CLIENT_IDENTIFIER: Final = "LMS_PLUGIN_CLIENT_IDENTIFIER"
CLIENT_PASSKEY: Final = "LMS_PLUGIN_CLIENT_PASSKEY"
BASE_URL: Final = "LMS_PLUGIN_BASE_URL"


def access_from_environment() -> HostAccess:
    """How this process reaches the host that has started it.

    Raises:
        LMStudioPluginRuntimeError: it was not started by one.
    """
    missing = [name for name in (CLIENT_IDENTIFIER, CLIENT_PASSKEY) if not os.environ.get(name)]
    if missing:
        raise LMStudioPluginRuntimeError(
            f"Could not run the plugin: the environment has no {' and no '.join(missing)}, which the host gives to the "
            "plugins that it starts. To register a plugin and run it, use: python -m lmstudio.plugin --dev FOLDER"
        )
    return HostAccess(
        os.environ.get(BASE_URL) or None, os.environ[CLIENT_IDENTIFIER], Secret(os.environ[CLIENT_PASSKEY])
    )


def environment_of(client_identifier: str, client_passkey: str, base_url: str) -> dict[str, str]:
    """The variables that `access_from_environment` reads."""
    return {CLIENT_IDENTIFIER: client_identifier, CLIENT_PASSKEY: client_passkey, BASE_URL: base_url}
