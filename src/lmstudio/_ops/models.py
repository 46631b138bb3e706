"""Find, describe and unload models: the same for language and embedding models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from msgspec import UNSET, UnsetType

from lmstudio._endpoints.models import (
    ESTIMATE_MODEL_USAGE,
    GET_BASE_PREDICTION_CONFIG,
    GET_INSTANCE_PROCESSING_STATE,
    GET_LOAD_CONFIG,
    UNLOAD_MODEL,
)
from lmstudio._kv_config import prediction_config_from_kv
from lmstudio._sdk_models import (
    ModelQuery,
    ModelRpcEstimateModelUsageParameter,
    ModelRpcGetBasePredictionConfigParameter,
    ModelRpcGetInstanceProcessingStateParameter,
    ModelRpcGetLoadConfigParameter,
    ModelRpcGetModelInfoParameter,
    ModelRpcUnloadModelParameter,
    ModelSpecifierInstanceReference,
    ModelSpecifierQuery,
)
from lmstudio._sdk_models.config_keys import DEFAULTS
from lmstudio.errors import LMStudioModelNotFoundError, LMStudioProtocolError, LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio._endpoints.models import ModelEndpoints
    from lmstudio._port import Port
    from lmstudio._sdk_models import (
        EstimatedResourcesUsage,
        KvConfig,
        KvConfigStack,
        LlmPredictionConfig,
        ModelProcessingState,
    )

InfoT = TypeVar("InfoT")

ModelTarget: TypeAlias = ModelSpecifierQuery | ModelSpecifierInstanceReference

_NONE_LOADED = {"title": "No model loaded", "displayData": {"code": "generic.noModelMatchingQuery"}}
_EVAL_BATCH_KEY = "embedding.load.llama.evalBatchSize"


def check_key(text: object, what: str) -> str:
    """A string that may name a model: 1 to 1024 characters, none of Unicode's category C (control and the like)."""
    if not isinstance(text, str):
        raise LMStudioValueError(f"The {what} must be a string, got {type(text).__name__}.")
    if not 1 <= len(text) <= 1024 or not (text.isprintable() or _has_no_control_characters(text)):
        raise LMStudioValueError(f"The {what} must have 1 to 1024 printable characters, got {text[:40]!r}.")
    return text


def _has_no_control_characters(text: str) -> bool:
    import unicodedata

    return not any(unicodedata.category(character).startswith("C") for character in text)


def check_device(device_identifier: object) -> str | UnsetType | None:
    """A device by its identifier, None for the server's own, or UNSET for whichever it prefers."""
    if device_identifier is None or device_identifier is UNSET:
        return device_identifier
    return check_key(device_identifier, "device identifier")


def check_namespace(namespace: object) -> None:
    """Refuse what is neither a kind of model nor None, for all kinds."""
    if namespace not in (None, "llm", "embedding"):
        raise LMStudioValueError(f"namespace must be 'llm', 'embedding' or None for both; got {namespace!r}.")


def identifier_target(identifier: str) -> ModelSpecifierQuery:
    """Whatever instance has this identifier: a handle made with it survives a restart of the server."""
    return ModelSpecifierQuery(query=ModelQuery(identifier=identifier))


async def unload(port: Port, identifier: str, device_identifier: str | UnsetType | None = UNSET) -> None:
    """Unload the instance with this identifier. Without a device the server chooses. Protocol: rpc unloadModel."""
    parameter = ModelRpcUnloadModelParameter(
        identifier=check_key(identifier, "instance identifier"), device_identifier=check_device(device_identifier)
    )
    await port.call(UNLOAD_MODEL, parameter, f"unload model {identifier!r}")


async def unload_target(port: Port, endpoints: ModelEndpoints[Any], target: ModelTarget, info: Any = None) -> None:
    """Unload the instance that *target* means; *info* is what is known about it, if anything."""
    if info is None:
        info = await get_info(port, endpoints, target)
    await unload(port, info.identifier, info.device_identifier)


async def list_loaded(port: Port, endpoints: ModelEndpoints[InfoT]) -> list[InfoT]:
    """The loaded instances of this namespace. Protocol: rpc listLoaded."""
    infos = await port.call(endpoints.list_loaded, None, "list loaded models")
    return [info for info in infos if info.identifier]  # type: ignore[attr-defined]  # useless without; all have it


async def get_any(
    port: Port, endpoints: ModelEndpoints[InfoT], is_allowed: Callable[[str], bool] = lambda _name: True
) -> InfoT:
    """Any loaded instance whose model or identifier *is_allowed*.

    Raises:
        LMStudioModelNotFoundError: none is loaded.
    """
    infos: list[Any] = await list_loaded(port, endpoints)
    loaded = [info for info in infos if is_allowed(info.model_key) or is_allowed(info.identifier)]
    if not loaded:
        if infos:
            others = ", ".join(info.identifier for info in infos)
            raise LMStudioModelNotFoundError(
                f"No model is loaded that allowed_models has, so there is none to choose. Loaded: {others}.",
                _NONE_LOADED,
            )
        kind, shortcut = ("LLM", "llm") if endpoints.namespace == "llm" else ("embedding model", "embedding_model")
        raise LMStudioModelNotFoundError(
            f"No {kind} is loaded, so there is none to choose. Name the one to load, e.g. "
            f"client.{endpoints.namespace}.model('model-key') or lmstudio.{shortcut}('model-key'); "
            "list_downloaded_models() shows what there is.",
            _NONE_LOADED,
        )
    found: InfoT = loaded[0]
    return found


