"""Registers a plugin that is being developed, runs it, and runs it again when it has changed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lmstudio._retries import NO_RETRIES
from lmstudio.async_api import AsyncClient
from lmstudio.errors import LMStudioError
from lmstudio.plugin._manifest import read_manifest

from .child import ChildProcess
from .environment import environment_of
from .running import EXIT_HOST_LOST
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.plugin._manifest import Manifest

__all__ = ["develop"]

_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 30.0
"""Seconds between attempts to reach a host that is gone."""


class Development:
    """A folder with a plugin, and the host that it is tried with."""

    def __init__(
        self, folder: Path, client: AsyncClient, say: Callable[[str], None], child_arguments: tuple[str, ...]
    ) -> None:
        self._folder = folder
        self._client = client
        self._say = say
        self._child_arguments = child_arguments
        self._watch = Watch(folder)
        self._was_registered = False
        self._delay = 0.0
        self._problem = ""

    async def run(self) -> None:
        """Until it is cancelled.

        Raises:
            LMStudioError: there is no manifest that can be used, or the host cannot be reached in the first place.
        """
        manifest: Manifest | None = read_manifest(self._folder)
        while True:
            if manifest is not None:
                await self._try(manifest)
            else:
                await self._watch.changed()
            manifest = self._manifest()

    async def _try(self, manifest: Manifest) -> None:
        """Run the plugin until there is a reason to start it again, or wait for a host that is gone.

        Raises:
            LMStudioError: the host cannot be reached, and never could.
        """
        try:
            await self._run_once(manifest)
            self._delay = 0.0
        except LMStudioError as error:
            if not self._was_registered:
                raise
            # A host that has just lost us may also take us for still registered.
            self._delay = min(self._delay * 2, _LONGEST_DELAY) or _FIRST_DELAY
            if str(error) != self._problem:
                self._problem = str(error)
                self._say(f"The host cannot be used: {error}\nTrying again until it can.")
            await asyncio.sleep(self._delay)

    def _manifest(self) -> Manifest | None:
        try:
            return read_manifest(self._folder)
        except LMStudioError as error:
            self._say(f"{error} Waiting for a change.")
            return None

    async def _run_once(self, manifest: Manifest) -> None:
        """Register the plugin and run it until a file changes, or it has lost the host.

        Raises:
            LMStudioError: the host cannot be reached, or refuses the plugin.
        """
        async with self._client.plugins.register_development_plugin(manifest.announced()) as registration:
            self._problem = ""
            if not self._was_registered:
                self._was_registered = True
                await self._notify(manifest)
            environment = environment_of(
                registration.client_identifier,
                registration.client_passkey,
                registration.base_url or self._client.api_host,
            )
            child = await ChildProcess.start(self._folder, environment, *self._child_arguments)
            try:
                await self._until_over(child)
            except asyncio.CancelledError:
                await child.stop(is_interrupted=True)
                raise
            finally:
                await child.stop()

    async def _until_over(self, child: ChildProcess) -> None:
        """Wait until the plugin has to be started again."""
        changed = asyncio.ensure_future(self._watch.changed())
        ended = asyncio.ensure_future(child.ended())
        try:
            await asyncio.wait([changed, ended], return_when=asyncio.FIRST_COMPLETED)
            if not changed.done():
                if ended.result() == EXIT_HOST_LOST:
                    self._say("Registering it again.")
                    return
                self._say(f"The plugin has ended, with exit code {ended.result()}. Waiting for a change.")
                await asyncio.wait([changed])
            self._say(f"Changed: {', '.join(changed.result()[:3])}. Starting the plugin again.")
        finally:
            changed.cancel()
            ended.cancel()

    async def _notify(self, manifest: Manifest) -> None:
        """Show in the application that the plugin is there."""
        try:
            await self._client.system.notify(f"Plugin {manifest.identifier} started", "It is being developed.")
        except LMStudioError as error:
            self._say(f"The host could not be told to show a notification: {error}")


async def develop(
    plugin_dir: str | Path,
    *,
    say: Callable[[str], None],
    child_arguments: tuple[str, ...] = (),
) -> None:
    """Register the plugin in this folder with the host, and run it in a process of its own, until this is cancelled.

    It is run again when a file of the folder changes, or when the host was gone and is there again. *say* is told what
    happens.

    Raises:
        LMStudioError: the plugin has no manifest that can be used, or there is no host.
    """
    async with AsyncClient(retry=NO_RETRIES) as client:  # it is tried again here, with fewer words
        await Development(Path(plugin_dir), client, say, child_arguments).run()
