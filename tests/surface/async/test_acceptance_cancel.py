"""However a call is given up, the server hears of it within 100 milliseconds."""

from __future__ import annotations

import gc
import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import pytest
from file_host import FileHost
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import Gate, Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import ScriptedModel
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from surface.fault_proxy import ClientFrame, FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")

LIMIT_SECONDS = 0.1
ATTEMPTS = 3
"""The machine may be busy with other things."""
TOOLS = 3
"""That run at the same time."""


class OwnError(BaseException):
    """Of the test. Not an Exception, because those of a callback are only logged."""


@pytest.fixture
def host() -> Iterator[FileHost]:
    """Where the only model to download is; it stops in the middle."""
    with FileHost(model=bytes(200_000)) as host:
        host.stop_after = 100_000
        yield host


@pytest.fixture
def server(engine: ScriptedEngine, host: FileHost, tmp_path: Path) -> Iterator[Server]:
    """A server with something to download."""
    files = [{"url": f"{host.url}/model", "name": "pebble-q8_0.gguf", "size": 200_000}]
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"models": [{"owner": "maker", "name": "pebble-GGUF", "files": files}]}))
    with Server(engine=engine, catalog=catalog, models_folder=tmp_path / "models") as server:
        yield server


def is_stop(frame: ClientFrame) -> bool:
    return frame.packet_type in ("cancel", "stop")


def is_goodbye(frame: ClientFrame) -> bool:
    return frame.kind == "close"


class Stage:
    """One attempt: something begins that does not end by itself, and is given up."""

    def __init__(
        self, engine: ScriptedEngine, host: FileHost, client: lms.AsyncClient, background: AsyncBackground
    ) -> None:
        self.engine, self.host, self.client, self.background = engine, host, client, background
        self.signal = lms.AbortSignal()
        self.gate = Gate()
        """Where the server stops."""
        self.begun = threading.Semaphore(0)
        """Tools."""
        self.release = threading.Event()
        """What the tools wait for."""
        self.acted = 0.0
        engine.load_gate = None
        engine.reply = Reply(["one", " two", self.gate, " three"])
        host.stopped.clear()

    def now(self) -> None:
        """What follows gives up."""
        self.acted = time.monotonic()

    def abort(self) -> None:
        self.now()
        self.signal.abort()

    def fail(self, *_: object) -> None:
        """As a callback."""
        self.now()
        raise OwnError

    def work(self) -> bool:
        """Work."""
        self.begun.release()
        return self.release.wait(PATIENCE_SECONDS)

    async def reached(self) -> None:
        assert await self.background.wait(self.gate.reached)

    async def model(self) -> lms.AsyncLLM:
        return await self.client.llm.model("scripted-chat")

    async def stream(self) -> lms.AsyncPredictionStream[Any]:
        """A prediction that is running."""
        stream = await (await self.model()).respond_stream("Hi")
        await stream.start()
        await self.reached()
        return stream

    async def option(self) -> lms.AsyncModelDownloadOption:
        (model,) = await self.client.repository.search_models("pebble")
        (option,) = await model.get_download_options()
        return option


Step: TypeAlias = "Callable[[Stage], Coroutine[Any, Any, None]]"  # sync: Step: TypeAlias = "Callable[[Stage], None]"


# What can be given up from elsewhere: how it begins, and when it is in the middle ------------------------------------


async def respond(stage: Stage) -> None:
    await (await stage.model()).respond("Hi", signal=stage.signal)


async def complete(stage: Stage) -> None:
    await (await stage.model()).complete("Hi", signal=stage.signal)


async def iterate(stage: Stage) -> None:
    async for _fragment in await (await stage.model()).respond_stream("Hi", signal=stage.signal):
        pass


async def act(stage: Stage) -> None:
    await (await stage.model()).act("Hi", [stage.work], signal=stage.signal)


async def act_with_tools(stage: Stage) -> None:
    calls = [ToolCall("work", {}, id=str(number)) for number in range(TOOLS)]
    stage.engine.reply = Reply([*calls, stage.gate])
    await (await stage.model()).act("Hi", [stage.work], signal=stage.signal, max_parallel_tool_calls=None)


async def get_model(stage: Stage) -> None:
    stage.engine.load_gate = stage.gate
    await stage.client.llm.model("scripted-chat", signal=stage.signal)


