"""How a server stops while it works: every client learns how what it waits for has ended."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost
from native_client import ANY_MODEL, Refused, get_or_load, run, staged
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio._endpoints import models
from lmstudio.errors import LMStudioError, LMStudioServerError, LMStudioValueError
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.engine.scripted import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

HOUR = 3600.0


class Work:
    """What clients do beside the test."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def begin(self, server: Server, work: Callable[[lms.Client], Any]) -> Future[Any]:
        def run_it() -> Any:
            with lms.Client(server.api_host, retry=lms.RetryConfig(max_retries=0)) as client:
                return work(client)

        return self._pool.submit(run_it)


@pytest.fixture
def beside() -> Iterator[Work]:
    with ThreadPoolExecutor(4) as pool:
        yield Work(pool)


class SlowTokens:
    """Tokenizing that takes until it is told to end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

        async def tokenize(_: ScriptedModel, text: str, *, special: bool = True) -> list[int]:
            self.has_begun.set()
            while not self.may_end.is_set():  # noqa: ASYNC110  # a cancelled task must end at once
                await asyncio.sleep(0.005)
            return [1, 2, 3]

        monkeypatch.setattr(ScriptedModel, "tokenize", tokenize)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowTokens]:
    tokens = SlowTokens(monkeypatch)
    yield tokens
    tokens.may_end.set()


def test_running_predictions_end_with_what_there_is(beside: Work) -> None:
    gates = [Gate() for _ in range(3)]
    replies = iter([Reply(["Hello", gate, " world"]) for gate in gates])
    with Server(engine=ScriptedEngine(lambda _request: next(replies))) as server:
        running = [beside.begin(server, lambda client: client.llm.model("scripted-chat").respond("Hi")) for _ in gates]
        assert all(gate.reached(PATIENCE_SECONDS) for gate in gates)
        server.stop()
        results = [each.result(PATIENCE_SECONDS) for each in running]
    assert {(result.content, result.stats.stop_reason) for result in results} == {("Hello", "userStopped")}


def test_load_in_progress_ends_with_the_reason(beside: Work) -> None:
    gate = Gate()
    with Server(engine=ScriptedEngine(load_gate=gate)) as server:
        loading = beside.begin(server, lambda client: client.llm.load_new_instance("scripted-chat"))
        assert gate.reached(PATIENCE_SECONDS)
        server.stop()
        with pytest.raises(LMStudioServerError, match="The server is stopping"):
            loading.result(PATIENCE_SECONDS)


def test_download_in_progress_ends_with_the_reason(beside: Work, tmp_path: Path) -> None:
    with FileHost(model=b"x" * 100_000) as host:
        host.stop_after = 1000
        file = {"url": f"{host.url}/model", "name": "model-Q4_K_M.gguf", "size": 100_000}
        catalog = tmp_path / "catalog.json"
        catalog.write_text(json.dumps({"models": [{"owner": "maker", "name": "model-GGUF", "files": [file]}]}))

        def download(client: lms.Client) -> str:
            (found,) = client.repository.search_models("model")
            (option,) = found.get_download_options()
            return option.download()

        folder = tmp_path / "models"
        with Server(engine="scripted", catalog=catalog, models_folder=folder) as server:
            downloading = beside.begin(server, download)
            assert host.stopped.wait(PATIENCE_SECONDS)
            server.stop()
            with pytest.raises(LMStudioServerError, match="The server is stopping"):
                downloading.result(PATIENCE_SECONDS)
    assert list(folder.iterdir()) == []


def test_other_requests_may_finish(beside: Work, slow: SlowTokens) -> None:
    with Server(engine="scripted", grace_seconds=HOUR) as server:
        counting = beside.begin(server, lambda client: client.llm.model("scripted-chat").tokenize("Hi"))
        assert slow.has_begun.wait(PATIENCE_SECONDS)
        server.begin_stop()
        assert server.is_running
        slow.may_end.set()
        server.stop()
        assert counting.result(PATIENCE_SECONDS) == [1, 2, 3]
        assert not server.is_running


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_request_that_takes_longer_than_it_may_loses_its_connection(
    beside: Work, slow: SlowTokens, seconds: float
) -> None:
    with Server(engine="scripted", grace_seconds=HOUR) as server:
        counting = beside.begin(server, lambda client: client.llm.model("scripted-chat").tokenize("Hi"))
        assert slow.has_begun.wait(PATIENCE_SECONDS)
        server.stop(grace_seconds=seconds)
        with pytest.raises(LMStudioError):
            counting.result(PATIENCE_SECONDS)


def test_second_stop_shortens_the_first(beside: Work, slow: SlowTokens) -> None:
    with Server(engine="scripted") as server:
        counting = beside.begin(server, lambda client: client.llm.model("scripted-chat").tokenize("Hi"))
        assert slow.has_begun.wait(PATIENCE_SECONDS)
        server.begin_stop(HOUR)
        server.begin_stop(0)
        with pytest.raises(LMStudioError):
            counting.result(PATIENCE_SECONDS)
        server.stop(0)
        assert not server.is_running


def test_nobody_new_can_connect_while_work_ends(beside: Work, slow: SlowTokens) -> None:
    with Server(engine="scripted", grace_seconds=HOUR) as server:
        counting = beside.begin(server, lambda client: client.llm.model("scripted-chat").tokenize("Hi"))
        assert slow.has_begun.wait(PATIENCE_SECONDS)
        server.begin_stop()
        with pytest.raises(LMStudioError):
            while True:  # until the server's thread has got that far
                with lms.Client(server.api_host, retry=lms.RetryConfig(max_retries=0)) as client:
                    client.llm.list_loaded()
        slow.may_end.set()
        assert counting.result(PATIENCE_SECONDS) == [1, 2, 3]


def test_requests_that_come_while_the_server_stops_are_refused() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            await stage.core.wind_down(0)
            with pytest.raises(Refused, match="The server is stopping"):
                await stage.predict().rest()
            with pytest.raises(Refused, match="The server is stopping"):
                await stage.llm.call(models.TOKENIZE, {"specifier": ANY_MODEL, "inputString": "one"})
            with pytest.raises(Refused, match="The server is stopping") as refused:
                await get_or_load(stage.llm, "other-chat").rest()
            assert refused.value.error["suggestion"] == "Try again when it is back."

    run(test)


def test_work_of_other_kinds_is_told_to_end() -> None:
    async def test() -> None:
        async with staged() as stage:
            is_told = asyncio.Event()
            has_begun = asyncio.Event()

            async def work() -> str:
                with stage.core.work.track(is_told.set):
                    has_begun.set()
                    await is_told.wait()
                return "an orderly end"

            task = asyncio.ensure_future(work())
            await has_begun.wait()
            await stage.core.wind_down(PATIENCE_SECONDS)
            assert task.done()
            assert task.result() == "an orderly end"

    run(test)


def test_server_that_has_stopped_serves_again(beside: Work) -> None:
    server = Server(engine="scripted")
    for _ in range(2):
        with server, lms.Client(server.api_host) as client, suppress(LMStudioError):
            assert client.llm.model("scripted-chat").respond("Hi").stats.stop_reason == "eosFound"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_time_that_nobody_can_wait_is_refused(seconds: float) -> None:
    with pytest.raises(LMStudioValueError, match="grace_seconds must be"):
        Server(engine="scripted", grace_seconds=seconds)
    with pytest.raises(LMStudioValueError, match="grace_seconds must be"), Server(engine="scripted") as server:
        server.stop(seconds)
