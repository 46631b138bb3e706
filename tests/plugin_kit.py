"""What tests of plugins are written with, in memory and with real peers."""

from __future__ import annotations

from typing import Any

from lmstudio._sdk_models import ChatHistoryData, TokenSourceIdentifierModel, UserMessage
from lmstudio.server.plugins.host import TurnSettings


def config(**fields: Any) -> dict[str, Any]:
    return {"fields": [{"key": key, "value": value} for key, value in fields.items()]}


def message(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def user_message(text: str) -> UserMessage:
    return UserMessage.from_dict(message(text))


def turn_settings(**members: Any) -> TurnSettings:
    """Of a chat in which "Hello" was said and answered."""
    history = ChatHistoryData.from_dict(
        {"messages": [message("Hello"), {"role": "assistant", "content": [{"type": "text", "text": "Good day"}]}]}
    )
    source = TokenSourceIdentifierModel(identifier="scripted-chat")
    return TurnSettings(**{"history": history, "token_source": source, **members})
