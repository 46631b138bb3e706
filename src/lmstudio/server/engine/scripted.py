"""An engine without weights: it says what a test tells it to, fails when a test tells it to, and can be held still.

    gate = Gate()
    engine = ScriptedEngine(Reply(["Hello", gate, " world"]))
    ...                        # start the server with it, begin a prediction
    assert gate.reached()      # "Hello" is out, nothing moves
    gate.open()

Left alone it repeats the user's words, obeys token limits, stop strings and JSON schemas, and is instant. What a test
looks at (`requests`, `chats`, `loads`, `wait_for_cancel`) may be read, and gates opened, from any thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lmstudio.server.engine._gate import Gate, Signal
from lmstudio.server.engine._scripted_calls import CALL_START, BrokenToolCall, Reasoning, ToolCall
from lmstudio.server.engine._scripted_json import minimal_instance
from lmstudio.server.engine._scripted_run import Chunk, Reply, is_continued, play, token_id, words
from lmstudio.server.engine.base import (
    BadInputError,
    ChatImage,
    Engine,
    EngineError,
    EngineLogLine,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    LoadedModel,
    LoadOptions,
    ModelDiedError,
    ModelFile,
    ModelKind,
    ProgressCallback,
    PromptTooLongError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

__all__ = [
    "BrokenToolCall",
    "Chunk",
    "Gate",
    "Reasoning",
    "RenderedChat",
    "Reply",
    "ScriptedEngine",
    "ScriptedModel",
    "ToolCall",
    "scripted_model",
    "scripted_models",
]

_CHUNKS_PER_TURN: Final = 64
_END_OF_TEXT: Final = "\n<|"
_PUBLISHER: Final = "lmstudio-python"


Answer: TypeAlias = "Reply | Chunk | Sequence[Chunk]"
Script: TypeAlias = "Reply | Chunk | Sequence[Reply | Chunk] | Callable[[GenerationRequest], Answer | None] | None"


@dataclass(frozen=True)
class RenderedChat:
    """A chat that was turned into a prompt."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    template: str | None
    enable_thinking: bool | None
    prompt: str
    model_key: str = ""

    @property
    def images(self) -> list[ChatImage]:
        """The images of all messages."""
        return [image for message in self.messages for image in message.get("images", ())]


