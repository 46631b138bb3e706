"""The stream of what happens in a server: prompts, replies, its log and the engine's; and who gets it."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from native_client import CHAT, OpenChannel, Refused, Session, Stage, run, staged
from patience import PATIENCE_SECONDS
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lmstudio._endpoints.diagnostics import STREAM_LOGS
from lmstudio._endpoints.system import NOTIFY
from lmstudio._sdk_models import DiagnosticsLogEvent, DiagnosticsLogEventDataServerLog
from lmstudio.logs import get_logger
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server import diagnostics as module
from lmstudio.server.catalog import read_model_file
from lmstudio.server.engine.base import EngineLogLine
from lmstudio.server.engine.llama_cpp import LlamaCppEngine
from lmstudio.server.instances import Clock
from lmstudio.server.models import EMBEDDING_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

STOP = {"type": "stop"}


class FixedClock(Clock):
    def time(self) -> float:
        return 1234.5


@asynccontextmanager
async def watched(engine: Any = None, **settings: Any) -> AsyncIterator[tuple[Stage, Session, OpenChannel]]:
    """A server with a client that reads its log."""
    async with staged(engine or ScriptedEngine(), **settings) as stage:
        session = Session(stage.core, "diagnostics")
        channel = session.open(STREAM_LOGS)
        await asyncio.sleep(0)  # the handler begins
        try:
            yield stage, session, channel
        finally:
            await session.hang_up()


async def next_of(channel: OpenChannel, kind: str) -> dict[str, Any]:
    """The data of the next event of this kind."""
    while True:
        packet = await asyncio.wait_for(channel.next(), PATIENCE_SECONDS)
        assert packet is not None, "the stream has ended"
        data: dict[str, Any] = packet["log"]["data"]
        if data["type"] == kind:
            return data


@contextmanager
def shown_to_the_program(level: int) -> Iterator[list[str]]:
    """What the program's own handler gets of the server's log at this level."""
    messages: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("lmstudio"), Kept()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


# Predictions ---------------------------------------------------------------------------------------------------------


def test_prediction_tells_its_prompt_and_its_output() -> None:
    async def test() -> None:
        async with watched(clock=FixedClock()) as (stage, _, channel):
            await stage.load(identifier="mine")
            stage.engine.reply = "One two."
            await stage.predict("Hello").rest()
            shown = await next_of(channel, "llm.prediction.input")
            prompt = shown.pop("input")
            assert "Hello" in prompt
            assert prompt == stage.engine.requests[0].prompt
            assert shown == {"type": "llm.prediction.input", "modelPath": CHAT.path, "modelIdentifier": "mine"}
            output = await next_of(channel, "llm.prediction.output")
            assert (output["output"], output["modelIdentifier"]) == ("One two.", "mine")
            assert output["stats"]["stopReason"] == "eosFound"
            assert output["stats"]["predictedTokensCount"] == 2

    run(test)


def test_events_carry_milliseconds_since_the_epoch() -> None:
    async def test() -> None:
        async with watched(clock=FixedClock()) as (stage, _, channel):
            await stage.system.call(NOTIFY, {"title": "Hello"})
            packet = await channel.next()
            assert packet is not None
            assert packet["log"]["timestamp"] == 1234500

    run(test)


def test_cancelled_prediction_tells_what_there_was() -> None:
    async def test() -> None:
        async with watched() as (stage, _, channel):
            await stage.load()
            gate = Gate()
            stage.engine.reply = Reply(["one", gate, " two"])
            prediction = stage.predict()
            await asyncio.wait_for(gate.wait_reached(), PATIENCE_SECONDS)
            prediction.send({"type": "cancel"})
            await prediction.rest()
            output = await next_of(channel, "llm.prediction.output")
            assert output["output"] == "one"
            assert output["stats"]["stopReason"] == "userStopped"

    run(test)


# The log of the server -----------------------------------------------------------------------------------------------


def test_log_of_the_server_is_streamed_from_debug_on() -> None:
    async def test() -> None:
        async with watched() as (stage, _, channel):
            await stage.system.call(NOTIFY, {"title": "Hello", "description": "there"})
            log = await next_of(channel, "server.log")
            assert log == {"type": "server.log", "content": "Notification: Hello: there", "level": "info"}
            stage.system.port.receive(b"nonsense")
            log = await next_of(channel, "server.log")
            assert log["level"] == "debug"
            assert log["content"].startswith("Ignored a message of 8 characters in system")

    run(test)


def test_error_is_streamed_with_its_traceback() -> None:
    async def test() -> None:
        async with watched() as (_, __, channel):
            try:
                raise RuntimeError("out of paper")
            except RuntimeError:
                get_logger("server").exception("Printing failed")
            log = await next_of(channel, "server.log")
            assert log["level"] == "error"
            assert log["content"].startswith("Printing failed\nTraceback")
            assert "out of paper" in log["content"]

    run(test)


def test_watching_does_not_show_the_program_more_than_it_wants() -> None:
    async def test() -> None:
        with shown_to_the_program(logging.WARNING) as messages:
            async with watched() as (stage, _, channel):
                await stage.system.call(NOTIFY, {"title": "Hello"})
                await next_of(channel, "server.log")
                get_logger("server").warning("Look out")
            assert messages == ["Look out"]

    run(test)


def test_watching_leaves_the_logger_as_it_was() -> None:
    async def test() -> None:
        logger = get_logger("server")
        before = logger.level, list(logger.filters)
        async with watched() as (_, session, channel):
            second = session.open(STREAM_LOGS)
            await asyncio.sleep(0)
            assert logger.isEnabledFor(logging.DEBUG)
            second.send(STOP)
            assert await second.next() is None
            assert logger.isEnabledFor(logging.DEBUG)
            channel.send(STOP)
            assert await channel.next() is None
            assert (logger.level, list(logger.filters)) == before

    run(test)


def test_level_that_the_program_sets_meanwhile_stays() -> None:
    async def test() -> None:
        logger = get_logger("server")
        try:
            async with watched():
                logger.setLevel(logging.INFO)
            assert logger.level == logging.INFO
        finally:
            logger.setLevel(logging.NOTSET)

    run(test)


def test_each_server_of_a_process_has_its_own_log() -> None:
    async def other_server() -> None:
        async with staged() as stage:
            await stage.system.call(NOTIFY, {"title": "From the other one"})

    async def test() -> None:
        async with watched() as (stage, _, channel):
            await asyncio.to_thread(lambda: asyncio.run(other_server()))
            await stage.system.call(NOTIFY, {"title": "From this one"})
            assert (await next_of(channel, "server.log"))["content"] == "Notification: From this one"

    run(test)


# The log of the engine -----------------------------------------------------------------------------------------------


def test_line_of_an_engine_s_log_is_streamed() -> None:
    async def test() -> None:
        async with watched() as (stage, _, channel):
            assert stage.engine.on_log is not None
            stage.engine.on_log(EngineLogLine("warn", "The fan is loud.", 42))
            log = await next_of(channel, "runtime.log")
            assert log.pop("engineName").startswith("scripted-")
            assert log == {
                "type": "runtime.log",
                "level": "warn",
                "message": "The fan is loud.",
                "engineVersion": "1",
                "engineType": "scripted",
                "pid": 42,
            }

    run(test)


def test_line_about_a_loaded_model_names_it() -> None:
    model = read_model_file(EMBEDDING_MODEL_FILE)

    async def test() -> None:
        engine = LlamaCppEngine()
        async with watched(engine, models=[model]) as (stage, _, channel):
            info = await stage.load(model.model_key, stage.embedding, identifier="mine")
            (instance,) = stage.core.instances.loaded("embedding")
            assert engine.on_log is not None
            engine.on_log(EngineLogLine("error", "It smells.", instance.model.process_id))
            log = await next_of(channel, "runtime.log")
            while log["message"] != "It smells.":
                log = await next_of(channel, "runtime.log")
            assert (log["modelIdentifier"], log["instanceReference"]) == ("mine", info["instanceReference"])

    run(test)


def test_llama_cpp_s_complaints_are_streamed(tmp_path: Path) -> None:
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(EMBEDDING_MODEL_FILE.read_bytes()[:-1000])
    model = replace(read_model_file(EMBEDDING_MODEL_FILE), file=torn)

    async def test() -> None:
        async with watched(LlamaCppEngine(), models=[model]) as (stage, _, channel):
            with pytest.raises(Refused, match="Cannot load"):
                await stage.load(model.model_key, stage.embedding)
            log = await next_of(channel, "runtime.log")
            while log["level"] != "error":
                log = await next_of(channel, "runtime.log")
            assert log["engineType"] == "llama.cpp"
            assert log["pid"] > 0
            assert log["message"]

    run(test)


# Who gets it ---------------------------------------------------------------------------------------------------------


def test_everybody_who_watches_gets_everything() -> None:
    async def test() -> None:
        async with watched() as (stage, session, first):
            second = session.open(STREAM_LOGS)
            await stage.system.call(NOTIFY, {"title": "Hello"})
            for channel in (first, second):
                assert (await next_of(channel, "server.log"))["content"] == "Notification: Hello"
            first.send(STOP)
            assert await first.next() is None
            await stage.system.call(NOTIFY, {"title": "Again"})
            assert (await next_of(second, "server.log"))["content"] == "Notification: Again"

    run(test)


def test_stream_ends_with_the_server() -> None:
    async def test() -> None:
        async with watched() as (stage, _, channel):
            await stage.core.aclose()
            assert await channel.rest() == []

    run(test)


def test_server_stops_while_somebody_watches() -> None:
    hello = {"clientIdentifier": "watcher", "clientPasskey": "secret", "authVersion": 1}
    with Server(engine="scripted") as server, connect(f"ws://{server.api_host}/diagnostics") as socket:
        for message in (hello, {"type": "channelCreate", "endpoint": "streamLogs", "channelId": 1}):
            socket.send(json.dumps(message))
        assert json.loads(socket.recv(PATIENCE_SECONDS)) == {"success": True}
        server.stop()
        assert not server.is_running
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(PATIENCE_SECONDS)
    assert get_logger("server").filters == []


def test_client_that_goes_away_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with watched() as (stage, session, _):
            assert stage.core.events.is_watched
            await session.hang_up()
            assert not stage.core.events.is_watched

    run(test)


@pytest.mark.parametrize(("most", "text"), [("EVENTS", "x"), ("CHARACTERS", "x" * 1000)])
def test_slow_client_misses_events_and_is_told_how_many(monkeypatch: pytest.MonkeyPatch, most: str, text: str) -> None:
    monkeypatch.setattr(module, f"MAX_WAITING_{most}", 5 if most == "EVENTS" else 5000)

    async def test() -> None:
        async with watched() as (stage, session, channel):
            may_go_on = asyncio.Event()
            monkeypatch.setattr(session.port, "drain", may_go_on.wait)
            logger = get_logger("server")
            logger.info("first")
            assert (await next_of(channel, "server.log"))["content"] == "first"
            for _ in range(12):
                logger.info(text)
            may_go_on.set()
            for _ in range(5):
                assert (await next_of(channel, "server.log"))["content"] == text
            gap = await next_of(channel, "server.log")
            assert gap["level"] == "warn"
            assert gap["content"].startswith("7 events are missing here")
            logger.info("last")
            assert (await next_of(channel, "server.log"))["content"] == "last"
            assert stage.core.events.is_watched

    run(test)


def test_place_of_the_missing_events_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_EVENTS", 2)

    async def test() -> None:
        watcher = module.Watcher(module.EventHub(lambda: 0.0)._stamped)
        for number in range(4):
            watcher.put(stamped(f"{number}"))
        assert await content_of(watcher) == "0"
        watcher.put(stamped("4"))
        said = [await content_of(watcher) for _ in range(3)]
        assert said[::2] == ["1", "4"]
        assert said[1].startswith("2 events are missing here")

    def stamped(text: str) -> Any:
        data = DiagnosticsLogEventDataServerLog(content=text, level="info")
        return DiagnosticsLogEvent(timestamp=0, data=data)

    async def content_of(watcher: module.Watcher) -> str:
        event = await watcher.next()
        assert event is not None
        assert isinstance(event.data, DiagnosticsLogEventDataServerLog)
        return event.data.content

    run(test)


def test_parameter_that_does_not_belong_there_is_refused() -> None:
    async def test() -> None:
        async with staged() as stage:
            session = Session(stage.core, "diagnostics")
            with pytest.raises(Refused, match="Invalid parameter for diagnostics/streamLogs"):
                await session.open(STREAM_LOGS, {"source": "model"}).rest()
            await session.hang_up()

    run(test)
