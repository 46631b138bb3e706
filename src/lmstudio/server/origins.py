"""Which web pages may connect.

Browsers let any page open a WebSocket to any address, this machine's too, and only tell the server where the page came
from: in the header Origin, which a page cannot change. Programs send none, and are let in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from lmstudio._address import is_loopback
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.datastructures import Headers

    from lmstudio.server.auth import ApiTokens

_ANY = "*"
# Exactly what browsers write (RFC 6454, 6.1): no user, no path, one origin. Whatever is read differently by different
# parsers, such as http://localhost\@evil.example, is not among it.
_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII | re.IGNORECASE
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> _Origin | None:
        match = _ORIGIN.fullmatch(text)
        if match is None:
            return None
        scheme = match[1].lower()
        return cls(scheme, match[2].lower(), int(match[3]) if match[3] else _DEFAULT_PORTS.get(scheme))

    @property
    def is_local(self) -> bool:
        return self.host == "localhost" or is_loopback(self.host.strip("[]"))


class OriginPolicy:
    """Lets in the pages of this machine, and those of the *allowed* origins."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """Allow origins such as "https://example.com", or with "*" all pages.

        Raises:
            LMStudioValueError: one of them is not an origin.
        """
        if isinstance(allowed, str):
            raise LMStudioValueError(f"allowed_origins must be a list, e.g. [{allowed!r}].")
        self._allows_all = False
        self._allowed: set[_Origin] = set()
        for text in allowed:
            origin = _Origin.parse(text.removesuffix("/"))
            if text == _ANY:
                self._allows_all = True
            elif origin is None:
                raise LMStudioValueError(
                    f"{text!r} is not the origin of web pages; write scheme://host or scheme://host:port, e.g. "
                    "'https://example.com', or '*' to let all pages connect (that includes the origin 'null', which "
                    "any page can take on)."
                )
            else:
                self._allowed.add(origin)

    def named(self, origins: Sequence[str]) -> str | None:
        """The origin that may read answers over HTTP, because it was allowed by name; "*" if all may."""
        if self._allows_all:
            return "*"
        origin = _Origin.parse(origins[0]) if len(origins) == 1 else None
        return origins[0] if origin in self._allowed else None

    def admits(self, headers: Headers, tokens: ApiTokens) -> bool:
        """Whether a request with these headers may come in, to a server with these tokens.

        Where clients need one, pages of the server itself come in under any name that it has. Without tokens, a page
        whose name was pointed at this machine would pass as such.
        """
        return self.allows(headers.getlist("origin"), headers.get("host") if tokens else None)

    def allows(self, origins: Sequence[str], own_host: str | None = None) -> bool:
        """Whether a request with these Origin headers may come in. Several, or one that is none, are no browser's.

        *own_host* is the header Host, where pages of this server itself may come in whatever its name is.
        """
        if self._allows_all or not origins:
            return True
        origin = _Origin.parse(origins[0])
        if origin is None or len(origins) > 1:
            return False
        is_own = own_host is not None and origin == _Origin.parse(f"{origin.scheme}://{own_host}")
        return is_own or origin in self._allowed or origin.is_local
