"""Module-level functions for a quick start: `import lmstudio as lms; lms.llm().respond("Hi")`.

They share one default client. It is made on first use and, like any client, finds the server again after a loss. A
program that serves many users, or several servers, is better off with its own `Client` or `AsyncClient`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from ._auth import NO_SECRET, Secret
from ._surface.sync_sessions import DEFAULT_TTL_SECONDS
from ._sync_io import get_sync_api_timeout, set_sync_api_timeout
from .errors import LMStudioClientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._abort import AbortSignal
    from ._local_files import LocalFileInput
    from ._sdk_models import FileHandle
    from ._surface.sync_sessions import EmbeddingLoadConfigInput, LlmLoadConfigInput
    from ._timeouts import TimeoutInput
    from .settings import Settings
    from .sync_api import LLM, AnyDownloadedModel, Client, EmbeddingModel

__all__ = [
    "close_default_client",
    "configure_default_client",
    "embedding_model",
    "get_default_client",
    "get_sync_api_timeout",
    "list_downloaded_models",
    "list_loaded_models",
    "llm",
    "prepare_file",
    "prepare_image",
    "set_sync_api_timeout",
]

_lock = threading.Lock()
_client: Client | None = None
_api_host: str | None = None
_api_token = NO_SECRET
_settings: Settings | None = None


def _reset_after_fork() -> None:
    """In a forked child: the thread that held the lock, if any, exists in the parent only."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def configure_default_client(
    api_host: str | None = None, api_token: str | None = None, *, settings: Settings | None = None
) -> None:
    """Choose the server and the token of the default client, before its first use.

    Args:
        api_host: As for `Client`.
        api_token: As for `Client`.
        settings: As for `Client`.

    Raises:
        LMStudioClientError: the default client is in use already; `close_default_client()` first.
    """
    token = Secret(api_token)
    del api_token  # a traceback may show the variables of this function
    _configure(api_host, token, settings)


def _configure(api_host: str | None, api_token: Secret, settings: Settings | None) -> None:
    global _api_host, _api_token, _settings
    with _lock:
        if _client is not None:
            raise LMStudioClientError(
                "The default client is in use already. Configure it before its first use, or call "
                "close_default_client() before."
            )
        _api_host, _api_token, _settings = api_host, api_token, settings


def get_default_client(api_host: str | None = None) -> Client:
    """The client that the functions of this module share.

    Args:
        api_host: As in `configure_default_client`, with the same restriction.
    """
    global _client
    # That module has the names of this one, too.
    from .sync_api import Client

    if api_host is not None:
        _configure(api_host, _api_token, _settings)
    with _lock:
        if _client is None:
            _client = Client(_api_host, _api_token.value, settings=_settings)
        return _client


def close_default_client() -> None:
    """Close the default client. The next use makes a new one, which may be configured before."""
    global _client, _api_host, _api_token, _settings
    with _lock:
        client, _client = _client, None
        _api_host, _api_token, _settings = None, NO_SECRET, None
    if client is not None:
        client.close()


@contextlib.contextmanager
def default_client_set_aside() -> Iterator[None]:
    """Without the default client that there is: it comes back, with its settings, and one made meanwhile is closed."""
    global _client, _api_host, _api_token, _settings
    with _lock:
        kept = _client, _api_host, _api_token, _settings
        _client, _api_host, _api_token, _settings = None, None, NO_SECRET, None
    try:
        yield
    finally:
        close_default_client()
        with _lock:
            _client, _api_host, _api_token, _settings = kept


def llm(
    model_key: str | None = None,
    /,
    *,
    ttl: float | None = DEFAULT_TTL_SECONDS,
    config: LlmLoadConfigInput | None = None,
    timeout: TimeoutInput = None,
    signal: AbortSignal | None = None,
) -> LLM:
    """A language model of the default client, loaded if necessary; see `client.llm.model()`.

    Without a key, the one that `Settings.default_model` (LM_STUDIO_DEFAULT_MODEL) names; else, any that is loaded.
    """
    return get_default_client().llm.model(model_key, ttl=ttl, config=config, timeout=timeout, signal=signal)


def embedding_model(
    model_key: str | None = None,
    /,
    *,
    ttl: float | None = DEFAULT_TTL_SECONDS,
    config: EmbeddingLoadConfigInput | None = None,
    timeout: TimeoutInput = None,
    signal: AbortSignal | None = None,
) -> EmbeddingModel:
    """An embedding model of the default client, loaded if necessary; see `client.embedding.model()`."""
    client = get_default_client()
    return client.embedding.model(model_key, ttl=ttl, config=config, timeout=timeout, signal=signal)


def list_downloaded_models(
    namespace: str | None = None, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
) -> list[AnyDownloadedModel]:
    """The models on the server's disk; *namespace* "llm" or "embedding" for one kind only."""
    return get_default_client().list_downloaded_models(namespace, timeout=timeout, signal=signal)


def list_loaded_models(
    namespace: str | None = None, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
) -> list[LLM | EmbeddingModel]:
    """Handles for the loaded models; *namespace* "llm" or "embedding" for one kind only."""
    return get_default_client().list_loaded_models(namespace, timeout=timeout, signal=signal)


def prepare_image(
    src: LocalFileInput, name: str | None = None, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
) -> FileHandle:
    """Give the server of the default client an image; see `client.files.prepare_image()`."""
    return get_default_client().files.prepare_image(src, name, timeout=timeout, signal=signal)


def prepare_file(
    src: LocalFileInput, name: str | None = None, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
) -> FileHandle:
    """Give the server of the default client a file of any type; see `client.files.prepare_file()`."""
    return get_default_client().files.prepare_file(src, name, timeout=timeout, signal=signal)
