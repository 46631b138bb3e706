"""`act`: rounds, tools, what goes wrong with them, callbacks, and every way to end it."""

from __future__ import annotations

import contextvars
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import BrokenToolCall, Gate, Reply, ToolCall
from surface.background import AsyncBackground
from surface.coroutine_tools import coroutine_raiser, interrupted, raiser, reader, sleep_long, slow_add

if TYPE_CHECKING:
    from lmstudio.server import ScriptedEngine, Server


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def act(server: Server, chat: Any, tools: Any, **options: Any) -> lms.ActResult:
    """One `act` with a client of its own."""
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        result: lms.ActResult = await model.act(chat, tools, **options)
        return result


def tool_messages(engine: ScriptedEngine, request: int = -1) -> list[Any]:
    """The contents of the tool results in a request that the engine got."""
    return [message["content"] for message in engine.chats[request].messages if message["role"] == "tool"]


# Rounds --------------------------------------------------------------------------------------------------------------


async def test_tools_run_and_their_results_begin_the_next_round(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2}, id="x")]), Reply("It is 3.")]
    result = await act(server, "What is 1 + 2?", [add])
    assert (result.rounds, result.content, result.parsed) == (2, "It is 3.", "It is 3.")
    assert result.total_time_seconds > 0
    assert tool_messages(engine) == ["3"]
    assert engine.chats[0].tools[0]["function"]["name"] == "add"


async def test_messages_make_the_chat_of_the_loop(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply(["Let me add.", ToolCall("add", {"a": 1, "b": 2}, id="x")]), Reply("It is 3.")]
    chat = lms.Chat("Be brief.")
    chat.add_user_message("What is 1 + 2?")
    await act(server, chat, [add], on_message=chat.append)
    assert [message.role for message in chat] == ["system", "user", "assistant", "tool", "assistant"]
    request = chat[2].content[1]
    assert isinstance(request, lms.ToolCallRequestData)
    assert (request.tool_call_request.id, request.tool_call_request.arguments) == ("x", {"a": 1, "b": 2})
    result = chat[3].content[0]
    assert isinstance(result, lms.ToolCallResultData)
    assert (result.content, result.tool_call_id, result.name) == ("3", "x", "add")


async def test_the_chat_is_not_changed_by_itself(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), Reply("3")]
    chat = lms.Chat.from_history("What is 1 + 2?")
    await act(server, chat, [add])
    assert len(chat) == 1


async def test_act_without_tools_is_one_prediction(server: Server) -> None:
    result = await act(server, "Hi", [])
    assert (result.rounds, result.content) == (1, "You said: Hi")


async def test_the_last_round_is_made_without_tools(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), Reply("Enough.")]
    result = await act(server, "Hi", [add], max_prediction_rounds=2)
    assert (result.rounds, result.content) == (2, "Enough.")
    assert [len(chat.tools) for chat in engine.chats] == [1, 0]


async def test_rounds_are_reported(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), Reply("It is 3.")]
    seen: list[Any] = []
    await act(
        server,
        "Hi",
        [add],
        on_round_start=lambda index: seen.append(("start", index)),
        on_round_end=lambda index: seen.append(("end", index)),
        on_first_token=lambda index: seen.append(("first token", index)),
        on_prediction_fragment=lambda fragment, index: seen.append((fragment.content, index)),
        on_prediction_completed=lambda result: seen.append(("completed", result.round_index)),
    )
    assert [item for item in seen if item[1] == 0] == [("start", 0), ("completed", 0), ("end", 0)]
    assert [item[0] for item in seen if item[1] == 1] == [
        "start",
        "first token",
        "It",
        " is",
        " 3.",
        "completed",
        "end",
    ]


async def test_progress_is_reported_with_the_round(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})], prompt_steps=3), Reply("3")]
    seen: list[tuple[float, int]] = []
    await act(server, "Hi", [add], on_prompt_processing_progress=lambda value, index: seen.append((value, index)))
    assert {index for _, index in seen} == {0, 1}
    assert [value for value, index in seen if index == 0][-1] == 1.0


