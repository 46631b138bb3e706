"""What users say about a client, as the options of its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from lmstudio._proxy import read_proxy
from lmstudio._retries import NO_RETRIES, RetryConfig, read_retry
from lmstudio._settings import check_logger, check_tls
from lmstudio._timeouts import Timeout, read_timeout
from lmstudio.logs import follow_environment
from lmstudio.settings import settings_for

from ._io import HttpOptions

if TYPE_CHECKING:
    import logging
    import ssl

    from lmstudio._auth import Secret
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.settings import Settings

DEFAULT_RETRY: Final = RetryConfig(max_retries=2)
"""For clients that are told nothing."""


def http_options(
    *,
    base_url: str | None,
    api_key: Secret,
    timeout: TimeoutInput,
    retry: RetryConfig | None,
    settings: Settings | None,
    ssl_context: ssl.SSLContext | None,
    proxy: Secret,
    logger: logging.Logger | None,
) -> tuple[HttpOptions, Settings]:
    """The arguments of both clients, checked; those that are not given are as *settings* say.

    Raises:
        LMStudioValueError: one of them cannot be used.
    """
    follow_environment()
    tls = check_tls(ssl_context)
    chosen = settings_for(
        settings,
        base_url=base_url,
        api_key=api_key,
        verify_tls=None if tls is None else True,  # a context goes before what is set about certificates
    )
    chosen.check_remote()
    own_retry = read_retry(retry)
    options = HttpOptions(
        address=chosen.address(),
        token=chosen.token,
        timeout=read_timeout(timeout).over(chosen.http_timeout()),
        retry=chosen.retry(DEFAULT_RETRY) if own_retry is None else own_retry,
        tls=chosen.tls if tls is None else tls,
        proxy=read_proxy(proxy),
        own_logger=check_logger(logger),
    )
    return options, chosen


def probing(options: HttpOptions) -> HttpOptions:
    """*options* for finding out whether there is a server: one attempt, which takes no longer than connecting may."""
    connect = options.timeout.connect
    return msgspec.structs.replace(options, retry=NO_RETRIES, timeout=Timeout(total=connect).over(options.timeout))
