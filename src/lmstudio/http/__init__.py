"""LM Studio over HTTP: the clients for those who have only the HTTP port, or another server with OpenAI's API.

    from lmstudio.http import HttpClient

    with HttpClient() as client:
        reply = client.chat_completion("Why is the sky blue?", max_tokens=200)
        print(reply.choices[0].message.content)

`AsyncHttpClient` has the same methods. Errors, time limits, retries and settings are those of the whole package.
`LMStudioClient`, `list_models` and `complete` are for programs that were written for another client of these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._lazy import lazy_names

if TYPE_CHECKING:
    from lmstudio._http_models import HttpReply as HttpReply
    from lmstudio._http_models import HttpStruct as HttpStruct
    from lmstudio._http_models.model_lists import HealthStatus as HealthStatus
    from lmstudio._http_models.model_lists import ListModelsFilter as ListModelsFilter
    from lmstudio._http_models.model_lists import ModelsListResponse as ModelsListResponse
    from lmstudio._http_models.openai import ChatCompletionChoice as ChatCompletionChoice
    from lmstudio._http_models.openai import ChatCompletionChunk as ChatCompletionChunk
    from lmstudio._http_models.openai import ChatCompletionChunkChoice as ChatCompletionChunkChoice
    from lmstudio._http_models.openai import ChatCompletionDelta as ChatCompletionDelta
    from lmstudio._http_models.openai import ChatCompletionMessage as ChatCompletionMessage
    from lmstudio._http_models.openai import ChatCompletionParams as ChatCompletionParams
    from lmstudio._http_models.openai import ChatCompletionResponse as ChatCompletionResponse
    from lmstudio._http_models.openai import CompletionChoice as CompletionChoice
    from lmstudio._http_models.openai import CompletionParams as CompletionParams
    from lmstudio._http_models.openai import CompletionRequest as CompletionRequest
    from lmstudio._http_models.openai import CompletionResponse as CompletionResponse
    from lmstudio._http_models.openai import CompletionUsage as CompletionUsage
    from lmstudio._http_models.openai import Embedding as Embedding
    from lmstudio._http_models.openai import EmbeddingRequest as EmbeddingRequest
    from lmstudio._http_models.openai import EmbeddingResponse as EmbeddingResponse
    from lmstudio._http_models.openai import EmbeddingUsage as EmbeddingUsage
    from lmstudio._http_models.openai import FunctionCall as FunctionCall
    from lmstudio._http_models.openai import Model as Model
    from lmstudio._http_models.openai import StreamOptions as StreamOptions
    from lmstudio._http_models.openai import ToolCall as ToolCall
    from lmstudio._retries import RetryConfig as RetryConfig
    from lmstudio._timeouts import Timeout as Timeout
    from lmstudio.contract import AsyncSdkContract as AsyncSdkContract
    from lmstudio.contract import ChatMessage as ChatMessage
    from lmstudio.contract import ChatRole as ChatRole
    from lmstudio.contract import Chunk as Chunk
    from lmstudio.contract import Completed as Completed
    from lmstudio.contract import SdkContract as SdkContract
    from lmstudio.errors import ErrorType as ErrorType
    from lmstudio.errors import LMStudioError as LMStudioError
    from lmstudio.http._compat import LMStudioClient as LMStudioClient
    from lmstudio.http._compat import close_default_client as close_default_client
    from lmstudio.http._compat import complete as complete
    from lmstudio.http._compat import default_client as default_client
    from lmstudio.http._compat import list_models as list_models
    from lmstudio.http._openai_requests import ChatCompletionRequest as ChatCompletionRequest
    from lmstudio.http.async_base import AsyncEventStream as AsyncEventStream
    from lmstudio.http.async_client import AsyncChatCompletionStream as AsyncChatCompletionStream
    from lmstudio.http.async_client import AsyncCompletionStream as AsyncCompletionStream
    from lmstudio.http.async_client import AsyncHttpClient as AsyncHttpClient
    from lmstudio.http.sync_base import EventStream as EventStream
    from lmstudio.http.sync_client import ChatCompletionStream as ChatCompletionStream
    from lmstudio.http.sync_client import CompletionStream as CompletionStream
    from lmstudio.http.sync_client import HttpClient as HttpClient
    from lmstudio.settings import Settings as Settings

_MODULE_OF = {
    "AsyncChatCompletionStream": ".async_client",
    "AsyncCompletionStream": ".async_client",
    "AsyncEventStream": ".async_base",
    "AsyncHttpClient": ".async_client",
    "AsyncSdkContract": "lmstudio.contract",
    "ChatCompletionChoice": "lmstudio._http_models.openai",
    "ChatCompletionChunk": "lmstudio._http_models.openai",
    "ChatCompletionChunkChoice": "lmstudio._http_models.openai",
    "ChatCompletionDelta": "lmstudio._http_models.openai",
    "ChatCompletionMessage": "lmstudio._http_models.openai",
    "ChatCompletionParams": "lmstudio._http_models.openai",
    "ChatCompletionRequest": "._openai_requests",
    "ChatCompletionResponse": "lmstudio._http_models.openai",
    "ChatCompletionStream": ".sync_client",
    "ChatMessage": "lmstudio.contract",
    "ChatRole": "lmstudio.contract",
    "Chunk": "lmstudio.contract",
    "Completed": "lmstudio.contract",
    "CompletionChoice": "lmstudio._http_models.openai",
    "CompletionParams": "lmstudio._http_models.openai",
    "CompletionRequest": "lmstudio._http_models.openai",
    "CompletionResponse": "lmstudio._http_models.openai",
    "CompletionStream": ".sync_client",
    "CompletionUsage": "lmstudio._http_models.openai",
    "Embedding": "lmstudio._http_models.openai",
    "EmbeddingRequest": "lmstudio._http_models.openai",
    "EmbeddingResponse": "lmstudio._http_models.openai",
    "EmbeddingUsage": "lmstudio._http_models.openai",
    "ErrorType": "lmstudio.errors",
    "EventStream": ".sync_base",
    "FunctionCall": "lmstudio._http_models.openai",
    "HealthStatus": "lmstudio._http_models.model_lists",
    "HttpClient": ".sync_client",
    "HttpReply": "lmstudio._http_models",
    "HttpStruct": "lmstudio._http_models",
    "LMStudioClient": "._compat",
    "LMStudioError": "lmstudio.errors",
    "ListModelsFilter": "lmstudio._http_models.model_lists",
    "Model": "lmstudio._http_models.openai",
    "ModelsListResponse": "lmstudio._http_models.model_lists",
    "RetryConfig": "lmstudio._retries",
    "SdkContract": "lmstudio.contract",
    "Settings": "lmstudio.settings",
    "StreamOptions": "lmstudio._http_models.openai",
    "Timeout": "lmstudio._timeouts",
    "ToolCall": "lmstudio._http_models.openai",
    "close_default_client": "._compat",
    "complete": "._compat",
    "default_client": "._compat",
    "list_models": "._compat",
}

__all__ = [
    "AsyncChatCompletionStream",
    "AsyncCompletionStream",
    "AsyncEventStream",
    "AsyncHttpClient",
    "AsyncSdkContract",
    "ChatCompletionChoice",
    "ChatCompletionChunk",
    "ChatCompletionChunkChoice",
    "ChatCompletionDelta",
    "ChatCompletionMessage",
    "ChatCompletionParams",
    "ChatCompletionRequest",
    "ChatCompletionResponse",
    "ChatCompletionStream",
    "ChatMessage",
    "ChatRole",
    "Chunk",
    "Completed",
    "CompletionChoice",
    "CompletionParams",
    "CompletionRequest",
    "CompletionResponse",
    "CompletionStream",
    "CompletionUsage",
    "Embedding",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "EmbeddingUsage",
    "ErrorType",
    "EventStream",
    "FunctionCall",
    "HealthStatus",
    "HttpClient",
    "HttpReply",
    "HttpStruct",
    "LMStudioClient",
    "LMStudioError",
    "ListModelsFilter",
    "Model",
    "ModelsListResponse",
    "RetryConfig",
    "SdkContract",
    "Settings",
    "StreamOptions",
    "Timeout",
    "ToolCall",
    "close_default_client",
    "complete",
    "default_client",
    "list_models",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(globals(), _MODULE_OF)
