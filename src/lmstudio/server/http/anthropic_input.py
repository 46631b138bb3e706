"""From a request of Anthropic's API to LM Studio's messages and configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models.anthropic import (
    AnyChoice,
    AutoChoice,
    Base64Source,
    DocumentBlock,
    ImageBlock,
    MessagesRequest,
    NoChoice,
    TextBlock,
    TextSource,
    ThinkingDisabled,
    ThinkingEnabled,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from lmstudio._openai_messages import read_openai_part
from lmstudio._openai_parameters import structured_config, tools_fields
from lmstudio._sdk_models import (
    AssistantResponse,
    FileHandle,
    SystemPrompt,
    TextData,
    ToolCallRequest,
    ToolCallRequestData,
    ToolCallResultData,
    ToolResultMessage,
    UserMessage,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._http_models.anthropic import CountTokensRequest, InputBlock, InputMessage, Tool
    from lmstudio._sdk_models import AnyChatMessage
    from lmstudio.server.http.backend import Backend, Config

__all__ = ["config_of", "messages_of"]

_MODES: Final = {AutoChoice: "auto", AnyChoice: "required", NoChoice: "none"}


# Messages ------------------------------------------------------------------------------------------------------------


def messages_of(request: CountTokensRequest) -> tuple[list[AnyChatMessage], str]:
    """The chat of *request*, and what the answer is to begin with, because its last message is one of the assistant.

    Reasoning of earlier turns is left out, as templates leave it out. Messages of one role in a row are one.

    Raises:
        HttpError: there are no messages, or one has something that LM Studio cannot be given.
    """
    if not request.messages:
        raise HttpError("invalid_request", "messages is empty: it needs at least one message.", param="messages")
    messages: list[Any] = []
    if request.system:
        system = request.system if isinstance(request.system, str) else [*request.system]
        _add(messages, SystemPrompt(content=_parts(system)))
    for number, message in enumerate(request.messages):
        try:
            for read in _read(message):
                _add(messages, read)
        except LMStudioValueError as error:
            where = f"messages[{number}]"
            raise HttpError("invalid_request", f"{where}: {error}", param=where, code="invalid_value") from None
    return messages, _beginning(messages)


def _beginning(messages: list[Any]) -> str:
    """Takes the last message away if it is text of the assistant, which the model goes on with."""
    last = messages[-1]
    if not isinstance(last, AssistantResponse) or not all(isinstance(part, TextData) for part in last.content):
        return ""
    messages.pop()
    return "".join(part.text for part in last.content if isinstance(part, TextData))


def _add(messages: list[Any], message: Any) -> None:
    if messages and type(messages[-1]) is type(message):
        messages[-1].content += message.content
        messages[-1].content[:] = _joined(messages[-1].content)
    else:
        messages.append(message)


def _read(message: InputMessage) -> list[Any]:
    """The messages for one of Anthropic: results of tools, which have a role of their own, come before the rest."""
    blocks = message.content
    if message.role == "assistant":
        return [AssistantResponse(content=_parts(blocks))]
    if message.role == "system":
        return [SystemPrompt(content=_parts(blocks))]
    if isinstance(blocks, str):
        return [UserMessage(content=_parts(blocks))]
    results = [block for block in blocks if isinstance(block, ToolResultBlock)]
    # Models are told the result of a tool as text: what else it brought, the user shows.
    shown = [block for result in results for block in _blocks(result) if not isinstance(block, TextBlock)]
    others = [*shown, *(block for block in blocks if not isinstance(block, ToolResultBlock))]
    read: list[Any] = [ToolResultMessage(content=[_result(result) for result in results])] if results else []
    return [*read, UserMessage(content=_parts(others))] if others or not read else read


def _blocks(result: ToolResultBlock) -> Sequence[TextBlock | ImageBlock | DocumentBlock]:
    return [TextBlock(text=result.content)] if isinstance(result.content, str) else result.content or ()


def _result(result: ToolResultBlock) -> ToolCallResultData:
    text = "\n".join(block.text for block in _blocks(result) if isinstance(block, TextBlock))
    return ToolCallResultData(content=f"Error: {text}" if result.is_error else text, tool_call_id=result.tool_use_id)


def _parts(content: str | Sequence[InputBlock]) -> list[Any]:
    blocks = [TextBlock(text=content)] if isinstance(content, str) else content
    return _joined([part for block in blocks if (part := _part(block)) is not None])


def _joined(parts: Sequence[Any]) -> list[Any]:
    """*parts*, texts in a row as one: a line for each."""
    joined: list[Any] = []
    for part in parts:
        if isinstance(part, TextData) and joined and isinstance(joined[-1], TextData):
            joined[-1] = TextData(text=f"{joined[-1].text}\n{part.text}")
        else:
            joined.append(part)
    return joined


def _part(block: InputBlock) -> TextData | FileHandle | ToolCallRequestData | None:
    """None for reasoning."""
    match block:
        case TextBlock(text=text):
            return TextData(text=text)
        case ToolUseBlock(id=call_id, name=name, input=arguments):
            return ToolCallRequestData(tool_call_request=ToolCallRequest(name=name, id=call_id, arguments=arguments))
        case ImageBlock(source=Base64Source(media_type=media_type, data=data)):
            return read_openai_part({"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}})
        case DocumentBlock(source=Base64Source(media_type=media_type, data=data), title=title):
            file = {"filename": title or "document", "file_data": f"data:{media_type};base64,{data}"}
            return read_openai_part({"type": "file", "file": file})
        case DocumentBlock(source=TextSource(data=text), title=title):
            return TextData(text=f"{title}\n{text}" if title else text)
        case ImageBlock(source=UrlSource(url=url)) | DocumentBlock(source=UrlSource(url=url)):
            raise LMStudioValueError(
                f"This server does not fetch files from the web ({url!r:.80}). Send the content as base64."
            )
        case ToolResultBlock():
            raise LMStudioValueError("Blocks of the type tool_result belong into messages of the user.")
        case _:
            return None


# Configuration -------------------------------------------------------------------------------------------------------


def config_of(backend: Backend, request: CountTokensRequest) -> Config:
    """How to predict.

    Raises:
        RequestError, HttpError: a value is not valid.
    """
    config: dict[str, Any] = {**_thinking(request)}
    if request.output_config is not None:
        config |= structured_config(request.output_config.format, "output_config.format")
    if isinstance(request, MessagesRequest):
        config |= _sampling(request)
    return backend.configured(config, _tools(request), preset=None)


def _sampling(request: MessagesRequest) -> dict[str, Any]:
    config = {
        "max_tokens": request.max_tokens,
        "stop_strings": [text for text in request.stop_sequences or () if text] or None,
        "temperature": request.temperature,
        "top_p_sampling": request.top_p,
        "top_k_sampling": request.top_k,
    }
    return {name: value for name, value in config.items() if value is not None}


def _thinking(request: CountTokensRequest) -> dict[str, Any]:
    match request.thinking:
        case None:
            return {}
        case ThinkingDisabled():
            return {"enable_thinking": False, "reasoning_budget": 0}
        case ThinkingEnabled(budget_tokens=budget):
            return {"enable_thinking": True, "reasoning_budget": budget}
        case _:
            return {"enable_thinking": True, "reasoning_budget": False}


def _tools(request: CountTokensRequest) -> dict[str, Any]:
    functions = [_function(tool, number) for number, tool in enumerate(request.tools or ())]
    choice = request.tool_choice
    if isinstance(choice, ToolChoice):
        return tools_fields(functions, only=choice.name)
    if isinstance(choice, AnyChoice) and not functions:
        message = "tool_choice asks for a call of any tool, but there are no tools."
        raise HttpError("invalid_request", message, param="tool_choice", code="invalid_value")
    return tools_fields(functions, None if choice is None else _MODES[type(choice)])


def _function(tool: Tool, number: int) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        message = f"tools[{number}] has the type {tool.type!r:.80}, which only Anthropic runs. Here tools are 'custom'."
        raise HttpError("invalid_request", message, param=f"tools[{number}].type", code="invalid_value")
    return {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
