"""The namespace system: what is there, and who is asking for what."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING

from lmstudio._endpoints.system import (
    ALIVE,
    GET_EXPERIMENT_FLAGS,
    INFO,
    LIST_DOWNLOADED_MODEL_VARIANTS,
    LIST_DOWNLOADED_MODELS,
    NOTIFY,
    REQUEST_SHUTDOWN,
    SET_EXPERIMENT_FLAG,
    START_HTTP_SERVER,
    STOP_HTTP_SERVER,
    VERSION,
)
from lmstudio._sdk_models import (
    ErrorDisplayDataGenericPathNotFound,
    SystemRpcInfoReturns,
    SystemRpcVersionReturns,
)
from lmstudio._version import __version__
from lmstudio.logs import fields, get_logger
from lmstudio.server.catalog import ModelNotFoundError
from lmstudio.server.errors import RequestError
from lmstudio.server.instance import model_info, variant_info

if TYPE_CHECKING:
    from lmstudio._sdk_models import (
        BackendNotification,
        ModelInfo,
        SystemRpcListDownloadedModelVariantsParameter,
        SystemRpcSetExperimentFlagParameter,
        SystemRpcStartHttpServerParameter,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore

_logger = get_logger("server")


def release_version() -> str:
    """The version as `major.minor.patch`, which is all that the protocol has room for."""
    match = re.match(r"\d+\.\d+\.\d+", __version__)
    return match[0] if match else "0.0.0"


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve the namespace."""
    SystemHandlers(core).bind(handlers)


class SystemHandlers:
    """The handlers of the namespace."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core
        self._flags: set[str] = set()

    def bind(self, handlers: Handlers) -> None:
        """Serve all endpoints."""
        handlers.rpc(LIST_DOWNLOADED_MODELS, self._list_downloaded_models)
        handlers.rpc(LIST_DOWNLOADED_MODEL_VARIANTS, self._list_variants)
        handlers.rpc(NOTIFY, self._notify)
        handlers.rpc(VERSION, self._version)
        handlers.rpc(SET_EXPERIMENT_FLAG, self._set_experiment_flag)
        handlers.rpc(GET_EXPERIMENT_FLAGS, self._get_experiment_flags)
        handlers.rpc(START_HTTP_SERVER, self._start_http_server)
        handlers.rpc(STOP_HTTP_SERVER, self._stop_http_server)
        handlers.rpc(INFO, self._info)
        handlers.rpc(REQUEST_SHUTDOWN, self._request_shutdown)
        handlers.channel(ALIVE, self._alive)

    async def _list_downloaded_models(self, _: ClientContext, __: None) -> list[ModelInfo]:
        return [model_info(file) for file in self._core.catalog.listed]

    async def _list_variants(
        self, _: ClientContext, parameter: SystemRpcListDownloadedModelVariantsParameter
    ) -> list[ModelInfo]:
        catalog = self._core.catalog
        try:
            file, _candidates = catalog.resolve(parameter.model_key)
        except ModelNotFoundError as error:
            keys = [model.listed_key for model in catalog.listed]
            raise RequestError(
                f'Cannot find model "{parameter.model_key}".',
                suggestion=f"Did you mean {' or '.join(error.near_matches)}?" if error.near_matches else None,
                display_data=ErrorDisplayDataGenericPathNotFound(
                    path=parameter.model_key, available_paths_sample=keys[:10], total_models=len(keys)
                ),
            ) from None
        variants = catalog.variants(file)
        if not variants:
            raise RequestError(
                f"The model {file.model_key!r} has no variants.",
                suggestion="Variants are the quantizations of one model that lie in one repository folder.",
            )
        return [variant_info(variant) for variant in variants]

    async def _notify(self, _: ClientContext, notification: BackendNotification) -> None:
        separator = ": " if notification.description else ""
        text = f"{notification.title}{separator}{notification.description or ''}"
        _logger.info("Notification: %s", text, extra=fields(namespace="system"))

    async def _version(self, _: ClientContext, __: None) -> SystemRpcVersionReturns:
        return SystemRpcVersionReturns(version=release_version(), build=0)

    async def _info(self, _: ClientContext, __: None) -> SystemRpcInfoReturns:
        has_owner = len(self._core.credentials.owner) > 0
        return SystemRpcInfoReturns(pid=os.getpid(), is_daemon=has_owner, version=release_version())

    async def _set_experiment_flag(self, _: ClientContext, flag: SystemRpcSetExperimentFlagParameter) -> None:
        if flag.value:
            self._flags.add(flag.code)
        else:
            self._flags.discard(flag.code)

    async def _get_experiment_flags(self, _: ClientContext, __: None) -> list[str]:
        return sorted(self._flags)

    async def _start_http_server(self, context: ClientContext, parameter: SystemRpcStartHttpServerParameter) -> None:
        """Listen at one more port. The one that serves this connection answers HTTP anyway."""
        server = self._core.http_server
        if server is None:
            raise RequestError(
                "The HTTP server of this server cannot be started: it is always on.",
                suggestion="Start the server with the port and the address that you want.",
            )
        _require_privilege(context, "Opening another port of the server")
        await server.start(parameter.network_interface, parameter.port, cors=bool(parameter.cors))

    async def _stop_http_server(self, context: ClientContext, _: None) -> None:
        """Listen there no longer."""
        server = self._core.http_server
        if server is None or not server.is_started:
            raise RequestError(
                "The HTTP server of this server cannot be stopped alone: it serves this connection, too.",
                suggestion="Stop the server itself.",
            )
        _require_privilege(context, "Closing a port of the server")
        await server.stop()

    async def _request_shutdown(self, context: ClientContext, _: None) -> None:
        if self._core.on_shutdown_request is None:
            raise RequestError(
                "This server cannot be shut down by a client.", suggestion="Stop the process that runs it."
            )
        _require_privilege(context, "Shutting down the server")
        _logger.info("Shutting down: the client %s asked for it", context.client_identifier, extra=fields())
        self._core.on_shutdown_request()

    async def _alive(self, _: ClientContext, __: None, ___: ServerChannel[None, None]) -> None:
        """Stay open: the end of the connection cancels this."""
        await asyncio.get_running_loop().create_future()


def _require_privilege(context: ClientContext, what: str) -> None:
    """Raise RequestError for a client that has no API token."""
    if not context.is_privileged:
        raise RequestError(f"{what} is for privileged clients only.", suggestion="Connect with an API token.")
