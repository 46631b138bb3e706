"""Generators of plugins, used in place of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from lmstudio._endpoints.plugins import GENERATE_WITH_GENERATOR
from lmstudio._ops.act import Actor, run_rounds
from lmstudio._ops.prediction import PredictionInFlight
from lmstudio._sdk_models import (
    ChannelPacketSuccess,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    PluginsChannelGenerateWithGeneratorCreationParameter,
    PluginsChannelGenerateWithGeneratorToClientPacketPromptProcessingProgress,
    PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd,
    PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed,
    SerializedLMSExtendedError,
)
from lmstudio.results import GeneratorActResult, GeneratorPredictionResult, GeneratorPredictionRoundResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._ops.act_options import ActOptions
    from lmstudio._ops.prediction_options import PredictionOptions
    from lmstudio._port import Port
    from lmstudio._sdk_models import ChannelPacketCancel, ChatHistoryData, LlmTool, PluginConfigSpecifier
    from lmstudio.json_api import Channel
    from lmstudio.tools import Tool


GeneratorPredictionCompletedCallback: TypeAlias = Callable[[GeneratorPredictionRoundResult], object]


class GeneratorPrediction(PredictionInFlight[GeneratorPredictionResult]):
    """One prediction of a generator. Protocol: channel plugins/generateWithGenerator."""

    _PROGRESS = PluginsChannelGenerateWithGeneratorToClientPacketPromptProcessingProgress
    _SUCCESS = ChannelPacketSuccess

    def __init__(
        self,
        port: Port,
        parameter: PluginsChannelGenerateWithGeneratorCreationParameter,
        options: PredictionOptions[Any],
    ) -> None:
        super().__init__(port, options, f"predict with the generator {parameter.plugin_identifier!r}")
        self._parameter = parameter

    def _new_channel(self) -> Channel[Any, ChannelPacketCancel]:
        return self._port.channel(GENERATE_WITH_GENERATOR, self._parameter, self._attempted)

    async def _take_other(self, packet: Any) -> bool:
        # What generators say about tool calls is less than what models say.
        match packet:
            case PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd(tool_call_request=request):
                packet = LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request)
            case PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed():
                error = SerializedLMSExtendedError(title="the generator could not complete it")
                packet = LlmChannelPredictToClientPacketToolCallGenerationFailed(error=error)
        return await super()._take_other(packet)

    def _check_end(self, packet: ChannelPacketSuccess) -> object:  # noqa: ARG002 - it says nothing
        return "the generator has ended"

    def _make_result(self, packet: ChannelPacketSuccess) -> GeneratorPredictionResult:  # noqa: ARG002 - as above
        content, answer, reasoning = self._texts()
        tools = self._tool_calls
        return GeneratorPredictionResult(
            plugin_identifier=self._parameter.plugin_identifier,
            content=content,
            reasoning_content=reasoning,
            non_reasoning_content=answer,
            tool_calls=() if tools is None else tools.calls,
            tool_call_errors=() if tools is None else tools.errors,
        )


class GeneratorActor(Actor[GeneratorPredictionRoundResult]):
    """A generator under one configuration."""

    def __init__(self, port: Port, plugin_identifier: str, specifier: PluginConfigSpecifier) -> None:
        """*plugin_identifier* has been checked."""
        self.name: str = f"the generator {plugin_identifier!r}"
        self.port: Port = port
        self._plugin_identifier, self._specifier = plugin_identifier, specifier

    def predict(self, history: ChatHistoryData, options: PredictionOptions[Any]) -> GeneratorPrediction:
        parameter = PluginsChannelGenerateWithGeneratorCreationParameter(
            plugin_identifier=self._plugin_identifier,
            plugin_config_specifier=self._specifier,
            # Dicts, not structs, which know less of JSON schemas than users may write.
            tools=cast("list[LlmTool]", options.tool_definitions or []),
            history=history,
        )
        return GeneratorPrediction(self.port, parameter, options)

    def round_result(self, result: Any, index: int) -> GeneratorPredictionRoundResult:
        return GeneratorPredictionRoundResult.from_result(result, index)


async def act(
    actor: GeneratorActor, history: ChatHistoryData, tools: Sequence[Tool], options: ActOptions[Any]
) -> GeneratorActResult:
    """As `act` with a model."""
    return GeneratorActResult(**await run_rounds(actor.port, actor, history, tools, options))