# Tools ---------------------------------------------------------------------------------------------------------------


async def test_coroutine_tools_run(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("slow_add", {"a": 1, "b": 2})]), Reply("3")]
    await act(server, "Hi", [slow_add])
    assert tool_messages(engine) == ["3"]


async def test_results_keep_the_order_of_the_requests(server: Server, engine: ScriptedEngine) -> None:
    second_is_done = threading.Event()

    def wait(name: str) -> str:
        """Wait."""
        if name == "first":
            assert second_is_done.wait(PATIENCE_SECONDS)
        else:
            second_is_done.set()
        return name

    engine.reply = [Reply([ToolCall("wait", {"name": "first"}), ToolCall("wait", {"name": "second"})]), Reply("Done")]
    await act(server, "Hi", [wait], max_parallel_tool_calls=None)
    assert tool_messages(engine) == ['"first"', '"second"']


async def test_no_more_tools_run_together_than_allowed(server: Server, engine: ScriptedEngine) -> None:
    running = most = 0
    lock = threading.Lock()
    pair = threading.Barrier(2)

    def work(number: int) -> int:
        """Work."""
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait(PATIENCE_SECONDS)
        with lock:
            running -= 1
        return number

    engine.reply = [Reply([ToolCall("work", {"number": number}) for number in range(6)]), Reply("Done")]
    await act(server, "Hi", [work], max_parallel_tool_calls=2)
    assert most == 2
    assert tool_messages(engine) == [str(number) for number in range(6)]


async def test_a_tool_runs_while_the_model_still_writes(server: Server, engine: ScriptedEngine) -> None:
    gate = Gate()

    def open_gate() -> str:
        """Open the gate."""
        gate.open()
        return "open"

    engine.reply = [Reply([ToolCall("open_gate", {}), " And so on", gate, "."]), Reply("Done")]
    result = await act(server, "Hi", [open_gate])
    assert result.rounds == 2


async def test_tools_see_the_context_variables_of_the_caller(server: Server, engine: ScriptedEngine) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
    user.set("somebody")

    def who() -> str:
        """Say who."""
        return user.get()

    engine.reply = [Reply([ToolCall("who", {}), ToolCall("read_later", {})]), Reply("Done")]
    await act(server, "Hi", [who, reader(user)])
    assert tool_messages(engine) == ['"somebody"', '"somebody"']


async def test_tools_get_their_context(server: Server, engine: ScriptedEngine) -> None:
    seen: list[Any] = []

    def tell(text: str, context: lms.ToolCallContext) -> None:
        """Tell."""
        seen.extend([text, context.call_id, context.signal.aborted, lms.get_tool_call_context() is context])

    engine.reply = [Reply([ToolCall("tell", {"text": "x"})]), Reply("Done")]
    await act(server, "Hi", [tell])
    assert seen == ["x", 0, False, True]
    assert tool_messages(engine) == ["null"]


async def test_results_are_json_with_all_characters(server: Server, engine: ScriptedEngine) -> None:
    def greet() -> dict[str, str]:
        """Greet."""
        return {"greeting": "Grüß dich"}

    engine.reply = [Reply([ToolCall("greet", {})]), Reply("Done")]
    await act(server, "Hi", [greet])
    assert json.loads(tool_messages(engine)[0]) == {"greeting": "Grüß dich"}
    assert "ü" in tool_messages(engine)[0]


async def test_a_tool_without_implementation_hands_the_call_back(server: Server, engine: ScriptedEngine) -> None:
    lookup = lms.unimplemented_raw_function_tool(
        name="lookup", description="Look up.", parameters_json_schema={"type": "object", "properties": {}}
    )
    call = ToolCall("lookup", {}, id="later")
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2}), call]), Reply("Found.")]
    chat = lms.Chat.from_history("Hi")
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        first = await model.act(chat, [add, lookup], on_message=chat.append)
        assert (first.rounds, [request.id for request in first.tool_call_requests]) == (1, ["later"])
        chat.add_tool_result({"content": "42", "tool_call_id": "later"})
        second = await model.act(chat, [add, lookup])
    assert (second.rounds, second.content) == (1, "Found.")
    assert tool_messages(engine) == ["3", "42"]


