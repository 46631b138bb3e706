"""How to predict and whom to tell: what the keywords of `respond`, `complete` and `act` come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypedDict

import msgspec

from lmstudio._abort import check_signal
from lmstudio._callbacks import check_callbacks, tell
from lmstudio._kv_config import prediction_config_to_kv, read_config
from lmstudio._sdk_models import (
    AssistantResponse,
    KvConfig,
    KvConfigField,
    KvConfigStackLayer,
    LlmPredictionConfig,
    LlmPredictionFragment,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.results import ParsedT, PromptProcessingProgress, ToolCallRequestInfo
from lmstudio.schemas import ResponseFormat, resolve_response_format

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._runtime import Runtime
    from lmstudio._sdk_models.dicts import LlmPredictionConfigDict
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.errors import ToolCallRequestError
    from lmstudio.events import ToolCallEvents
    from lmstudio.tools import ToolDefinition

PredictionMessageCallback: TypeAlias = Callable[[AssistantResponse], object]
PredictionFirstTokenCallback: TypeAlias = Callable[[], object]
PredictionFragmentCallback: TypeAlias = Callable[[LlmPredictionFragment], object]
PromptProcessingCallback: TypeAlias = Callable[[PromptProcessingProgress], object]


class ToolRequestCallbacks(TypedDict, total=False):
    """Callbacks that follow the tool calls a model writes. *call_id* numbers the calls of one prediction, from 0."""

    on_tool_call_request_start: Callable[[int, str | None], object] | None
    """(call_id, tool_call_id): the model begins a tool call, whose id on the wire is the second, if it has one."""
    on_tool_call_request_name_received: Callable[[int, str], object] | None
    """(call_id, name): the name of the tool is known."""
    on_tool_call_request_argument_fragment_generated: Callable[[int, str], object] | None
    """(call_id, text): more of the arguments, as the model writes them."""
    on_tool_call_request_end: Callable[[int, ToolCallRequestInfo], object] | None
    """(call_id, info): the call is complete."""
    on_tool_call_request_failure: Callable[[int, ToolCallRequestError], object] | None
    """(call_id, error): it cannot be read."""


class CompletionKeywords(TypedDict, total=False):
    """The keywords of `complete` but *response_format*, for its overloads."""

    config: LlmPredictionConfig | LlmPredictionConfigDict | None
    preset: str | None
    on_message: PredictionMessageCallback | None
    on_first_token: PredictionFirstTokenCallback | None
    on_prediction_fragment: PredictionFragmentCallback | None
    on_prompt_processing_progress: PromptProcessingCallback | None
    timeout: TimeoutInput
    signal: AbortSignal | None


class RespondKeywords(CompletionKeywords, ToolRequestCallbacks, total=False):
    """The keywords of `respond` but *response_format*, for its overloads."""

    tools: Iterable[ToolDefinition] | None


class PredictionOptions(msgspec.Struct, Generic[ParsedT], frozen=True):
    """The keywords of a prediction, understood."""

    response_format: ResponseFormat[ParsedT] = msgspec.field(default_factory=ResponseFormat.unstructured)
    config: LlmPredictionConfig | None = None
    preset: str | None = None
    on_message: PredictionMessageCallback | None = None
    on_first_token: PredictionFirstTokenCallback | None = None
    on_prediction_fragment: PredictionFragmentCallback | None = None
    on_prompt_processing_progress: PromptProcessingCallback | None = None
    tool_definitions: list[dict[str, Any]] | None = None
    """What the model may call; None where the configuration decides."""
    tool_callbacks: ToolRequestCallbacks = {}
    signal: AbortSignal | None = None
    call_ids: Iterator[int] | None = None
    """Where the numbers of tool calls come from, for predictions that share them."""
    chat_config: KvConfig | None = None
    """The settings of the chat that the prediction is for, in place of those of the server's session."""

    def layer(self, defaults: Mapping[str, Any] | None = None) -> KvConfigStackLayer:
        """The configuration as the server gets it; *defaults* for keys that nobody has set."""
        config = prediction_config_to_kv(self.config, structured=self.response_format.setting)
        fields = list(config.fields)
        if self.tool_definitions is not None:
            offer = {"type": "toolArray", "tools": self.tool_definitions} if self.tool_definitions else {"type": "none"}
            fields.append(KvConfigField(key="llm.prediction.tools", value=offer))
        present = {item.key for item in fields}
        for key, value in (defaults or {}).items():
            if key not in present:
                fields.append(KvConfigField(key=key, value=value))
        return KvConfigStackLayer(layer_name="apiOverride", config=KvConfig(fields=fields))

    async def report(self, runtime: Runtime, event: ToolCallEvents) -> None:
        """Call the callback that *event* is for."""
        callbacks = self.tool_callbacks
        if not callbacks:
            return
        match event.kind:
            case "tool_call_start":
                await tell(runtime, callbacks.get("on_tool_call_request_start"), event.call_id, event.tool_call_id)
            case "tool_call_name":
                await tell(runtime, callbacks.get("on_tool_call_request_name_received"), event.call_id, event.name)
            case "tool_call_arguments":
                callback = callbacks.get("on_tool_call_request_argument_fragment_generated")
                await tell(runtime, callback, event.call_id, event.content)
            case "tool_call":
                info = ToolCallRequestInfo(event.call_id, event.tool_call_request, event.raw_content)
                await tell(runtime, callbacks.get("on_tool_call_request_end"), event.call_id, info)
            case "tool_call_failed":
                await tell(runtime, callbacks.get("on_tool_call_request_failure"), event.call_id, event.error)


