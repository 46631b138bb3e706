"""The namespace llm: predictions, templates, and what `models` has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lmstudio._endpoints.llm import APPLY_PROMPT_TEMPLATE, COMPLETE_RAW_TEXT, MODELS, PREDICT, PRELOAD_DRAFT_MODEL
from lmstudio._sdk_models import (
    LlmChannelGetOrLoadToClientPacketAlreadyLoaded,
    LlmChannelGetOrLoadToClientPacketLoadSuccess,
    LlmChannelGetOrLoadToClientPacketStartLoading,
    LlmChannelLoadModelToClientPacketResolved,
    LlmChannelLoadModelToClientPacketSuccess,
    LlmChannelPredictToClientPacketSuccess,
    LlmInstanceInfo,
    LlmRpcApplyPromptTemplateReturns,
)
from lmstudio.server.config import PredictionConfig, tool_definitions
from lmstudio.server.files.chat import with_contents
from lmstudio.server.native.models import LoadPackets, ModelHandlers
from lmstudio.server.prediction import Prediction
from lmstudio.server.prompt import RawPrompt, chat_prompt

if TYPE_CHECKING:
    from typing import Any

    from lmstudio._sdk_models import (
        ChannelPacketCancel,
        LlmChannelCompleteRawTextCreationParameter,
        LlmChannelPredictCreationParameter,
        LlmRpcApplyPromptTemplateParameter,
        LlmRpcPreloadDraftModelParameter,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore
    from lmstudio.server.instances import Instance
    from lmstudio.server.output import Packet
    from lmstudio.server.prompt import Prompt

PACKETS: Final = LoadPackets(
    resolved=LlmChannelLoadModelToClientPacketResolved,
    success=LlmChannelLoadModelToClientPacketSuccess,
    already_loaded=LlmChannelGetOrLoadToClientPacketAlreadyLoaded,
    start_loading=LlmChannelGetOrLoadToClientPacketStartLoading,
    load_success=LlmChannelGetOrLoadToClientPacketLoadSuccess,
)


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve the namespace."""
    LlmHandlers(core, "llm", MODELS, PACKETS).bind(handlers)


class LlmHandlers(ModelHandlers[LlmInstanceInfo]):
    """The handlers of the namespace."""

    def bind(self, handlers: Handlers) -> None:
        """Serve all endpoints."""
        super().bind(handlers)
        handlers.rpc(APPLY_PROMPT_TEMPLATE, self._apply_prompt_template)
        handlers.rpc(PRELOAD_DRAFT_MODEL, self._preload_draft_model)
        handlers.channel(PREDICT, self._predict)
        handlers.channel(COMPLETE_RAW_TEXT, self._complete_raw_text)

    async def _predict(
        self,
        context: ClientContext,
        parameter: LlmChannelPredictCreationParameter,
        channel: ServerChannel[Any, ChannelPacketCancel],
    ) -> None:
        instance, config = self._target(parameter)
        history = await with_contents(self.core.files, context, parameter.history, instance.file)
        await self._run(instance, config, chat_prompt(instance.model, history, config), channel)

    async def _complete_raw_text(
        self,
        _: ClientContext,
        parameter: LlmChannelCompleteRawTextCreationParameter,
        channel: ServerChannel[Any, ChannelPacketCancel],
    ) -> None:
        instance, config = self._target(parameter, is_raw=True)
        await self._run(instance, config, RawPrompt(parameter.raw_prompt), channel)

    def _target(
        self,
        parameter: LlmChannelPredictCreationParameter | LlmChannelCompleteRawTextCreationParameter,
        *,
        is_raw: bool = False,
    ) -> tuple[Instance, PredictionConfig]:
        instances = self.core.instances
        instance = instances.find("llm", parameter.model_specifier)
        config = self.core.prediction_config(
            parameter.prediction_config_stack,
            preset=parameter.fuzzy_preset_identifier,
            ignore_session=bool(parameter.ignore_server_session_config),
            is_raw=is_raw,
        )
        if config.draft_model_key:
            instances.resolve("llm", config.draft_model_key)  # refused before anything is generated
        return instance, config

    async def _run(
        self,
        instance: Instance,
        config: PredictionConfig,
        prompt: Prompt,
        channel: ServerChannel[Packet, ChannelPacketCancel],
    ) -> None:
        prediction = Prediction(self.core.instances, instance, config, prompt, channel, self.core.clock)
        channel.listen(lambda _: prediction.cancel())
        stats = await prediction.run()
        channel.send(
            LlmChannelPredictToClientPacketSuccess(
                stats=stats,
                model_info=instance.llm_info(),
                load_model_config=instance.load_config,
                prediction_config=config.to_kv(),
            )
        )

    async def _apply_prompt_template(
        self, context: ClientContext, parameter: LlmRpcApplyPromptTemplateParameter
    ) -> LlmRpcApplyPromptTemplateReturns:
        instance = self.core.instances.find("llm", parameter.specifier)
        config = self.core.prediction_config(parameter.prediction_config_stack)
        offered = parameter.opts.tool_definitions
        tools = None if offered is None else tool_definitions(offered)
        history = await with_contents(self.core.files, context, parameter.history, instance.file)
        prompt = chat_prompt(instance.model, history, config, tools)
        with self.core.instances.use(instance):
            return LlmRpcApplyPromptTemplateReturns(formatted=await prompt.text())

    async def _preload_draft_model(self, _: ClientContext, parameter: LlmRpcPreloadDraftModelParameter) -> None:
        instance = self.core.instances.find("llm", parameter.specifier)
        config = PredictionConfig({"llm.prediction.speculativeDecoding.draftModel": parameter.draft_model_key})
        with self.core.instances.use(instance):
            async with self.core.instances.model_for(instance, config):
                pass  # it is loaded now, and stays