class ScriptedEngine(Engine):
    """An engine for tests; see the module's text.

    *reply* is the program: one answer for every request (a `Reply`, a text, a tool call, or a sequence of chunks), a
    sequence of `Reply` objects for successive requests (texts may stand between them), or a function of the request.
    None: repeat the last user text. It may be replaced at any time by assigning to `reply`.

        ScriptedEngine([Reply(["Let me see.", ToolCall("add", {"a": 1, "b": 2})]), "1 + 2 = 3."])

    *load_steps* progress reports follow the initial 0, *load_delay_seconds* apart; *load_gate* stands after that 0.
    *fail_load* fails every load with this message, or is a function that has a message for some models. *vectors* is a
    function that has the vector of some texts; that of the others has *embedding_length* numbers.
    """

    name = "scripted"
    version = "1"
    default_options: LoadOptions = LoadOptions(
        parallel_sessions=4, eval_batch_size=512, flash_attention=True, offload_kv_cache=True
    )

    def __init__(
        self,
        reply: Script = None,
        *,
        load_steps: int = 4,
        load_delay_seconds: float = 0.0,
        load_gate: Gate | None = None,
        fail_load: str | Callable[[ModelFile], str | None] | None = None,
        embedding_length: int = 16,
        vectors: Callable[[str], Sequence[float] | None] | None = None,
    ) -> None:
        self.reply = reply
        self.load_steps = load_steps
        self.load_delay_seconds = load_delay_seconds
        self.load_gate = load_gate
        self.fail_load = fail_load
        self.embedding_length = embedding_length
        self.vectors = vectors
        self.requests: list[GenerationRequest] = []
        """Every generation asked for, in order."""
        self.chats: list[RenderedChat] = []
        """Every chat rendered, in order."""
        self.loads: list[tuple[ModelFile, LoadOptions]] = []
        """Every load begun, in order."""
        self.models: list[ScriptedModel] = []
        """The models in memory."""
        self.cancelled: int = 0
        """How many generations and loads were abandoned before their end."""
        self.is_closed: bool = False
        self._changed = threading.Condition()
        self._words: dict[int, str] = {}
        self._last: tuple[str, Reply] | None = None

    async def load(self, model: ModelFile, options: LoadOptions, on_progress: ProgressCallback) -> ScriptedModel:
        """Make up *model*; see `Engine.load`."""
        self.loads.append((model, options))
        failure = self.fail_load(model) if callable(self.fail_load) else self.fail_load
        try:
            on_progress(0.0)
            if self.load_gate is not None:
                await self.load_gate.pass_through()
            for step in range(1, self.load_steps + 1):
                await asyncio.sleep(self.load_delay_seconds)
                if failure is not None and step == self.load_steps:
                    break
                on_progress(step / self.load_steps)
        except asyncio.CancelledError:
            self.note_cancel()
            raise
        if failure is not None:
            raise EngineError(failure)
        loaded = ScriptedModel(self, model, options)
        self.models.append(loaded)
        if self.on_log is not None:
            self.on_log(EngineLogLine("info", f"Made up {model.model_key}."))
        return loaded

    async def close(self) -> None:
        """Remember that the server closed the engine."""
        self.is_closed = True

    def wait_for_cancel(self, timeout: float = 10.0, *, count: int = 1) -> bool:
        """Block until *count* generations or loads have been abandoned; False after *timeout* seconds without."""
        with self._changed:
            return self._changed.wait_for(lambda: self.cancelled >= count, timeout)

    def kill_models(self) -> None:
        """Let every loaded model die, as if its process had crashed. From any thread."""
        for model in list(self.models):
            model.end("The scripted model died, as it was told to.")

    def tokenize(self, text: str) -> list[int]:
        """One id per word, white space belonging to the word after it; the same word always has the same id."""
        ids = []
        for word in words(text):
            token = token_id(word)
            while self._words.setdefault(token, word) != word:
                token += 1
            ids.append(token)
        return ids

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text whose ids these are; KeyError for one that this engine never gave out."""
        return "".join(self._words[token] for token in tokens)

    def note_cancel(self) -> None:
        """Count a generation or load that was abandoned."""
        with self._changed:
            self.cancelled += 1
            self._changed.notify_all()

    def reply_to(self, request: GenerationRequest) -> Reply:
        """What the script says to *request*, which is recorded.

        A request that goes on from what the last reply has written belongs to that reply.
        """
        self.requests.append(request)
        if self._last is not None:
            prompt, reply = self._last
            if is_continued(reply, prompt, request.prompt):
                return reply
        reply = self._next_reply(request)
        self._last = request.prompt, reply
        return reply

    def _next_reply(self, request: GenerationRequest) -> Reply:
        script = self.reply
        if callable(script):
            script = script(request)
        if script is None:
            return _default_reply(request)
        if isinstance(script, Reply):
            return script
        if isinstance(script, str) or not isinstance(script, Sequence):
            return Reply(script)
        chunks = [item for item in script if not isinstance(item, Reply)]
        if len(chunks) == len(script):
            return Reply(chunks)
        replies = [item if isinstance(item, Reply) else Reply(item) for item in script]
        self.reply = replies[1:] or _exhausted
        return replies[0]


def _exhausted(_request: GenerationRequest) -> Reply:
    return Reply(error="The scripted engine was asked for more replies than it was given.")


def _default_reply(request: GenerationRequest) -> Reply:
    if request.json_schema is not None:
        return Reply(json.dumps(minimal_instance(request.json_schema), ensure_ascii=False))
    if request.grammar is not None:
        raise EngineError(
            "The scripted engine cannot follow a grammar.", suggestion="Give it a reply: ScriptedEngine('...')."
        )
    last_turns = request.prompt.rpartition(_role_line("user"))[2]
    return Reply(f"You said: {last_turns.partition(_END_OF_TEXT)[0]}")


def _role_line(role: str) -> str:
    return f"<|{role}|>\n"


class ScriptedModel(LoadedModel):
    """A model that the scripted engine made up."""

    def __init__(self, engine: ScriptedEngine, model: ModelFile, options: LoadOptions) -> None:
        self._engine = engine
        self.model = model
        self.options = options
        self.context_length: int = options.context_length or model.max_context_length
        self._ended = Signal()
        self._ending = threading.Lock()
        self._end_message = ""

    def end(self, message: str) -> None:
        """Make every use of the model, also those in progress, raise ModelDiedError(*message*). From any thread."""
        with self._ending:
            if self._ended.is_set():
                return
            self._end_message = message
            self._engine.models.remove(self)
            self._ended.set()

    async def close(self) -> None:
        """Forget the model; generations in flight raise ModelDiedError. Safe to call twice."""
        self.end(f"{self.model.model_key} has been unloaded.")

    def _check_usable(self, kind: ModelKind) -> None:
        if self._ended.is_set():
            raise ModelDiedError(self._end_message)
        if self.model.kind != kind:
            raise EngineError(f"{self.model.model_key} is no model of type {kind}: it is of type {self.model.kind}.")

    async def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: str | None = None,
        enable_thinking: bool | None = None,
    ) -> str:
        """Write the chat down as ``<|role|>``, line end, text, line end for each message, then ``<|assistant|>``.

        Tools stand before it under ``<|tools|>``, tool calls under ``<|tool_calls|>`` after their message, both as
        JSON. *template* is not understood: it is only written in front.
        """
        self._check_usable(self.model.kind)
        blocks = [_role_line("tools") + json.dumps(list(tools)) + "\n"] if tools else []
        for message in messages:
            blocks.append(f"{_role_line(message['role'])}{message.get('content') or ''}\n")
            if calls := message.get("tool_calls"):
                blocks.append(_role_line("tool_calls") + json.dumps(calls) + "\n")
        prompt = "".join((template + "\n" if template else "", *blocks, _role_line("assistant")))
        chat = RenderedChat(messages, tools, template, enable_thinking, prompt, self.model.model_key)
        self._engine.chats.append(chat)
        return prompt

    async def chat_template(self) -> str:
        """A template that shows how this model writes calls; see `ToolCall`."""
        return f"{{{{ tools }}}} {CALL_START.strip()}"

    async def tokenize(self, text: str, *, special: bool = True) -> list[int]:  # noqa: ARG002 (there are none)
        """One id per word; see `ScriptedEngine.tokenize`. There are no special tokens."""
        self._check_usable(self.model.kind)
        return self._engine.tokenize(text)

    async def embed(self, text: str) -> list[float]:
        """The vector that the engine was given for *text*, else one of length 1 that depends on nothing but *text*.

        Like texts are no closer than others.
        """
        self._check_usable("embedding")
        length = len(self._engine.tokenize(text))
        if length > self.context_length:
            raise BadInputError(
                f"The text has {length} tokens, {self.model.model_key} embeds at most {self.context_length}."
            )
        given = None if self._engine.vectors is None else self._engine.vectors(text)
        if given is not None:
            return list(given)
        size = self._engine.embedding_length
        noise = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * size)
        raw = [int.from_bytes(noise[at : at + 2], "big") - 32767.5 for at in range(0, 2 * size, 2)]
        norm = math.sqrt(sum(value * value for value in raw))
        return [value / norm for value in raw]

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Do what the script says; see `LoadedModel.generate`."""
        self._check_usable("llm")
        reply = self._engine.reply_to(request)
        prompt_tokens = len(self._engine.tokenize(request.prompt))
        if prompt_tokens >= self.context_length:
            raise PromptTooLongError(prompt_tokens, self.context_length)
        is_over = False
        try:
            for number, step in enumerate(play(reply, request, prompt_tokens, self.context_length)):
                if isinstance(step, (Gate, float, int)):
                    await self._wait(step)
                    continue
                if number % _CHUNKS_PER_TURN == 0:
                    await asyncio.sleep(0)
                self._check_usable("llm")
                is_over = isinstance(step, GenerationEnd)
                yield step
        except ModelDiedError as error:
            self.end(str(error))
            raise
        except (GeneratorExit, asyncio.CancelledError):
            if not is_over:
                self._engine.note_cancel()
            raise

    async def _wait(self, until: Gate | float) -> None:
        """Stand at a gate, or for a number of seconds, unless the model ends meanwhile."""
        passing = until.pass_through() if isinstance(until, Gate) else asyncio.sleep(until)
        waits = [asyncio.ensure_future(passing), asyncio.ensure_future(self._ended.wait_in_task())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self._check_usable("llm")


def scripted_model(
    model_key: str,
    kind: ModelKind = "llm",
    *,
    display_name: str | None = None,
    max_context_length: int | None = None,
    vision: bool = False,
    trained_for_tool_use: bool | None = None,
) -> ModelFile:
    """A model that the scripted engine makes up. *model_key* may be "publisher/name"."""
    publisher, _, name = model_key.rpartition("/")
    is_llm = kind == "llm"
    return ModelFile(
        kind=kind,
        model_key=model_key,
        path=f"{publisher or _PUBLISHER}/{name}/{name}.gguf",
        file=None,
        display_name=display_name or name,
        publisher=publisher or _PUBLISHER,
        size_bytes=1_000_000,
        max_context_length=max_context_length or (4096 if is_llm else 512),
        architecture="scripted",
        params_string="1M",
        quantization=("Q8_0", 8),
        vision=vision,
        trained_for_tool_use=is_llm if trained_for_tool_use is None else trained_for_tool_use,
        can_reason=is_llm,
    )


def scripted_models() -> list[ModelFile]:
    """The models that the scripted engine makes up: one that chats, one that embeds."""
    return [
        scripted_model("scripted-chat", display_name="Scripted Chat"),
        scripted_model("scripted-embed", "embedding", display_name="Scripted Embed"),
    ]
