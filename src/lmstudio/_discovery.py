"""Find out whether a server listens at an address, and find the local one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from ._address import API_SERVER_PORTS, ServerAddress

if TYPE_CHECKING:
    import httpx

PROBE_SECONDS = 1.0
"""A local server answers within milliseconds; what takes longer is not one."""


async def is_lm_studio(http: httpx.AsyncClient, address: ServerAddress, timeout: float = PROBE_SECONDS) -> bool:
    """Whether an LM Studio compatible server answers the greeting at *address*."""
    import httpx

    try:
        response = await http.get(address.http_url("lmstudio-greeting"), timeout=timeout)
        greeting = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return isinstance(greeting, dict) and bool(greeting.get("lmstudio"))


async def find_local_server(http: httpx.AsyncClient) -> ServerAddress | None:
    """The LM Studio on this machine, None if there is none. Takes a second at most.

    All known ports are asked at once; if several answer, the first one in LM Studio's order counts.
    """
    candidates = [ServerAddress("127.0.0.1", port) for port in API_SERVER_PORTS]
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
