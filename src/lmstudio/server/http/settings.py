"""Settings of the HTTP surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HttpSettings"]


@dataclass(frozen=True)
class HttpSettings:
    """What the HTTP surfaces allow, and which of LM Studio's ways they take."""

    cors: bool = False
    """Web pages of any origin may use the server and read its answers ("Enable CORS")."""
    max_body_bytes: int = 256 * 1024 * 1024
    """Larger bodies are refused. Images travel as base64, 4/3 of their size."""
    max_queued_requests: int = 256
    """With so many requests over HTTP at one model, waiting for its load or running, more are refused with 429."""
    separate_reasoning: bool = True
    """Reasoning travels beside the content of a message; else within it, between the model's own tags."""
    allow_ephemeral_mcp: bool = False
    """Chats of the API v1 and responses may bring MCP servers, which are then used ("Allow per-request MCPs")."""
    allow_plugins: bool = False
    """A chat of the API v1 may use plugins ("Allow calling servers from mcp.json"): their tools, and other hooks."""
    mcp_json: Path | None = None
    """Chats of the API v1 may use the MCP servers of this file, LM Studio's `mcp.json`, as `mcp/NAME`."""
    usage_in_last_chunk: bool = False
    """The last chunk of a stream says how many tokens it took, where the request does not say whether it wants that."""
    page: bool = True
    """The page at `/` is there."""
    metrics: bool = False
    """Numbers for Prometheus are at `/metrics`, for those who hold an API token if there are any. Needs the extra
    `metrics`."""
    traces: bool = False
    """Requests are spans of OpenTelemetry, which go where the variables OTEL_* say. Needs the extra `otel`."""
    accept_unknown_paths: bool = False
    """Paths that are not known are answered with 200 and an error, as LM Studio does."""
