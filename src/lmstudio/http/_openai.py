"""The operations of OpenAI's surface. Nothing here waits but through a caller."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lmstudio._http_models.openai import (
    ChatCompletionResponse,
    CompletionRequest,
    CompletionResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    Model,
    ModelList,
)
from lmstudio._http_models.rest_v0 import V0ModelList
from lmstudio._near import near_matches
from lmstudio.errors import (
    ErrorType,
    LMStudioModelNotFoundError,
    LMStudioProtocolError,
    LMStudioServerError,
    LMStudioValueError,
)

from ._caller import HttpEndpoint
from ._openai_requests import ChatCompletionRequest, request_body, split_params

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lmstudio._http_models import JsonObject
    from lmstudio._http_models.model_lists import ListModelsFilter, ModelsListResponse
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.settings import Settings

    from ._caller import Caller, ReplyT
    from ._streams import EventT, OpenStream, ResultT, StreamReader

_MODELS: Final = HttpEndpoint("GET", "v1/models", ModelList, "list the models", is_read=True)
_MODEL: Final = HttpEndpoint("GET", "v1/models/{model}", Model, "get a model", is_read=True)
_V0_MODELS: Final = HttpEndpoint("GET", "api/v0/models", V0ModelList, "list the models", is_read=True)
CHAT: Final = HttpEndpoint("POST", "v1/chat/completions", ChatCompletionResponse, "complete a chat")
TEXT: Final = HttpEndpoint("POST", "v1/completions", CompletionResponse, "complete a text")
EMBEDDINGS: Final = HttpEndpoint("POST", "v1/embeddings", EmbeddingResponse, "embed a text")

RequestT = TypeVar("RequestT", ChatCompletionRequest, CompletionRequest, EmbeddingRequest)

_SAMPLE_SIZE: Final = 10


# Models --------------------------------------------------------------------------------------------------------------


async def list_models(caller: Caller, wanted: ListModelsFilter, timeout: TimeoutInput = None) -> ModelsListResponse:
    """The models of OpenAI's list that are *wanted*.

    That list says nothing about what is loaded, and the same owner of all models; LM Studio's API v0 knows both. A
    server without it, such as a gateway, is taken to list what can be used at once.
    """
    models = (await caller.call(_MODELS, timeout=timeout)).data
    if not wanted.needs_details:
        return wanted.select(models, loaded=())
    details = await list_details(caller, timeout)
    if details is None:
        return wanted.select(models, loaded={model.id for model in models})
    loaded = {model.id for model in details.data if model.state == "loaded"}
    return wanted.select(models, loaded=loaded, publishers={model.id: model.publisher for model in details.data})


async def list_details(caller: Caller, timeout: TimeoutInput = None) -> V0ModelList | None:
    """The list of LM Studio's API v0; None where there is none."""
    try:
        return await caller.call(_V0_MODELS, timeout=timeout)
    except LMStudioServerError as error:
        if is_no_such_path(error):
            return None
        raise


def is_no_such_path(error: LMStudioServerError) -> bool:
    """Whether the server does not have what was asked for. LM Studio says so with status 200."""
    if isinstance(error, LMStudioProtocolError):
        return True
    status = error.status_code or 0
    return status in (404, 405, 501) or (status < 300 and error.error_type is not ErrorType.AUTHENTICATION_ERROR)


async def retrieve_model(caller: Caller, model: str, timeout: TimeoutInput = None) -> Model:
    """One model of the list, also of a server that only has the list."""
    if not isinstance(model, str) or not model:
        raise LMStudioValueError(f"Could not get a model: its id must be a text, got {model!r:.80}.")
    try:
        return await caller.call(_MODEL, path={"model": model}, timeout=timeout)
    except LMStudioModelNotFoundError:
        raise
    except LMStudioServerError as error:
        if not is_no_such_path(error):
            raise
    models = (await caller.call(_MODELS, timeout=timeout)).data
    for listed in models:
        if listed.id == model:
            return listed
    names = [listed.id for listed in models]
    near = near_matches(model, names)
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are: {', '.join(names[:_SAMPLE_SIZE])}."
    raise LMStudioModelNotFoundError(
        f"Could not get a model: there is no {model!r} in the server's list. {hint}"
    ).with_context(model=model, endpoint=_MODEL.path, address=caller.address.api_host)


# Chats and texts -----------------------------------------------------------------------------------------------------


async def complete(
    caller: Caller,
    settings: Settings,
    endpoint: HttpEndpoint[ReplyT],
    request: ChatCompletionRequest | CompletionRequest,
    timeout: TimeoutInput = None,
    extra_body: Mapping[str, Any] | None = None,
) -> ReplyT:
    """The answer to a chat, or how a text goes on: what *endpoint* is for."""
    body = request_body(settings, request, endpoint.attempted, extra_body)
    return await caller.call(endpoint, body, timeout=timeout)


