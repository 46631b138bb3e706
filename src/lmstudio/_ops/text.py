"""Texts and tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lmstudio._endpoints.models import COUNT_TOKENS, TOKENIZE
from lmstudio._kv_config import read_config
from lmstudio._ops.models import ModelTarget, describe
from lmstudio._sdk_models import (
    ChatHistoryData,
    KvConfigStack,
    LlmApplyPromptTemplateOpts,
    ModelRpcCountTokensParameter,
    ModelRpcTokenizeParameter,
)
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._endpoints import Rpc
    from lmstudio._port import Port
    from lmstudio._sdk_models import KvConfig, LlmTool

P = TypeVar("P")
R = TypeVar("R")

MAX_IN_FLIGHT = 256
"""How many texts of one call are on their way at a time: more would only fill queues, here and in the server."""


def as_texts(texts: str | Iterable[str]) -> list[str]:
    """One text or several, as a list; anything else is refused."""
    # Mappings and bytes can be iterated, but nobody means their keys or numbers.
    if not isinstance(texts, Iterable) or isinstance(texts, (Mapping, bytes, bytearray)):
        raise LMStudioValueError(f"Expected text or several texts, got {type(texts).__name__}.")
    result = [texts] if isinstance(texts, str) else list(texts)
    for index, text in enumerate(result):
        if not isinstance(text, str):
            raise LMStudioValueError(f"Expected text, got {type(text).__name__} at position {index}: {text!r:.60}.")
    return result


async def _call_each(port: Port, rpc: Rpc[P, R], parameters: Sequence[P], attempted: str) -> list[R]:
    """One call per parameter, together as far as they are few; result[i] belongs to parameters[i]."""
    if len(parameters) == 1:
        return [await port.call(rpc, parameters[0], attempted)]
    results: list[R] = []
    for start in range(0, len(parameters), MAX_IN_FLIGHT):
        results += await port.call_many(rpc, parameters[start : start + MAX_IN_FLIGHT], attempted)
    return results


async def tokenize(port: Port, target: ModelTarget, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, without a chat template; result[i] belongs to texts[i].

    Up to MAX_IN_FLIGHT texts take one round trip together.

    Protocol: rpc tokenize.
    """
    parameters = [ModelRpcTokenizeParameter(specifier=target, input_string=text) for text in texts]
    replies = await _call_each(port, TOKENIZE, parameters, f"tokenize with {describe(target)}")
    return [reply.tokens for reply in replies]


async def count_tokens(port: Port, target: ModelTarget, text: str) -> int:
    """The number of tokens of *text*, without a chat template. Protocol: rpc countTokens."""
    if not isinstance(text, str):
        raise LMStudioValueError(
            f"Tokens are counted for one text at a time; expected text, got {type(text).__name__}."
        )
    parameter = ModelRpcCountTokensParameter(specifier=target, input_string=text)
    return (await port.call(COUNT_TOKENS, parameter, f"count tokens with {describe(target)}")).token_count


async def count_each(port: Port, target: ModelTarget, texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text, without a chat template. Protocol: rpc countTokens."""
    parameters = [ModelRpcCountTokensParameter(specifier=target, input_string=text) for text in texts]
    replies = await _call_each(port, COUNT_TOKENS, parameters, f"count tokens with {describe(target)}")
    return [reply.token_count for reply in replies]


def read_template_opts(opts: LlmApplyPromptTemplateOpts | Mapping[str, Any] | None) -> LlmApplyPromptTemplateOpts:
    """The options of `apply_prompt_template`, checked."""
    return read_config(LlmApplyPromptTemplateOpts, opts or {})


async def apply_prompt_template(
    port: Port,
    target: ModelTarget,
    history: ChatHistoryData,
    opts: LlmApplyPromptTemplateOpts,
    chat_config: KvConfig | None = None,
) -> str:
    """The text that the model would see for *history*. Protocol: rpc llm/applyPromptTemplate.

    Args:
        chat_config: As in `PredictionOptions`.
    """
    from lmstudio._endpoints.llm import APPLY_PROMPT_TEMPLATE
    from lmstudio._ops.prediction import chat_layers
    from lmstudio._sdk_models import LlmRpcApplyPromptTemplateParameter

    parameter = LlmRpcApplyPromptTemplateParameter(
        specifier=target,
        history=history,
        prediction_config_stack=KvConfigStack(layers=chat_layers(chat_config)),
        opts=opts,
    )
    attempted = f"apply the prompt template of {describe(target)}"
    return (await port.call(APPLY_PROMPT_TEMPLATE, parameter, attempted)).formatted


async def count_chat_tokens(
    port: Port,
    target: ModelTarget,
    history: ChatHistoryData,
    tool_definitions: Sequence[LlmTool | Mapping[str, Any]] | None = None,
    chat_config: KvConfig | None = None,
) -> int:
    """How much of the context *history* takes: the number of tokens of what the model would see.

    Args:
        tool_definitions: The tools that the model would be offered; their descriptions take tokens, too.
            Dicts are sent as they are.
        chat_config: As in `PredictionOptions`.

    Protocol: rpc llm/applyPromptTemplate, then countTokens.
    """
    tools = cast("list[LlmTool] | None", None if tool_definitions is None else list(tool_definitions))
    opts = LlmApplyPromptTemplateOpts(tool_definitions=tools)
    return await count_tokens(port, target, await apply_prompt_template(port, target, history, opts, chat_config))


async def embed(port: Port, target: ModelTarget, texts: Sequence[str]) -> list[list[float]]:
    """Embed each text; result[i] belongs to texts[i].

    Up to MAX_IN_FLIGHT texts take one round trip together.

    Returns:
        len(texts) vectors of the model's embedding length, as the server sent them.

    Protocol: rpc embedding/embedString.
    """
    from lmstudio._endpoints.embedding import EMBED_STRING
    from lmstudio._sdk_models import EmbeddingRpcEmbedStringParameter

    parameters = [EmbeddingRpcEmbedStringParameter(model_specifier=target, input_string=text) for text in texts]
    replies = await _call_each(port, EMBED_STRING, parameters, f"embed with {describe(target)}")
    return [reply.embedding for reply in replies]
