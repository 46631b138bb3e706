"""Where the server listens: the address behind a host name, whether others can reach it, and its socket."""

from __future__ import annotations

import errno
import socket
import sys
from dataclasses import dataclass
from typing import Any

from lmstudio._address import is_loopback
from lmstudio.errors import LMStudioValueError
from lmstudio.server.errors import PortInUseError, ServerStartError

_BACKLOG = 128


@dataclass(frozen=True)
class Binding:
    """A host and a port with what the system makes of them. Nothing is opened before `listen`."""

    host: str
    port: int
    family: int
    kind: int
    protocol: int
    address: Any
    """As the family has it. What is bound is what was judged: the name is not looked up a second time."""

    @classmethod
    def find(cls, host: str, port: int) -> Binding:
        """Look *host* up.

        Raises:
            LMStudioValueError: *port* is not a port.
            ServerStartError: the name is not known.
        """
        if not 0 <= port <= 65535:
            raise LMStudioValueError(f"{port} is not a port: ports go from 1 to 65535, and 0 takes any free one.")
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (socket.gaierror, UnicodeError, ValueError) as error:
            raise ServerStartError(f"The host name {host!r} is not known; use an address of this machine.") from error
        # "localhost" means both families, and clients try IPv4 first or as well.
        family, kind, protocol, _name, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return cls(host, port, family, kind, protocol, address)

    @property
    def is_local(self) -> bool:
        """Only programs of this machine can connect."""
        return is_loopback(str(self.address[0]))

    def listen(self) -> socket.socket:
        """A socket that listens there.

        Raises:
            ServerStartError: in use, not allowed, or not an address of this machine.
        """
        sock = socket.socket(self.family, self.kind, self.protocol)
        try:
            if sys.platform == "win32":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                # A server that has just ended leaves connections behind that would block its port for minutes.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(self.address)
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            raise self._error(error) from error
        return sock

    def _error(self, error: OSError) -> ServerStartError:
        host, port = self.host, self.port
        if error.errno == errno.EADDRINUSE:
            return PortInUseError(f"Port {port} on {host} is already in use; choose another port, or 0 for a free one.")
        if error.errno == errno.EACCES:
            text = f"Port {port} on {host} is reserved for administrators; choose one above 1023, or 0 for a free one."
        elif error.errno == errno.EADDRNOTAVAIL:
            text = f"{host} is not an address of this machine; use 127.0.0.1, or 0.0.0.0 for all of its addresses."
        else:
            text = f"Cannot listen on port {port} of {host}: {error.strerror or error}."
        return ServerStartError(text)