async def test_raw_tools_run(server: Server, engine: ScriptedEngine) -> None:
    schema = {"type": "object", "properties": {"zeta": {"type": "integer"}, "alpha": {"type": "string"}}}
    tool = lms.raw_function_tool(
        name="raw", description="Raw.", parameters_json_schema=schema, implementation=lambda **given: given
    )
    engine.reply = [Reply([ToolCall("raw", {"zeta": 1, "alpha": "x"})]), Reply("Done")]
    await act(server, "Hi", [tool])
    assert json.loads(tool_messages(engine)[0]) == {"zeta": 1, "alpha": "x"}
    assert list(engine.chats[0].tools[0]["function"]["parameters"]["properties"]) == ["zeta", "alpha"]


async def test_a_tool_that_takes_too_long_is_left_alone(server: Server, engine: ScriptedEngine) -> None:
    release = threading.Event()

    @lms.tool(timeout=0.01)
    def hang() -> None:
        """Hang."""
        lms.get_tool_call_context().signal.add_listener(release.set)  # nobody wants the result any more
        assert release.wait(PATIENCE_SECONDS)

    hang_too = lms.tool(timeout=0.01)(sleep_long)
    engine.reply = [Reply([ToolCall("hang", {}), ToolCall("sleep_long", {})]), Reply("Done")]
    result = await act(server, "Hi", [hang, hang_too])
    assert release.is_set()
    assert result.content == "Done"
    assert ["took longer than 0.01 seconds" in text for text in tool_messages(engine)] == [True, True]


async def test_a_limit_for_all_tools(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("sleep_long", {})]), Reply("Done")]
    await act(server, "Hi", [sleep_long], tool_timeout=0.01)
    assert "took longer" in tool_messages(engine)[0]


# What goes wrong -----------------------------------------------------------------------------------------------------


async def test_the_model_is_told_what_a_tool_raises(server: Server, engine: ScriptedEngine) -> None:
    def fail() -> None:
        """Fail."""
        raise ZeroDivisionError("oops")

    engine.reply = [Reply([ToolCall("fail", {})]), Reply("Sorry.")]
    result = await act(server, "Hi", [fail])
    assert result.content == "Sorry."
    assert json.loads(tool_messages(engine)[0]) == "Unhandled Python exception: ZeroDivisionError('oops')"


async def test_the_handler_gets_what_a_tool_raises_and_may_replace_it(server: Server, engine: ScriptedEngine) -> None:
    def fail() -> None:
        """Fail."""
        raise ZeroDivisionError("oops")

    seen: list[Any] = []

    def handle(error: lms.LMStudioPredictionError, request: lms.ToolCallRequest | None) -> str:
        seen.extend([type(error.__cause__), None if request is None else request.name])
        return "It did not work."

    engine.reply = [Reply([ToolCall("fail", {})]), Reply("Sorry.")]
    await act(server, "Hi", [fail], handle_invalid_tool_request=handle)
    assert seen == [ZeroDivisionError, "fail"]
    assert tool_messages(engine) == ['"It did not work."']


async def test_what_the_handler_raises_ends_act(server: Server, engine: ScriptedEngine) -> None:
    gate = Gate()

    def handle(error: lms.LMStudioPredictionError, request: lms.ToolCallRequest | None) -> None:
        raise error

    engine.reply = Reply([ToolCall("unknown", {}), gate, "more"])
    with pytest.raises(lms.ToolCallRequestInvalidNameError, match="'unknown'"):
        await act(server, "Hi", [add], handle_invalid_tool_request=handle)
    assert engine.wait_for_cancel()