async def load(stage: Stage) -> None:
    stage.engine.load_gate = stage.gate
    await stage.client.llm.load_new_instance("scripted-chat", signal=stage.signal)


async def load_embedding(stage: Stage) -> None:
    stage.engine.load_gate = stage.gate
    await stage.client.embedding.load_new_instance("scripted-embed", signal=stage.signal)


async def download(stage: Stage) -> None:
    await (await stage.option()).download(signal=stage.signal)


async def retrieve(stage: Stage) -> None:
    await stage.client.embedding.model("scripted-embed")
    file = await stage.client.prepare_file(b"words")
    ScriptedModel.embed = lambda _model, _text: stage.gate.pass_through()  # type: ignore[method-assign,assignment,return-value]
    await stage.client.files.retrieve("what?", [file], signal=stage.signal)


async def tools_run(stage: Stage) -> None:
    await stage.reached()
    for _ in range(TOOLS):
        assert await stage.background.wait(lambda: stage.begun.acquire(timeout=PATIENCE_SECONDS))


async def download_stopped(stage: Stage) -> None:
    assert await stage.background.wait(stage.host.stopped.wait)


CALLS: dict[str, tuple[Step, Step]] = {
    "respond": (respond, Stage.reached),
    "complete": (complete, Stage.reached),
    "respond_stream": (iterate, Stage.reached),
    "act, while the model writes": (act, Stage.reached),
    "act, while tools run": (act_with_tools, tools_run),
    "model": (get_model, Stage.reached),
    "load_new_instance": (load, Stage.reached),
    "load_new_instance of an embedding model": (load_embedding, Stage.reached),
    "download": (download, download_stopped),
    "retrieve": (retrieve, Stage.reached),
}


async def abort_here(stage: Stage) -> None:
    stage.abort()


async def abort_in_thread(stage: Stage) -> None:
    await stage.background.wait(stage.abort)


async def close_client(stage: Stage) -> None:
    stage.now()
    await stage.client.aclose()


# The end of a connection ends what runs on it: that needs no cancel packets.
FROM_ELSEWHERE = {
    "signal from a task": (abort_here, is_stop),  # sync: "signal": (abort_here, is_stop),
    "signal from a thread": (abort_in_thread, is_stop),  # sync: skip
    "closed client": (close_client, is_goodbye),
}


# What ends where it was begun ----------------------------------------------------------------------------------------


async def leave_loop(stage: Stage) -> None:
    async for _fragment in await (await stage.model()).respond_stream("Hi"):
        stage.now()
        break


async def close_iteration(stage: Stage) -> None:
    fragments = aiter(await stage.stream())
    assert (await anext(fragments)).content == "one"
    stage.now()
    await fragments.aclose()


async def leave_events(stage: Stage) -> None:
    async for _event in (await stage.stream()).events():
        stage.now()
        break


async def leave_with_block(stage: Stage) -> None:
    async with await stage.stream():
        stage.now()


async def fail_in_with_block(stage: Stage) -> None:
    with suppress(OwnError):
        async with await stage.stream():
            stage.fail()


async def fail_in_loop(stage: Stage) -> None:
    with suppress(OwnError):
        async for _fragment in await stage.stream():
            stage.fail()


async def close_stream(stage: Stage) -> None:
    stream = await stage.stream()
    stage.now()
    await stream.aclose()


async def cancel_stream(stage: Stage) -> None:
    stream = await stage.stream()
    stage.now()
    await stream.cancel()
    await stream.wait_for_result()


async def forget_unread_stream(stage: Stage) -> None:
    gc.freeze()  # or the time would be that of looking through all that the test run has
    try:
        stream = await stage.stream()
        cycle: list[object] = [stream]
        cycle.append(cycle)
        del stream, cycle
        stage.now()
        gc.collect()
    finally:
        gc.unfreeze()


async def forget_half_read_stream(stage: Stage) -> None:
    fragments = aiter(await stage.stream())
    assert (await anext(fragments)).content == "one"
    stage.now()
    del fragments


async def fail_in_load_callback(stage: Stage) -> None:
    stage.engine.load_gate = stage.gate
    with suppress(OwnError):
        await stage.client.llm.load_new_instance("scripted-chat", on_load_progress=stage.fail)


async def fail_in_download_callback(stage: Stage) -> None:
    with suppress(OwnError):
        await (await stage.option()).download(stage.fail)


