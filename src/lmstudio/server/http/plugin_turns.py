"""What plugins do with a chat over HTTP besides offering tools: change the message, or answer it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lmstudio._sdk_models import (
    ChatHistoryData,
    ContentBlockStyleThinking,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmPredictionFragment,
    PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd,
    PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed,
    ProcessingRequestConfirmToolCall,
    ProcessingRequestResponseConfirmToolCall,
    ProcessingRequestResponseConfirmToolCallResultAllow,
    ProcessingUpdateContentBlockAppendText,
    ProcessingUpdateContentBlockCreate,
    ProcessingUpdateContentBlockSetStyle,
    SerializedLMSExtendedError,
    TokenSourceIdentifierGenerator,
    TokenSourceIdentifierModel,
    UserMessage,
)
from lmstudio.server.errors import RequestError
from lmstudio.server.http.errors import HttpError, as_http_error
from lmstudio.server.plugins.turns import TurnSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from lmstudio._sdk_models import (
        AnyChatMessage,
        KvConfig,
        LlmTool,
        ProcessingRequest,
        ProcessingRequestResponse,
    )
    from lmstudio.server.core import ServerCore
    from lmstudio.server.http.server_tools import Toolbox
    from lmstudio.server.output import Packet
    from lmstudio.server.plugins.turns import Turn

__all__ = ["PluginTurn", "generated", "generator_of", "plugin_turn"]


def generator_of(core: ServerCore, name: str) -> str | None:
    """*name*, if it is that of a plugin with a generator, which then answers in place of a model."""
    plugins = core.plugins.registry.all()
    return name if any(plugin.identifier == name and plugin.info().has_generator for plugin in plugins) else None


class PluginTurn:
    """A message on its way through the plugins of a chat."""

    def __init__(self, core: ServerCore, turn: Turn, tools: Toolbox) -> None:
        self._plugins = core.plugins
        self._turn = turn
        self._preprocessors = [name for name, kinds in tools.hooks.items() if "promptPreprocessor" in kinds]
        handlers = [name for name, kinds in tools.hooks.items() if "predictionLoopHandler" in kinds]
        if len(handlers) > 1:
            message = f"Only one plugin can answer, but these want to: {', '.join(handlers)}. Leave all but one out."
            raise HttpError("invalid_request", message, param=tools.param, code="invalid_value")
        self.loop_handler: str | None = handlers[0] if handlers else None
        """The plugin that answers in place of the server."""

    async def preprocessed(self) -> AnyChatMessage:
        """The message as the plugins have left it, one after the other, in the order of the request.

        Raises:
            HttpError: one of them has failed.
        """
        for name in self._preprocessors:
            with _told("integrations"):
                async with self._plugins.preprocess(name, self._turn) as run:
                    async for _ in run:
                        pass  # what it shows meanwhile has no place in a reply
        return self._turn.message

    async def answer(self) -> AsyncGenerator[Packet]:
        """The text of the plugin that answers, as a model would write it.

        Raises:
            HttpError: it has failed.
        """
        assert self.loop_handler is not None
        thinking: set[str] = set()
        with _told("integrations"):
            async with self._plugins.run_loop(self.loop_handler, self._turn) as run:
                async for item in run:
                    match item:
                        case ProcessingUpdateContentBlockCreate(id=block, style=style) | (
                            ProcessingUpdateContentBlockSetStyle(id=block, style=style)
                        ):
                            change = thinking.add if isinstance(style, ContentBlockStyleThinking) else thinking.discard
                            change(block)
                        case ProcessingUpdateContentBlockAppendText(id=block, text=text):
                            yield _fragment(text, is_reasoning=block in thinking)
                        case _:
                            pass  # statuses, citations and the like have no place in a reply


@contextmanager
def plugin_turn(
    core: ServerCore,
    message: UserMessage,
    earlier: Sequence[AnyChatMessage],
    model: str,
    config: KvConfig,
    tools: Toolbox,
) -> Iterator[PluginTurn]:
    """Let the plugins of *tools* work on *message*, which *earlier* ones precede, until the block ends.

    Raises:
        HttpError: several of them want to answer.
    """
    generator = generator_of(core, model)
    settings = TurnSettings(
        history=ChatHistoryData(messages=[*earlier]),
        token_source=(
            TokenSourceIdentifierModel(identifier=model)
            if generator is None
            else TokenSourceIdentifierGenerator(plugin_identifier=generator)
        ),
        config=config,
        enabled_plugins=list(tools.hooks),
        ask=_answer,
    )
    with core.plugins.turn(message, settings) as turn:
        yield PluginTurn(core, turn, tools)


@contextmanager
def _told(param: str) -> Iterator[None]:
    """Errors of plugins are not mistakes of the request."""
    try:
        yield
    except RequestError as error:
        raise HttpError("plugin_connection", as_http_error(error, "").message, param=param) from None


async def _answer(request: ProcessingRequest) -> ProcessingRequestResponse:
    """Over HTTP the tools of a chat are called without asking, and there is nobody to ask for anything else."""
    if isinstance(request, ProcessingRequestConfirmToolCall):
        allowed = ProcessingRequestResponseConfirmToolCallResultAllow()
        return ProcessingRequestResponseConfirmToolCall(result=allowed)
    raise RequestError(
        f"The request {request.type!r} of a plugin cannot be answered: over HTTP there is nobody to ask",
        suggestion="Do without an answer where the message does not come from a chat window.",
    )


async def generated(
    core: ServerCore, generator: str, messages: Sequence[AnyChatMessage], tools: Sequence[LlmTool]
) -> AsyncGenerator[Packet]:
    """What the generator of a plugin answers to *messages*, in the packets of a model.

    Raises:
        HttpError: it has failed.
    """
    with _told("model"):
        async with core.plugins.generate(generator, ChatHistoryData(messages=[*messages]), tools) as run:
            async for packet in run:
                yield _packet(packet)


def _packet(packet: Any) -> Packet:
    match packet:
        case PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd(tool_call_request=request):
            return LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request)
        case PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed():
            error = SerializedLMSExtendedError(title="The generator could not make the call.")
            return LlmChannelPredictToClientPacketToolCallGenerationFailed(error=error)
        case _:
            same: Packet = packet
            return same


def _fragment(text: str, *, is_reasoning: bool) -> LlmChannelPredictToClientPacketFragment:
    return LlmChannelPredictToClientPacketFragment(
        fragment=LlmPredictionFragment(
            content=text,
            tokens_count=0,
            contains_drafted=False,
            reasoning_type="reasoning" if is_reasoning else "none",
            is_structural=False,
        )
    )
