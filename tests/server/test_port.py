"""The server's side of a connection, in memory: no socket, and mostly no client either."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from lmstudio import _wire
from lmstudio._async_io import AsyncioInbox
from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._runtime import Runtime
from lmstudio._sdk_models import ErrorDisplayDataGenericPathNotFound
from lmstudio._tool_runner import AsyncioToolRunner, ToolRunner
from lmstudio.errors import LMStudioChannelClosedError, LMStudioModelNotFoundError, LMStudioServerError
from lmstudio.server._known_endpoints import KNOWN_ENDPOINTS
from lmstudio.server._port import MAX_WARNINGS, ClientContext, Handlers, ServerChannel, ServerPort
from lmstudio.server.engine.base import EngineError
from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from lmstudio.json_api import Multiplexer


class Text(msgspec.Struct, rename="camel"):
    input_string: str


class Word(msgspec.Struct, tag="word"):
    content: str


class Cancel(msgspec.Struct, tag="cancel"):
    reason: str = ""


class Say(msgspec.Struct, tag="say"):
    content: str


COUNT: Rpc[Text, int] = Rpc("countTokens", Text, int)
UNLOAD: Rpc[None, None] = Rpc("unloadModel", None, None)
PREDICT: ChannelSpec[Text, Word, Cancel | Say] = ChannelSpec("predict", Text, Word, Cancel | Say)
ALIVE: ChannelSpec[None, None, None] = ChannelSpec("alive", None, None, None)

CONTEXT = ClientContext("test-client")


class Line:
    """A ServerPort and what it has sent."""

    def __init__(self, handlers: Handlers, namespace: str = "llm") -> None:
        self.sent: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.port = ServerPort(
            namespace, handlers, CONTEXT, self._spawn, lambda frame: self.sent.append(json.loads(frame))
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.append(task)
        return task

    def receive(self, **message: Any) -> None:
        self.port.receive(json.dumps(message))

    def call(self, endpoint: str, call_id: int = 1, **members: Any) -> None:
        self.receive(type="rpcCall", endpoint=endpoint, callId=call_id, **members)

    def create(self, endpoint: str = "predict", channel_id: int = 1, **members: Any) -> None:
        members.setdefault("creationParameter", {"inputString": "hello"})
        self.receive(type="channelCreate", endpoint=endpoint, channelId=channel_id, **members)

    def packet(self, message: object, channel_id: int = 1) -> None:
        self.receive(type="channelSend", channelId=channel_id, message=message)

    async def settled(self) -> list[dict[str, Any]]:
        """What was sent, once every handler has ended."""
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.sent


async def count_words(_context: ClientContext, parameter: Text) -> int:
    return len(parameter.input_string.split())


async def void(_context: ClientContext, _parameter: None) -> None:
    return None


async def say_words(_context: ClientContext, parameter: Text, channel: ServerChannel[Word, Cancel | Say]) -> None:
    for word in parameter.input_string.split():
        channel.send(Word(word))
        await channel.drain()


async def hold(_context: ClientContext, _parameter: object, _channel: ServerChannel[Any, Any]) -> None:
    await asyncio.Event().wait()


def rpc_handlers(handler: Callable[[ClientContext, Text], Awaitable[int]] = count_words) -> Handlers:
    handlers = Handlers()
    handlers.rpc(COUNT, handler)
    handlers.rpc(UNLOAD, void)
    return handlers


def channel_handlers(handler: Callable[..., Awaitable[None]] = say_words) -> Handlers:
    handlers = Handlers()
    handlers.channel(PREDICT, handler)
    handlers.channel(ALIVE, hold)
    return handlers


async def one_call(handler: Callable[[ClientContext, Text], Awaitable[int]]) -> dict[str, Any]:
    line = Line(rpc_handlers(handler))
    line.call("countTokens", parameter={"inputString": "a b"})
    (reply,) = await line.settled()
    return reply


async def one_channel(handler: Callable[..., Awaitable[None]]) -> list[dict[str, Any]]:
    line = Line(channel_handlers(handler))
    line.create()
    return await line.settled()


# Calls ---------------------------------------------------------------------------------------------------------------


def test_result_carries_the_id_of_its_call() -> None:
    async def main() -> None:
        line = Line(rpc_handlers())
        line.call("countTokens", 7, parameter={"inputString": "one two three"})
        assert await line.settled() == [{"type": "rpcResult", "callId": 7, "result": 3}]

    asyncio.run(main())


def test_void_result_is_left_out() -> None:
    async def main() -> None:
        line = Line(rpc_handlers())
        line.call("unloadModel")
        line.call("unloadModel", 2, parameter=None)
        assert await line.settled() == [{"type": "rpcResult", "callId": 1}, {"type": "rpcResult", "callId": 2}]

    asyncio.run(main())


def test_calls_run_concurrently_and_slow_one_disturbs_nobody() -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def handler(_context: ClientContext, parameter: Text) -> int:
            if parameter.input_string == "slow":
                await release.wait()
            return len(parameter.input_string)

        line = Line(rpc_handlers(handler))
        line.call("countTokens", 1, parameter={"inputString": "slow"})
        line.call("countTokens", 2, parameter={"inputString": "x"})
        await line.tasks[1]
        assert [reply["callId"] for reply in line.sent] == [2]
        release.set()
        assert [reply["callId"] for reply in await line.settled()] == [2, 1]

    asyncio.run(main())


def test_handler_learns_who_asks() -> None:
    async def main() -> None:
        seen: list[ClientContext] = []

        async def handler(context: ClientContext, _parameter: Text) -> int:
            seen.append(context)
            return 0

        await one_call(handler)
        assert seen == [CONTEXT]

    asyncio.run(main())


def test_refusal_of_handler_becomes_rpc_error_with_title_and_root_title() -> None:
    async def handler(_context: ClientContext, _parameter: Text) -> int:
        raise RequestError(
            "No model is called 'x'",
            cause="It was never loaded.",
            suggestion="Load it.",
            display_data=ErrorDisplayDataGenericPathNotFound(path="x", available_paths_sample=["y"], total_models=1),
        )

    reply = asyncio.run(one_call(handler))
    assert reply == {
        "type": "rpcError",
        "callId": 1,
        "error": {
            "title": "No model is called 'x'",
            "rootTitle": "No model is called 'x'",
            "cause": "It was never loaded.",
            "suggestion": "Load it.",
            "displayData": {
                "code": "generic.pathNotFound",
                "path": "x",
                "availablePathsSample": ["y"],
                "totalModels": 1,
            },
        },
    }


def test_error_of_the_engine_reaches_the_client_in_its_own_words() -> None:
    async def handler(_context: ClientContext, _parameter: Text) -> int:
        raise EngineError("The file is damaged.", suggestion="Download it again.")

    error = asyncio.run(one_call(handler))["error"]
    assert error["title"] == error["rootTitle"] == "The file is damaged."
    assert error["suggestion"] == "Download it again."


def test_unforeseen_error_is_answered_and_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_context: ClientContext, _parameter: Text) -> int:
        raise KeyError("oops")

    with caplog.at_level(logging.ERROR, "lmstudio.server"):
        error = asyncio.run(one_call(handler))["error"]
    assert error["title"] == error["rootTitle"] == "Internal server error"
    assert "KeyError in llm/countTokens" in error["cause"]
    assert "Traceback" in caplog.text


def test_result_that_cannot_be_encoded_is_answered_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_context: ClientContext, _parameter: Text) -> int:
        return object()  # type: ignore[return-value]  # the bug this test is about

    with caplog.at_level(logging.CRITICAL, "lmstudio.server"):
        assert asyncio.run(one_call(handler))["type"] == "rpcError"


def test_handler_that_cancels_itself_does_not_leave_its_caller_waiting() -> None:
    async def handler(_context: ClientContext, _parameter: Text) -> int:
        raise asyncio.CancelledError

    assert "cancelled" in asyncio.run(one_call(handler))["error"]["title"]


@pytest.mark.parametrize(
    ("parameter", "where"),
    [({"inputString": 5}, "$.inputString"), ({}, "inputString"), ([], "array"), (None, "null")],
)
def test_invalid_parameter_is_refused_and_says_where(parameter: object, where: str) -> None:
    async def main() -> str:
        line = Line(rpc_handlers())
        line.call("countTokens", parameter=parameter)
        (reply,) = line.sent
        assert reply["type"] == "rpcError"
        title: str = reply["error"]["title"]
        return title

    title = asyncio.run(main())
    assert title.startswith("Invalid parameter for llm/countTokens: ")
    assert where in title


def test_unknown_member_of_a_parameter_is_ignored() -> None:
    async def main() -> None:
        line = Line(rpc_handlers())
        line.call("countTokens", parameter={"inputString": "a", "fromTheFuture": 1})
        assert (await line.settled())[0]["result"] == 1

    asyncio.run(main())


# Endpoints -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("applyPromptTemplate", "does not serve the rpc endpoint 'applyPromptTemplate' of the namespace 'llm'"),
        ("tellJoke", "The namespace 'llm' has no rpc endpoint 'tellJoke'"),
        ("predict", "The endpoint 'predict' of the namespace 'llm' is a channel, not an rpc"),
    ],
)
def test_call_of_an_endpoint_without_handler_is_refused(endpoint: str, words: str) -> None:
    async def main() -> None:
        line = Line(rpc_handlers())
        line.call(endpoint)
        (reply,) = line.sent
        assert reply["type"] == "rpcError"
        assert words in reply["error"]["title"]
        assert reply["error"]["title"] == reply["error"]["rootTitle"]

    asyncio.run(main())


def test_channel_of_an_endpoint_without_handler_is_refused() -> None:
    async def main() -> None:
        line = Line(Handlers(), "repository")
        line.create("downloadModel", 3, creationParameter={})
        line.packet({"type": "cancel"}, 3)  # sent before the refusal arrived, so not worth a warning
        (reply,) = line.sent
        assert reply["type"] == "channelError"
        assert reply["channelId"] == 3
        assert "does not serve the channel endpoint 'downloadModel'" in reply["error"]["title"]
        assert "LM Studio" in reply["error"]["suggestion"]

    asyncio.run(main())


def test_misspelt_endpoint_gets_a_proposal() -> None:
    async def main() -> None:
        line = Line(rpc_handlers())
        line.call("countToken")
        assert line.sent[0]["error"]["suggestion"] == "Did you mean 'countTokens'?"

    asyncio.run(main())


def test_known_endpoints_are_those_of_the_schema() -> None:
    schema = json.loads(Path(__file__).parents[2].joinpath("sdk-schema/lmstudio-sdk.schema.json").read_text("utf-8"))
    expected = {
        namespace: {kind: tuple(kinds.get(kind, ())) for kind in ("rpc", "channel")}
        for namespace, kinds in schema["endpoints"].items()
    }
    assert expected == KNOWN_ENDPOINTS
    assert sum(len(names) for kinds in KNOWN_ENDPOINTS.values() for names in kinds.values()) == 93


def test_second_handler_for_an_endpoint_is_a_mistake() -> None:
    handlers = rpc_handlers()
    with pytest.raises(ValueError, match="'countTokens' has a handler already"):
        handlers.rpc(COUNT, count_words)


def test_signals_are_refused() -> None:
    async def main() -> None:
        line = Line(rpc_handlers())
        line.receive(type="signalSubscribe", endpoint="news", subscribeId=4)
        line.receive(type="writableSignalSubscribe", endpoint="news", subscribeId=4, creationParameter={})
        assert [(reply["type"], reply["subscribeId"]) for reply in line.sent] == [
            ("signalError", 4),
            ("writableSignalError", 4),
        ]
        assert line.sent[0]["error"]["title"] == "The namespace 'llm' has no signal 'news'"

    asyncio.run(main())


# Channels ------------------------------------------------------------------------------------------------------------


def test_channel_closes_after_its_packets() -> None:
    assert asyncio.run(one_channel(say_words)) == [
        {"type": "channelSend", "channelId": 1, "message": {"type": "word", "content": "hello"}},
        {"type": "channelClose", "channelId": 1},
    ]


def test_failing_channel_ends_with_channel_error_alone() -> None:
    async def handler(_context: ClientContext, _parameter: Text, channel: ServerChannel[Word, Cancel]) -> None:
        channel.send(Word("so far"))
        raise RequestError("The model was unloaded")

    packet, end = asyncio.run(one_channel(handler))
    assert packet["message"]["content"] == "so far"
    assert (end["type"], end["error"]["title"]) == ("channelError", "The model was unloaded")


def test_channel_handler_that_cancels_itself_does_not_leave_its_client_waiting() -> None:
    async def handler(_context: ClientContext, _parameter: Text, _channel: ServerChannel[Word, Cancel]) -> None:
        raise asyncio.CancelledError

    (end,) = asyncio.run(one_channel(handler))
    assert end["type"] == "channelError"


def test_packets_sent_before_the_handler_listens_are_kept_in_order() -> None:
    async def main() -> None:
        heard: list[Cancel | Say] = []
        ready = asyncio.Event()

        async def handler(_c: ClientContext, _p: Text, channel: ServerChannel[Word, Cancel | Say]) -> None:
            channel.listen(heard.append)
            ready.set()
            await asyncio.Event().wait()

        line = Line(channel_handlers(handler))
        line.create()
        line.packet({"type": "say", "content": "early"})
        line.packet({"type": "cancel"})
        await ready.wait()
        assert heard == [Say("early"), Cancel()]
        line.packet({"type": "say", "content": "late"})
        assert heard[2:] == [Say("late")]
        line.port.close()
        await line.settled()

    asyncio.run(main())


def test_packet_of_unknown_kind_is_warned_about_and_channel_lives_on() -> None:
    async def main() -> None:
        heard: list[Cancel | Say] = []
        done = asyncio.Event()

        def listener(packet: Cancel | Say) -> None:
            heard.append(packet)
            done.set()

        async def handler(_c: ClientContext, _p: Text, channel: ServerChannel[Word, Cancel | Say]) -> None:
            channel.listen(listener)
            await done.wait()

        line = Line(channel_handlers(handler))
        line.create()
        line.packet({"type": "dance"})
        line.receive(type="channelSend", channelId=1)
        line.packet({"type": "say", "content": "still here"})
        first, second, end = await line.settled()
        assert first["kind"] == second["kind"] == "channelMessageTypeError"
        assert "llm/predict" in first["warning"]
        assert heard == [Say("still here")]
        assert end["type"] == "channelClose"

    asyncio.run(main())


def test_failing_listener_is_logged_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        def listener(_packet: object) -> None:
            go_on.set()
            raise KeyError("oops")

        async def handler(_c: ClientContext, _p: Text, channel: ServerChannel[Word, Cancel]) -> None:
            channel.listen(listener)
            await go_on.wait()

        line = Line(channel_handlers(handler))
        line.create()
        await asyncio.sleep(0)  # the handler listens now
        line.packet({"type": "cancel"})
        assert (await line.settled())[-1]["type"] == "channelClose"

    with caplog.at_level(logging.ERROR, "lmstudio.server"):
        asyncio.run(main())
    assert "listener of llm/predict" in caplog.text


def test_id_of_an_open_channel_cannot_be_used_again() -> None:
    async def main() -> None:
        line = Line(channel_handlers(hold))
        line.create()
        line.create()
        assert [(reply["type"], reply["kind"]) for reply in line.sent] == [
            ("communicationWarning", "channelAlreadyOpen")
        ]
        assert len(line.tasks) == 1
        line.port.close()
        await line.settled()

    asyncio.run(main())


def test_packet_for_a_channel_never_opened_is_warned_about() -> None:
    async def main() -> None:
        line = Line(channel_handlers())
        line.packet({"type": "cancel"}, 9)
        assert [reply["kind"] for reply in line.sent] == ["channelUnknown"]

    asyncio.run(main())


def test_packet_that_crosses_the_end_of_its_channel_is_ignored() -> None:
    async def main() -> None:
        line = Line(channel_handlers())
        line.create()
        before = list(await line.settled())
        line.packet({"type": "cancel"})
        assert line.sent == before

    asyncio.run(main())


def test_channel_sends_nothing_after_its_handler_has_ended() -> None:
    async def main() -> None:
        channels: list[ServerChannel[Word, Cancel]] = []

        async def handler(_c: ClientContext, _p: Text, channel: ServerChannel[Word, Cancel]) -> None:
            channels.append(channel)

        line = Line(channel_handlers(handler))
        line.create()
        await line.settled()
        assert not channels[0].is_open
        channels[0].send(Word("too late"))
        assert [message["type"] for message in line.sent] == ["channelClose"]

    asyncio.run(main())


# The connection ------------------------------------------------------------------------------------------------------


def test_keep_alive_is_acknowledged() -> None:
    async def main() -> None:
        line = Line(rpc_handlers())
        line.receive(type="keepAlive")
        assert line.sent == [{"type": "keepAliveAck"}]

    asyncio.run(main())


@pytest.mark.parametrize(
    "message",
    [
        "",
        "not json",
        "[]",
        '{"type":"dance"}',
        '{"type":"rpcCall","endpoint":5,"callId":1}',
        '{"type":"rpcCall","endpoint":"countTokens","callId":1.5}',
        '{"type":"rpcCall","endpoint":"\\ud800","callId":1}',
        b'{"type":"rpcCall","endpoint":"\xff","callId":1}',
        '{"type":"rpcCall","endpoint":"countTokens","callId":1,"parameter":' + "[" * 100_000,
        '{"type":"signalUnsubscribe","subscribeId":1}',
        '{"type":"writableSignalUpdate","subscribeId":1,"patches":[],"tags":[]}',
        '{"type":"channelAck","channelId":1,"ackId":1}',
        '{"type":"communicationWarning","warning":"what?","kind":"unknown"}',
    ],
    ids=lambda message: repr(message[:60]),
)
def test_message_that_needs_no_answer_gets_none(message: str | bytes) -> None:
    async def main() -> None:
        line = Line(rpc_handlers())
        line.port.receive(message)
        assert line.sent == []
        line.call("unloadModel")
        assert [reply["type"] for reply in await line.settled()] == ["rpcResult"]

    asyncio.run(main())


def test_at_most_five_warnings_are_sent() -> None:
    async def main() -> None:
        line = Line(channel_handlers())
        for channel_id in range(2 * MAX_WARNINGS):
            line.packet({"type": "cancel"}, channel_id)
        assert len(line.sent) == MAX_WARNINGS == 5

    asyncio.run(main())


def test_close_cancels_every_handler_and_silences_them() -> None:
    async def main() -> None:
        cancelled: list[str] = []

        async def endless(_context: ClientContext, parameter: Text) -> int:
            try:
                return await asyncio.Event().wait()
            finally:
                cancelled.append(parameter.input_string)

        async def stream(_c: ClientContext, _p: Text, channel: ServerChannel[Word, Cancel | Say]) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append("channel")
                channel.send(Word("goodbye"))

        handlers = rpc_handlers(endless)
        handlers.channel(PREDICT, stream)
        line = Line(handlers)
        line.call("countTokens", parameter={"inputString": "call"})
        line.create()
        await asyncio.sleep(0)  # both handlers run now
        line.create(channel_id=2)  # this one never starts
        line.port.close()
        await line.settled()
        assert sorted(cancelled) == ["call", "channel"]
        assert all(task.cancelled() for task in line.tasks)
        line.receive(type="keepAlive")
        assert line.sent == []

    asyncio.run(main())


def test_handler_that_ends_before_spawn_returns_is_not_kept() -> None:
    class Never:
        def cancel(self) -> None:
            raise AssertionError("an ended handler was cancelled")

    sent: list[bytes] = []

    def run_at_once(work: Coroutine[Any, Any, None]) -> Never:
        with pytest.raises(StopIteration):
            work.send(None)
        return Never()

    port = ServerPort("llm", rpc_handlers(), CONTEXT, run_at_once, sent.append)
    port.receive('{"type":"rpcCall","endpoint":"unloadModel","callId":1}')
    port.close()
    assert sent == [b'{"type":"rpcResult","callId":1}']


# With the client's side ----------------------------------------------------------------------------------------------


class BackToBack(Runtime):
    """A client's runtime whose connections lead straight into a ServerPort."""

    def __init__(self, handlers: Handlers) -> None:
        super().__init__()
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self.ports: list[ServerPort] = []

    def new_inbox(self) -> AsyncioInbox:
        return AsyncioInbox(self._loop)

    def new_tool_runner(self, limit: int | None) -> ToolRunner:
        return AsyncioToolRunner(limit, self.post)

    def post(self, action: Callable[[], None]) -> None:
        action()

    def connect(self, namespace: str, multiplexer: Multiplexer) -> None:
        def send(frame: bytes) -> None:
            multiplexer.receive([frame])

        def pass_on() -> None:
            for message in multiplexer.take_outgoing():
                port.receive(bytes(message))

        port = ServerPort(namespace, self._handlers, CONTEXT, self._loop.create_task, send)
        self.ports.append(port)
        multiplexer.on_outgoing = pass_on


