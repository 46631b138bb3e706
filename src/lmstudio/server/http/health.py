"""GET /health: what monitors ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._version import __version__

if TYPE_CHECKING:
    from lmstudio.server.http.exchange import Exchange

__all__ = ["health"]


async def health(exchange: Exchange, _: None) -> None:
    """That the server works, for monitors."""
    core = exchange.core
    loaded = len(core.instances.loaded("llm")) + len(core.instances.loaded("embedding"))
    uptime = core.clock.time() - core.started_at
    await exchange.reply(
        {
            "status": "ok",
            "lmstudio_version": __version__,
            "api_version": "v1",
            "models_loaded": loaded,
            "uptime_ms": round(uptime * 1000),
        }
    )
