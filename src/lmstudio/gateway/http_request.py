"""What the gateway sends to a server over HTTP, made of what the surfaces have made of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from lmstudio._http_models.anthropic import (
    Base64Source,
    CountTokensRequest,
    ImageBlock,
    InputMessage,
    TextBlock,
    Tool,
    ToolResultBlock,
    ToolUseBlock,
)
from lmstudio._kv_members import PREDICTION
from lmstudio._openai_messages import write_openai_messages
from lmstudio._openai_parameters import reasoning_effort
from lmstudio._sdk_models import (
    AssistantResponse,
    SystemPrompt,
    TextData,
    ToolCallRequestData,
    ToolResultMessage,
    UserMessage,
)
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._http_models import JsonObject
    from lmstudio._http_models.anthropic import InputBlock
    from lmstudio._sdk_models import AnyChatMessage

__all__ = ["HttpConfig", "chat_body", "count_body", "text_body"]

_NAMES: Final = {
    "temperature": "temperature",
    "top_k_sampling": "top_k",
    "top_p_sampling": "top_p",
    "min_p_sampling": "min_p",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "stop_strings": "stop",
    "draft_model": "draft_model",
}
"""Members of `LlmPredictionConfig` that are the same in OpenAI's API, but for the name."""
_FORBIDDEN: Final = -100
"""OpenAI's bias for what must not come."""


@dataclass(frozen=True)
class HttpConfig:
    """How to predict."""

    config: Mapping[str, Any]
    """Members of `LlmPredictionConfig`."""
    fields: Mapping[str, Any]
    """What has no typed form, by full key."""
    preset: str | None = None
    others: Mapping[str, Any] = field(default_factory=dict)
    """Members of the request that mean something to the server only."""

    def value(self, key: str) -> Any:
        """The value of the field *key*, without the namespace; None if it is not set."""
        return self.fields.get(PREDICTION + key)

    @property
    def tools(self) -> list[JsonObject]:
        """The tools in OpenAI's form."""
        tools = self.value("tools")
        return [] if tools is None else tools["tools"]


def chat_body(messages: Sequence[AnyChatMessage], config: HttpConfig) -> JsonObject:
    """Body of POST /v1/chat/completions, without the model."""
    choice, budget, log_probs = config.value("toolChoice"), reasoning_effort(config.config), _log_probs(config)
    members = {
        "tools": config.tools or None,
        "tool_choice": None if choice is None else choice["mode"],
        "reasoning_effort": budget,
        "response_format": _response_format(config.config.get("structured")),
        "logprobs": None if log_probs is None else True,
        "top_logprobs": log_probs or None,
    }
    return {**_sampling(config), **_given(members), "messages": write_openai_messages(messages)}


def text_body(text: str, config: HttpConfig) -> JsonObject:
    """Body of POST /v1/completions, without the model."""
    return {**_sampling(config), **_given({"logprobs": _log_probs(config)}), "prompt": text}


def _sampling(config: HttpConfig) -> JsonObject:
    values, limit = config.config, config.config.get("max_tokens")
    frequency, seed, bias = (
        config.value("llama.frequencyPenalty"),
        config.value("seed"),
        config.value("llama.logitBias"),
    )
    members = {
        **{name: values.get(own) for own, name in _NAMES.items()},
        "max_tokens": -1 if limit is False else limit,
        "frequency_penalty": None if frequency is None else frequency["value"],
        "seed": None if seed is None else seed["value"],
        "logit_bias": None if bias is None else {str(token): _FORBIDDEN if by == "-inf" else by for token, by in bias},
        "preset": config.preset,
    }
    return {**config.others, **_given(members)}


def _log_probs(config: HttpConfig) -> int | None:
    value = config.config.get("log_probs")
    return value if isinstance(value, int) and value is not False else None


def _response_format(structured: Mapping[str, Any] | None) -> JsonObject | None:
    if structured is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": structured["json_schema"]}}


def _given(members: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in members.items() if value is not None}


# Counting ------------------------------------------------------------------------------------------------------------


def count_body(model: str, messages: Sequence[AnyChatMessage], config: HttpConfig) -> CountTokensRequest:
    """Body of POST /v1/messages/count_tokens.

    Raises:
        LMStudioValueError: the messages have what Anthropic's API has no place for.
    """
    system = [part for message in messages if isinstance(message, SystemPrompt) for part in _blocks(message.content)]
    tools = [tool["function"] for tool in config.tools]
    return CountTokensRequest(
        model=model,
        system=[part for part in system if isinstance(part, TextBlock)] or None,
        messages=[_message(message) for message in messages if not isinstance(message, SystemPrompt)],
        tools=[
            Tool(name=tool["name"], description=tool.get("description"), input_schema=tool["parameters"])
            for tool in tools
        ]
        or None,
    )


def _message(message: AnyChatMessage) -> InputMessage:
    if isinstance(message, ToolResultMessage):
        results = [
            ToolResultBlock(tool_use_id=part.tool_call_id or "", content=part.content) for part in message.content
        ]
        return InputMessage(role="user", content=[*results])
    role: Literal["assistant", "user"] = "assistant" if isinstance(message, AssistantResponse) else "user"
    return InputMessage(role=role, content=_blocks(message.content))


def _blocks(parts: Sequence[Any]) -> list[InputBlock]:
    return [_block(part) for part in parts]


def _block(part: Any) -> InputBlock:
    if isinstance(part, TextData):
        return TextBlock(text=part.text)
    if isinstance(part, ToolCallRequestData):
        request = part.tool_call_request
        return ToolUseBlock(id=request.id or "", name=request.name, input=request.arguments or {})
    (written,) = write_openai_messages([UserMessage(content=[part])])
    shown = written["content"][0]
    if shown["type"] != "image_url":
        raise LMStudioValueError(f"Could not count the tokens of the file {part.name!r}: only images are counted.")
    head, _, data = shown["image_url"]["url"].partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    return ImageBlock(source=Base64Source(media_type=media_type, data=data))
