"""Which path of which HTTP surface is answered by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.routing import BaseRoute, Route

from lmstudio._http_models import rest_v1
from lmstudio._http_models.anthropic import CountTokensRequest, MessagesRequest
from lmstudio._http_models.openai import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from lmstudio._http_models.openai_responses import ResponseRequest
from lmstudio.server.http.anthropic import count_tokens, messages
from lmstudio.server.http.chat_completions import chat_completions, v0_chat_completions
from lmstudio.server.http.completions import completions, v0_completions
from lmstudio.server.http.embeddings import embeddings
from lmstudio.server.http.errors import surface_of
from lmstudio.server.http.exchange import Endpoint, Handler
from lmstudio.server.http.health import health
from lmstudio.server.http.local_backend import LocalBackend
from lmstudio.server.http.model_lists import list_models, list_v0_models, retrieve_model, retrieve_v0_model
from lmstudio.server.http.openai_replies import DONE
from lmstudio.server.http.page import page_routes
from lmstudio.server.http.responses import create_response
from lmstudio.server.http.rest_v1_chat import v1_chat
from lmstudio.server.http.rest_v1_downloads import download_model, download_status, list_downloads
from lmstudio.server.http.rest_v1_models import list_v1_models, load_model, unload_model
from lmstudio.server.http.stored_responses import delete_response, list_input_items, retrieve_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lmstudio.server.core import ServerCore
    from lmstudio.server.http.backend import Backend
    from lmstudio.server.http.errors import Surface
    from lmstudio.server.http.settings import HttpSettings

__all__ = ["INFERENCE_PATHS", "PATHS", "HttpPath", "http_routes", "path_routes"]


class HttpPath(NamedTuple):
    """One path, and what answers it."""

    method: str
    path: str
    handler: Handler[Any]
    body_type: type[Any] | None = None
    end_of_failed_stream: bytes = b""


INFERENCE_PATHS: Final = (
    # OpenAI
    HttpPath("GET", "/v1/models", list_models),
    HttpPath("GET", "/v1/models/{model:path}", retrieve_model),
    HttpPath("POST", "/v1/chat/completions", chat_completions, ChatCompletionRequest, DONE),
    HttpPath("POST", "/v1/completions", completions, CompletionRequest, DONE),
    HttpPath("POST", "/v1/embeddings", embeddings, EmbeddingRequest),
    # Anthropic
    HttpPath("POST", "/v1/messages", messages, MessagesRequest),
    HttpPath("POST", "/v1/messages/count_tokens", count_tokens, CountTokensRequest),
)
"""What any backend can answer."""
PATHS: Final = (
    HttpPath("GET", "/health", health),
    *INFERENCE_PATHS,
    # OpenAI, with a memory
    HttpPath("POST", "/v1/responses", create_response, ResponseRequest),
    HttpPath("GET", "/v1/responses/{response_id}", retrieve_response),
    HttpPath("DELETE", "/v1/responses/{response_id}", delete_response),
    HttpPath("GET", "/v1/responses/{response_id}/input_items", list_input_items),
    # LM Studio, v0
    HttpPath("GET", "/api/v0/models", list_v0_models),
    HttpPath("GET", "/api/v0/models/{model:path}", retrieve_v0_model),
    HttpPath("POST", "/api/v0/chat/completions", v0_chat_completions, ChatCompletionRequest, DONE),
    HttpPath("POST", "/api/v0/completions", v0_completions, CompletionRequest, DONE),
    HttpPath("POST", "/api/v0/embeddings", embeddings, EmbeddingRequest),
    # LM Studio, v1
    HttpPath("GET", "/api/v1/models", list_v1_models),
    HttpPath("POST", "/api/v1/models/load", load_model, rest_v1.LoadRequest),
    HttpPath("POST", "/api/v1/models/unload", unload_model, rest_v1.UnloadRequest),
    HttpPath("POST", "/api/v1/models/download", download_model, rest_v1.DownloadRequest),
    HttpPath("GET", "/api/v1/models/download/status", list_downloads),
    HttpPath("GET", "/api/v1/models/download/status/{job_id}", download_status),
    HttpPath("POST", "/api/v1/chat", v1_chat, rest_v1.ChatRequest),
)


def path_routes(
    paths: Iterable[HttpPath], backend: Backend, settings: HttpSettings, surface: Callable[[str], Surface] = surface_of
) -> list[BaseRoute]:
    """*paths*, answered by *backend*; *surface* says how errors at a path are told."""
    return [
        Route(
            path.path,
            Endpoint(path.handler, path.body_type, surface(path.path), backend, settings, path.end_of_failed_stream),
            methods=[path.method],
        )
        for path in paths
    ]


def http_routes(core: ServerCore, settings: HttpSettings) -> list[BaseRoute]:
    """All paths of the HTTP surfaces, served by *core*."""
    routes: list[BaseRoute] = page_routes() if settings.page else []
    return routes + path_routes(PATHS, LocalBackend(core), settings)
