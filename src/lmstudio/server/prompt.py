"""From a chat to the text that the model continues."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from lmstudio._sdk_models import (
    AssistantResponse,
    FileHandle,
    SystemPrompt,
    TextData,
    ToolCallRequestData,
    ToolResultMessage,
)
from lmstudio.server.engine.base import ChatImage, PromptTooLongError
from lmstudio.server.errors import RequestError
from lmstudio.server.output import reasoning_splitter
from lmstudio.server.tool_calls.plain_prompt import knows_tools, plain_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lmstudio._sdk_models import ChatHistoryData, LlmManualPromptTemplate, ToolCallRequest
    from lmstudio.server.config import PredictionConfig
    from lmstudio.server.engine.base import LoadedModel
    from lmstudio.server.tool_calls.naming import ToolNames

__all__ = ["ChatPrompt", "ContinuedPrompt", "Prompt", "RawPrompt", "chat_prompt", "template_messages"]

Message: TypeAlias = dict[str, Any]
"""A message as chat templates expect it: `role`, `content`, and for tool use `tool_calls`, `tool_call_id`, `name`."""

_ANSWER_SHARE: Final = 4
"""A shortened chat leaves one part in this many of the context for the answer."""


class Prompt(Protocol):
    """What a prediction begins with."""

    async def text(self) -> str:
        """The whole prompt."""
        raise NotImplementedError

    async def shortened(self, error: PromptTooLongError) -> str:
        """A prompt that fits where the whole one did not.

        Raises:
            PromptTooLongError: that is not wanted, or not possible.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class RawPrompt:
    """A text as it is."""

    content: str

    async def text(self) -> str:
        """The text."""
        return self.content

    async def shortened(self, error: PromptTooLongError) -> str:
        """A text has no part that could be left out."""
        raise error


@dataclass(frozen=True)
class ContinuedPrompt:
    """A prompt for an answer whose beginning is given."""

    prompt: Prompt
    config: PredictionConfig
    beginning: str

    async def text(self) -> str:
        """The whole prompt, and the beginning of the answer."""
        return self._continued(await self.prompt.text())

    async def shortened(self, error: PromptTooLongError) -> str:
        """As the prompt itself; the beginning takes room that is meant for the answer."""
        return self._continued(await self.prompt.shortened(error))

    def _continued(self, text: str) -> str:
        # A template may begin the answer inside of the reasoning; what is given comes after it.
        reasoning = self.config.reasoning
        if reasoning is not None and reasoning_splitter(reasoning, text).is_inside:
            text += f"{reasoning.end_string}\n\n"
        return text + self.beginning


def chat_prompt(
    model: LoadedModel,
    history: ChatHistoryData,
    config: PredictionConfig,
    tools: Sequence[dict[str, Any]] | None = None,
) -> Prompt:
    """The prompt for *history*; *tools* replace those of *config*.

    Raises:
        RequestError: the history holds something that this server cannot show to a model.
    """
    if config.is_raw:
        if any(isinstance(part, ChatImage) for message in history.messages for part in message.content):
            raise RequestError("A text without a chat template cannot contain images.", suggestion="Send a chat.")
        return RawPrompt("".join(_joined_text(message.content, "") for message in history.messages))
    names = config.tool_names(tools)
    offered = names.definitions(config.tools if tools is None else tools)
    messages = template_messages(history, names)
    if config.system_prompt and all(message["role"] != "system" for message in messages):
        messages.insert(0, {"role": "system", "content": config.system_prompt})
    return ChatPrompt(model, messages, config, offered)


