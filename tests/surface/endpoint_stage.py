"""A server that has a plugin, and what clients have asked it for."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from patience import PATIENCE_SECONDS
from peer.plugin_session import PluginCore
from plugin_kit import turn_settings, user_message

from lmstudio._sdk_models import (
    ProcessingRequest,
    ProcessingRequestResponse,
    ProcessingRequestResponseTextInput,
)
from lmstudio.server import ScriptedEngine, Server

from .fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from lmstudio.testing.network import PassedMessage

SCHEMA = Path(__file__).parents[2] / "sdk-schema" / "lmstudio-sdk.schema.json"
KINDS = {"rpcCall": "rpc", "channelCreate": "channel"}


def endpoints_of_the_schema() -> set[tuple[str, str, str]]:
    namespaces = json.loads(SCHEMA.read_text(encoding="utf-8"))["endpoints"]
    return {
        (namespace, kind, name)
        for namespace, kinds in namespaces.items()
        for kind, names in kinds.items()
        for name in names
    }


class EndpointStage:
    """A server, and what clients ask it for."""

    def __init__(self, core: PluginCore) -> None:
        self.core = core
        self.api_host = ""
        self.asked: set[tuple[str, str, str]] = set()

    def note(self, passed: PassedMessage) -> None:
        message = json.loads(passed.text)
        if passed.is_of_client and message.get("type") in KINDS:
            self.asked.add((passed.namespace, KINDS[message["type"]], message["endpoint"]))

    def begin_turn(self) -> Future[None]:
        """Let the plugin answer a message."""
        return self.core.begin(self._turn)

    async def _turn(self) -> None:
        async def answer(_: ProcessingRequest) -> ProcessingRequestResponse:
            return ProcessingRequestResponseTextInput(result="Ada")

        plugins = self.core.plugins
        with plugins.turn(user_message("Hi"), turn_settings(ask=answer, needs_name=True)) as turn:
            async with plugins.run_loop("me/helper", turn) as run:
                async for _ in run:
                    pass


@contextmanager
def recorded() -> Iterator[EndpointStage]:
    """When the block ends, everything that was sent in it has been noted."""
    stage = EndpointStage(PluginCore(ScriptedEngine()))
    with (
        Server.for_core(stage.core) as server,
        FaultProxy(server.port, patience_seconds=PATIENCE_SECONDS, on_message=stage.note) as proxy,
    ):
        stage.api_host = proxy.api_host
        yield stage
