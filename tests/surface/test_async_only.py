"""What only the asynchronous surface can do or suffer: tasks, loops, their cancellation and their end."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from anyio.from_thread import start_blocking_portal
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import Gate, Reply, ScriptedEngine, Server, ToolCall

from .background import AsyncBackground
from .fault_proxy import FaultProxy
from .loops import LOOPS, Run, all_tasks, current_task, in_both_loops

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.usefixtures("quiet")


in_thread = anyio.to_thread.run_sync


async def reached(gate: Gate) -> None:
    assert await in_thread(gate.reached)


async def stopped(proxy: FaultProxy, engine: ScriptedEngine) -> bool:
    """Whether one cancel packet has left the client, and the engine has stopped."""
    return (
        await in_thread(proxy.wait_for_packet, "cancel")
        and await in_thread(engine.wait_for_cancel)
        and proxy.count_packets("cancel") == 1
    )


# Cancellation --------------------------------------------------------------------------------------------------------


async def test_cancelled_respond_stops_the_server(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        call = background.start(lambda: model.respond("Hi"))
        await reached(gate)
        await call.cancelled()
        assert await stopped(proxy, engine)
        gate.open()
        assert (await model.respond("Hi")).content == "one two three"


async def test_cancelled_iteration_stops_the_server(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("Hi")

        async def read() -> None:
            async for _fragment in stream:
                pass

        reading = background.start(read)
        await reached(gate)
        await reading.cancelled()
        assert await stopped(proxy, engine)


async def test_timeout_around_a_call_stops_the_server(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(TimeoutError), anyio.fail_after(0.2):
            await model.respond("Hi")
        assert await stopped(proxy, engine)


@pytest.mark.only_loop("asyncio", "it has a time limit of its own")
async def test_time_limit_of_asyncio_stops_the_server(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(model.respond("Hi"), 0.2)
        assert await stopped(proxy, engine)


async def test_cancel_scope_around_a_stream_stops_the_server(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with anyio.CancelScope() as scope:
            async with await model.respond_stream("Hi") as stream:
                async for fragment in stream:
                    if fragment.content == " two":
                        await reached(gate)
                        scope.cancel()
        assert scope.cancelled_caught
        assert await stopped(proxy, engine)


async def test_cancelled_load_stops_the_server(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    engine.load_gate = gate
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        call = background.start(lambda: client.llm.model("scripted-chat"))
        await reached(gate)
        await call.cancelled()
        assert await stopped(proxy, engine)
        assert await client.llm.list_loaded() == []


async def test_cancel_packets_leave_before_the_goodbye_of_a_client_that_is_closed_at_once(
    proxy: FaultProxy, engine: ScriptedEngine
) -> None:
    engine.reply = Reply(["one", Gate()])
    client = lms.AsyncClient(proxy.api_host)
    model = await client.llm.model("scripted-chat")
    streams = [await model.respond_stream("Hi") for _ in range(3)]
    iterations = []  # an iteration that is dropped cancels
    for stream in streams:
        iterations.append(aiter(stream))
        await anext(iterations[-1])
    for stream in streams:
        await stream.cancel()  # the first one leaves at once, the others with the next turn of the loop
    await client.aclose()

    assert proxy.wait_for(lambda seen: any(frame.kind == "close" for frame in seen.frames))
    kinds = [frame.packet_type or frame.kind for frame in proxy.frames if frame.namespace == "llm"]
    assert kinds[-4:] == ["cancel", "cancel", "cancel", "close"]


async def test_reply_of_a_cancelled_call_is_ignored(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        proxy.hold()
        call = background.start(lambda: model.tokenize(["a", "b"]))
        assert await in_thread(proxy.wait_for_message, "rpcCall", 2)
        await call.cancelled()
        proxy.release()
        assert await model.count_tokens("a b") == 2
        assert proxy.accepted == ["llm"]


async def test_first_caller_may_be_cancelled_while_it_connects(proxy: FaultProxy) -> None:
    proxy.hold()
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        first = background.start(client.list_downloaded_models)
        second = background.start(client.list_downloaded_models)
        assert await in_thread(proxy.wait_for, lambda seen: seen.accepted)
        await first.cancelled()
        proxy.release()
        assert len(await second.result()) == 2
        assert proxy.accepted == ["system"]


# Tasks ---------------------------------------------------------------------------------------------------------------


async def test_stream_may_be_started_read_and_closed_in_three_tasks(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("Hi")

        async def start() -> None:
            await stream.__aenter__()

        async def read() -> None:
            fragments = aiter(stream)
            assert [(await anext(fragments)).content for _ in range(2)] == ["one", " two"]
            await anext(fragments)

        async def close() -> None:
            await stream.__aexit__(None, None, None)

        await background.start(start).result()
        reading = background.start(read)
        await reached(gate)
        await background.start(close).result()
        assert await stopped(proxy, engine)
        with pytest.raises(lms.LMStudioCancelledError):
            await reading.result()


async def test_client_may_be_closed_by_another_task(server: Server) -> None:
    client = lms.AsyncClient(server.api_host)
    async with AsyncBackground() as background:
        await background.start(client.list_downloaded_models).result()
        await background.start(client.aclose).result()
    with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
        await client.list_downloaded_models()


async def test_callbacks_run_in_the_task_that_waits(server: Server) -> None:
    tasks = set()

    def note(*_arguments: object) -> None:
        tasks.add(current_task())

    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat", on_load_progress=note)
        await model.respond(
            "Hi",
            on_message=note,
            on_first_token=note,
            on_prediction_fragment=note,
            on_prompt_processing_progress=note,
        )
    assert tasks == {current_task()}


async def test_nothing_is_left_after_closing(server: Server) -> None:
    before = all_tasks()
    async with lms.AsyncClient(server.api_host) as client:
        await client.list_loaded_models()
        await client.list_downloaded_models()
        assert all_tasks() > before
    assert all_tasks() == before


async def test_forgotten_client_ends_its_connections(proxy: FaultProxy) -> None:
    client = lms.AsyncClient(proxy.api_host)
    await client.list_downloaded_models()
    del client
    gc.collect()
    assert await in_thread(proxy.wait_until_closed)


# Loss ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("happen", [FaultProxy.close_connections, FaultProxy.reset_connections])
async def test_loss_that_the_loop_has_not_seen_yet_does_not_fail_the_next_call(
    proxy: FaultProxy, happen: Callable[[FaultProxy], None]
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        happen(proxy)  # blocks the loop, like any program that computes between two calls
        assert await model.count_tokens("a b") == 2


# Loops ---------------------------------------------------------------------------------------------------------------


@in_both_loops
def test_client_serves_one_loop_after_another(proxy: FaultProxy, run: Run) -> None:
    client = lms.AsyncClient(proxy.api_host)

    async def ask() -> str:
        model = await client.llm.model("scripted-chat")
        return (await model.respond("Hi")).content

    assert [run(ask) for _ in range(3)] == ["You said: Hi"] * 3
    run(client.aclose)
    gc.collect()
    assert proxy.accepted == ["llm"] * 3
    assert proxy.wait_until_closed()


@pytest.mark.parametrize("first", LOOPS)
@pytest.mark.parametrize("second", LOOPS)
def test_handle_of_one_loop_works_in_the_next(server: Server, first: str, second: str) -> None:
    client = lms.AsyncClient(server.api_host)
    model = LOOPS[first](client.llm.model, "scripted-chat")
    assert LOOPS[second](model.count_tokens, "a b") == 2
    LOOPS[first](client.aclose)


@pytest.mark.parametrize("runs", list(combinations_with_replacement(LOOPS, 2)))
def test_client_serves_several_loops_at_once(proxy: FaultProxy, engine: ScriptedEngine, runs: tuple[str, str]) -> None:
    gate = Gate()
    engine.reply = lambda request: Reply(["got", gate, f" {len(request.prompt)}"])
    client = lms.AsyncClient(proxy.api_host)

    async def ask(size: int) -> str:
        model = await client.llm.model("scripted-chat")
        return (await model.complete("x" * size)).content

    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(LOOPS[run], ask, size) for size, run in enumerate(runs, 1)]
        assert proxy.wait_for_message("channelCreate", 4)
        gate.open()
        assert [call.result(PATIENCE_SECONDS) for call in calls] == ["got 1", "got 2"]
    assert proxy.accepted == ["llm", "llm"]
    LOOPS[runs[0]](client.aclose)


def test_many_loops_in_many_threads_share_a_client(server: Server) -> None:
    client = lms.AsyncClient(server.api_host)

    async def ask() -> int:
        return len(await client.list_downloaded_models())

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: list(LOOPS.values())[number % 2](ask), range(40)))
    assert answers == [2] * 40
    asyncio.run(client.aclose())


@pytest.mark.parametrize("here", LOOPS)
@pytest.mark.parametrize("there", LOOPS)
def test_closing_in_one_loop_closes_the_connections_of_another(proxy: FaultProxy, here: str, there: str) -> None:
    client = lms.AsyncClient(proxy.api_host)
    with start_blocking_portal(there) as portal:
        portal.call(client.list_downloaded_models)
        LOOPS[here](client.aclose)
        assert proxy.wait_until_closed()
        with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
            portal.call(client.list_downloaded_models)


@pytest.mark.parametrize("there", LOOPS)
def test_client_forgotten_by_another_thread_ends_its_connections(proxy: FaultProxy, there: str) -> None:
    clients = [lms.AsyncClient(proxy.api_host)]
    with start_blocking_portal(there) as portal:
        portal.call(clients[0].list_downloaded_models)
        clients.clear()
        gc.collect()
        assert proxy.wait_until_closed()


def test_use_outside_of_a_loop_says_what_to_use_instead(server: Server) -> None:
    client = lms.AsyncClient(server.api_host)
    call = client.list_downloaded_models()
    with pytest.raises(lms.LMStudioRuntimeError, match=r"Use lmstudio\.Client"):
        call.send(None)


def test_session_outside_of_a_loop_is_not_connected(server: Server) -> None:
    assert not lms.AsyncClient(server.api_host).llm.connected


async def test_address_is_not_known_before_the_server_was_found() -> None:
    with pytest.raises(lms.LMStudioRuntimeError, match="not known before the first call"):
        _ = lms.AsyncClient().api_host


@in_both_loops
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # what trio says of every generator that is left
def test_generator_left_by_the_loop_stops_the_server(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, run: Run
) -> None:
    client = lms.AsyncClient(proxy.api_host)

    async def texts() -> AsyncIterator[str]:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi") as stream:
            async for fragment in stream:
                yield fragment.content

    kept = []

    async def main() -> None:
        generator = texts()
        kept.append(generator)
        assert await anext(generator) == "one"
        await reached(gate)

    run(main)
    assert engine.wait_for_cancel()
    run(client.aclose)


class CollectingLoop(asyncio.SelectorEventLoop):
    """Collects garbage at the worst moments."""

    is_on = False

    def call_soon(self, *arguments: Any, **keywords: Any) -> asyncio.Handle:  # type: ignore[override]  # any will do
        if self.is_on:
            gc.collect()
        return super().call_soon(*arguments, **keywords)


def test_stream_may_be_collected_while_another_call_is_sent(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    loop = CollectingLoop()

    async def main() -> None:
        async with lms.AsyncClient(proxy.api_host) as client:
            model = await client.llm.model("scripted-chat")
            stream = await model.respond_stream("Hi")
            await stream.start()
            await reached(gate)
            cycle: list[object] = [stream]
            cycle.append(cycle)
            del stream, cycle
            loop.is_on = True
            assert await model.count_tokens("a b") == 2
            loop.is_on = False
            assert await stopped(proxy, engine)

    gc.collect()
    gc.disable()
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        gc.enable()
        loop.close()


# Streams and callbacks ------------------------------------------------------------------------------------------------


async def test_two_readers_of_one_stream_see_every_fragment() -> None:
    gate = Gate()
    with Server(engine=ScriptedEngine(Reply(["one", " two", gate, " three"]))) as server:
        async with lms.AsyncClient(server.api_host) as client, AsyncBackground() as background:
            model = await client.llm.model("scripted-chat")
            stream = await model.respond_stream("Hi")

            async def read() -> list[str]:
                return [fragment.content async for fragment in stream]

            readers = [background.start(read) for _ in range(3)]
            await reached(gate)
            gate.open()
            assert [await reader.result() for reader in readers] == [["one", " two", " three"]] * 3


async def test_a_stream_needs_no_await() -> None:
    with Server(engine=ScriptedEngine()) as server:
        async with lms.AsyncClient(server.api_host) as client:
            model = await client.llm.model("scripted-chat")
            texts = [fragment.content async for fragment in model.respond_stream("Hi")]
            async with model.complete_stream("Hi") as stream:
                assert (await stream.wait_for_result()).content == "You said: Hi"
    assert "".join(texts) == "You said: Hi"


async def test_callbacks_may_be_coroutine_functions() -> None:
    seen: list[Any] = []

    async def note(value: object = None, *_: object) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(value)

    with Server(engine=ScriptedEngine(Reply(["one", " two"]))) as server:
        async with lms.AsyncClient(server.api_host) as client:
            model = await client.llm.model("scripted-chat")
            await model.respond(
                "Hi",
                on_first_token=note,
                on_prediction_fragment=note,
                on_message=note,
            )
    assert [type(item).__name__ for item in seen] == [
        "NoneType",
        "LlmPredictionFragment",
        "LlmPredictionFragment",
        "AssistantResponse",
    ]


async def test_callbacks_of_act_may_be_coroutine_functions() -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    seen: list[Any] = []

    async def note(*values: object) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(values)

    async def guard(call_id: int, controller: lms.GuardToolCallController, _round: int) -> None:
        await anyio.lowlevel.checkpoint()
        controller.allow()

    async def handle(error: Exception, request: object) -> str:
        await anyio.lowlevel.checkpoint()
        return "No."

    calls = [ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {})]
    with Server(engine=ScriptedEngine([Reply(calls), Reply("Done")])) as server:
        async with lms.AsyncClient(server.api_host) as client:
            model = await client.llm.model("scripted-chat")
            result = await model.act(
                "Hi",
                [add],
                guard_tool_call=guard,
                handle_invalid_tool_request=handle,
                on_tool_call_result=note,
            )
    assert result.content == "Done"
    assert [values[1].content for values in seen] == ["No.", "3"]


async def test_cancelling_act_cancels_its_tools_and_waits_for_functions() -> None:
    began, release, seen = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        """Work."""
        began.set()
        release.wait(PATIENCE_SECONDS)
        seen.append("function ended")

    async def hang() -> None:
        """Hang."""
        try:
            await anyio.sleep(60)
        finally:
            seen.append("coroutine ended")
            release.set()

    with Server(engine=ScriptedEngine(Reply([ToolCall("work", {}), ToolCall("hang", {})]))) as server:
        async with lms.AsyncClient(server.api_host) as client, AsyncBackground() as background:
            model = await client.llm.model("scripted-chat")
            call = background.start(lambda: model.act("Hi", [work, hang], max_parallel_tool_calls=None))
            assert await in_thread(began.wait, PATIENCE_SECONDS)
            await call.cancelled()
    assert seen == ["coroutine ended", "function ended"]


async def test_the_result_of_a_stream_that_was_not_started_is_refused() -> None:
    with Server(engine=ScriptedEngine()) as server:
        async with lms.AsyncClient(server.api_host) as client:
            model = await client.llm.model("scripted-chat")
            with pytest.raises(lms.LMStudioRuntimeError, match="has not been started"):
                model.respond_stream("Hi").result()