class ChatPrompt:
    """A chat under a template."""

    def __init__(
        self, model: LoadedModel, messages: list[Message], config: PredictionConfig, tools: Sequence[dict[str, Any]]
    ) -> None:
        self._model = model
        self._messages = messages
        self._config = config
        self._tools = tools

    async def text(self) -> str:
        """All messages, and the beginning of the answer."""
        return await self._render(self._messages)

    async def shortened(self, error: PromptTooLongError) -> str:
        """As much of the chat as leaves room for an answer, by the configured policy.

        Whole messages are left out, after the system prompt (`rollingWindow`) or after the first user message
        (`truncateMiddle`). Each attempt costs one rendering and one tokenization; there are O(log n).
        """
        ways = _shorter_chats(self._messages, self._config.overflow_policy)
        if not ways:
            raise error
        limit = error.context_length
        reserve = min(self._config.max_tokens or limit, max(1, limit // _ANSWER_SHARE))
        shortest, length = await self._measured(*ways[-1])
        if length >= limit:
            raise PromptTooLongError(length, limit)
        best = shortest
        # The longest chat that fits comes after `low`, and not after `high`.
        low, high = -1, len(ways) - 1
        while high - low > 1:
            middle = (low + high) // 2
            text, length = await self._measured(*ways[middle])
            if length + reserve <= limit:
                best, high = text, middle
            else:
                low = middle
        return best

    async def _measured(self, front: list[Message], rest: int) -> tuple[str, int]:
        text = await self._render([*front, *self._messages[rest:]])
        return text, len(await self._model.tokenize(text))

    async def _render(self, messages: list[Message]) -> str:
        manual, jinja = self._config.manual_template, self._config.jinja_template
        if manual is not None:
            return _render_manually(manual, plain_messages(messages, self._tools))
        tools = self._tools
        uses_tools = bool(tools) or any(message["role"] == "tool" for message in messages)
        if uses_tools and not knows_tools(await self._model.chat_template() if jinja is None else jinja):
            # Such a template would drop them without a word.
            messages, tools = plain_messages(messages, tools), ()
        return await self._model.render_chat(
            messages, tools=tools, template=jinja, enable_thinking=self._config.enable_thinking
        )


def _shorter_chats(messages: list[Message], policy: str) -> list[tuple[list[Message], int]]:
    """Ways to leave messages out, the longest chat first: what stays at the front, and where the rest begins.

    The last user message always stays, and no tool's result without its request. As templates insist on taking turns,
    the rest begins with a user message, or with an answer where a user message stays in front of it. Only when all
    earlier turns are gone, the last one loses answers as well: the model may have used tools in it many times.
    """
    start = next((index for index, message in enumerate(messages) if message["role"] != "system"), 0)
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if not users or policy == "stopAtLimit":
        return []
    first, last = users[0], users[-1]
    if policy == "rollingWindow":
        system = messages[:start]
        ways = [(system, index) for index in users if index > start]
        last_front = [*system, messages[last]]
    else:
        front = messages[: first + 1]
        ways = [(front, index) for index in answers if first + 1 < index < last]
        ways += [(front, last)] if last > first + 1 else []
        last_front = [*front, messages[last]] if last > first else front
    return ways + [(last_front, index) for index in answers if index > last + 1]


def _render_manually(template: LlmManualPromptTemplate, messages: Iterable[Message]) -> str:
    around = {
        "system": (template.before_system, template.after_system),
        "user": (template.before_user, template.after_user),
        "assistant": (template.before_assistant, template.after_assistant),
    }
    parts = [
        f"{before}{message['content']}{after}"
        for message in messages
        for before, after in (around.get(message["role"], around["user"]),)
    ]
    return "".join(parts) + template.before_assistant


def template_messages(history: ChatHistoryData, names: ToolNames) -> list[Message]:
    """The messages as chat templates expect them, tools under the *names* for the model.

    A tool message becomes one message per result. Requests without an id get one, and results without an id belong to
    the open requests in order.

    Raises:
        RequestError: a message carries a file.
    """
    messages: list[Message] = []
    open_requests: deque[tuple[str, str]] = deque()
    for message in history.messages:
        match message:
            case ToolResultMessage(content=results):
                for result in results:
                    request_id, name = _answered(open_requests, result.tool_call_id)
                    answer: Message = {"role": "tool", "content": result.content, "tool_call_id": request_id}
                    if result.name or name:
                        answer["name"] = names.shown(result.name) if result.name else name
                    messages.append(answer)
            case AssistantResponse(content=parts):
                answer = {"role": "assistant", "content": _joined_text(parts)}
                requests = [part.tool_call_request for part in parts if isinstance(part, ToolCallRequestData)]
                if requests:
                    calls = [
                        _tool_call(request, names.shown(request.name), f"call_{len(messages)}_{number}")
                        for number, request in enumerate(requests)
                    ]
                    open_requests.extend((call["id"], call["function"]["name"]) for call in calls)
                    answer["tool_calls"] = calls
                messages.append(answer)
            case SystemPrompt(content=parts):
                messages.append({"role": "system", "content": _joined_text(parts)})
            case _:
                question: Message = {"role": "user", "content": _joined_text(message.content)}
                images = [part for part in message.content if isinstance(part, ChatImage)]
                messages.append({**question, "images": images} if images else question)
    return messages


def _tool_call(request: ToolCallRequest, name: str, default_id: str) -> dict[str, Any]:
    return {
        "id": request.id or default_id,
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(request.arguments or {}, ensure_ascii=False)},
    }


def _answered(open_requests: deque[tuple[str, str]], request_id: str | None) -> tuple[str, str]:
    """Id and name of the request that a result answers; it is not open any more."""
    for request in open_requests:
        if request_id in (None, request[0]):
            open_requests.remove(request)
            return request
    return request_id or "", ""


def _joined_text(parts: Iterable[object], separator: str = " ") -> str:
    """The text parts, joined as lmstudio.js joins them.

    Raises:
        RequestError: one of the parts is a file.
    """
    for part in parts:
        if isinstance(part, FileHandle):
            raise RequestError(
                f"The chat contains the file {part.name!r}, but this server does not support images or documents.",
                suggestion="Send the text of the document instead.",
            )
    return separator.join(part.text for part in parts if isinstance(part, TextData))