@pytest.mark.parametrize(
    ("call", "explanation"),
    [
        (ToolCall("subtract", {"a": 1}), "Cannot find tool with name 'subtract'"),
        (ToolCall("add", {"a": 1}), "b"),
        (ToolCall("add", {"a": 1, "b": "many"}), "b"),
        (ToolCall("add", {"a": 1, "b": 2, "c": 3}), "c"),
    ],
)
async def test_the_model_is_told_what_is_wrong_with_a_request(
    server: Server, engine: ScriptedEngine, call: ToolCall, explanation: str
) -> None:
    failures: list[lms.ToolCallRequestError] = []
    engine.reply = [Reply([call]), Reply("Sorry.")]
    result = await act(
        server, "Hi", [add], on_tool_call_request_failure=lambda _id, error, _round: failures.append(error)
    )
    assert result.content == "Sorry."
    assert explanation in tool_messages(engine)[0]
    assert len(failures) == 1


async def test_a_request_that_cannot_be_read_ends_act(server: Server, engine: ScriptedEngine) -> None:
    seen: list[Any] = []
    engine.reply = Reply([BrokenToolCall('{"name": oops')])
    with pytest.raises(lms.ToolCallRequestInvalidFormatError) as caught:
        await act(server, "Hi", [add], handle_invalid_tool_request=lambda error, request: seen.append((error, request)))
    assert "oops" in (caught.value.raw_content or "")
    assert seen == [(caught.value, None)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_prediction_rounds": 0}, "max_prediction_rounds"),
        ({"max_parallel_tool_calls": 0}, "max_parallel_tool_calls"),
        ({"tool_timeout": -1}, "tool_timeout"),
        ({"on_message": 1}, "on_message"),
        ({"guard_tool_call": "no"}, "guard_tool_call"),
        ({"config": {"structured": {"type": "json"}}}, "response_format"),
        ({"config": {"rawTools": {"type": "none"}}}, "raw_tools"),
    ],
)
async def test_bad_options_are_refused_before_anything_is_sent(
    server: Server, engine: ScriptedEngine, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(lms.LMStudioValueError, match=message):
        await act(server, "Hi", [add], **options)
    assert engine.requests == []


async def test_a_misspelt_callback_is_a_type_error(server: Server) -> None:
    with pytest.raises(TypeError, match="Did you mean 'on_tool_call_result'"):
        await act(server, "Hi", [add], on_tool_call_results=print)


async def test_two_tools_of_one_name_are_refused(server: Server, engine: ScriptedEngine) -> None:
    with pytest.raises(lms.LMStudioValueError, match="add"):
        await act(server, "Hi", [add, add])
    assert engine.requests == []


# Guard and callbacks -------------------------------------------------------------------------------------------------


async def test_the_guard_allows_changes_and_denies(server: Server, engine: ScriptedEngine) -> None:
    def guard(call_id: int, controller: lms.GuardToolCallController, round_index: int) -> None:
        assert round_index == 0
        arguments = controller.tool_call_request.arguments
        if call_id == 0:
            controller.allow()
        elif call_id == 1:
            controller.allow_and_override_parameters({**(arguments or {}), "b": 100})
        else:
            controller.deny("No more." if call_id == 2 else None)

    chat = lms.Chat.from_history("Hi")
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": number}) for number in range(4)]), Reply("Done")]
    await act(server, chat, [add], guard_tool_call=guard, on_message=chat.append)
    assert tool_messages(engine) == ["1", "101", '{"error": "No more."}', "{}"]
    requests = [part for part in chat[1].content if isinstance(part, lms.ToolCallRequestData)]
    assert requests[1].tool_call_request.arguments == {"a": 1, "b": 100}


@pytest.mark.parametrize("decisions", [0, 2])
async def test_a_guard_decides_exactly_once(server: Server, engine: ScriptedEngine, decisions: int) -> None:
    def guard(call_id: int, controller: lms.GuardToolCallController, round_index: int) -> None:
        for _ in range(decisions):
            controller.allow()

    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2})])
    with pytest.raises(lms.LMStudioRuntimeError, match="decided"):
        await act(server, "Hi", [add], guard_tool_call=guard)


