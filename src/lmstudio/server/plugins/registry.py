"""The plugins that are registered, and what the process of each serves."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from lmstudio._near import near_matches
from lmstudio._sdk_models import AvailablePluginInfo
from lmstudio._waiting import wait_within
from lmstudio.logs import fields, get_logger
from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.hooks import HOOK_NOUNS, Hook, HookKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio._sdk_models import PluginManifest, PluginRuntimeErrorReport, SerializedKVConfigSchematics
    from lmstudio.server._port import ClientContext, ClientLifetime, ServerChannel
    from lmstudio.server.auth import IssuedCredentials

__all__ = ["MAX_PLUGINS", "START_SECONDS", "Plugin", "PluginRegistry"]

MAX_PLUGINS: Final = 256
"""Plugins that may be registered at the same time."""
START_SECONDS: Final = 15.0
"""How long those who use a plugin wait for one that is registered but has not said that it is ready."""
_MAX_NAME: Final = 200

_logger = get_logger("server")


class Plugin:
    """A registered plugin. Its process may come, go and come again."""

    def __init__(self, manifest: PluginManifest, identifier: str, client_identifier: str, client_passkey: str) -> None:
        self.manifest = manifest
        self.identifier = identifier
        """owner/name."""
        self.client_identifier = client_identifier
        self.client_passkey = client_passkey
        """The process of the plugin connects with these two."""
        self.is_ready: bool = False
        """The process has said that all of its hooks are there."""
        self.config_schematics: SerializedKVConfigSchematics | None = None
        """Settings that the plugin has in each chat."""
        self.global_config_schematics: SerializedKVConfigSchematics | None = None
        """Settings that the plugin has once."""
        self.last_report: PluginRuntimeErrorReport | None = None
        """What the process last reported as an obstacle."""
        self.has_ended: asyncio.Event = asyncio.Event()
        """It is not registered any more."""
        self._hooks: dict[HookKind, Hook] = {}
        self._news = asyncio.Event()
        self._lifetime: ClientLifetime | None = None

    def info(self) -> AvailablePluginInfo:
        """What other plugins are told about this one."""
        return AvailablePluginInfo(
            identifier=self.identifier,
            is_dev=True,
            is_trusted=True,
            has_prompt_preprocessor="promptPreprocessor" in self._hooks,
            has_prediction_loop_handler="predictionLoopHandler" in self._hooks,
            has_tools_provider="toolsProvider" in self._hooks,
            has_generator="generator" in self._hooks,
        )

    def connected(self, context: ClientContext) -> None:
        """The process has a connection; what it has told is forgotten with its last one."""
        if self._lifetime is not context.lifetime:
            self._lifetime = context.lifetime
            context.lifetime.at_end(lambda: self._disconnected(context.lifetime))

    def ready(self) -> None:
        """The process says that all of its hooks are there."""
        self.is_ready = True
        self._tell()

    async def serve(self, kind: HookKind, channel: ServerChannel[Any, Any]) -> None:
        """Let others use a hook over *channel*, until the plugin is not registered any more.

        Raises:
            RequestError: the plugin has such a hook already.
        """
        if kind in self._hooks:
            raise RequestError(f"The plugin {self.identifier!r} has a {HOOK_NOUNS[kind]} already; it can have one")
        hook = self._hooks[kind] = Hook(self.identifier, kind, channel)
        self._tell()
        try:
            await self.has_ended.wait()
        finally:
            del self._hooks[kind]
            hook.close()

    async def kinds(self, patience_seconds: float) -> frozenset[HookKind]:
        """What hooks there are, once all of them are.

        Raises:
            RequestError: the plugin's process did not start in time.
        """
        await self._until(None, patience_seconds)
        return frozenset(self._hooks)

    async def hook(self, kind: HookKind, patience_seconds: float) -> Hook:
        """The hook, once it is there.

        Raises:
            RequestError: the plugin has none, or its process did not start in time.
        """
        await self._until(kind, patience_seconds)
        if kind not in self._hooks:
            what = HOOK_NOUNS[kind]
            raise RequestError(
                f"The plugin {self.identifier!r} has no {what}",
                suggestion=f"It has: {', '.join(HOOK_NOUNS[each] for each in self._hooks)}." if self._hooks else None,
            )
        return self._hooks[kind]

    async def _until(self, kind: HookKind | None, patience_seconds: float) -> None:
        try:
            await wait_within(self._until_known(kind), patience_seconds)
        except asyncio.TimeoutError:
            raise RequestError(
                f"The plugin {self.identifier!r} is registered, but did not become ready in {patience_seconds:g} s",
                suggestion="Start its process with the credentials that its registration gave, and look at what it "
                "prints.",
            ) from None

    def end(self) -> None:
        """It is not registered any more."""
        self.has_ended.set()
        self._tell()

    async def _until_known(self, kind: HookKind | None) -> None:
        while not (kind in self._hooks or self.is_ready or self.has_ended.is_set()):
            await self._news.wait()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _disconnected(self, lifetime: ClientLifetime) -> None:
        if self._lifetime is lifetime:
            self.is_ready = False
            self.config_schematics = self.global_config_schematics = self.last_report = None


class PluginRegistry:
    """The plugins that are registered."""

    def __init__(self, credentials: IssuedCredentials) -> None:
        self._credentials = credentials
        self._plugins: dict[str, Plugin] = {}
        self._by_client: dict[str, Plugin] = {}

    def all(self) -> tuple[Plugin, ...]:
        """All of them, in the order in which they were registered."""
        return tuple(self._plugins.values())

    @contextmanager
    def registered(self, manifest: PluginManifest) -> Iterator[Plugin]:
        """A plugin of *manifest*, registered until the block ends.

        Raises:
            RequestError: there is one of this name, or there are too many.
        """
        identifier = f"{manifest.owner}/{manifest.name}"
        if len(identifier) > _MAX_NAME:
            raise RequestError(
                f"A plugin cannot be registered whose owner and name have {len(identifier) - 1} characters together",
                suggestion=f"Give it a shorter name: the limit is {_MAX_NAME - 1}.",
            )
        if identifier in self._plugins:
            raise RequestError(
                f"The plugin {identifier!r} is registered already",
                suggestion="End its registration, or disconnect the client that made it, before you register it again.",
            )
        if len(self._plugins) >= MAX_PLUGINS:
            raise RequestError(
                f"{MAX_PLUGINS} plugins are registered already, which is the limit",
                suggestion="End the registration of one that is not needed any more.",
            )
        client_identifier, passkey = self._credentials.issue(identifier)
        plugin = Plugin(manifest, identifier, client_identifier, passkey)
        self._plugins[identifier] = self._by_client[client_identifier] = plugin
        _logger.info("Registered the plugin %r", identifier, extra=fields(namespace="plugins"))
        try:
            yield plugin
        finally:
            del self._plugins[identifier]
            del self._by_client[client_identifier]
            plugin.end()
            self._credentials.revoke(client_identifier)
            _logger.info("The plugin %r is not registered any more", identifier, extra=fields(namespace="plugins"))

    def of_client(self, context: ClientContext) -> Plugin:
        """The plugin whose process asks.

        Raises:
            RequestError: it is not one's.
        """
        plugin = self._by_client.get(context.client_identifier)
        if plugin is None:
            raise RequestError(
                "Only the process of a plugin can do this, and this client is none",
                suggestion="Register the plugin with registerDevelopmentPlugin, and connect with the credentials that "
                "this returns.",
            )
        plugin.connected(context)
        return plugin

    def find(self, identifier: str) -> Plugin:
        """The plugin with this identifier.

        Raises:
            RequestError: none is registered.
        """
        plugin = self._plugins.get(identifier)
        if plugin is None:
            similar = near_matches(identifier[:_MAX_NAME], self._plugins) or list(self._plugins)[:3]
            raise RequestError(
                f"No plugin {identifier!r:.250} is registered",
                suggestion=f"There is: {', '.join(similar)}."
                if similar
                else "Start it, e.g. with `lms dev` or `python -m lmstudio.plugin --dev FOLDER`.",
            )
        return plugin
