"""GET /api/v1/models, POST /api/v1/models/load and unload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models import rest_v1 as wire
from lmstudio._kv_config import embedding_load_config_to_kv, llm_load_config_to_kv, override_stack
from lmstudio._near import near_matches
from lmstudio.errors import LMStudioValueError
from lmstudio.server.catalog import ModelNotFoundError
from lmstudio.server.config import LoadConfig
from lmstudio.server.http.errors import HttpError
from lmstudio.server.instance import model_info

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._sdk_models import EmbeddingModelInfo, LlmInfo
    from lmstudio.server.core import ServerCore
    from lmstudio.server.engine.base import ModelFile, ModelKind
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.instances import Instance

__all__ = ["list_v1_models", "load_config", "load_model", "unload_model"]

_REASONING: Final = wire.ReasoningCapability(allowed_options=["off", "low", "medium", "high", "on"], default="on")
_LONGEST_WANTED: Final = 200


async def list_v1_models(exchange: Exchange, _: None) -> None:
    """All models, loaded or not: those that are not can be loaded, also while JIT loading is off."""
    core = exchange.core
    instances = _instances(core)
    files = {file.listed_key: file for file in core.catalog.listed}
    for instance in instances:
        files.setdefault(instance.file.listed_key, instance.file)  # its file may be gone
    models = [
        _model(core, file, [each for each in instances if each.file.listed_key == key]) for key, file in files.items()
    ]
    await exchange.reply(wire.ModelList(models=models))


def _instances(core: ServerCore) -> list[Instance]:
    return [*core.instances.loaded("llm"), *core.instances.loaded("embedding")]


def _model(core: ServerCore, file: ModelFile, instances: Sequence[Instance]) -> wire.LlmModel | wire.EmbeddingModel:
    info: LlmInfo | EmbeddingModelInfo = model_info(file)
    quantization = info.quantization
    members: dict[str, Any] = {
        "publisher": info.publisher,
        "key": info.model_key,
        "display_name": info.display_name,
        "quantization": quantization and wire.Quantization(name=quantization.name, bits_per_weight=quantization.bits),
        "size_bytes": info.size_bytes,
        "params_string": info.params_string,
        "loaded_instances": [
            wire.LoadedInstance(id=each.identifier, config=_effective(core, each, has_parallel=True))
            for each in instances
        ],
        "max_context_length": info.max_context_length,
        "format": "gguf",
        "variants": info.variants,
        "selected_variant": info.selected_variant,
    }
    if file.kind == "embedding":
        return wire.EmbeddingModel(**members)
    capabilities = wire.Capabilities(
        vision=file.vision,
        trained_for_tool_use=file.trained_for_tool_use,
        reasoning=_REASONING if file.can_reason else None,
    )
    return wire.LlmModel(**members, architecture=info.architecture, capabilities=capabilities, description=None)


def _effective(core: ServerCore, instance: Instance, *, has_parallel: bool) -> wire.LoadConfig:
    """What *instance* runs with, also where nobody has asked for it."""
    if instance.kind == "embedding":
        return wire.LoadConfig(context_length=instance.context_length)
    options, default = instance.config.options, core.engine.default_options

    def chosen(name: str) -> Any:
        value = getattr(options, name)
        return getattr(default, name) if value is None else value

    return wire.LoadConfig(
        context_length=instance.context_length,
        eval_batch_size=chosen("eval_batch_size"),
        parallel=chosen("parallel_sessions") if has_parallel else None,
        flash_attention=chosen("flash_attention"),
        offload_kv_cache_to_gpu=chosen("offload_kv_cache"),
    )


# Loading -------------------------------------------------------------------------------------------------------------


async def load_model(exchange: Exchange, request: wire.LoadRequest) -> None:
    """Load one more instance of a model, and answer when it is there. If the client goes away, the load is given up."""
    core = exchange.core
    kind = _kind(core, request.model)
    file, _ = core.instances.resolve(kind, request.model)
    config = load_config(
        kind,
        {
            "context_length": request.context_length,
            "eval_batch_size": request.eval_batch_size,
            "flash_attention": request.flash_attention,
            "num_experts": request.num_experts,
            "offload_kv_cache_to_gpu": request.offload_kv_cache_to_gpu,
        },
    )
    started = core.clock.monotonic()
    instance = await core.instances.load(file, config).join(lambda _: None).result()
    if instance is None:
        raise HttpError("internal", f"The load of {file.model_key!r} was given up.")
    reply = wire.LoadReply(
        type=kind,
        instance_id=instance.identifier,
        load_time_seconds=core.clock.monotonic() - started,
        status="loaded",
        load_config=_effective(core, instance, has_parallel=False) if request.echo_load_config else None,
    )
    await exchange.reply(reply)


def _kind(core: ServerCore, name: str) -> ModelKind:
    try:
        return core.catalog.resolve(name)[0].kind
    except ModelNotFoundError:
        return "llm"  # whatever is said about that name then


def load_config(kind: ModelKind, members: Mapping[str, Any]) -> LoadConfig:
    """How to load a model: those of *members* (of `LlmLoadModelConfig`) that are not None.

    Those that only language models have mean nothing for the others.

    Raises:
        HttpError: a value is not valid.
    """
    given = {name: value for name, value in members.items() if value is not None}
    try:
        if kind == "llm":
            kv = llm_load_config_to_kv(given)
        else:
            kv = embedding_load_config_to_kv({name: given[name] for name in ("context_length",) if name in given})
    except LMStudioValueError as error:
        raise HttpError("invalid_request", str(error), code="invalid_value") from None
    return LoadConfig.parse(kind, override_stack(kv))


# Unloading -----------------------------------------------------------------------------------------------------------


async def unload_model(exchange: Exchange, request: wire.UnloadRequest) -> None:
    """Unload one instance, language model or not."""
    core, wanted = exchange.core, request.instance_id
    instances = {instance.identifier: instance for instance in _instances(core)}
    if wanted not in instances:
        names = near_matches(wanted[:_LONGEST_WANTED], list(instances)) or list(instances)[:10]
        message = f"No loaded model has the id {wanted[:_LONGEST_WANTED]!r}; loaded are: {', '.join(names) or 'none'}."
        raise HttpError("model_not_found", message, param="instance_id")
    await core.instances.unload(instances[wanted], "a client asked for it")
    await exchange.reply(wire.UnloadReply(instance_id=wanted))