async def test_overriding_parameters_are_checked(server: Server, engine: ScriptedEngine) -> None:
    def guard(call_id: int, controller: lms.GuardToolCallController, round_index: int) -> None:
        controller.allow_and_override_parameters({"a": "x"})

    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), Reply("Done")]
    errors: list[lms.ToolCallRequestError] = []
    await act(
        server,
        "Hi",
        [add],
        guard_tool_call=guard,
        on_tool_call_request_failure=lambda _id, error, _round: errors.append(error),
    )
    assert isinstance(errors[0], lms.ToolCallRequestInvalidArgumentsError)
    assert (errors[0].tool_name, errors[0].tool_arguments) == ("add", {"a": "x"})


async def test_every_stage_of_the_calls_is_reported(server: Server, engine: ScriptedEngine) -> None:
    seen: list[Any] = []

    def note(name: str) -> Any:
        return lambda *arguments: seen.append((name, arguments[0], arguments[-1]))

    names = ("start", "name_received", "end", "finalized", "failure", "dequeued")
    callbacks = {f"on_tool_call_request_{name}": note(name) for name in names}
    pieces: list[str] = []
    call = ToolCall("add", ['{"a": 1,', ' "b": 2}'], id="x")
    engine.reply = [Reply([call, ToolCall("add", {"a": 1, "b": 1}), ToolCall("nothing", {})]), Reply("Done")]
    await act(
        server,
        "Hi",
        [add],
        on_tool_call_request_argument_fragment_generated=lambda _id, text, _round: pieces.append(text),
        on_tool_call_success=note("success"),
        on_tool_call_result=note("result"),
        **callbacks,
    )
    assert [item[0] for item in seen if item[1] == 0] == [
        "start",
        "name_received",
        "end",
        "finalized",
        "success",
        "result",
    ]
    assert [item[0] for item in seen if item[1] == 2] == ["start", "name_received", "failure", "result"]
    assert {item[2] for item in seen} == {0}
    assert json.loads("".join(pieces)[: len('{"a": 1, "b": 2}')]) == {"a": 1, "b": 2}


async def test_a_queued_call_is_reported_when_it_begins(server: Server, engine: ScriptedEngine) -> None:
    written = threading.Event()
    seen: list[Any] = []

    def wait(number: int) -> int:
        """Wait."""
        assert written.wait(PATIENCE_SECONDS)
        return number

    def ended(call_id: int, info: lms.ToolCallRequestInfo, _round: int) -> None:
        seen.append((call_id, info.is_queued))
        if call_id == 1:
            written.set()

    engine.reply = [Reply([ToolCall("wait", {"number": 1}), ToolCall("wait", {"number": 2})]), Reply("Done")]
    await act(
        server,
        "Hi",
        [wait],
        on_tool_call_request_end=ended,
        on_tool_call_request_dequeued=lambda call_id, _round: seen.append(("dequeued", call_id)),
    )
    assert seen == [(0, False), (1, True), ("dequeued", 1)]


async def test_a_failing_callback_changes_nothing(
    server: Server, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), Reply("3")]
    result = await act(server, "Hi", [add], on_message=fail, on_round_start=fail, on_tool_call_result=fail)
    assert result.content == "3"
    assert "ZeroDivisionError" in caplog.text


# Structured answers --------------------------------------------------------------------------------------------------


class Sum(lms.BaseModel):
    total: int


async def test_the_answer_after_the_tools_can_be_structured(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), Reply("It is 3."), Reply('{"total": 3}')]
    chat = lms.Chat.from_history("Hi")
    result = await act(server, chat, [add], response_format=Sum, on_message=chat.append)
    assert (result.rounds, result.parsed) == (3, Sum(total=3))
    assert [request.json_schema is not None for request in engine.requests] == [False, False, True]
    assert [len(rendered.tools) for rendered in engine.chats] == [1, 1, 0]
    # The free answer is not part of the chat: the structured one takes its place.
    assert [message.role for message in chat] == ["user", "assistant", "tool", "assistant"]
    assert engine.chats[2].messages[-1]["role"] == "tool"