def test_client_and_server_understand_each_other_back_to_back() -> None:
    async def echo(_c: ClientContext, parameter: Text, channel: ServerChannel[Word, Cancel | Say]) -> None:
        packets: asyncio.Queue[Cancel | Say] = asyncio.Queue()
        channel.listen(packets.put_nowait)
        channel.send(Word(parameter.input_string))
        while isinstance(packet := await packets.get(), Say):
            channel.send(Word(packet.content))

    async def missing(_context: ClientContext, _parameter: None) -> None:
        data = ErrorDisplayDataGenericPathNotFound(path="x", available_paths_sample=["y"], total_models=1)
        raise RequestError("Cannot find 'x'", display_data=data)

    async def main() -> None:
        handlers = Handlers()
        handlers.rpc(COUNT, count_words)
        handlers.rpc(UNLOAD, missing)
        handlers.channel(PREDICT, echo)
        client = BackToBack(handlers).port("llm")
        texts: Sequence[str] = ["a b c", "", "d e"]
        assert await client.call_many(COUNT, [Text(text) for text in texts], "count") == [3, 0, 2]
        with pytest.raises(LMStudioModelNotFoundError, match="Cannot find 'x'"):
            await client.call(UNLOAD, None, "unload")
        with pytest.raises(LMStudioServerError, match="does not serve the rpc endpoint 'listLoaded'"):
            await client.call(Rpc("listLoaded", None, None), None, "list")
        channel = client.channel(PREDICT, Text("first"), "predict").open()
        assert await channel.receive() == Word("first")
        channel.send(Say("second"))
        assert await channel.receive() == Word("second")
        channel.send(Cancel())
        with pytest.raises(LMStudioChannelClosedError):
            await channel.receive()

    asyncio.run(main())


def test_frames_are_those_of_the_protocol() -> None:
    frames: list[bytes] = []

    async def main() -> None:
        port = ServerPort("llm", channel_handlers(), CONTEXT, asyncio.get_running_loop().create_task, frames.append)
        port.receive(_wire.encode(_wire.ChannelCreate("predict", 0, msgspec.Raw(b'{"inputString":"hi"}'))))
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(main())
    assert frames == [
        b'{"type":"channelSend","channelId":0,"message":{"type":"word","content":"hi"}}',
        b'{"type":"channelClose","channelId":0}',
    ]
