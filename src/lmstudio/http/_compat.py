"""The names of a widely copied HTTP client: `LMStudioClient`, and functions that need no client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio._retries import RetryConfig
from lmstudio._timeouts import Timeout
from lmstudio.errors import LMStudioValueError

from .sync_client import HttpClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx  # noqa: TID251 - only its types
    from typing_extensions import Unpack

    from lmstudio._http_models.model_lists import ListModelsFilter, ModelsListResponse, ModelStatus
    from lmstudio._http_models.openai import CompletionParams, CompletionResponse
    from lmstudio._timeouts import TimeoutInput

__all__ = ["LMStudioClient", "close_default_client", "complete", "default_client", "list_models"]


class LMStudioClient(HttpClient):
    """`HttpClient` with other defaults: it retries three times, and takes a number as the time without a reply.

    ::

        with LMStudioClient() as client:
            for model in client.list_models():
                print(model.id)

    Args:
        base_url: The server's address.
        api_key: A token of the server; by default as for `HttpClient`.
        timeout: Seconds without anything from the server, or a `Timeout`.
        retry_config: When to try again; by default `RetryConfig()`.
        transport: The transport of httpx to use, such as `httpx.MockTransport` in tests.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:1234/v1",
        api_key: str | None = None,
        timeout: TimeoutInput = 30.0,
        retry_config: RetryConfig | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        limits = Timeout(idle=timeout) if isinstance(timeout, (int, float)) else timeout
        retry = RetryConfig() if retry_config is None else retry_config
        super().__init__(base_url, api_key, timeout=limits, retry=retry, transport=transport)


_clients: dict[str, HttpClient] = {}


def default_client() -> HttpClient:
    """The client that the functions of this module share. It is made on first use, of what the environment says."""
    client = _clients.get("default")
    if client is None:
        # Of several threads one comes first, and the clients of the others have not opened anything.
        client = _clients.setdefault("default", HttpClient())
    return client


def close_default_client() -> None:
    """Close that client. The next use makes a new one."""
    client = _clients.pop("default", None)
    if client is not None:
        client.close()


def list_models(
    filter: ListModelsFilter | Mapping[str, Any] | None = None,
    *,
    owned_by: str | None = None,
    status: ModelStatus | None = None,
    limit: int | None = None,
    timeout: TimeoutInput = None,
) -> ModelsListResponse:
    """The models that the server offers; see `HttpClient.list_models`."""
    return default_client().list_models(filter, owned_by=owned_by, status=status, limit=limit, timeout=timeout)


def complete(
    model: str | None = None,
    prompt: str | Sequence[str] | None = None,
    *,
    timeout: TimeoutInput = None,
    extra_body: Mapping[str, Any] | None = None,
    **params: Unpack[CompletionParams],
) -> CompletionResponse:
    """How a text goes on; see `HttpClient.complete`.

    Raises:
        LMStudioValueError: there is no *prompt*.
    """
    if prompt is None:
        raise LMStudioValueError(
            "complete() needs a prompt: complete(model='qwen2.5-0.5b-instruct', prompt='Once ...')."
        )
    return default_client().complete(prompt, model=model, timeout=timeout, extra_body=extra_body, **params)
