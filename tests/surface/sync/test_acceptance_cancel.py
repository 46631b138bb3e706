# Generated from ../async/test_acceptance_cancel.py by tools/make_sync.py. Edit that file instead.
"""However a call is given up, the server hears of it within 100 milliseconds."""

from __future__ import annotations

import gc
import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from file_host import FileHost
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import Gate, Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import ScriptedModel
from surface.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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

    def __init__(self, engine: ScriptedEngine, host: FileHost, client: lms.Client, background: Background) -> None:
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

    def reached(self) -> None:
        assert self.background.wait(self.gate.reached)

    def model(self) -> lms.LLM:
        return self.client.llm.model("scripted-chat")

    def stream(self) -> lms.PredictionStream[Any]:
        """A prediction that is running."""
        stream = (self.model()).respond_stream("Hi")
        stream.start()
        self.reached()
        return stream

    def option(self) -> lms.ModelDownloadOption:
        (model,) = self.client.repository.search_models("pebble")
        (option,) = model.get_download_options()
        return option


Step: TypeAlias = "Callable[[Stage], None]"


# What can be given up from elsewhere: how it begins, and when it is in the middle ------------------------------------


def respond(stage: Stage) -> None:
    (stage.model()).respond("Hi", signal=stage.signal)


def complete(stage: Stage) -> None:
    (stage.model()).complete("Hi", signal=stage.signal)


def iterate(stage: Stage) -> None:
    for _fragment in (stage.model()).respond_stream("Hi", signal=stage.signal):
        pass


def act(stage: Stage) -> None:
    (stage.model()).act("Hi", [stage.work], signal=stage.signal)


def act_with_tools(stage: Stage) -> None:
    calls = [ToolCall("work", {}, id=str(number)) for number in range(TOOLS)]
    stage.engine.reply = Reply([*calls, stage.gate])
    (stage.model()).act("Hi", [stage.work], signal=stage.signal, max_parallel_tool_calls=None)


def get_model(stage: Stage) -> None:
    stage.engine.load_gate = stage.gate
    stage.client.llm.model("scripted-chat", signal=stage.signal)


def load(stage: Stage) -> None:
    stage.engine.load_gate = stage.gate
    stage.client.llm.load_new_instance("scripted-chat", signal=stage.signal)


def load_embedding(stage: Stage) -> None:
    stage.engine.load_gate = stage.gate
    stage.client.embedding.load_new_instance("scripted-embed", signal=stage.signal)


def download(stage: Stage) -> None:
    (stage.option()).download(signal=stage.signal)


def retrieve(stage: Stage) -> None:
    stage.client.embedding.model("scripted-embed")
    file = stage.client.prepare_file(b"words")
    ScriptedModel.embed = lambda _model, _text: stage.gate.pass_through()  # type: ignore[method-assign,assignment,return-value]
    stage.client.files.retrieve("what?", [file], signal=stage.signal)


def tools_run(stage: Stage) -> None:
    stage.reached()
    for _ in range(TOOLS):
        assert stage.background.wait(lambda: stage.begun.acquire(timeout=PATIENCE_SECONDS))


def download_stopped(stage: Stage) -> None:
    assert stage.background.wait(stage.host.stopped.wait)


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


def abort_here(stage: Stage) -> None:
    stage.abort()


def abort_in_thread(stage: Stage) -> None:
    stage.background.wait(stage.abort)


def close_client(stage: Stage) -> None:
    stage.now()
    stage.client.close()


# The end of a connection ends what runs on it: that needs no cancel packets.
FROM_ELSEWHERE = {
    "signal": (abort_here, is_stop),
    "closed client": (close_client, is_goodbye),
}


# What ends where it was begun ----------------------------------------------------------------------------------------


def leave_loop(stage: Stage) -> None:
    for _fragment in (stage.model()).respond_stream("Hi"):
        stage.now()
        break


def close_iteration(stage: Stage) -> None:
    fragments = iter(stage.stream())
    assert (next(fragments)).content == "one"
    stage.now()
    fragments.close()


def leave_events(stage: Stage) -> None:
    for _event in (stage.stream()).events():
        stage.now()
        break


def leave_with_block(stage: Stage) -> None:
    with stage.stream():
        stage.now()


def fail_in_with_block(stage: Stage) -> None:
    with suppress(OwnError):
        with stage.stream():
            stage.fail()


def fail_in_loop(stage: Stage) -> None:
    with suppress(OwnError):
        for _fragment in stage.stream():
            stage.fail()


def close_stream(stage: Stage) -> None:
    stream = stage.stream()
    stage.now()
    stream.close()


def cancel_stream(stage: Stage) -> None:
    stream = stage.stream()
    stage.now()
    stream.cancel()
    stream.wait_for_result()


def forget_unread_stream(stage: Stage) -> None:
    gc.freeze()  # or the time would be that of looking through all that the test run has
    try:
        stream = stage.stream()
        cycle: list[object] = [stream]
        cycle.append(cycle)
        del stream, cycle
        stage.now()
        gc.collect()
    finally:
        gc.unfreeze()


def forget_half_read_stream(stage: Stage) -> None:
    fragments = iter(stage.stream())
    assert (next(fragments)).content == "one"
    stage.now()
    del fragments


def fail_in_load_callback(stage: Stage) -> None:
    stage.engine.load_gate = stage.gate
    with suppress(OwnError):
        stage.client.llm.load_new_instance("scripted-chat", on_load_progress=stage.fail)


def fail_in_download_callback(stage: Stage) -> None:
    with suppress(OwnError):
        (stage.option()).download(stage.fail)


def leave_by_a_guard(stage: Stage) -> None:
    stage.engine.reply = Reply([ToolCall("work", {}), stage.gate])
    with suppress(OwnError):
        (stage.model()).act("Hi", [stage.work], guard_tool_call=stage.fail)


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


def is_told_soon(
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

        with lms.Client(proxy.api_host) as client, Background() as background:
            stage = Stage(engine, host, client, background)
            leave(stage)
            assert background.wait(lambda signs=signs: proxy.wait_for(signs))  # type: ignore[misc]  # it cannot infer the lambda
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


def until_it_ends(call: Step, stage: Stage) -> None:
    with suppress(lms.LMStudioError):
        call(stage)


@pytest.mark.usefixtures("embeds")
@pytest.mark.parametrize("way", list(FROM_ELSEWHERE))
@pytest.mark.parametrize("call", list(CALLS))
def test_call_that_is_given_up_from_elsewhere_tells_the_server_at_once(
    proxy: FaultProxy, engine: ScriptedEngine, host: FileHost, call: str, way: str
) -> None:
    begin, is_running = CALLS[call]
    give_up, is_sign = FROM_ELSEWHERE[way]

    def leave(stage: Stage) -> None:
        stage.background.start(lambda: until_it_ends(begin, stage))
        is_running(stage)
        give_up(stage)

    assert is_told_soon(proxy, engine, host, leave, is_sign)


@pytest.mark.parametrize("way", list(IN_PLACE))
def test_call_that_is_left_tells_the_server_at_once(
    proxy: FaultProxy, engine: ScriptedEngine, host: FileHost, way: str
) -> None:
    assert is_told_soon(proxy, engine, host, IN_PLACE[way])
