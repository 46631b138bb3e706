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

LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that servers listen on, and where clients on the same machine find them. Windows cannot connect to them."""

NAMESPACES = ("llm", "embedding", "system", "diagnostics", "files", "repository", "plugins", "runtime")

_SCHEMES = {"": False, "ws": False, "http": False, "wss": True, "https": True}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_BROKEN_SCHEME = r"(?i)(?:http|ws)s?:(?!//|\d|$)"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*\.?"
# Pasted from other tools: the OpenAI and REST base paths, and the namespaces themselves.
_KNOWN_SUFFIXES = ("/api/v0", "/api/v1", "/v1", *(f"/{name}" for name in NAMESPACES))


def is_loopback(address: str) -> bool:
    """Whether *address* is a numeric one that only programs of this machine can connect to."""
    import ipaddress

    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    # Python answers for ::ffff:127.0.0.1 itself only since 3.13.
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def is_this_machine(host: str) -> bool:
    """Whether *host*, a name or an address, always means the machine that asks."""
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)


class ServerAddress(msgspec.Struct, frozen=True):
    """Where a server listens."""

    host: str
    port: int
    secure: bool = False
    prefix: str = ""
    """Path under which the namespaces live, for a reverse proxy; "" or "/path"."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine for certain."""
        return is_this_machine(self.host)

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
    prefix. Without a port: 1234, or what the scheme implies for https and wss. The addresses on which a server listens
    everywhere, 0.0.0.0 and ::, mean this machine.

    Raises:
        LMStudioValueError: not an address, or one with a query, a fragment or credentials.
    """
    if not isinstance(text, str):
        raise LMStudioValueError(f"The server address must be a string, got {type(text).__name__}.")
    if "@" in text:  # checked first, and not repeated, because no other complaint may show a password
        raise LMStudioValueError("Invalid server address: it contains a user name or password; use api_token instead.")
    try:
        return _parse(text.strip())
    except ValueError as error:
        # Those of ours are the reason; others are, too, and their traceback may help.
        cause = None if isinstance(error, _RefusalError) else error
        raise LMStudioValueError(
            f"Invalid server address {text!r}: {error}. Expected for example 'localhost:1234'."
        ) from cause


class _RefusalError(ValueError):
    """Why a text is no address."""


def _parse(text: str) -> ServerAddress:
    if not text:
        raise _RefusalError("it is empty")
    if any(character.isspace() or not character.isprintable() for character in text):
        raise _RefusalError("it contains a blank, so it has no valid host name")  # urlsplit would drop some of them
    if re.match(_BROKEN_SCHEME, text):
        raise _RefusalError("its scheme is not followed by '://'")
    if text.count(":") > 1 and "//" not in text and not text.startswith("["):
        text = f"[{text}]"  # a bare IPv6 address cannot carry a port
    parts = urlsplit(text if "://" in text or text.startswith("//") else f"//{text}")
    port = parts.port
    if parts.scheme not in _SCHEMES:
        raise _RefusalError(f"unknown scheme {parts.scheme!r}, use ws, wss, http or https")
    if parts.query or parts.fragment:
        raise _RefusalError("a query or fragment is not allowed")
    host = parts.hostname or ""
    if not host:
        raise _RefusalError("it has no valid host name; this machine is 'localhost'")
    if host in _SCHEMES and port is None and parts.path.startswith("//"):
        raise _RefusalError("it has two schemes, or one that is not followed by '://'")
    if port == 0:
        raise _RefusalError("port 0 cannot be connected to")
    secure = _SCHEMES[parts.scheme]
    path = re.sub("/{2,}", "/", parts.path).rstrip("/")
    known = next((suffix for suffix in _KNOWN_SUFFIXES if path.endswith(suffix)), "")
    prefix = path.removesuffix(known).rstrip("/")
    host = _checked_ipv6(host) if "[" in parts.netloc else _checked_name(host)
    return ServerAddress(LOOPBACK_OF.get(host, host), port or (443 if secure else DEFAULT_HTTP_PORT), secure, prefix)


def _checked_ipv6(host: str) -> str:
    import ipaddress

    # urlsplit checks this since Python 3.11.4. In a URL, the zone follows "%25" (RFC 6874).
    host = host.replace("%25", "%", 1)
    ipaddress.IPv6Address(host)
    return host


def _checked_name(host: str) -> str:
    try:
        # Only a check: what is sent is made by httpx, by newer rules.
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise _RefusalError(f"it has no valid host name ({error})") from error
    if len(ascii_host) > 253 or not re.fullmatch(_NAME, ascii_host.lower()):
        raise _RefusalError("it has no valid host name")
    return host