async def get_info(port: Port, endpoints: ModelEndpoints[InfoT], target: ModelTarget) -> InfoT:
    """Information about the instance that *target* means; it must be loaded. Protocol: rpc getModelInfo."""
    parameter = ModelRpcGetModelInfoParameter(specifier=target, throw_if_not_found=True)
    info = await port.call(endpoints.get_model_info, parameter, f"get the information of {describe(target)}")
    if info is None:
        raise LMStudioProtocolError(
            f"Could not get the information of {describe(target)}: the server sent none, but null as the result of "
            f"{endpoints.get_model_info.name!r}, at `$`."
        )
    return info


async def get_load_config(port: Port, target: ModelTarget) -> KvConfig:
    """The configuration the instance was loaded with. Protocol: rpc getLoadConfig."""
    parameter = ModelRpcGetLoadConfigParameter(specifier=target)
    return await port.call(GET_LOAD_CONFIG, parameter, f"get the load configuration of {describe(target)}")


async def get_eval_batch_size(port: Port, target: ModelTarget) -> int:
    """How many tokens the embedding model that *target* means processes at once. Protocol: rpc getLoadConfig."""
    config = await get_load_config(port, target)
    sent = next((field.value for field in config.fields if field.key == _EVAL_BATCH_KEY), None)
    size: int = sent if isinstance(sent, int) else DEFAULTS[_EVAL_BATCH_KEY]
    return size


async def get_base_prediction_config(port: Port, target: ModelTarget) -> LlmPredictionConfig:
    """The prediction configuration that counts where a request says nothing, LM Studio's defaults included."""
    return prediction_config_from_kv(await get_base_prediction_fields(port, target), with_defaults=True)


async def get_base_prediction_fields(port: Port, target: ModelTarget) -> KvConfig:
    """The same as the server has it, for a model of any kind. Protocol: rpc getBasePredictionConfig."""
    parameter = ModelRpcGetBasePredictionConfigParameter(specifier=target)
    attempted = f"get the base prediction configuration of {describe(target)}"
    return await port.call(GET_BASE_PREDICTION_CONFIG, parameter, attempted)


async def preload_draft_model(port: Port, target: ModelTarget, draft_model_key: str) -> None:
    """Load a draft model for speculative decoding ahead of its first use, if the server can.

    Protocol: rpc llm/preloadDraftModel.
    """
    from lmstudio._endpoints.llm import PRELOAD_DRAFT_MODEL
    from lmstudio._sdk_models import LlmRpcPreloadDraftModelParameter

    check_key(draft_model_key, "draft model key")
    parameter = LlmRpcPreloadDraftModelParameter(specifier=target, draft_model_key=draft_model_key)
    attempted = f"preload draft model {draft_model_key!r} for {describe(target)}"
    await port.call(PRELOAD_DRAFT_MODEL, parameter, attempted)


async def get_processing_state(port: Port, target: ModelTarget) -> ModelProcessingState:
    """What the instance does at the moment, and for how many requests. Protocol: rpc getInstanceProcessingState."""
    parameter = ModelRpcGetInstanceProcessingStateParameter(specifier=target, throw_if_not_found=True)
    attempted = f"get the processing state of {describe(target)}"
    return await port.call(GET_INSTANCE_PROCESSING_STATE, parameter, attempted)


async def estimate_resources_usage(
    port: Port, model_key: str, config: KvConfigStack, device_identifier: str | UnsetType | None = UNSET
) -> EstimatedResourcesUsage:
    """What loading the model with *config* would take. Nothing is loaded. Protocol: rpc estimateModelUsage."""
    parameter = ModelRpcEstimateModelUsageParameter(
        model_key=check_key(model_key, "model key"),
        load_config_stack=config,
        device_identifier=check_device(device_identifier),
    )
    return await port.call(ESTIMATE_MODEL_USAGE, parameter, f"estimate what model {model_key!r} takes")


def identifier_of(target: ModelTarget) -> str | None:
    """The identifier that *target* demands, if it does."""
    return None if isinstance(target, ModelSpecifierInstanceReference) else target.query.identifier


def handle_arguments(target: ModelTarget) -> str:
    """*target* in the representation of a handle: `identifier='qwen'`, or what else a query has, by name."""
    if isinstance(target, ModelSpecifierInstanceReference):
        return f"instance_reference={target.instance_reference!r}"
    query = target.query
    members = {name: getattr(query, name) for name in query.__struct_fields__}
    return ", ".join(
        f"{name}={value!r}"
        for name, value in members.items()
        if value is not UNSET and (value is not None or name == "device_identifier")
    )


def describe(target: ModelTarget) -> str:
    """*target* in an error message."""
    if isinstance(target, ModelSpecifierInstanceReference):
        return f"model instance {target.instance_reference!r}"
    query = target.query
    if query.path is None and query.domain is None and query.vision is None and query.device_identifier is UNSET:
        return "any model" if query.identifier is None else f"model {query.identifier!r}"
    return f"a model matching {query.to_dict()}"
