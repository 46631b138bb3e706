"""The llama.cpp engine: each loaded model is a child process that runs xllamacpp behind HTTP on loopback.

A process of its own, because a damaged file can abort it, because a load can only be cancelled by killing it, and
because the system takes back all of its memory.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import re
import secrets
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from lmstudio.server.engine._llama_process import INSTALL_HINT, EngineProcess, find_devices
from lmstudio.server.engine._llama_requests import (
    completion_body,
    encode,
    error_in_reply,
    parse_event,
    refuse_endless_arrays,
    request_error,
    schema_probe_body,
)
from lmstudio.server.engine._llama_settings import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_PARALLEL_SESSIONS,
    load_parameters,
    template_parameters,
)
from lmstudio.server.engine._llama_stream import CompletionStream
from lmstudio.server.engine._loopback_http import ConnectionLostError, LoopbackClient, Reply
from lmstudio.server.engine.base import (
    BadInputError,
    Engine,
    EngineDevice,
    EngineError,
    GenerationEvent,
    GenerationRequest,
    LoadedModel,
    LoadOptions,
    ModelDiedError,
    ModelFile,
    ModelKind,
    ProgressCallback,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

T = TypeVar("T")

_GRAMMAR_COMPLAINT: Final = re.compile(r"error parsing grammar: (.*)")
_SCHEMA_COMPLAINT: Final = re.compile(r".*(?:llg error|failed to compile JSON schema): (.*)")
_LOG_PATIENCE_SECONDS: Final = 2.0
_REMEMBERED_SCHEMAS: Final = 256


class LlamaCppEngine(Engine):
    """Loads GGUF files with xllamacpp.

    *worker_command* replaces the Python interpreter and the script that hold a model, for tests and for programs that
    are not started by a Python interpreter.
    """

    name = "llama.cpp"
    default_options: LoadOptions = LoadOptions(
        parallel_sessions=DEFAULT_PARALLEL_SESSIONS,
        eval_batch_size=DEFAULT_BATCH_SIZE,
        flash_attention=True,
        offload_kv_cache=True,
    )

    def __init__(self, *, worker_command: Sequence[str] | None = None) -> None:
        self._worker_command = worker_command
        try:
            self.version: str = importlib.metadata.version("xllamacpp")
        except importlib.metadata.PackageNotFoundError:
            self.version = "not installed"

    async def load(self, model: ModelFile, options: LoadOptions, on_progress: ProgressCallback) -> LlamaCppModel:
        """Start a process that holds *model*; see `Engine.load`."""
        for what, file in (("model", model.file), ("draft model", options.draft_model)):
            if file is not None and not file.is_file():
                raise EngineError(f"Cannot load the {what} {file}: there is no such file.")
        if model.file is None:
            raise EngineError(f"Cannot load {model.model_key}: it has no file, only the scripted engine knows it.")
        if self._worker_command is None and importlib.util.find_spec("xllamacpp") is None:
            raise EngineError("The inference engine xllamacpp is not installed.", suggestion=INSTALL_HINT)
        key = secrets.token_hex(16)
        parameters = load_parameters(model, options, key=key)
        process = await EngineProcess.start(
            parameters, model.file.name, on_progress, command=self._worker_command, on_log=self.on_log
        )
        loaded = LlamaCppModel(
            model, process, key, worker_command=self._worker_command, has_draft_model=options.draft_model is not None
        )
        try:
            await loaded.read_context_length()
        except BaseException:
            await loaded.close()
            raise
        return loaded

    async def devices(self) -> Sequence[EngineDevice]:
        """The graphics cards that xllamacpp can use; a process of its own looks for them."""
        return await find_devices()

    async def close(self) -> None:
        """Nothing to release: every process belongs to a model."""


class _Slot(msgspec.Struct):
    n_ctx: int
    is_processing: bool = False


class _Properties(msgspec.Struct):
    chat_template: str = ""


class _Tokens(msgspec.Struct):
    tokens: list[int] = []


class _Prompt(msgspec.Struct):
    prompt: str


class _Embedding(msgspec.Struct):
    embedding: list[list[float]]


def _decoded(body: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.DecodeError as error:
        raise EngineError(f"The inference engine sent a reply that cannot be read: {error}.") from error


class LlamaCppModel(LoadedModel):
    """A model in a process of its own."""

    def __init__(
        self,
        model: ModelFile,
        process: EngineProcess,
        key: str,
        *,
        worker_command: Sequence[str] | None = None,
        has_draft_model: bool = False,
    ) -> None:
        self._model = model
        self._has_draft_model = has_draft_model
        self._worker_command = worker_command
        self._process = process
        self._client = LoopbackClient(process.address, key)
        self._forbidden_token: int | None = None
        self._schema_complaints: dict[bytes, str | None] = {}
        self._renderer: tuple[str, LlamaCppModel] | None = None
        self._renderer_lock = asyncio.Lock()
        self._template: str | None = None
        self.context_length: int = 0

    @property
    def process_id(self) -> int:
        """The id of the process that holds the model."""
        return self._process.pid

    async def read_context_length(self) -> None:
        """Ask the engine what one conversation may use: it rounds up, and caps at what the model was trained for."""
        self.context_length = (await self._slots())[0].n_ctx

    async def busy_sessions(self) -> int:
        """How many generations the engine is working on."""
        return sum(slot.is_processing for slot in await self._slots())

    async def _slots(self) -> list[_Slot]:
        reply = await self._send("/slots", None, what="describe itself")
        return _decoded(reply, list[_Slot])

    async def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: str | None = None,
        enable_thinking: bool | None = None,
    ) -> str:
        """Apply the model's chat template, or *template*; see `LoadedModel.render_chat`.

        The engine takes a template only when it loads a model, so the first chat with another *template* starts a
        second process, which maps the weights and never reads them. It is kept for the next chat with that template.
        """
        if any(message.get("images") for message in messages):
            raise EngineError(
                "The chat contains images, and the llama.cpp engine of this server takes text only.",
                suggestion="Describe the images in words, or use another server.",
            )
        body: dict[str, Any] = {"messages": messages}
        if tools:
            body["tools"] = tools
        if enable_thinking is not None:
            body["chat_template_kwargs"] = {"enable_thinking": enable_thinking}
        if template is None:
            reply = await self._send("/apply-template", encode(body), what="apply the chat template")
            return _decoded(reply, _Prompt).prompt
        async with self._renderer_lock:
            renderer = await self._renderer_for(template)
            try:
                return await renderer.render_chat(messages, tools=tools, enable_thinking=enable_thinking)
            except ModelDiedError as error:
                # The model itself is well, and the next chat gets another process.
                self._renderer = None
                raise BadInputError(f"Applying the chat template failed: {error}") from error

    async def _renderer_for(self, template: str) -> LlamaCppModel:
        if self._process.is_closing:
            raise ModelDiedError(f"{self._model.model_key} has been unloaded.")
        if self._renderer is not None:
            known, renderer = self._renderer
            if known == template:
                return renderer
            self._renderer = None
            await renderer.close()
        key = secrets.token_hex(16)
        process = await EngineProcess.start(
            template_parameters(self._model, template, key=key),
            f"the chat template for {self._model.model_key}",
            lambda _: None,
            command=self._worker_command,
        )
        renderer = LlamaCppModel(self._model, process, key)
        self._renderer = (template, renderer)
        return renderer

    async def chat_template(self) -> str:
        """The template that the engine found in the file, or was given when it loaded the model."""
        if self._template is None:
            reply = await self._send("/props", None, what="describe itself")
            self._template = _decoded(reply, _Properties).chat_template
        return self._template

    async def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of *text*; control tokens written out in it count as such."""
        reply = await self._send("/tokenize", encode({"content": text, "add_special": special}), what="tokenize")
        return _decoded(reply, _Tokens).tokens

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Complete *request.prompt*; see `LoadedModel.generate`."""
        self._require("llm", "generate text")
        if request.json_schema is not None:
            if request.grammar is not None:
                raise BadInputError("A text can satisfy a JSON schema or a grammar, not both.")
            await self._check_schema(request.json_schema)
        stream = CompletionStream(request)
        reply = await self._open(
            "/completion", completion_body(request, has_draft_model=self._has_draft_model), what="generate text"
        )
        try:
            while not stream.is_finished:
                lines = await reply.read_lines()
                if not lines:
                    raise ConnectionLostError("the stream ended early")
                for line in lines:
                    if not stream.is_finished and (event := parse_event(line)):
                        for result in stream.feed(event):
                            yield result
        except ConnectionLostError as error:
            raise await self._process.explain_lost_connection(error) from error
        finally:
            reply.close()

    async def embed(self, text: str) -> list[float]:
        """The embedding of *text*, of length 1.

        Raises:
            EngineError: the model makes none, or *text* is empty or longer than the context.
        """
        self._require("embedding", "embed a text")
        body = await self._send("/embedding", encode({"content": text}), what="embed the text")
        vectors = _decoded(body, list[_Embedding])[0].embedding
        if len(vectors) != 1:
            raise EngineError(f"{self._model.model_key} gives a vector per token, not one per text: it has no pooling.")
        return vectors[0]

    async def close(self) -> None:
        """End the process; generations in flight raise ModelDiedError. Safe to call twice."""
        await self._process.close()
        async with self._renderer_lock:
            if self._renderer is not None:
                _, renderer = self._renderer
                self._renderer = None
                await renderer.close()

    def _require(self, kind: ModelKind, what: str) -> None:
        if self._model.kind != kind:
            names = {"llm": "a language model", "embedding": "an embedding model"}
            raise EngineError(f"{self._model.model_key} cannot {what}: it is {names[self._model.kind]}.")

    async def _check_schema(self, schema: Mapping[str, Any]) -> None:
        """Raise EngineError if the engine would silently ignore *schema*; see `schema_probe_body`."""
        identity = encode(schema)
        if identity not in self._schema_complaints:
            refuse_endless_arrays(schema)
            if self._forbidden_token is None:
                # -1 is no token: with a vocabulary that cannot spell a "Z", nothing is checked.
                self._forbidden_token = (await self.tokenize("Z", special=False) or [-1])[-1]
            position = self._process.log_position
            body = schema_probe_body(schema, self._forbidden_token)
            reply = await self._send("/completion", body, what="compile the JSON schema")
            is_ignored = _decoded(reply, _Tokens).tokens == [self._forbidden_token]
            complaint = await self._complaint(position, _SCHEMA_COMPLAINT) if is_ignored else None
            if len(self._schema_complaints) >= _REMEMBERED_SCHEMAS:
                self._schema_complaints.clear()
            self._schema_complaints[identity] = (complaint or "no reason given") if is_ignored else None
        if complaint := self._schema_complaints[identity]:
            raise BadInputError(f"The JSON schema cannot be enforced: {complaint}.")

    async def _complaint(self, position: int, pattern: re.Pattern[str]) -> str | None:
        """What the engine logged after *position*: the match of *pattern* and the lines that explain it."""
        lines = await self._process.log_since(position, pattern, _LOG_PATIENCE_SECONDS)
        match = pattern.search(lines[0]) if lines else None
        if match is None:
            return None
        words = [match[1]]
        for line in lines[1:]:
            # A schema's source follows, with line numbers; before it, carets under a part of a pattern. A grammar's
            # source follows without either.
            if "|" in line or "::=" in line or re.match(r"[\d.]+ [A-Z] ", line):
                break
            words.append(line.strip(" ^"))
        return " ".join(word for word in words if word).rstrip(". ")

    async def _send(self, path: str, body: bytes | None, *, what: str) -> bytes:
        """The body of the reply to one request. Raises EngineError if the engine refuses to do *what*."""
        reply = await self._open(path, body, what=what)
        try:
            return await reply.read()
        except ConnectionLostError as error:
            raise await self._process.explain_lost_connection(error) from error
        finally:
            reply.close()

    async def _open(self, path: str, body: bytes | None, *, what: str) -> Reply:
        """Send a request; the reply with its body unread. Raises EngineError if the engine refuses to do *what*."""
        position = self._process.log_position
        try:
            reply = await (self._client.get(path) if body is None else self._client.post(path, body))
            if reply.status == 200:
                return reply
            try:
                error = error_in_reply(await reply.read())
            finally:
                reply.close()
        except ConnectionLostError as lost:
            raise await self._process.explain_lost_connection(lost) from lost
        if "failed to parse grammar" in error.message:
            complaint = await self._complaint(position, _GRAMMAR_COMPLAINT)
            raise BadInputError(f"The grammar is not valid GBNF: {complaint or error.message}.")
        raise request_error(error, what=what)
