"""POST /api/v1/chat: one more turn of a chat that the server may remember."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from lmstudio._http_models import rest_v1 as wire
from lmstudio._openai_messages import read_openai_part
from lmstudio._openai_parameters import reasoning_config, tools_fields
from lmstudio._sdk_models import (
    AssistantResponse,
    ChatHistoryData,
    FileHandle,
    LlmTool,
    SystemPrompt,
    TextData,
    ToolCallRequestData,
    ToolCallResultData,
    ToolResultMessage,
    UserMessage,
)
from lmstudio.server.files.chat import with_contents
from lmstudio.server.http.errors import REST_V1, HttpError
from lmstudio.server.http.local_backend import CLIENT, LocalBackend
from lmstudio.server.http.mcp_servers import CONFIGURED
from lmstudio.server.http.observer import observed
from lmstudio.server.http.plugin_turns import generated, generator_of, plugin_turn
from lmstudio.server.http.rest_v1_models import load_config
from lmstudio.server.http.rest_v1_output import EventStream, Output, Tally, event_bytes
from lmstudio.server.http.server_tools import MAX_ROUNDS, server_tools
from lmstudio.server.http.stored_chats import StoredChat, new_response_id
from lmstudio.server.http.work import refusing_bad_messages
from lmstudio.server.loads import StartedLoad

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from lmstudio._sdk_models import AnyChatMessage, ToolCallRequest
    from lmstudio.server.config import PredictionConfig
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.http.plugin_turns import PluginTurn
    from lmstudio.server.http.server_tools import Toolbox
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.instances import Instance
    from lmstudio.server.loads import AcquireEvent
    from lmstudio.server.output import Packet

__all__ = ["v1_chat"]


async def v1_chat(exchange: Exchange, request: wire.ChatRequest) -> None:
    """Answer a message, in a new chat or in one that was stored.

    *context_length* counts if this request loads the model, as a time to live does.
    """
    integrations = _integrations(exchange.settings, request)
    turn = _Turn(exchange, request)
    await turn.check()
    try:
        async with server_tools(exchange.core, integrations, mcp_json=exchange.settings.mcp_json) as tools:
            await turn.answer(tools)
    finally:
        turn.stream.close()


class _Turn:
    """One request."""

    def __init__(self, exchange: Exchange, request: wire.ChatRequest) -> None:
        """Raises HttpError for a request with something wrong in it."""
        self.stream = EventStream(exchange)
        self._exchange = exchange
        self._backend = exchange.local
        self._core = exchange.core
        self._request = request
        question = _question(request)
        self._question = question
        self._generator = generator_of(self._core, request.model) if exchange.settings.allow_plugins else None
        self._messages: list[AnyChatMessage] = [question]
        self._system_prompt = request.system_prompt
        if request.previous_response_id is not None:
            previous = self._core.stored_chats.previous(request.previous_response_id)
            self._messages = [*previous.messages, question]
            if request.system_prompt is None:
                self._system_prompt = previous.system_prompt
        self._load_config = load_config("llm", {"context_length": request.context_length})
        self._config = _config(self._backend, request)
        self._output = Output({})
        self._tally = Tally()
        self._response_id = None if request.store is False else new_response_id()
        self._instance_id = ""
        self._load_began: float | None = None

    async def check(self) -> None:
        """Refuse what the model cannot do, before it is loaded.

        Raises:
            HttpError, RequestError: there is no such model, or it cannot see or reason.
        """
        request, instances = self._request, self._core.instances
        if self._generator is not None:
            return
        loaded = instances.match("llm", request.model)
        file = loaded.file if loaded is not None else instances.resolve("llm", request.model)[0]
        if request.reasoning not in (None, "off") and not file.can_reason:
            message = f"{file.model_key!r} does not reason: its chat template knows nothing of it. Leave reasoning out."
            raise HttpError("invalid_request", message, param="reasoning", code="invalid_value")
        await with_contents(self._core.files, CLIENT, ChatHistoryData(messages=self._messages), file)

    async def answer(self, tools: Toolbox) -> None:
        """Reply."""
        self._output = Output(tools.providers)
        kv = self._config.to_kv()
        earlier = [*self._system(), *self._messages[:-1]]
        try:
            with plugin_turn(self._core, self._question, earlier, self._request.model, kv, tools) as plugins:
                self._messages[-1] = await plugins.preprocessed()
                await self._answer(tools, plugins)
        except Exception:
            if self.stream.has_begun:
                await self.stream.flush()  # what came before the error
            raise
        self._store()
        observed().answered(self._response_id)
        if self._request.stream:
            self.stream.put(wire.ChatEnd(result=self._reply(self._response_id)))
            await self.stream.flush()
            await self._exchange.end_stream()
        else:
            await self._exchange.reply(self._reply(self._response_id))

    async def _answer(self, tools: Toolbox, plugins: PluginTurn) -> None:
        if plugins.loop_handler is not None:
            await self._take(plugins.answer())
            return
        if self._generator is not None:
            await self._call_tools(tools, self._generate)
            return
        async with self._backend.using_model(
            self._exchange.settings,
            "llm",
            self._request.model,
            load_config=self._load_config,
            on_event=self._hear,
        ) as instance:
            self._loaded(instance)
            await self._call_tools(tools, partial(self._predict, instance))

    # Loading ---------------------------------------------------------------------------------------------------------

    def _put(self, *events: wire.ChatEvent) -> None:
        if self._request.stream:
            self.stream.put(*events)

    def _start(self, instance_id: str) -> None:
        if not self._instance_id:
            self._instance_id = instance_id
            self._exchange.end_of_failed_stream = self._failure
            self._put(wire.ChatStart(model_instance_id=instance_id))

    def _hear(self, event: AcquireEvent) -> None:
        """Tell of a load."""
        if isinstance(event, StartedLoad) and self._load_began is None:
            self._load_began = self._core.clock.monotonic()
            self._start(event.identifier)
            self._put(wire.ModelLoadStart(model_instance_id=event.identifier))
        elif isinstance(event, float):
            self._put(wire.ModelLoadProgress(model_instance_id=self._instance_id, progress=event))

    def _loaded(self, instance: Instance) -> None:
        if self._load_began is None:
            return
        self._instance_id = instance.identifier
        self._tally.load_seconds = seconds = self._core.clock.monotonic() - self._load_began
        self._put(wire.ModelLoadEnd(model_instance_id=instance.identifier, load_time_seconds=seconds))

    # Predicting ------------------------------------------------------------------------------------------------------

    async def _call_tools(
        self, tools: Toolbox, predict: Callable[[Toolbox | None], Awaitable[list[ToolCallRequest]]]
    ) -> None:
        """Let the model write, and call its tools until it has nothing more to call."""
        for _ in range(MAX_ROUNDS):
            calls = await predict(tools)
            if not calls:
                return
            self._messages.append(ToolResultMessage(content=[await self._result(tools, call) for call in calls]))
        await predict(None)  # without tools, so that it comes to an end

    def _system(self) -> list[SystemPrompt]:
        return [] if not self._system_prompt else [SystemPrompt(content=[TextData(text=self._system_prompt)])]

    async def _predict(self, instance: Instance, tools: Toolbox | None) -> list[ToolCallRequest]:
        """One prediction. Returns what the model wants to call."""
        first = len(self._output.items)
        config = self._config if tools is None else _config(self._backend, self._request, tools)
        prompt = await self._backend.chat(instance, [*self._system(), *self._messages], config)
        async with self._backend.running(instance, config, prompt) as prediction:
            await prediction.wait_for_first(is_progress_enough=True)
            self._start(instance.identifier)
            async for packets in prediction.packets():
                self._put(*self._output.add(packets))
                await self.stream.flush()
            self._put(*self._output.end_section())
            self._tally.add(prediction.stats)
        return self._written(first)

    async def _generate(self, tools: Toolbox | None) -> list[ToolCallRequest]:
        """The same by the generator of a plugin."""
        assert self._generator is not None
        functions = [] if tools is None else tools.functions
        offered = [LlmTool.from_dict({"type": "function", "function": function}) for function in functions]
        return await self._take(generated(self._core, self._generator, [*self._system(), *self._messages], offered))

    async def _take(self, written: AsyncGenerator[Packet]) -> list[ToolCallRequest]:
        """What a plugin writes. Returns what it wants to call."""
        first = len(self._output.items)
        self._start(self._request.model)
        async with aclosing(written):
            async for packet in written:
                self._put(*self._output.add([packet]))
                await self.stream.flush()
        self._put(*self._output.end_section())
        return self._written(first)

    def _written(self, first: int) -> list[ToolCallRequest]:
        """Keep the items from *first* on for the next prediction. Returns the calls among them."""
        text = "".join(item.content for item in self._output.items[first:] if isinstance(item, wire.MessageItem))
        calls = self._output.take_calls()
        requests = [ToolCallRequestData(tool_call_request=call) for call in calls]
        texts = [TextData(text=text)] if text or not calls else []
        self._messages.append(AssistantResponse(content=[*texts, *requests]))
        return calls

    async def _result(self, tools: Toolbox, call: ToolCallRequest) -> ToolCallResultData:
        """What comes back of *call*, for the model."""
        if call.name in tools.providers:
            answer = await tools.call(call.name, call.arguments or {})
            self._put(*self._output.answered(call, answer))
            await self.stream.flush()
        else:
            answer = f"There is no tool {call.name!r}."
        return ToolCallResultData(content=answer, tool_call_id=call.id, name=call.name)

    # Replying --------------------------------------------------------------------------------------------------------

    def _reply(self, response_id: str | None) -> wire.ChatReply:
        return wire.ChatReply(
            model_instance_id=self._instance_id,
            output=self._output.items,
            stats=self._tally.stats(self._output),
            response_id=response_id,
        )

    def _store(self) -> None:
        if self._response_id is not None:
            self._core.stored_chats.put(StoredChat(self._response_id, self._messages, self._system_prompt))

    def _failure(self, error: HttpError) -> bytes:
        """What ends the stream after *error*: what there is, which is not stored."""
        problem = wire.Problem(**REST_V1.body(error)["error"])
        ends = self._output.end_section()
        return event_bytes(*ends, wire.ErrorEvent(error=problem), wire.ChatEnd(result=self._reply(None)))


def _question(request: wire.ChatRequest) -> UserMessage:
    """The new message.

    Raises:
        HttpError: it is empty, or has something that is no image.
    """
    given = [wire.TextInput(content=request.input)] if isinstance(request.input, str) else request.input
    if not given:
        raise HttpError("invalid_request", "input is empty: it needs at least one part.", param="input")
    parts: list[TextData | FileHandle] = []
    with refusing_bad_messages("input"):
        for number, part in enumerate(given):
            if not isinstance(part, wire.ImageInput):
                parts.append(TextData(text=part.content))
                continue
            image = read_openai_part({"type": "image_url", "image_url": {"url": part.data_url}})
            if not isinstance(image, FileHandle) or image.file_type != "image":
                message = f"input[{number}] has the type 'image', but its data_url is not that of an image."
                raise HttpError("invalid_request", message, param=f"input[{number}].data_url", code="invalid_value")
            parts.append(image)
    return UserMessage(content=parts)


def _config(backend: LocalBackend, request: wire.ChatRequest, tools: Toolbox | None = None) -> PredictionConfig:
    config: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p_sampling": request.top_p,
        "top_k_sampling": request.top_k,
        "min_p_sampling": request.min_p,
        "repeat_penalty": request.repeat_penalty,
        "max_tokens": request.max_output_tokens,
        **reasoning_config(request.reasoning, "reasoning"),
    }
    given = {name: value for name, value in config.items() if value is not None}
    return backend.configured(given, tools_fields(tools.functions) if tools else {}, preset=None)


def _integrations(
    settings: HttpSettings, request: wire.ChatRequest
) -> list[wire.PluginIntegration | wire.EphemeralMcpIntegration]:
    """Whose tools *request* wants.

    Raises:
        HttpError: the server does not allow that.
    """
    integrations = [
        wire.PluginIntegration(id=given) if isinstance(given, str) else given for given in request.integrations or ()
    ]
    for integration in integrations:
        if isinstance(integration, wire.EphemeralMcpIntegration):
            is_allowed, what, switch = settings.allow_ephemeral_mcp, "bring MCP servers", "allow_ephemeral_mcp"
        elif integration.id.startswith(CONFIGURED):
            is_allowed = settings.mcp_json is not None or settings.allow_plugins
            what, switch = "use MCP servers of its own", "mcp_json"
        else:
            is_allowed, what, switch = settings.allow_plugins, "use plugins", "allow_plugins"
        if not is_allowed:
            message = f"This server does not let requests {what}: start it with {switch}, or leave them out."
            raise HttpError("not_implemented", message, param="integrations")
    return integrations
