"""What systemd wants to know of a service of `Type=notify`, see sd_notify(3)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

__all__ = ["tell_service_manager"]


def tell_service_manager(state: str) -> None:
    """Send *state*, such as READY=1, to the service manager that has started this program, if one has."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # in Linux's abstract namespace
        address = "\0" + address[1:]
    # A manager that has gone is no reason to serve nobody.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.sendall(state.encode())
