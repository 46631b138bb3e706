"""A gateway inside this process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from lmstudio._setting_files import no_setting
from lmstudio.errors import LMStudioValueError
from lmstudio.gateway.settings import GATEWAY_TABLE, GatewaySettings
from lmstudio.server.background import BackgroundServer
from lmstudio.server.http.settings import HttpSettings
from lmstudio.server.token_files import read_token_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from lmstudio.gateway.settings import GatewayArguments
    from lmstudio.server.app import Core

__all__ = ["Gateway"]


class Gateway(BackgroundServer):
    """One OpenAI-compatible address in front of LM Studio, from a background thread of this process.

        with Gateway(base_url="http://localhost:1234", port=0) as gateway:
            client = openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none")

    Or with `async with`, or with `start` and `stop`. Once stopped it may be started again, on the same port. One that
    was forgotten is stopped when the interpreter ends.

    *settings*, or what is to be said of them as arguments; without any, their defaults. Neither a file nor the
    environment is read: `resolve_gateway_settings` does that.

    Raises:
        LMStudioValueError: a setting is not allowed, or a file of API tokens cannot be used.

    Raises (`start`):
        ServerStartError: the port is in use, other machines could connect without a token, a package is missing, or LM
            Studio has no model of a name that is to be loaded.
    """

    _extra: ClassVar = "gateway"
    _what: ClassVar = "The gateway"

    def __init__(self, settings: GatewaySettings | None = None, **arguments: Unpack[GatewayArguments]) -> None:
        if settings is not None and arguments:
            raise LMStudioValueError(
                "Gateway takes settings or arguments, not both; dataclasses.replace(settings, ...) makes other ones."
            )
        settings = _new_settings(arguments) if settings is None else settings
        tokens = list(settings.api_tokens)
        for file in settings.api_token_files:
            tokens += read_token_file(file)
        super().__init__(
            host=settings.host,
            port=settings.port,
            api_tokens=tokens,
            insecure=settings.insecure,
            allowed_origins=settings.allowed_origins,
            http=HttpSettings(cors=settings.cors, page=False),
            grace_seconds=settings.grace_seconds,
        )
        self._settings = replace(settings, api_tokens=(), api_token_files=())

    @property
    def base_url(self) -> str:
        """Where it is, http://host:port, for Anthropic's clients and `lmstudio.http`; OpenAI's want `/v1` after it.

        Raises:
            LMStudioRuntimeError: it has not been started, and the port is not known before that.
        """
        return f"http://{self.api_host}"

    def _prepare(self) -> None:
        """Nothing: what it is in front of may come later."""

    def _new_core(self) -> Core:
        from lmstudio.gateway.core import GatewayCore

        return GatewayCore(self._settings)


def _new_settings(arguments: Mapping[str, Any]) -> GatewaySettings:
    for name in arguments:
        if name not in GATEWAY_TABLE.settings:
            raise TypeError(f"Gateway: {no_setting(name, GATEWAY_TABLE.settings)}")
    return GatewaySettings(**arguments)