def prediction_options(
    runtime: Runtime,
    *,
    response_format: Any = None,
    config: LlmPredictionConfig | Mapping[str, Any] | None = None,
    preset: str | None = None,
    on_message: PredictionMessageCallback | None = None,
    on_first_token: PredictionFirstTokenCallback | None = None,
    on_prediction_fragment: PredictionFragmentCallback | None = None,
    on_prompt_processing_progress: PromptProcessingCallback | None = None,
    tools: Iterable[ToolDefinition] | None = None,
    signal: AbortSignal | None = None,
    tool_callbacks: ToolRequestCallbacks | None = None,
    chat_config: KvConfig | None = None,
) -> PredictionOptions[Any]:
    """The keywords of the public methods, checked. A format inside *config* counts like *response_format*.

    Raises:
        LMStudioValueError: a response format, configuration, tool or callback that cannot be used.
        TypeError: a keyword that does not exist.
    """
    check_keywords("respond", tool_callbacks, ToolRequestCallbacks, RespondKeywords)
    check_callbacks(
        runtime,
        on_message=on_message,
        on_first_token=on_first_token,
        on_prediction_fragment=on_prediction_fragment,
        on_prompt_processing_progress=on_prompt_processing_progress,
        **(tool_callbacks or {}),
    )
    check_signal(signal)
    typed = None if config is None else read_config(LlmPredictionConfig, config)
    if typed is not None and typed.structured is not None:
        if response_format is not None:
            raise LMStudioValueError("The response format is given twice: as response_format and as config.structured.")
        response_format = typed.structured
        typed = msgspec.structs.replace(typed, structured=None)
    return PredictionOptions(
        resolve_response_format(response_format),
        typed,
        check_preset(preset),
        on_message,
        on_first_token,
        on_prediction_fragment,
        on_prompt_processing_progress,
        _definitions(tools, typed),
        tool_callbacks or {},
        signal,
        chat_config=chat_config,
    )


def check_keywords(method: str, given: Mapping[str, object] | None, known: Any, all_keywords: Any) -> None:
    """Refuse keywords that the TypedDict *known* does not have, as Python would.

    Args:
        all_keywords: The TypedDict with all keywords of *method* but `response_format`, where misspelt ones are sought.

    Raises:
        TypeError: names the nearest one.
    """
    for name in given or ():
        if name not in known.__annotations__:
            from difflib import get_close_matches

            nearest = get_close_matches(name, [*all_keywords.__annotations__, "response_format"], 1)
            hint = f". Did you mean {nearest[0]!r}?" if nearest else ""
            if name in LlmPredictionConfig.__struct_fields__ + LlmPredictionConfig.__struct_encode_fields__:
                hint = f": it is a setting, so pass config={{{name!r}: ...}}"
            elif name == "stream":
                hint = f". For a stream call {method}_stream()" if method == "respond" else ""
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}{hint}")


def check_preset(preset: object) -> str | None:
    """*preset*, if it can be one."""
    if preset is None or isinstance(preset, str):
        return preset
    raise LMStudioValueError(f"preset must be the name of a preset, got {type(preset).__name__}.")


def _definitions(
    tools: Iterable[ToolDefinition] | None, config: LlmPredictionConfig | None
) -> list[dict[str, Any]] | None:
    if tools is not None and config is not None and config.raw_tools is not None:
        raise LMStudioValueError("Tools are given twice: as tools and as config.raw_tools.")
    return tool_definitions(tools)


def tool_definitions(tools: Iterable[ToolDefinition] | None) -> list[dict[str, Any]] | None:
    """*tools* as they go to the server, None for None."""
    if tools is None:
        return None
    from lmstudio.tools import read_tools

    return [tool.definition for tool in read_tools(tools)]
