"""The contract's view of a server: the models that can be used, and whether it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lmstudio._endpoints import embedding, llm
from lmstudio._endpoints.system import VERSION
from lmstudio._http_models.model_lists import read_filter
from lmstudio._http_models.openai import Model
from lmstudio._ops.models import list_loaded
from lmstudio._ops.system import list_downloaded_models
from lmstudio._timeouts import DEFAULT_TIMEOUT, Timeout
from lmstudio.errors import LMStudioClientError, LMStudioServerError, LMStudioTimeoutError

if TYPE_CHECKING:
    from lmstudio._http_models.model_lists import ListModelsFilter, ModelsListResponse
    from lmstudio._port import Port
    from lmstudio._sdk_models import EmbeddingModelInstanceInfo, LlmInstanceInfo

__all__ = ["is_healthy", "list_models", "read_filter"]

_OWNER = "organization_owner"
"""LM Studio says so of all models."""


async def list_models(
    system: Port, llm_port: Port, embedding_port: Port, wanted: ListModelsFilter
) -> ModelsListResponse:
    """The models that are *wanted*: the loaded instances, then what else is on the server's disk.

    The ports are those of three namespaces; limits and signal of *system* are for all calls.
    """
    llms = await list_loaded(llm_port.like(system), llm.MODELS)
    loaded: list[LlmInstanceInfo | EmbeddingModelInstanceInfo] = [*llms]
    loaded += [*await list_loaded(embedding_port.like(system), embedding.MODELS)]
    keys = {info.model_key for info in loaded}
    others = [info for info in await list_downloaded_models(system) if info.model_key not in keys]
    publishers = {info.identifier: info.path.partition("/")[0] for info in loaded}
    publishers.update((info.model_key, info.path.partition("/")[0]) for info in others)
    # When a model was made is nothing that the protocol knows.
    models = [Model(id=name, object="model", owned_by=_OWNER, created=0) for name in publishers]
    return wanted.select(models, loaded={info.identifier for info in loaded}, publishers=publishers)


async def is_healthy(system: Port) -> bool:
    """Whether the server answers. Waits no longer than for a connection."""
    connect = system.timeout.over(DEFAULT_TIMEOUT).connect
    limits = Timeout() if connect is msgspec.UNSET else Timeout(total=connect)
    try:
        await system.within(limits).call(VERSION, None, "check the server's health")
    except (LMStudioClientError, LMStudioServerError, LMStudioTimeoutError):
        return False
    return True
