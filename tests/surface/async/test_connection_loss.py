"""A lost connection fails the calls in flight, once each, and nothing after them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio import _transfer as transfer_module
from lmstudio.server import Reply, ScriptedEngine, Server
from surface.background import AsyncBackground
from surface.fault_proxy import FAULTS, FaultProxy, frame_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.server import Gate

pytestmark = pytest.mark.usefixtures("quiet")

NO_RETRIES = lms.RetryConfig(max_retries=0)


@pytest.fixture(autouse=True, params=["own socket", "stream"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of moving bytes: the second one is that of TLS, and of systems without the first."""
    if request.param == "stream":
        monkeypatch.setattr(transfer_module, "_own_socket", lambda _stream: None)


@pytest.fixture
def keepalive(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how many seconds a server may be silent."""
    return partial(monkeypatch.setattr, transfer_module, "KEEPALIVE_SECONDS")


@dataclass(frozen=True)
class Fault:
    """A way to lose a connection."""

    happen: Callable[[FaultProxy], None]
    reason: str
    """What the error says about it; a regular expression."""
    is_over: Callable[[], None]
    """To be called before a server is needed that may be slow for a moment."""


@pytest.fixture(params=list(FAULTS))
def fault(request: pytest.FixtureRequest, keepalive: Callable[[float], None]) -> Fault:
    """One of FAULTS."""
    if request.param == "half-open":
        keepalive(0.1)
    return Fault(*FAULTS[request.param], is_over=lambda: keepalive(PATIENCE_SECONDS))


# In flight -----------------------------------------------------------------------------------------------------------


async def test_prediction_in_flight_fails_and_the_next_call_works(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, fault: Fault
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        call = background.start(lambda: model.respond("Hi"))
        assert await background.wait(gate.reached)
        fault.happen(proxy)
        with pytest.raises(
            lms.LMStudioWebsocketError, match=rf"The connection to LM Studio was lost: .*({fault.reason})"
        ):
            await call.result()
        fault.is_over()
        gate.open()
        result = await model.respond("Hi again")
        assert result.content == "one two three"
        assert len(engine.requests) == 2  # the one that failed was not repeated


async def test_call_in_flight_fails_and_the_next_call_works(proxy: FaultProxy, fault: Fault) -> None:
    async with lms.AsyncClient(proxy.api_host, retry=NO_RETRIES) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        proxy.hold()
        call = background.start(lambda: model.tokenize(["one", "two"]))
        assert await background.wait(lambda: proxy.wait_for_message("rpcCall", 2))
        fault.happen(proxy)
        with pytest.raises(lms.LMStudioWebsocketError, match=fault.reason):
            await call.result()
        fault.is_over()
        proxy.release()
        assert await model.count_tokens("a b c") == 3


async def test_half_read_stream_fails_once_and_for_good(proxy: FaultProxy, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        texts = []
        async with await model.respond_stream("Hi") as stream:
            with pytest.raises(lms.LMStudioWebsocketError) as lost:
                async for fragment in stream:
                    texts.append(fragment.content)
                    assert await background.wait(gate.reached)
                    if len(texts) == 2:
                        proxy.reset_connections()
            assert texts == ["one", " two"]
            with pytest.raises(lms.LMStudioWebsocketError) as again:
                stream.result()
            assert str(again.value) == str(lost.value)


def root(error: BaseException) -> BaseException:
    """What caused *error* in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


async def test_each_caller_gets_an_error_of_its_own_with_the_cause(proxy: FaultProxy, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        calls = [background.start(lambda: model.respond("Hi")) for _ in range(2)]
        assert await background.wait(lambda: proxy.wait_for_message("channelCreate", 3))
        assert await background.wait(gate.reached)
        proxy.reset_connections()
        errors = []
        for call in calls:
            with pytest.raises(lms.LMStudioWebsocketError) as lost:
                await call.result()
            errors.append(lost.value)
        assert errors[0] is not errors[1]
        assert all(isinstance(root(error), ConnectionResetError) for error in errors)


async def test_load_in_flight_fails_and_the_next_one_works(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, fault: Fault
) -> None:
    engine.load_gate = gate
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        call = background.start(lambda: client.llm.model("scripted-chat"))
        assert await background.wait(gate.reached)
        fault.happen(proxy)
        with pytest.raises(lms.LMStudioWebsocketError, match=fault.reason):
            await call.result()
        fault.is_over()
        gate.open()
        assert (await client.llm.model("scripted-chat")).identifier == "scripted-chat"


async def test_other_namespaces_keep_their_connections(proxy: FaultProxy, server: Server) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        await client.llm.model("scripted-chat")
        await client.embedding.model("scripted-embed")
        await client.llm.disconnect()
        assert (client.llm.connected, client.embedding.connected) == (False, True)
        await client.list_loaded_models()
        assert proxy.accepted == ["llm", "embedding", "llm"]


# Between calls -------------------------------------------------------------------------------------------------------


async def test_loss_between_calls_is_not_noticed_by_the_caller(proxy: FaultProxy, fault: Fault) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        fault.happen(proxy)
        await background.until(lambda: not client.llm.connected)
        fault.is_over()
        assert await model.count_tokens("a b") == 2
        assert client.llm.connected


async def test_server_that_is_away_is_found_again(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host, retry=NO_RETRIES) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        proxy.refuse_connections()
        await background.until(lambda: not client.llm.connected)
        for _ in range(2):
            with pytest.raises(lms.LMStudioWebsocketError, match=f"Could not connect to ws://{proxy.api_host}/llm"):
                await model.count_tokens("a b")
        proxy.accept_connections()
        assert await model.count_tokens("a b") == 2


async def test_server_may_restart_on_its_port(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(server.api_host, retry=NO_RETRIES) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        call = background.start(lambda: model.respond("Hi"))
        assert await background.wait(gate.reached)
        await background.wait(server.stop)
        assert (await call.result()).stats.stop_reason == "userStopped"
        await background.until(lambda: not client.llm.connected)
        with pytest.raises(lms.LMStudioWebsocketError, match="Could not connect"):
            await model.count_tokens("a b")
        await background.wait(server.start)
        with pytest.raises(lms.LMStudioModelNotFoundError, match="No loaded model matches 'scripted-chat'"):
            await model.count_tokens("a b")
        assert await client.llm.model("scripted-chat") == model
        assert await model.count_tokens("a b") == 2


# Slow and silent, but alive ------------------------------------------------------------------------------------------


async def test_server_that_only_answers_pings_is_alive(
    proxy: FaultProxy, gate: Gate, keepalive: Callable[[float], None]
) -> None:
    keepalive(0.3)
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        call = background.start(lambda: model.respond("Hi"))
        assert await background.wait(gate.reached)
        assert await background.wait(lambda: proxy.wait_for_pings(2))
        gate.open()
        assert (await call.result()).content == "one two three"
        assert proxy.accepted == ["llm"]


async def test_consumer_that_does_not_read_holds_nobody_up(
    proxy: FaultProxy, engine: ScriptedEngine, keepalive: Callable[[float], None]
) -> None:
    keepalive(0.3)
    chunks = [f"{number:07} " for number in range(20_000)]
    engine.reply = [Reply(chunks), Reply("Meanwhile")]
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi", config={"contextOverflowPolicy": "stopAtLimit"}) as stream:
            fragments = aiter(stream)
            texts = [(await anext(fragments)).content]
            assert (await model.respond("Hi")).content == "Meanwhile"
            assert await background.wait(lambda: proxy.wait_for_pings(2))
            texts += [fragment.content async for fragment in fragments]
        assert texts == chunks[: len(texts)]
        assert len(texts) > 4000
        assert proxy.accepted == ["llm"]


async def test_half_open_connection_is_noticed_while_a_consumer_does_not_read(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, keepalive: Callable[[float], None]
) -> None:
    keepalive(0.3)
    engine.reply = [Reply([*["word "] * 4000, gate]), Reply([gate])]
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi") as stalled:
            fragments = aiter(stalled)
            assert (await anext(fragments)).content == "word "
            call = background.start(lambda: model.respond("Hi"))
            assert await background.wait(gate.reached)
            proxy.go_silent()
            with pytest.raises(lms.LMStudioWebsocketError, match="no sign of life"):
                await call.result()
            with pytest.raises(lms.LMStudioWebsocketError, match="no sign of life"):
                async for fragment in fragments:
                    assert fragment.content == "word "
        keepalive(PATIENCE_SECONDS)
        assert await model.count_tokens("a b") == 2


async def test_bytes_that_come_one_by_one_make_whole_messages(proxy: FaultProxy, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["Blåbær", " 蓝莓", " 🫐", "x" * 300])
    proxy.drip = True
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        fragments = [fragment.content async for fragment in await model.respond_stream("Hi")]
        assert fragments == ["Blåbær", " 蓝莓", " 🫐", "x" * 300]


async def test_frames_that_are_not_messages_are_understood(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        proxy.send(frame_header(0x89, 2) + b"hi")  # ping
        proxy.send(frame_header(0x8A, 0))  # pong
        proxy.send(frame_header(0x82, 3) + b"\x00\xff\x00")  # binary
        proxy.send(frame_header(0x01, 10) + b'{"type":"k' + frame_header(0x80, 13) + b'eepAliveAck"}')  # two parts
        assert await model.count_tokens("a b") == 2
        assert await background.wait(lambda: proxy.wait_for(lambda seen: any(f.kind == "pong" for f in seen.frames)))
        assert proxy.accepted == ["llm"]


# Large messages, and a server that does not read ---------------------------------------------------------------------


async def test_large_messages_pass_in_both_directions(proxy: FaultProxy, engine: ScriptedEngine) -> None:
    text = "ø" * 3_000_000
    engine.reply = Reply([text])
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        assert (await model.respond(text)).content == text
        assert text in engine.requests[0].prompt


async def test_closing_does_not_wait_for_a_server_that_does_not_read(proxy: FaultProxy) -> None:
    async with AsyncBackground() as background:
        client = lms.AsyncClient(proxy.api_host)
        model = await client.llm.model("scripted-chat")
        proxy.silent_from = proxy.received_bytes + 100_000
        call = background.start(lambda: model.count_tokens("x" * 20_000_000))
        assert await background.wait(lambda: proxy.wait_for(lambda seen: seen.received_bytes >= 100_000))
        await client.aclose()
        with pytest.raises(lms.LMStudioWebsocketError, match="client was closed"):
            await call.result()


async def test_silent_server_fails_a_call_that_is_still_being_sent(
    proxy: FaultProxy, keepalive: Callable[[float], None]
) -> None:
    keepalive(0.1)
    async with lms.AsyncClient(proxy.api_host, retry=NO_RETRIES) as client:
        model = await client.llm.model("scripted-chat")
        proxy.go_silent()
        with pytest.raises(lms.LMStudioWebsocketError, match="no sign of life"):
            await model.count_tokens("x" * 20_000_000)
        keepalive(PATIENCE_SECONDS)
        assert await model.count_tokens("a b") == 2


# Messages that are not of the protocol -------------------------------------------------------------------------------


async def call_after(proxy: FaultProxy, message: object, model: lms.AsyncLLM) -> None:
    """Let the server say *message*, then call."""
    proxy.send_message(message)
    assert await model.count_tokens("a b") == 2


@pytest.mark.parametrize("message", [{"type": "fromTheFuture"}, {"no": "type"}, [], "text", 5, None])
async def test_unknown_message_is_a_warning_and_harms_nobody(proxy: FaultProxy, message: object) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.warns(lms.LMStudioUnknownMessageWarning, match="Ignored a message"):
            await call_after(proxy, message, model)


async def test_complaint_of_the_server_is_a_warning(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.warns(lms.LMStudioUnknownMessageWarning, match="could not make sense of a message: What"):
            await call_after(proxy, {"type": "communicationWarning", "warning": "What?"}, model)


async def test_who_wants_to_know_is_told_of_what_is_unknown(proxy: FaultProxy) -> None:
    seen: list[lms.UnknownItem] = []
    async with lms.AsyncClient(proxy.api_host, on_unknown=seen.append) as client:
        model = await client.llm.model("scripted-chat")
        for _ in range(2):
            with pytest.warns(lms.LMStudioUnknownMessageWarning):
                await call_after(proxy, {"type": "fromTheFuture"}, model)
    assert [(item.endpoint, item.path) for item in seen] == [("llm", "$")]  # each thing once
    assert "fromTheFuture" in seen[0].problem


@pytest.mark.parametrize("callback", [3, asyncio.sleep])
async def test_only_a_plain_function_can_be_told(callback: object) -> None:
    with pytest.raises(lms.LMStudioValueError, match="on_unknown must be a plain function"):
        lms.AsyncClient(on_unknown=callback)  # type: ignore[arg-type]  # as a user may write it
