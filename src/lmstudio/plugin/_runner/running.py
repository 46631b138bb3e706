"""A plugin while it runs: its connection to the host, and its hooks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lmstudio.async_api import AsyncClient
from lmstudio.errors import LMStudioChannelClosedError, LMStudioError
from lmstudio.logs import fields, get_logger
from lmstudio.plugin._definition import HOOK_NOUNS
from lmstudio.plugin.sdk_api import LMStudioPluginRuntimeError

from .configs import parse_config, schematics_of
from .controllers import controller_class
from .faults import fault, own_traceback
from .task_hooks import TASK_HOOKS
from .tools_hook import ToolsHook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lmstudio._auth import Secret
    from lmstudio._sdk_models import SerializedLMSExtendedError
    from lmstudio._surface.async_plugins import AsyncSelfRegistrationHost
    from lmstudio.plugin._definition import HookName, PluginDefinition
    from lmstudio.sync_api import Client

    from .outlet import HookChannel, Outlet
    from .task_hooks import TaskHook

__all__ = ["EXIT_HOST_LOST", "MAX_PARALLEL_TOOL_CALLS", "HostAccess", "HostLostError", "RunningPlugin", "serve"]

MAX_PARALLEL_TOOL_CALLS: Final = 10
"""Calls of one tools session that run at the same time, unless the runner is told another number."""

EXIT_HOST_LOST: Final = 3
"""Exit code of a process whose host was there, and is gone."""
_HOOKS: Final[dict[HookName, Callable[[RunningPlugin, HookChannel], TaskHook | ToolsHook]]] = {
    "list_provided_tools": ToolsHook,
    **{hook.name: hook for hook in TASK_HOOKS},
}
_OPENERS: Final[dict[HookName, Callable[[AsyncSelfRegistrationHost], HookChannel]]] = {
    "preprocess_prompt": lambda host: host.set_prompt_preprocessor(),
    "handle_prediction_loop": lambda host: host.set_prediction_loop_handler(),
    "list_provided_tools": lambda host: host.set_tools_provider(),
    "generate_tokens": lambda host: host.set_generator(),
}
_logger = get_logger("plugins")


class HostLostError(LMStudioPluginRuntimeError):
    """The host was there, and is gone, or has ended the plugin's registration."""


class HostAccess:
    """Where the host is, and how a plugin proves who it is."""

    def __init__(self, base_url: str | None, client_identifier: str, client_passkey: Secret) -> None:
        self.base_url = base_url
        self.client_identifier = client_identifier
        self.client_passkey = client_passkey

    def async_client(self) -> AsyncClient:
        """A client of the host, as this plugin."""
        return AsyncClient(
            self.base_url, client_identifier=self.client_identifier, client_passkey=self.client_passkey.value
        )

    def client(self) -> Client:
        """As `async_client`, for functions that run in threads."""
        from lmstudio.sync_api import Client

        return Client(self.base_url, client_identifier=self.client_identifier, client_passkey=self.client_passkey.value)


class RunningPlugin:
    """What the hooks of a plugin have in common."""

    def __init__(
        self, definition: PluginDefinition, access: HostAccess, client: AsyncClient, max_parallel_tool_calls: int
    ) -> None:
        self.definition = definition
        self.identifier = definition.identifier
        self.max_parallel_tool_calls = max_parallel_tool_calls
        self._access = access
        self._client = client
        self._sync_client: Client | None = None

    def fault(self, what: str, error: BaseException, *, tool: str | None = None) -> SerializedLMSExtendedError:
        """*error* for the host; the log has it, too. *what* is the subject of the sentence that it has failed."""
        shown = type(error), error, own_traceback(error)
        _logger.error("%s failed.", what, exc_info=shown, extra=fields(namespace="plugins", tool=tool))
        return fault(what, error)

    def called(self, what: str, *, tool: str | None = None) -> None:
        """For the log: the host wants something done by *what*."""
        _logger.debug("The host calls %s", what, extra=fields(namespace="plugins", tool=tool))

    def controller(self, name: HookName, packet: Any, outlet: Outlet, *, in_loop: bool) -> Any:
        """What a hook gets to work on the task of *packet* with. *in_loop*: it is a coroutine.

        Raises:
            LMStudioError: the host has sent settings that the plugin does not allow.
        """
        self.called(f"the {HOOK_NOUNS[name]}")
        make: Any = controller_class(name, in_loop=in_loop)
        if name == "generate_tokens":
            make = partial(make, send=outlet.send)
        return make(
            client=self._client if in_loop else self._blocking_client(),
            request=packet,
            signal=outlet.signal,
            plugin_config=parse_config(self.definition.config, packet.plugin_config),
            global_config=parse_config(self.definition.global_config, packet.global_plugin_config),
        )

    def _blocking_client(self) -> Client:
        """Made when the first plain function needs it; it connects when that uses it."""
        if self._sync_client is None:
            self._sync_client = self._access.client()
        return self._sync_client

    async def aclose(self) -> None:
        """Close what only plain functions use."""
        if self._sync_client is not None:
            await asyncio.to_thread(self._sync_client.close)


async def serve(
    definition: PluginDefinition,
    access: HostAccess,
    *,
    max_parallel_tool_calls: int,
    on_ready: Callable[[str], object],
) -> None:
    """Let the host use the plugin, until this is cancelled.

    Raises:
        HostLostError: the host has gone.
        LMStudioError: there is no host, or it does not accept the plugin.
    """
    async with access.async_client() as client:
        plugin = RunningPlugin(definition, access, client, max_parallel_tool_calls)
        try:
            await _serve(plugin, client, on_ready)
        finally:
            await plugin.aclose()


async def _serve(plugin: RunningPlugin, client: AsyncClient, on_ready: Callable[[str], object]) -> None:
    host = client.plugins.get_self_registration_host()
    definition = plugin.definition
    for declared, set_schematics in (
        (definition.config, host.set_config_schematics),
        (definition.global_config, host.set_global_config_schematics),
    ):
        schematics = None if declared is None else schematics_of(declared)
        if schematics:  # one without fields says nothing
            await set_schematics(schematics)
    hooks = [_HOOKS[name](plugin, _OPENERS[name](host)) for name in definition.hooks]
    works = [asyncio.ensure_future(hook.serve()) for hook in hooks]
    begun = asyncio.ensure_future(host.init_completed())
    is_ready = False
    try:
        await _first_end([begun, *works])
        is_ready = True
        _logger.debug("The plugin %r is ready", plugin.identifier, extra=fields(namespace="plugins"))
        on_ready(plugin.identifier)
        await _first_end(works)
    except LMStudioError as error:
        if is_ready or isinstance(error, LMStudioChannelClosedError):  # else it was never there
            raise HostLostError(f"The plugin {plugin.identifier!r} has lost its host: {error}") from error
        raise
    finally:
        for work in (begun, *works):
            work.cancel()
        # The first failure is the one that counts; the others are its like.
        await asyncio.gather(begun, *works, return_exceptions=True)


async def _first_end(works: Sequence[asyncio.Future[None]]) -> None:
    """Wait for the end of any of them. What it has raised is raised."""
    done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
    for work in done:
        work.result()
