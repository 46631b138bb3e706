"""What to do about a server that cannot be reached. Looked up only after a failure."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ._address import ServerAddress
    from .errors import ConnectionPhase

DOCKER_HOST = "host.docker.internal"
"""The name of the machine around a container; podman's is an alias of it."""
_CONTAINER_HOSTS = (DOCKER_HOST, "gateway.docker.internal", "host.containers.internal")
_CONTAINER_FILES = (".dockerenv", "run/.containerenv")
_CONTAINER_WORDS = ("docker", "kubepods", "containerd", "libpod", "lxc")
_SERVE_ON_NETWORK = "'Serve on Local Network'"
_START = "the Developer page, or `lms server start`"


class Surroundings(msgspec.Struct, frozen=True):
    """What this program runs in."""

    is_container: bool = False
    is_wsl: bool = False


def look_around(root: Path | None = None) -> Surroundings:
    """What this program runs in; *root* instead of the root of the file system."""
    root = root or Path("/")

    def text(path: str) -> str:
        try:
            return (root / path).read_text(encoding="utf-8", errors="replace").lower()
        except OSError:
            return ""

    has_file = any((root / path).exists() for path in _CONTAINER_FILES)
    is_container = has_file or any(word in text("proc/1/cgroup") for word in _CONTAINER_WORDS)
    return Surroundings(is_container, not is_container and "microsoft" in text("proc/version"))


def remedy(phase: ConnectionPhase, address: ServerAddress, cause: BaseException | None, around: Surroundings) -> str:
    """Sentences that say what to do when *phase* of connecting to *address* failed because of *cause*."""
    if phase == "proxy":
        return "It is the proxy given by proxy=; nothing is connected to directly then."
    if phase == "dns":
        return _unknown_name(address)
    if phase == "tls":
        return _tls(cause)
    return _unreachable(address, around)


def not_found_remedy(around: Surroundings) -> str:
    """The same for a server on this machine that was not found."""
    hint = _surroundings_hint("this machine", around)
    other = "If it is on another machine or port, pass its address, e.g. Client('192.168.0.10:1234')."
    return f"Is LM Studio running? {hint or other} Without LM Studio: python -m lmstudio serve."


def _unreachable(address: ServerAddress, around: Surroundings) -> str:
    kind = _kind(address.host)
    if kind == "loopback":
        hint = _surroundings_hint(address.host, around)
        return f"Is it running there, with its server started ({_START})?{hint and ' '}{hint}"
    if kind == "container host":
        return (
            f"Is it running on the machine around this container, with its server started and {_SERVE_ON_NETWORK} on?"
        )
    if kind == "near":
        return (
            f"Is it running on that machine, with its server started and {_SERVE_ON_NETWORK} on, and does its firewall "
            f"let port {address.port} through?"
        )
    return f"Is it running there, with its server started, and is port {address.port} open?"


def _surroundings_hint(host: str, around: Surroundings) -> str:
    if around.is_container:
        return (
            f"This program runs in a container, which is all that {host} means there. LM Studio on the machine around "
            f"it is at {DOCKER_HOST}:1234, with {_SERVE_ON_NETWORK} on (Docker on Linux needs "
            f"--add-host={DOCKER_HOST}:host-gateway)."
        )
    if around.is_wsl:
        return (
            f"This program runs in WSL, where {host} is the Linux side. LM Studio on Windows is at the address that "
            f"`ip route show default` names, with {_SERVE_ON_NETWORK} on; with networkingMode=mirrored in .wslconfig "
            "it is at localhost."
        )
    return ""


def _unknown_name(address: ServerAddress) -> str:
    if address.host in _CONTAINER_HOSTS:
        return (
            f"Containers know this name: Docker on Linux needs --add-host={DOCKER_HOST}:host-gateway. Outside of "
            "containers, use localhost."
        )
    return "Is the host name spelt right, and does this machine's DNS know it?"


def _tls(cause: BaseException | None) -> str:
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return "Does the server speak TLS at this port? Without it, write http:// or ws://."
    message = cause.verify_message.lower()
    if "expired" in message or "not yet valid" in message:
        return "The server needs a new certificate, or a clock is wrong."
    if "mismatch" in message:
        return "Use a name for which the certificate was made."
    return (
        "If it is a certificate of your own, pass "
        "ssl_context=ssl.create_default_context(cafile=...) with the file of its authority; LM_STUDIO_VERIFY_TLS=false "
        "accepts any certificate."
    )


def _kind(host: str) -> str:
    if host in _CONTAINER_HOSTS:
        return "container host"
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        # A name without a dot, or in one of the domains of local networks.
        is_near = "." not in host or host.endswith((".local", ".lan", ".home", ".internal", ".home.arpa"))
        return "near" if is_near else "far"
    if ip.is_loopback:
        return "loopback"
    return "near" if ip.is_private or ip.is_link_local else "far"
