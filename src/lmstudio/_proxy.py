"""Proxies as users write them. One is used only where it was asked for, never because of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from .errors import LMStudioValueError

if TYPE_CHECKING:
    from ._auth import Secret

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


class Proxy(msgspec.Struct, frozen=True):
    """Where a proxy listens, and as whom to use it. The password never appears in a repr."""

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str = ""

    @property
    def url(self) -> str:
        """Its URL, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.url!r})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("url", self.url)]


def read_proxy(url: Secret) -> Proxy | None:
    """Read `http://host:port`, `https://`, `socks5://` or `socks5h://`, with or without `user:password@`.

    Raises:
        LMStudioValueError: not the URL of a proxy. It is not repeated, because it may hold a password.
    """
    if url.value is None:
        return None
    proxy = _parse(url.value)
    if isinstance(proxy, str):
        raise LMStudioValueError(f"Invalid proxy: {proxy}. Expected for example 'http://localhost:3128'.")
    return proxy


def _parse(url: object) -> Proxy | str:
    """A proxy, or why *url* is none: an exception from here would show it."""
    if not isinstance(url, str):
        return f"it must be a string, got {type(url).__name__}"
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname
    except ValueError:
        return "it is not a URL"
    if parts.scheme not in _DEFAULT_PORTS or not host:
        return f"it is not a URL that begins with {', '.join(f'{scheme}://' for scheme in _DEFAULT_PORTS)}"
    if parts.path not in ("", "/") or parts.query or parts.fragment or any(map(str.isspace, parts.netloc)) or port == 0:
        return "only user name, password, host and port belong into it"
    username = None if parts.username is None else unquote(parts.username)
    return Proxy(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], username, unquote(parts.password or ""))
