"""What a client is told about its server, once and for all of its connections."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec

from ._address import ServerAddress, chosen_api_host, parse_api_host
from ._auth import Credentials, Secret, resolve_credentials
from ._callbacks import is_coroutine_function
from ._proxy import Proxy, read_proxy
from ._retries import RetryConfig, read_retry
from ._timeouts import INHERITED, Timeout, read_timeout
from .errors import LMStudioValueError
from .logs import follow_environment, get_logger

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ._runtime import UnknownItem
    from ._timeouts import TimeoutInput

VERIFY_VARIABLE = "LM_STUDIO_VERIFY_TLS"
"""Environment variable that says whether to check certificates, for clients without an `ssl_context`."""
_YES_AND_NO = {
    **dict.fromkeys(("", "1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


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
    """The arguments of both clients, checked.

    Raises:
        LMStudioValueError: one of them cannot be used.
    """
    follow_environment()
    if on_unknown is not None and (not callable(on_unknown) or is_coroutine_function(on_unknown)):
        raise LMStudioValueError(f"on_unknown must be a plain function, got {on_unknown!r:.80}.")
    return ConnectionSettings(
        api_host=chosen_api_host(api_host),
        credentials=resolve_credentials(api_token, client_identifier, client_passkey),
        own_logger=check_logger(logger),
        timeout=read_timeout(timeout),
        own_retry=read_retry(retry),
        tls=chosen_tls(ssl_context),
        proxy=read_proxy(proxy),
        on_unknown=on_unknown,
    )


def check_logger(logger: object) -> logging.Logger | None:
    """*logger*, if it is one or None."""
    if logger is None or isinstance(logger, logging.Logger):
        return logger
    raise LMStudioValueError(f"logger must be a logging.Logger, got {type(logger).__name__}.")


def chosen_tls(ssl_context: object) -> ssl.SSLContext | bool:
    """*ssl_context*, if it is one; for None whether the environment wants certificates to be checked."""
    if ssl_context is None:
        text = os.environ.get(VERIFY_VARIABLE, "").strip().lower()
        if text not in _YES_AND_NO:
            raise LMStudioValueError(
                f"The environment variable {VERIFY_VARIABLE} must be true or false, it is {text!r:.80}."
            )
        return _YES_AND_NO[text]
    import ssl

    if isinstance(ssl_context, ssl.SSLContext):
        return ssl_context
    raise LMStudioValueError(
        f"ssl_context must be an ssl.SSLContext, got {type(ssl_context).__name__}. "
        "Expected for example ssl.create_default_context(cafile='authority.pem')."
    )
