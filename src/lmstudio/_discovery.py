"""Find out whether a server listens at an address, and find the local one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import anyio

from ._address import API_SERVER_PORTS, ServerAddress
from .errors import LMStudioWebsocketError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import httpx

PROBE_SECONDS = 1.0
"""A local server answers within milliseconds; what takes longer is not one."""

INFO_PATH_VARIABLE = "LMS_API_SERVER_INFO_PATH"
"""Environment variable with the path of the discovery file. As for LM Studio's command line, only that file counts."""


async def is_lm_studio(http: httpx.AsyncClient, address: ServerAddress) -> bool:
    """Whether an LM Studio compatible server answers the greeting at *address*, within a second."""
    import httpx

    with anyio.move_on_after(PROBE_SECONDS):  # the time-outs of httpx are for each part of an answer
        try:
            response = await http.get(address.http_url("lmstudio-greeting"), timeout=PROBE_SECONDS)
            greeting = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return False
        return isinstance(greeting, dict) and bool(greeting.get("lmstudio"))
    return False


async def first_server(http: httpx.AsyncClient, candidates: Sequence[ServerAddress]) -> ServerAddress | None:
    """The first of *candidates* at which LM Studio answers, None if it answers at none of them, within a second.

    All are asked at once.
    """
    answers: dict[ServerAddress, bool] = {}

    async def probe(candidate: ServerAddress) -> None:
        answers[candidate] = await is_lm_studio(http, candidate)
        # The first in order that answers, once all before it are known not to: no need to wait for the others.
        for earlier in candidates:
            if earlier not in answers:
                return
            if answers[earlier]:
                tasks.cancel_scope.cancel()
                return

    async with anyio.create_task_group() as tasks:
        for candidate in candidates:
            tasks.start_soon(probe, candidate)
    return next((candidate for candidate in candidates if answers.get(candidate)), None)


async def find_local_server(http: httpx.AsyncClient) -> ServerAddress | None:
    """The LM Studio on this machine, None if there is none. Takes a second at most.

    If several answer, the one that LM Studio's discovery file names counts, then the first one in LM Studio's order.
    """
    return await first_server(http, [ServerAddress("127.0.0.1", port) for port in _candidate_ports()])


def no_local_server_error() -> LMStudioWebsocketError:
    """What to raise when `find_local_server` has found none."""
    from ._remedies import look_around, not_found_remedy

    path = _given_info_path()
    if path is not None:
        port = _port_in(path)
        what = f"names port {port}, where no LM Studio answers" if port else "cannot be read, or names no port"
        return LMStudioWebsocketError(
            f"LM Studio is not reachable: {path} {what}. The environment variable {INFO_PATH_VARIABLE} says that only "
            "this file counts. Start LM Studio, or unset the variable to have the other ports tried.",
            phase="greeting",
        )
    ports = ", ".join(map(str, _candidate_ports()))
    return LMStudioWebsocketError(
        f"LM Studio is not reachable: no server answered on any of its local ports (127.0.0.1, ports {ports}). "
        f"{not_found_remedy(look_around())}",
        phase="greeting",
    )


def _candidate_ports() -> list[int]:
    """Local ports to ask, the best first. The file is only a hint: it stays when LM Studio ends."""
    path = _given_info_path()
    if path is not None:
        port = _port_in(path)
        return [] if port is None else [port]
    home = lm_studio_home()
    hint = None if home is None else _port_in(home / ".internal" / "http-server.json")
    return list(dict.fromkeys(API_SERVER_PORTS if hint is None else (hint, *API_SERVER_PORTS)))


def _given_info_path() -> Path | None:
    from pathlib import Path

    text = os.environ.get(INFO_PATH_VARIABLE, "").strip()
    return Path(text) if text else None


def user_home() -> Path:
    """The home of the user. Raises RuntimeError where there is none."""
    from pathlib import Path

    return Path.home().resolve()


def lm_studio_home() -> Path | None:
    """LM Studio's folder by the rule of its command line, which also writes the pointer file; we do not."""
    try:
        home = user_home()
    except (RuntimeError, OSError):
        return None
    try:
        pointed = (home / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        pointed = ""
    if pointed:
        return home / pointed
    older = home / ".cache" / "lm-studio"
    return older if os.path.isdir(older) else home / ".lmstudio"


def _port_in(path: Path) -> int | None:
    try:
        port = json.loads(path.read_text(encoding="utf-8"))["port"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return port if isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= 65535 else None
