"""What users and developers of plugins do: settings and names, reindexing, registering."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._abort import check_signal, on_abort
from lmstudio._endpoints.plugins import REGISTER_DEVELOPMENT_PLUGIN, REINDEX_PLUGINS
from lmstudio._sdk_models import (
    KvConfig,
    KvConfigField,
    PluginConfigSpecifierDirect,
    PluginManifest,
    PluginsChannelRegisterDevelopmentPluginCreationParameter,
    PluginsChannelRegisterDevelopmentPluginToServerPacketEnd,
)
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioRuntimeError,
    LMStudioValueError,
    LMStudioWebsocketError,
)
from lmstudio.manifests import PluginManifest as CheckedPluginManifest

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._port import Port
    from lmstudio._sdk_models import (
        PluginConfigSpecifier,
        PluginConfigSpecifierPredictionProcess,
        PluginsChannelRegisterDevelopmentPluginToClientPacketReady,
    )
    from lmstudio.json_api import Channel

_IDENTIFIER = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*/[a-z0-9]+(?:[-.][a-z0-9]+)*")


def check_identifier(identifier: object) -> str:
    """*identifier*, if it can be that of a plugin.

    Raises:
        LMStudioValueError: it cannot.
    """
    if isinstance(identifier, str) and _IDENTIFIER.fullmatch(identifier):
        return identifier
    raise LMStudioValueError(
        f"A plugin is named as 'owner/name' in lower case, such as 'lmstudio/js-code-sandbox'; got {identifier!r:.200}."
    )


def direct_specifier(
    plugin_config: KvConfig | Mapping[str, Any] | None, working_directory: str | os.PathLike[str] | None
) -> PluginConfigSpecifierDirect:
    """The settings that a plugin works with, as users give them.

    Raises:
        LMStudioValueError: they cannot be used.
    """
    directory: object = None if working_directory is None else working_directory
    if isinstance(directory, os.PathLike):
        directory = os.fspath(directory)
    if directory is not None and not isinstance(directory, str):
        raise LMStudioValueError(f"working_directory must be a path, got {type(directory).__name__}.")
    return PluginConfigSpecifierDirect(config=_read_plugin_config(plugin_config), working_directory_path=directory)


def config_specifier(
    plugin_config: KvConfig | Mapping[str, Any] | None,
    working_directory: str | os.PathLike[str] | None,
    process: PluginConfigSpecifierPredictionProcess | None,
) -> PluginConfigSpecifier:
    """As `direct_specifier`, or those of the chat that *process* works on.

    Raises:
        LMStudioValueError: they cannot be used, or are given where those of the chat count.
    """
    if process is None:
        return direct_specifier(plugin_config, working_directory)
    for name, given in (("plugin_config", plugin_config), ("working_directory", working_directory)):
        if given is not None:
            raise LMStudioValueError(
                f"{name} cannot be given here: this generator was chosen in a chat, which has its own. Use "
                "client.plugins.create_generator_handle() for a generator with other settings."
            )
    return process


def _read_plugin_config(given: object) -> KvConfig:
    if given is None:
        return KvConfig(fields=[])
    if isinstance(given, KvConfig):
        return given
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise LMStudioValueError(
            f"plugin_config must be a dict of keys and values, or a KvConfig; got {type(given).__name__}."
        )
    try:
        values = msgspec.to_builtins(dict(given))
    except (TypeError, ValueError, RecursionError) as error:
        raise LMStudioValueError(f"The values in plugin_config must be plain JSON data: {error}.") from error
    return KvConfig(fields=[KvConfigField(key=key, value=value) for key, value in values.items()])


def read_manifest(manifest: PluginManifest | Mapping[str, Any]) -> PluginManifest:
    """The manifest of a plugin, checked.

    Raises:
        LMStudioValueError: it is none; says where.
    """
    if not isinstance(manifest, (PluginManifest, Mapping)):
        raise LMStudioValueError(
            f"A manifest is a PluginManifest or a dict with its members, got {type(manifest).__name__}."
        )
    try:
        # A struct that was made by hand has not been checked.
        plain: Any = manifest.to_dict() if isinstance(manifest, PluginManifest) else manifest
    except TypeError as error:
        raise LMStudioValueError(f"Cannot read the manifest of a plugin: {error}") from error
    return CheckedPluginManifest.from_dict({"type": "plugin", **plain})


async def reindex_plugins(port: Port) -> None:
    """Let the server look for plugins again. Protocol: rpc plugins/reindexPlugins."""
    await port.call(REINDEX_PLUGINS, None, "reindex the plugins")


class Registration:
    """A plugin under development, registered as long as its channel is open.

    Protocol: channel plugins/registerDevelopmentPlugin.
    """

    def __init__(self, port: Port, manifest: PluginManifest, signal: AbortSignal | None = None) -> None:
        check_signal(signal)
        self._signal = signal
        self.identifier: str = f"{manifest.owner}/{manifest.name}"
        parameter = PluginsChannelRegisterDevelopmentPluginCreationParameter(manifest=manifest)
        attempted = f"register the plugin {self.identifier!r}"
        self._port = port.base
        self._channel: Channel[Any, PluginsChannelRegisterDevelopmentPluginToServerPacketEnd] = port.channel(
            REGISTER_DEVELOPMENT_PLUGIN, parameter, attempted
        )
        self._ready: PluginsChannelRegisterDevelopmentPluginToClientPacketReady | None = None
        self._is_begun = False

    @property
    def is_ready(self) -> bool:
        """The server has registered the plugin."""
        return self._ready is not None

    @property
    def ready(self) -> PluginsChannelRegisterDevelopmentPluginToClientPacketReady:
        """What the server has answered.

        Raises:
            LMStudioRuntimeError: it has not answered yet.
        """
        if self._ready is None:
            raise LMStudioRuntimeError(f"The plugin {self.identifier!r} is not registered yet: use `with`.")
        return self._ready

    async def start(self) -> None:
        """Register. Once only.

        Raises:
            LMStudioServerError: the server refuses, because the plugin is registered already, for example.
            LMStudioCancelledError: the signal was aborted.
        """
        if self._signal is not None:
            self._signal.throw_if_aborted()
        if self._is_begun:
            raise LMStudioRuntimeError(
                f"This registration of the plugin {self.identifier!r} has been tried already. Ask for another one."
            )
        self._is_begun = True
        try:
            self._channel.open()
            with on_abort(self._signal, self.abandon):
                self._ready = await self._channel.receive()
        except BaseException as error:
            self.abandon()
            if self._signal is not None and self._signal.aborted and isinstance(error, LMStudioCancelledError):
                raise self._signal.error() from None
            raise

    async def end(self) -> None:
        """End the registration and wait until the server says that it has ended. Too late is no error."""
        if self._channel.finished or not self._is_begun:
            return
        # Those of the start may have expired long ago.
        self._channel.limits = self._port.new_limits(f"unregister the plugin {self.identifier!r}")
        try:
            self._channel.send(PluginsChannelRegisterDevelopmentPluginToServerPacketEnd())
            while True:
                await self._channel.receive()
        except (LMStudioChannelClosedError, LMStudioWebsocketError, LMStudioCancelledError):
            return  # it ends with the connection, too
        finally:
            self._channel.close()

    def abandon(self) -> None:
        """End the registration without waiting."""
        if self._is_begun:
            self._channel.send_last(PluginsChannelRegisterDevelopmentPluginToServerPacketEnd())
