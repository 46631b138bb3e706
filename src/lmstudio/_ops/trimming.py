"""Chats cut to a number of tokens, as the model's own template counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._ops.text import count_chat_tokens
from lmstudio._sdk_models import AssistantResponse, ChatHistoryData, SystemPrompt, ToolResultMessage, UserMessage
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lmstudio._ops.models import ModelTarget
    from lmstudio._port import Port
    from lmstudio._sdk_models import AnyChatMessage, KvConfig, LlmTool


async def trim_history(
    port: Port,
    target: ModelTarget,
    history: ChatHistoryData,
    max_tokens: int,
    *,
    tool_definitions: Sequence[LlmTool | Mapping[str, Any]] | None = None,
    keep_system: bool = True,
    keep_last: int = 1,
    chat_config: KvConfig | None = None,
) -> ChatHistoryData:
    """The newest part of *history* that is at most *max_tokens* long in the model's template; shares its messages.

    Whole turns are left out, oldest first. A turn is what the user says, and all that follows until the user speaks
    again; a tool call request and its results always stay together. A chat that fits is counted once; for another it
    takes at most two counts more than its number of turns has binary digits.

    Args:
        port: Of the namespace llm.
        target: The model.
        history: The chat.
        max_tokens: The limit, at least 1. Leave room for the reply.
        tool_definitions: The tools that the model will see; they take tokens too.
        keep_system: Keep all system prompts. Otherwise they go with the turn they stand in.
        keep_last: How many turns at the end must stay, at least 1.
        chat_config: As in `PredictionOptions`.

    Raises:
        LMStudioValueError: what must stay is longer than *max_tokens*; the message has the numbers.
    """
    for name, number in (("max_tokens", max_tokens), ("keep_last", keep_last)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise LMStudioValueError(f"{name} must be a whole number of at least 1, got {number!r:.80}.")
    starts = turn_starts(history.messages)
    if not starts:
        return history

    def from_turn(turn: int) -> ChatHistoryData:
        return _from_message(history.messages, starts[turn], keep_system) if turn else history

    async def count(turn: int) -> int:
        return await count_chat_tokens(port, target, from_turn(turn), tool_definitions, chat_config)

    last = max(0, len(starts) - keep_last)
    tokens = await count(0)
    if tokens <= max_tokens:
        return history
    # A chat from turn `too_long` on does not fit. One from turn `fitting` on does, or nothing may.
    too_long, fitting = 0, last
    fitting_is_known = False
    while fitting - too_long > 1:
        middle = (too_long + fitting) // 2
        if await count(middle) <= max_tokens:
            fitting, fitting_is_known = middle, True
        else:
            too_long = middle
    if not fitting_is_known:
        shortest = tokens if fitting == 0 else await count(fitting)
        if shortest > max_tokens:
            raise LMStudioValueError(
                f"Cannot trim the chat to {max_tokens} tokens: it has {tokens}, and the part that must stay "
                f"({_describe(keep_system, min(keep_last, len(starts)))}) has {shortest}. "
                "Allow more tokens, keep less, or shorten the messages."
            )
    return from_turn(fitting)


def turn_starts(messages: Sequence[AnyChatMessage]) -> list[int]:
    """Where the turns begin: the first at 0, unless there are no messages; the others at messages of the user."""
    starts = [0] if messages else []
    asked: dict[str | None, int] = {}  # by id of the request; None for the latest
    last_role = "user"  # a first message of the user begins no second turn, not even behind system prompts
    for index, message in enumerate(messages):
        if isinstance(message, SystemPrompt):
            continue
        if isinstance(message, UserMessage) and last_role != "user":
            starts.append(index)
        elif isinstance(message, AssistantResponse):
            for request in message.get_tool_call_requests():
                asked[request.id] = asked[None] = index
        elif isinstance(message, ToolResultMessage):
            for result in message.content:
                request_index = asked.get(result.tool_call_id, asked.get(None, index))
                # What the user said in between is part of the turn, or it could be cut there.
                while starts[-1] > request_index:
                    starts.pop()
        last_role = message.role
    return starts


def _from_message(messages: Sequence[AnyChatMessage], start: int, keep_system: bool) -> ChatHistoryData:
    kept = [message for message in messages[:start] if keep_system and isinstance(message, SystemPrompt)]
    return ChatHistoryData(messages=[*kept, *messages[start:]])


def _describe(keep_system: bool, keep_last: int) -> str:
    turns = "the last turn" if keep_last == 1 else f"the last {keep_last} turns"
    return f"the system prompts and {turns}" if keep_system else turns
