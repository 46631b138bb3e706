"""Server addresses: everything users write, in one form."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from .errors import LMStudioValueError

API_SERVER_PORTS = (41343, 52993, 16141, 39414, 22931)
"""Loopback ports on which LM Studio or its daemon listens, in the order of preference."""

DEFAULT_HTTP_PORT = 1234
"""The port of LM Studio's HTTP server unless the user chose another; it serves the same WebSocket namespaces."""

NAMESPACES = ("llm", "embedding", "system", "diagnostics", "files", "repository", "plugins", "runtime")

_SCHEMES = {"": False, "ws": False, "http": False, "wss": True, "https": True}
_IPV6 = r"[0-9a-f.]*:[0-9a-f:.]*(?:%.+)?"
# Pasted from other tools: the OpenAI and REST base paths, and the namespaces themselves.
_KNOWN_SUFFIXES = ("/api/v0", "/api/v1", "/v1", *(f"/{name}" for name in NAMESPACES))


class ServerAddress(msgspec.Struct, frozen=True):
    """Where a server listens."""

    host: str
    port: int
    secure: bool = False
    prefix: str = ""
    """Path under which the namespaces live, for a reverse proxy; "" or "/path"."""

    @property
    def authority(self) -> str:
        """host:port, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def api_host(self) -> str:
        """The shortest spelling that means this address: host:port where that is enough."""
        return f"https://{self.authority}{self.prefix}" if self.secure else f"{self.authority}{self.prefix}"

    def http_url(self, path: str) -> str:
        """*path* without a leading slash."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.prefix}/{path}"

    def websocket_url(self, namespace: str) -> str:
        """The URL of a namespace."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.prefix}/{namespace}"


def parse_api_host(text: str) -> ServerAddress:
    """Read an address: `host`, `host:port`, `[::1]:port`, or an http, https, ws or wss URL, with or without a path.

    A trailing slash, `/v1`, `/api/v0`, `/api/v1` and the name of a namespace are dropped, other paths are kept as a
    prefix. Without a port: 1234, or what the scheme implies for https and wss.

    Raises:
        LMStudioValueError: not an address, or one with a query, a fragment or credentials.
    """

    def refuse(reason: str) -> LMStudioValueError:
        return LMStudioValueError(f"Invalid server address {text!r}: {reason}. Expected for example 'localhost:1234'.")

    if not isinstance(text, str):
        raise LMStudioValueError(f"The server address must be a string, got {type(text).__name__}.")
    if "@" in text:  # checked first, and not repeated, because no other complaint may show a password
        raise LMStudioValueError("Invalid server address: it contains a user name or password; use api_token instead.")
    stripped = text.strip()
    if not stripped:
        raise refuse("it is empty")
    if stripped.count(":") > 1 and "://" not in stripped and not stripped.startswith("["):
        stripped = f"[{stripped}]"  # a bare IPv6 address cannot carry a port
    try:
        parts = urlsplit(stripped if "://" in stripped else f"//{stripped}")
        port = parts.port
    except ValueError as error:
        raise refuse(str(error)) from error
    if parts.scheme not in _SCHEMES:
        raise refuse(f"unknown scheme {parts.scheme!r}, use ws, wss, http or https")
    if parts.query or parts.fragment:
        raise refuse("a query or fragment is not allowed")
    # Python checks what is between the brackets since 3.11.4.
    is_good_ipv6 = "[" not in parts.netloc or re.fullmatch(_IPV6, parts.hostname or "")
    if not parts.hostname or any(map(str.isspace, parts.netloc)) or not is_good_ipv6:
        raise refuse("it has no valid host name")
    if port == 0:
        raise refuse("port 0 cannot be connected to")
    secure = _SCHEMES[parts.scheme]
    path = parts.path.rstrip("/")
    known = next((suffix for suffix in _KNOWN_SUFFIXES if path.endswith(suffix)), "")
    prefix = path.removesuffix(known).rstrip("/")
    return ServerAddress(parts.hostname, port or (443 if secure else DEFAULT_HTTP_PORT), secure, prefix)