async def leave_by_a_guard(stage: Stage) -> None:
    stage.engine.reply = Reply([ToolCall("work", {}), stage.gate])
    with suppress(OwnError):
        await (await stage.model()).act("Hi", [stage.work], guard_tool_call=stage.fail)


IN_PLACE = {
    "break": leave_loop,
    "generator close": close_iteration,
    "break from events": leave_events,
    "end of the with block": leave_with_block,
    "exception in the with block": fail_in_with_block,
    "exception in the loop": fail_in_loop,
    "stream.close": close_stream,
    "stream.cancel": cancel_stream,
    "collection of an unread stream": forget_unread_stream,
    "collection of a half-read stream": forget_half_read_stream,
    "exception of a load callback": fail_in_load_callback,
    "exception of a download callback": fail_in_download_callback,
    "exception of a guard": leave_by_a_guard,
}


# The measurement -----------------------------------------------------------------------------------------------------


async def is_told_soon(
    proxy: FaultProxy,
    engine: ScriptedEngine,
    host: FileHost,
    leave: Step,
    is_sign: Callable[[ClientFrame], bool] = is_stop,
) -> bool:
    """Whether *leave* is heard in time, by one packet only; the best of a few attempts counts."""
    seconds = []
    for _ in range(ATTEMPTS):
        before = len(proxy.frames)

        def signs(seen: FaultProxy, before: int = before) -> list[ClientFrame]:
            return list(filter(is_sign, seen.frames[before:]))

        async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
            stage = Stage(engine, host, client, background)
            await leave(stage)
            assert await background.wait(lambda signs=signs: proxy.wait_for(signs))  # type: ignore[misc]  # it cannot infer the lambda
            told = signs(proxy)
            stage.release.set()
        assert len(list(filter(is_stop, proxy.frames[before:]))) == (is_sign is is_stop)
        seconds.append(told[0].arrived - stage.acted)
        if seconds[-1] < LIMIT_SECONDS:
            return True
    return False


@pytest.fixture
def embeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stage does to embeddings is undone."""
    monkeypatch.setattr(ScriptedModel, "embed", ScriptedModel.embed)


async def until_it_ends(call: Step, stage: Stage) -> None:
    with suppress(lms.LMStudioError):
        await call(stage)


@pytest.mark.usefixtures("embeds")
@pytest.mark.parametrize("way", list(FROM_ELSEWHERE))
@pytest.mark.parametrize("call", list(CALLS))
async def test_call_that_is_given_up_from_elsewhere_tells_the_server_at_once(
    proxy: FaultProxy, engine: ScriptedEngine, host: FileHost, call: str, way: str
) -> None:
    begin, is_running = CALLS[call]
    give_up, is_sign = FROM_ELSEWHERE[way]

    async def leave(stage: Stage) -> None:
        stage.background.start(lambda: until_it_ends(begin, stage))
        await is_running(stage)
        await give_up(stage)

    assert await is_told_soon(proxy, engine, host, leave, is_sign)


@pytest.mark.parametrize("way", list(IN_PLACE))
async def test_call_that_is_left_tells_the_server_at_once(
    proxy: FaultProxy, engine: ScriptedEngine, host: FileHost, way: str
) -> None:
    assert await is_told_soon(proxy, engine, host, IN_PLACE[way])


@pytest.mark.usefixtures("embeds")  # sync: skip
@pytest.mark.parametrize("way", ["cancelled", "timeout"])  # sync: skip
@pytest.mark.parametrize("call", list(CALLS))  # sync: skip
async def test_task_that_is_cancelled_tells_the_server_at_once(  # sync: skip
    proxy: FaultProxy, engine: ScriptedEngine, host: FileHost, call: str, way: str
) -> None:
    begin, is_running = CALLS[call]

    async def leave(stage: Stage) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begin, stage)
            await is_running(stage)
            stage.now()
            if way == "cancelled":
                tasks.cancel_scope.cancel()
            else:
                tasks.cancel_scope.deadline = anyio.current_time() + LIMIT_SECONDS / 2
                stage.acted += LIMIT_SECONDS / 2
            # A function cannot be interrupted: `act` waits for those that run as tools.
            releasing = threading.Timer(2 * LIMIT_SECONDS, stage.release.set)
            releasing.start()
        releasing.join()

    assert await is_told_soon(proxy, engine, host, leave)
