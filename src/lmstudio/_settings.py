"""What a client is told about its server, once and for all of its connections."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from ._address import ServerAddress, parse_api_host
from ._auth import Credentials, Secret, resolve_credentials
from ._callbacks import is_coroutine_function
from ._proxy import Proxy, read_proxy
from ._retries import RetryConfig, read_retry
from ._timeouts import INHERITED, Timeout, read_timeout
from .errors import LMStudioValueError
from .logs import follow_environment, get_logger
from .settings import Settings, settings_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ._runtime import UnknownItem
    from ._timeouts import TimeoutInput


class ConnectionSettings(msgspec.Struct, frozen=True):
    """Where, how and as whom to connect, and how patiently. *api_host* None: find the local server."""

    api_host: str | None
    credentials: Credentials
    own_logger: logging.Logger | None = None
    """What the user wants to hear of this client on; None for those of the package."""
    timeout: Timeout = INHERITED
    """What the user has set."""
    own_retry: RetryConfig | None = None
    """What the user wants; None for the defaults."""
    tls: ssl.SSLContext | bool = True
    """How to check certificates; or only whether to, against the public authorities."""
    proxy: Proxy | None = None
    on_unknown: Callable[[UnknownItem], object] | None = None
    """Told of what the server sends and this version does not know."""
    chosen: Settings = Settings()
    """What else counts: which models to use."""

    def __post_init__(self) -> None:
        if self.proxy is not None and self.api_host is None:
            raise LMStudioValueError(
                "proxy= needs the address of the server, e.g. Client('lm.example.com:1234', proxy=...): without an "
                "address, the server on this machine is looked for, and that needs no proxy."
            )

    @property
    def retry(self) -> RetryConfig:
        """When to try again."""
        return RetryConfig() if self.own_retry is None else self.own_retry

    def logger(self, area: str) -> logging.Logger:
        """As `Runtime.logger`."""
        return get_logger(area) if self.own_logger is None else self.own_logger.getChild(area)

    def address(self) -> ServerAddress | None:
        """The address given by the user, None if the local server is to be found."""
        return None if self.api_host is None else parse_api_host(self.api_host)


def connection_settings(
    *,
    settings: Settings | None,
    api_host: str | None,
    api_token: Secret,
    client_identifier: str | None,
    client_passkey: Secret,
    logger: logging.Logger | None,
    ssl_context: ssl.SSLContext | None,
    proxy: Secret,
    timeout: TimeoutInput,
    retry: RetryConfig | None,
    on_unknown: Callable[[UnknownItem], object] | None,
) -> ConnectionSettings:
    """The arguments of both clients, checked, over their *settings*, or those of the environment.

    Raises:
        LMStudioValueError: one of them cannot be used.
    """
    follow_environment()
    if on_unknown is not None and (not callable(on_unknown) or is_coroutine_function(on_unknown)):
        raise LMStudioValueError(f"on_unknown must be a plain function, got {on_unknown!r:.80}.")
    has_name = client_identifier is not None or client_passkey.value is not None
    tls = check_tls(ssl_context)
    chosen = settings_for(
        settings,
        api_host=api_host,
        api_token=Secret("") if has_name and api_token.value is None else api_token,  # a name replaces a token
        verify_tls=None if tls is None else True,  # and a context whatever is set about certificates
    )
    token = chosen.native_token
    chosen.check_remote(has_token=bool(token.value))
    limits, wanted_retry = read_timeout(timeout), read_retry(retry)
    if wanted_retry is None and chosen.max_retries is not None:
        wanted_retry = chosen.retry(RetryConfig())
    return ConnectionSettings(
        api_host=chosen.api_host,
        credentials=resolve_credentials(
            api_token if has_name else token, client_identifier, client_passkey, _giver(chosen)
        ),
        own_logger=check_logger(logger),
        timeout=limits.over(chosen.limits()),
        own_retry=wanted_retry,
        tls=chosen.tls if tls is None else tls,
        proxy=read_proxy(proxy),
        on_unknown=on_unknown,
        chosen=chosen,
    )


def _giver(settings: Settings) -> str:
    """What has given the token, in an error."""
    source = settings.sources["api_token"]
    return {"argument": "api_token"}.get(source, f"the {source}" if source.startswith("environment") else source)


def check_logger(logger: object) -> logging.Logger | None:
    """*logger*, if it is one or None."""
    if logger is None or isinstance(logger, logging.Logger):
        return logger
    raise LMStudioValueError(f"logger must be a logging.Logger, got {type(logger).__name__}.")


def check_tls(ssl_context: object) -> ssl.SSLContext | None:
    """*ssl_context*, if it is one or None."""
    if ssl_context is None:
        return None
    import ssl

    if isinstance(ssl_context, ssl.SSLContext):
        return ssl_context
    raise LMStudioValueError(
        f"ssl_context must be an ssl.SSLContext, got {type(ssl_context).__name__}. "
        "Expected for example ssl.create_default_context(cafile='authority.pem')."
    )
