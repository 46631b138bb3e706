"""From what a generator plugin says to what those who use it get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
    LlmPredictionFragment,
    PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd,
    PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed,
    PluginsChannelSetGeneratorToServerPacketFragmentGenerated,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationArgumentFragmentGenerated,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationEnded,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationFailed,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationNameReceived,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationStarted,
)

if TYPE_CHECKING:
    from lmstudio._sdk_models import LlmPredictionFragmentInputOpts

__all__ = ["GenerationPacket", "generation_packet"]

GenerationPacket: TypeAlias = (
    LlmChannelPredictToClientPacketFragment
    | LlmChannelPredictToClientPacketToolCallGenerationStart
    | LlmChannelPredictToClientPacketToolCallGenerationNameReceived
    | LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated
    | PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd
    | PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed
)


def generation_packet(packet: Any) -> GenerationPacket:
    """The packet for the user of a generator that belongs to *packet* of the plugin."""
    match packet:
        case PluginsChannelSetGeneratorToServerPacketFragmentGenerated(content=content, opts=opts):
            return LlmChannelPredictToClientPacketFragment(fragment=_fragment(content, opts))
        case PluginsChannelSetGeneratorToServerPacketToolCallGenerationStarted(tool_call_id=identifier):
            return LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=identifier)
        case PluginsChannelSetGeneratorToServerPacketToolCallGenerationNameReceived(tool_name=name):
            return LlmChannelPredictToClientPacketToolCallGenerationNameReceived(name=name)
        case PluginsChannelSetGeneratorToServerPacketToolCallGenerationArgumentFragmentGenerated(content=content):
            return LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated(content=content)
        case PluginsChannelSetGeneratorToServerPacketToolCallGenerationEnded(tool_call_request=request):
            return PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd(tool_call_request=request)
        case PluginsChannelSetGeneratorToServerPacketToolCallGenerationFailed():
            return PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed()
        case _:
            raise TypeError(f"A generator does not answer with {type(packet).__name__}.")


def _fragment(content: str, opts: LlmPredictionFragmentInputOpts) -> LlmPredictionFragment:
    return LlmPredictionFragment(
        content=content,
        tokens_count=1 if opts.token_count is None else opts.token_count,
        contains_drafted=bool(opts.contains_drafted),
        reasoning_type=opts.reasoning_type or "none",
        is_structural=bool(opts.is_structural),
        tokens=opts.tokens,
    )
