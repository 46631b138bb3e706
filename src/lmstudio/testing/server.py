"""The server of `lmstudio_server`: it says what a test tells it to, and remembers what it was asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._address import NAMESPACES
from lmstudio._near import near_matches
from lmstudio._sdk_models import ErrorDisplayData, KvConfigStack
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError
from lmstudio.server._known_endpoints import KNOWN_ENDPOINTS
from lmstudio.server.config import LoadConfig
from lmstudio.server.core import ServerCore
from lmstudio.server.embedded import Server
from lmstudio.server.engine.scripted import ScriptedEngine, scripted_model, scripted_models
from lmstudio.server.errors import RequestError
from lmstudio.testing._replies import ReplyBook
from lmstudio.testing._watch import CURRENT, PlannedError, Watcher
from lmstudio.testing.network import FaultProxy
from lmstudio.testing.requests import (
    Call,
    EmbeddingRequest,
    Expected,
    PredictionRequest,
    RequestLog,
    fits,
    require_fitting,
)

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio.server.app import Core
    from lmstudio.server.engine.base import GenerationRequest, ModelFile, ModelKind
    from lmstudio.server.engine.scripted import Answer
    from lmstudio.testing._replies import ReplyInput
    from lmstudio.testing.requests import JsonObject, Matcher


class _WatchedServer(Server):
    """A server whose handlers are watched, and whose catalogue grows."""

    def __init__(self, models: list[ModelFile], engine: ScriptedEngine, watcher: Watcher) -> None:
        super().__init__(models, engine=engine)
        self.offered = models  # read again by each start
        self._watcher = watcher

    def _new_core(self) -> Core:
        core = super()._new_core()
        assert isinstance(core, ServerCore)
        for namespace in NAMESPACES:
            self._watcher.watch(namespace, core.handlers(namespace), core)
        return core

    def offer(self, model: ModelFile) -> None:
        self.offered.append(model)
        if self.is_running:
            self._catalog.add(model)

    def load(self, model: ModelFile) -> None:
        """Load *model*, and wait for it."""
        core, loop = self.core, self._loop
        assert isinstance(core, ServerCore)
        assert loop is not None

        async def wait() -> None:
            config = LoadConfig.parse(model.kind, KvConfigStack(layers=[]))
            await core.instances.load(model, config).join(lambda _: None).result()

        asyncio.run_coroutine_threadsafe(wait(), loop).result()


class ScriptedServer:
    """A server without weights, in this process, behind a network that breaks when it is told to.

        with ScriptedServer() as server, lmstudio.Client(server.api_host) as client:
            server.reply("A short summary.")
            assert summarize(client, "A long text.") == "A short summary."
            server.assert_called_with(model="scripted-chat", text="Summarize: A long text.")

    *models*: what can be loaded, as keys or `ModelFile` objects; a key with "embed" in it is that of an embedding
    model. By default "scripted-chat" and "scripted-embed". *strict*: each prediction needs a scripted reply, and each
    reply a prediction, see `check`.

    `network` loses connections, goes silent or refuses to connect (`FaultProxy`). `engine` is the `ScriptedEngine`,
    with gates for loading, progress and the like. All of this may be used from any thread while the server is running.
    """

    def __init__(self, models: Sequence[str | ModelFile] | None = None, *, strict: bool = False) -> None:
        given = scripted_models() if models is None else [_as_model(each) for each in models]
        self.engine: ScriptedEngine = ScriptedEngine(self._answer, fail_load=self._load_failure, vectors=self._vector)
        self._log = RequestLog()
        self._watcher = Watcher(self._log)
        self._book = ReplyBook()
        self._book.is_strict = strict
        self._load_failures: list[tuple[str | None, str]] = []
        self._vectors: list[tuple[Matcher, Sequence[float] | Callable[[str], Sequence[float]]]] = []
        self._server = _WatchedServer(given, self.engine, self._watcher)
        self._network: FaultProxy | None = None

    # Running ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen; clients can connect when this returns."""
        if self._network is None:
            self._server.start()
            network = FaultProxy(self._server.port)
            self._network = network.__enter__()

    def stop(self) -> None:
        """End all connections and free the port. Does nothing when the server is not running."""
        network, self._network = self._network, None
        if network is not None:
            try:
                network.__exit__(None, None, None)
            finally:
                self._server.stop()

    def restart(self) -> None:
        """End, and begin again at the same address. No model is loaded then; what was scripted and noted stays."""
        self.network.close_connections()
        self._server.stop()
        self._server.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def api_host(self) -> str:
        """host:port for clients."""
        return self.network.api_host

    @property
    def network(self) -> FaultProxy:
        """What is between the clients and the server.

        Raises:
            LMStudioRuntimeError: the server has not been started.
        """
        if self._network is None:
            raise LMStudioRuntimeError("The server has not been started: use it with `with`, or call start().")
        return self._network

    @property
    def models(self) -> tuple[ModelFile, ...]:
        """What can be loaded."""
        return tuple(self._server.offered)

    def add_model(
        self,
        model_key: str,
        kind: ModelKind | None = None,
        *,
        loaded: bool = False,
        vision: bool = False,
        trained_for_tool_use: bool | None = None,
        max_context_length: int | None = None,
    ) -> None:
        """Offer one more model, which is made up. With *loaded* it is in memory already; else clients load it."""
        model = scripted_model(
            model_key,
            kind or _kind(model_key),
            vision=vision,
            trained_for_tool_use=trained_for_tool_use,
            max_context_length=max_context_length,
        )
        self._server.offer(model)
        if loaded:
            self._server.load(model)

    def reset(self) -> None:
        """Forget everything that was scripted and noted, and unload all models. Clients have to connect again."""
        self.restart()
        for part in (self._log, self._watcher, self._book, self._load_failures, self._vectors):
            part.clear()

    # What to say -----------------------------------------------------------------------------------------------------

    def reply(self, *answers: ReplyInput, to: Matcher = None, times: int | None = 1) -> None:
        """Give each of *answers* to one of the next predictions, in this order.

        An answer is a text; a sequence of pieces (texts, `Gate`, `Reasoning`, `ToolCall`, `BrokenToolCall`); a `Reply`,
        which also has stop reasons, errors and more; a dict, for structured output; or a function that makes one of
        these of the `PredictionRequest`.

        *to* selects predictions by the last text of the user: one that contains this text, fits this expression, or of
        which this function is true. *times* is how often each answer is given, None for always; answers for always
        come after all others that fit. As long as nothing is planned, and the server is not strict, the user's words
        are repeated; afterwards a prediction that no reply fits fails.
        """
        if not answers:
            raise LMStudioValueError("reply() needs at least one answer, e.g. reply('Hello!').")
        for answer in answers:
            self._book.plan(answer, to, times)

    def reply_vector(self, vector: Sequence[float] | Callable[[str], Sequence[float]], *, to: Matcher = None) -> None:
        """From now on embed texts as *vector*, or as what this function makes of them. *to* as in `reply`.

        Of several that fit, the one that was given last counts.
        """
        self._vectors.insert(0, (to, vector))

    def fail(
        self,
        title: str,
        *,
        on: str = "predict",
        cause: str | None = None,
        suggestion: str | None = None,
        display_data: Mapping[str, Any] | None = None,
        error_data: dict[str, Any] | None = None,
        times: int = 1,
    ) -> None:
        """Answer the next calls of an endpoint with an error, as LM Studio would write it.

        *on*: "predict", "embedding/embedString", ... *display_data* is what clients choose the class of the exception
        by, e.g. `{"code": "generic.noModelMatchingQuery", ...}`. To fail in the middle of a text, use
        `Reply(..., error="...", error_after=3)`.
        """
        _check_endpoint(on)
        shown = None
        if display_data is not None:
            try:
                shown = msgspec.convert(dict(display_data), ErrorDisplayData)
            except msgspec.ValidationError as error:
                raise LMStudioValueError(f"display_data is not as the protocol has it: {error}") from error
        refusal = RequestError(title, cause=cause, suggestion=suggestion, display_data=shown, error_data=error_data)
        self._watcher.plan(PlannedError(on, refusal, times))

    def fail_load(self, message: str, model_key: str | None = None) -> None:
        """From now on fail to load this model, or any, after progress was reported."""
        self._load_failures.insert(0, (model_key, message))

    # What was asked for ----------------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[PredictionRequest]:
        """The predictions that were asked for, in order; `act` asks for one in each round."""
        return self._log.all(PredictionRequest)

    @property
    def last_request(self) -> PredictionRequest:
        """The last of them.

        Raises:
            AssertionError: there is none.
        """
        requests = self.requests
        if not requests:
            calls = ", ".join(call.name for call in self.calls) or "nothing"
            raise AssertionError(f"No prediction was asked for. What was: {calls}.")
        return requests[-1]

    @property
    def embeddings(self) -> list[EmbeddingRequest]:
        """The texts that were to be embedded, in order."""
        return self._log.all(EmbeddingRequest)

    @property
    def calls(self) -> list[Call]:
        """Every rpc and channel of every client, the above included, in order."""
        return self._log.all(Call)

    def wait_for_requests(self, count: int = 1, timeout: float = 10.0) -> bool:
        """Block until so many predictions were asked for; False after *timeout* seconds without."""
        return self._log.wait_for(PredictionRequest, count, timeout)

    def assert_called_with(
        self,
        text: str | re.Pattern[str] | None = None,
        *,
        model: str | None = None,
        system: str | None = None,
        messages: Sequence[JsonObject] | None = None,
        tools: Sequence[str] | None = None,
        tool_results: Sequence[str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """The last prediction was asked for with all that is given here; see `PredictionRequest`.

        *text* may be an expression that is searched for. *tools* are names. Of *config* only what is named is compared.
        """
        expected = Expected(text, model, system, messages, tools, tool_results, config)
        require_fitting(self.requests, expected, only_last=True)

    def assert_any_call(
        self,
        text: str | re.Pattern[str] | None = None,
        *,
        model: str | None = None,
        system: str | None = None,
        messages: Sequence[JsonObject] | None = None,
        tools: Sequence[str] | None = None,
        tool_results: Sequence[str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Some prediction was asked for so; as `assert_called_with`."""
        expected = Expected(text, model, system, messages, tools, tool_results, config)
        require_fitting(self.requests, expected, only_last=False)

    def assert_called(self, times: int | None = None) -> None:
        """So many predictions were asked for; without *times*, at least one."""
        requests = self.requests
        if not requests if times is None else len(requests) != times:
            expected = "at least one was" if times is None else f"{times} were"
            lines = "".join(f"\n  {number}. {request}" for number, request in enumerate(requests, 1))
            raise AssertionError(f"{len(requests)} predictions were asked for, {expected} expected.{lines}")

    def assert_not_called(self) -> None:
        """No prediction was asked for."""
        self.assert_called(0)

    def check(self, *, strict: bool | None = None) -> None:
        """Raise AssertionError for what a test might not have seen; the fixture does so at the end of each test.

        That is a scripted reply that raised an exception. With *strict*, by default as the server was made, also
        predictions without a reply, and replies and errors that nobody has asked for.
        """
        is_strict = self._book.is_strict if strict is None else strict
        found = [problem for problem in self._book.problems if is_strict or " failed: " in problem]
        if is_strict:
            found += [f"Nobody has asked for the reply {planned}." for planned in self._book.unused()]
            for error in self._watcher.unused():
                found.append(f"Nobody has got the error {error.error.title!r} on {error.endpoint}.")
        if found:
            raise AssertionError("\n".join(found))

    # For the engine --------------------------------------------------------------------------------------------------

    def _answer(self, generation: GenerationRequest) -> Answer | None:
        call = CURRENT.get()
        request = call if isinstance(call, PredictionRequest) else self._request_over_http(generation)
        request.prompt = generation.prompt
        return self._book.answer(request)

    def _request_over_http(self, generation: GenerationRequest) -> PredictionRequest:
        """What was asked for on another way than the protocol, as far as the engine knows it."""
        request = PredictionRequest("http", "generate")
        for chat in reversed(self.engine.chats):
            if chat.prompt and generation.prompt.startswith(chat.prompt):
                request.model = chat.model_key
                request.messages = [
                    {name: message[name] for name in message if name != "images"} for message in chat.messages
                ]
                request.tools = [tool.get("function", tool) for tool in map(dict, chat.tools)]
                break
        known = {"max_tokens": generation.max_tokens, "temperature": generation.sampling.temperature}
        request.config = {name: value for name, value in known.items() if value is not None}
        self._log.add(request)
        return request

    def _load_failure(self, model: ModelFile) -> str | None:
        return next((text for key, text in self._load_failures if key in (None, model.model_key)), None)

    def _vector(self, text: str) -> Sequence[float] | None:
        for matcher, vector in self._vectors:
            if fits(matcher, text, CURRENT.get()):
                return vector(text) if callable(vector) else vector
        return None


def _as_model(model: str | ModelFile) -> ModelFile:
    return scripted_model(model, _kind(model)) if isinstance(model, str) else model


def _kind(model_key: str) -> ModelKind:
    return "embedding" if "embed" in model_key.lower() else "llm"


def _check_endpoint(name: str) -> None:
    known = set()
    for namespace, kinds in KNOWN_ENDPOINTS.items():
        for endpoint in (*kinds["rpc"], *kinds["channel"]):
            known |= {endpoint, f"{namespace}/{endpoint}"}
    if name not in known:
        near = near_matches(name, sorted(known))
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise LMStudioValueError(f"The protocol has no endpoint {name!r}.{hint}")