def stream(
    caller: Caller,
    settings: Settings,
    endpoint: HttpEndpoint[ResultT],
    reader: Callable[..., StreamReader[EventT, ResultT]],
    request: ChatCompletionRequest | CompletionRequest,
    timeout: TimeoutInput = None,
    extra_body: Mapping[str, Any] | None = None,
) -> OpenStream[EventT, ResultT]:
    """The same piece by piece, put together by a *reader*; not begun yet."""
    body = request_body(settings, request, endpoint.attempted, extra_body, stream=True)
    return caller.stream(endpoint, body, reader(shows_usage=_with_usage(body)), timeout=timeout)


def text_request(
    prompt: str | Sequence[str], model: str | None, params: Mapping[str, Any]
) -> tuple[CompletionRequest, dict[str, Any]]:
    """The request of a call with keywords, and what else it is to say.

    Raises:
        LMStudioValueError: a keyword looks like a typing error.
    """
    known, others = split_params(CompletionRequest, params)
    return CompletionRequest(model=model, prompt=_texts(prompt, TEXT), **known), others


def _texts(given: str | Iterable[str], endpoint: HttpEndpoint[Any]) -> str | list[str]:
    if isinstance(given, str):
        return given
    if isinstance(given, Iterable) and not isinstance(given, Mapping):
        return list(given)
    raise LMStudioValueError(f"Could not {endpoint.attempted}: it takes a text, or a list of them, got {given!r:.80}.")


def _with_usage(body: JsonObject) -> bool:
    """Ask for the number of tokens, which belongs to the result; whether the caller has asked for it himself."""
    options = body.get("stream_options")
    if options is None:
        body["stream_options"] = {"include_usage": True}
        return False
    return bool(options.get("include_usage"))


def read_chat_request(request: ChatCompletionRequest | Mapping[str, Any]) -> ChatCompletionRequest:
    """What a caller gave as a request.

    Raises:
        LMStudioValueError: it is none.
    """
    return _read(request, ChatCompletionRequest, CHAT)


def read_text_request(request: CompletionRequest | Mapping[str, Any]) -> CompletionRequest:
    """As `read_chat_request`."""
    return _read(request, CompletionRequest, TEXT)


def read_embedding_request(request: EmbeddingRequest | Mapping[str, Any]) -> EmbeddingRequest:
    """As `read_chat_request`."""
    return _read(request, EmbeddingRequest, EMBEDDINGS)


def _read(request: RequestT | Mapping[str, Any], request_type: type[RequestT], endpoint: HttpEndpoint[Any]) -> RequestT:
    if isinstance(request, request_type):
        return request
    if isinstance(request, Mapping):
        read = request_type.from_dict(request)
        split_params(request_type, read.extra)  # for typing errors
        return read
    raise LMStudioValueError(
        f"Could not {endpoint.attempted}: the request must be a {request_type.__name__} or a dict, "
        f"got {type(request).__name__}."
    )


# Embeddings ----------------------------------------------------------------------------------------------------------


def embedding_request(
    texts: str | Iterable[str], model: str | None, dimensions: int | None, ttl: float | None
) -> EmbeddingRequest:
    """The request of a call with keywords.

    Raises:
        LMStudioValueError: *texts* is not what it should be.
    """
    return EmbeddingRequest(model=model, input=_texts(texts, EMBEDDINGS), dimensions=dimensions, ttl=ttl)


async def create_embeddings(
    caller: Caller,
    settings: Settings,
    request: EmbeddingRequest,
    timeout: TimeoutInput = None,
    extra_body: Mapping[str, Any] | None = None,
    endpoint: HttpEndpoint[EmbeddingResponse] = EMBEDDINGS,
) -> EmbeddingResponse:
    """The embeddings of the texts of *request*, as numbers unless it asks for base64."""
    body = request_body(settings, request, endpoint.attempted, extra_body)
    reply = await caller.call(endpoint, body, timeout=timeout)
    if body.get("encoding_format") != "base64":
        for item in reply.data:
            item.embedding = _numbers(item.embedding)
    return reply


async def embed(
    caller: Caller,
    settings: Settings,
    request: EmbeddingRequest,
    timeout: TimeoutInput = None,
    extra_body: Mapping[str, Any] | None = None,
) -> list[list[float]]:
    """One vector for each text of *request*, in their order."""
    reply = await create_embeddings(caller, settings, request, timeout, extra_body)
    return vectors_of(reply, 1 if isinstance(request.input, str) else len(request.input))


def vectors_of(reply: EmbeddingResponse, count: int) -> list[list[float]]:
    """The vectors of *reply* to a request with *count* texts, in the order of these."""
    if len(reply.data) != count:
        raise LMStudioProtocolError(f"Could not embed: the server sent {len(reply.data)} embeddings for {count} texts.")
    return [_numbers(item.embedding) for item in sorted(reply.data, key=lambda item: item.index)]


def _numbers(embedding: list[float] | str) -> list[float]:
    if not isinstance(embedding, str):
        return embedding
    try:
        data = base64.b64decode(embedding, validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    except (binascii.Error, struct.error) as error:
        raise LMStudioProtocolError(
            f"Could not read an embedding: it is not 32 bit floats in base64: {error}."
        ) from error