async def test_the_last_round_is_the_structured_one(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), Reply('{"total": 3}')]
    result = await act(server, "Hi", [add], response_format=Sum, max_prediction_rounds=2)
    assert (result.rounds, result.parsed) == (2, Sum(total=3))


# Ends ----------------------------------------------------------------------------------------------------------------


async def test_a_signal_ends_act_while_the_model_writes(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    signal = lms.AbortSignal()
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        async with AsyncBackground() as background:
            running = background.start(lambda: model.act("Hi", [add], signal=signal))
            await background.wait(gate.reached)
            signal.abort("enough")
            with pytest.raises(lms.LMStudioCancelledError, match="enough"):
                await running.result()
    assert engine.wait_for_cancel()


async def test_a_signal_ends_act_while_tools_run(server: Server, engine: ScriptedEngine) -> None:
    signal = lms.AbortSignal()
    seen: list[str] = []
    engine.reply = [Reply([ToolCall("hang", {})]), Reply("Done")]
    with pytest.raises(lms.LMStudioCancelledError):
        await act(server, "Hi", [interrupted(signal.abort, seen)], signal=signal)
    assert seen == ["cancelled"]
    assert len(engine.requests) == 1


async def test_a_signal_that_was_aborted_before_sends_nothing(server: Server, engine: ScriptedEngine) -> None:
    signal = lms.AbortSignal()
    signal.abort()
    with pytest.raises(lms.LMStudioCancelledError):
        await act(server, "Hi", [add], signal=signal)
    assert engine.requests == []


async def test_a_signal_that_is_aborted_before_a_prediction_begins_sends_nothing(
    server: Server, engine: ScriptedEngine
) -> None:
    signal = lms.AbortSignal()
    with pytest.raises(lms.LMStudioCancelledError, match="too late"):
        await act(server, "Hi", [add], signal=signal, on_round_start=lambda _round: signal.abort("too late"))
    assert engine.requests == []


async def test_no_queued_tool_begins_after_the_end(server: Server, engine: ScriptedEngine) -> None:
    signal = lms.AbortSignal()
    begun: list[int] = []

    def work(number: int, context: lms.ToolCallContext) -> None:
        """Work."""
        begun.append(number)
        signal.abort()
        assert context.signal.aborted

    engine.reply = [Reply([ToolCall("work", {"number": number}) for number in range(3)]), Reply("Done")]
    with pytest.raises(lms.LMStudioCancelledError):
        await act(server, "Hi", [work], signal=signal)
    assert begun == [0]


async def test_a_server_error_ends_act_and_reports_the_unfinished_call(server: Server, engine: ScriptedEngine) -> None:
    failures: list[lms.ToolCallRequestError] = []
    engine.reply = Reply([ToolCall("add", ['{"a": 1', ', "b": 2}'])], error="Out of memory", error_after=3)
    with pytest.raises(lms.LMStudioServerError, match="Out of memory"):
        await act(server, "Hi", [add], on_tool_call_request_failure=lambda _id, error, _round: failures.append(error))
    assert len(failures) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("make", [raiser, coroutine_raiser])
async def test_what_is_no_exception_for_the_model_ends_act(
    server: Server, engine: ScriptedEngine, make: Any, error: type[BaseException]
) -> None:
    engine.reply = [Reply([ToolCall("fail", {})]), Reply("Sorry.")]
    with pytest.raises(error):
        await act(server, "Hi", [make(error)])
    assert len(engine.requests) == 1


async def test_an_error_that_cannot_be_shown_is_told_by_its_class(server: Server, engine: ScriptedEngine) -> None:
    class Unshowable(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        """Fail."""
        raise Unshowable

    engine.reply = [Reply([ToolCall("fail", {})]), Reply("Sorry.")]
    await act(server, "Hi", [fail])
    assert tool_messages(engine) == ['"Unhandled Python exception: Unshowable"']
