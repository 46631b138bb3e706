"""GET /v1/models and /api/v0/models: what can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeVar

from lmstudio._http_models.openai import Model, ModelList
from lmstudio._http_models.rest_v0 import V0Model, V0ModelList
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio.server.core import ServerCore
    from lmstudio.server.engine.base import ModelFile
    from lmstudio.server.http.backend import Backend
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.instances import Instance

__all__ = ["Listed", "list_models", "list_v0_models", "listed_models", "retrieve_model", "retrieve_v0_model"]

_OWNER: Final = "organization_owner"
"""LM Studio says so of all models."""
_SAMPLE_SIZE: Final = 10

ModelT = TypeVar("ModelT", Model, V0Model)


class Listed(NamedTuple):
    """A model of the lists: loaded, or to be loaded when it is used."""

    name: str
    file: ModelFile
    instance: Instance | None


def listed_models(core: ServerCore) -> list[Listed]:
    """The loaded instances, and with JIT loading all other models."""
    loaded = [*core.instances.loaded("llm"), *core.instances.loaded("embedding")]
    models = [Listed(instance.identifier, instance.file, instance) for instance in loaded]
    if core.instances.is_jit_enabled:
        keys = {instance.file.listed_key for instance in loaded}
        models += [Listed(file.listed_key, file, None) for file in core.catalog.listed if file.listed_key not in keys]
    return models


async def list_models(exchange: Exchange, _: None) -> None:
    """The list as OpenAI has it."""
    await exchange.reply(ModelList(object="list", data=await _openai_models(exchange.backend)))


async def retrieve_model(exchange: Exchange, _: None) -> None:
    """One model of the list."""
    await exchange.reply(_named(await _openai_models(exchange.backend), exchange.path_parameters["model"]))


async def list_v0_models(exchange: Exchange, _: None) -> None:
    """The list as LM Studio's API v0 has it."""
    await exchange.reply(V0ModelList(object="list", data=_v0_models(exchange.core)))


async def retrieve_v0_model(exchange: Exchange, _: None) -> None:
    """One model of the list."""
    await exchange.reply(_named(_v0_models(exchange.core), exchange.path_parameters["model"]))


def _named(models: Sequence[ModelT], name: str) -> ModelT:
    for model in models:
        if model.id == name:
            return model
    sample = ", ".join(model.id for model in models[:_SAMPLE_SIZE]) or "none"
    message = f"There is no model {name[:100]!r} here; there are: {sample}."
    raise HttpError("not_found", message, param="model", code="model_not_found")


async def _openai_models(backend: Backend) -> list[Model]:
    created = int(backend.started_at)
    names = await backend.model_names()
    return [Model(id=name, object="model", owned_by=_OWNER, created=created) for name in names]


def _v0_models(core: ServerCore) -> list[V0Model]:
    return [_v0_model(*item) for item in listed_models(core)]


def _v0_model(name: str, file: ModelFile, instance: Instance | None) -> V0Model:
    kind: Literal["llm", "vlm", "embeddings"] = "embeddings"
    if file.kind == "llm":
        kind = "vlm" if file.vision else "llm"
    return V0Model(
        id=name,
        object="model",
        type=kind,
        publisher=file.publisher,
        arch=file.architecture or "unknown",
        compatibility_type="gguf",
        quantization=file.quantization[0] if file.quantization else "unknown",
        state="not-loaded" if instance is None else "loaded",
        max_context_length=file.max_context_length,
        loaded_context_length=None if instance is None else instance.context_length,
        capabilities=["tool_use"] if file.trained_for_tool_use else None,
    )
