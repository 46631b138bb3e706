"""Every way of giving up a call tells the server to stop, and what still arrives for it is ignored."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from lmstudio.server import Gate, ScriptedEngine
    from surface.fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")


class OwnError(Exception):
    """Of the test."""


async def stopped(proxy: FaultProxy, engine: ScriptedEngine) -> bool:
    """Whether one cancel packet has left the client, and the engine has stopped."""
    async with AsyncBackground() as background:
        return (
            await background.wait(lambda: proxy.wait_for_packet("cancel"))
            and await background.wait(engine.wait_for_cancel)
            and proxy.count_packets("cancel") == 1
        )


# Streams -------------------------------------------------------------------------------------------------------------


async def test_break_without_with_block_cancels(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        async for _fragment in await model.respond_stream("Hi"):
            break
        assert await stopped(proxy, engine)


async def test_end_of_with_block_cancels(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi"):
            assert await background.wait(gate.reached)
        assert await stopped(proxy, engine)


async def fail_in_stream(model: lms.AsyncLLM) -> None:
    async with await model.respond_stream("Hi") as stream:
        async for _fragment in stream:
            raise OwnError


async def test_exception_in_with_block_cancels_and_stays_itself(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(OwnError):
            await fail_in_stream(model)
        assert await stopped(proxy, engine)


async def test_exception_in_loop_without_with_block_cancels(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(OwnError):
            async for _fragment in await model.respond_stream("Hi"):
                raise OwnError
        gc.collect()  # the traceback held the loop's iterator
        assert await stopped(proxy, engine)


async def test_cancel_keeps_the_text_so_far(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi") as stream:
            async for fragment in stream:
                if fragment.content == " two":
                    await stream.cancel()
            result = stream.result()
        assert (result.content, result.stop_reason) == ("one two", "userStopped")
        assert await stopped(proxy, engine)


async def test_cancel_before_the_first_fragment_gives_an_empty_result(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("Hi")
        await stream.start()
        await stream.cancel()
        result = await stream.wait_for_result()
        assert (result.content, result.stop_reason) == ("", "userStopped")


async def test_second_cancel_sends_nothing(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi") as stream:
            assert await background.wait(gate.reached)
            await stream.cancel()
            await stream.cancel()
            await stream.wait_for_result()
        assert await stopped(proxy, engine)


async def test_cancel_of_a_complete_prediction_sends_nothing(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi") as stream:
            result = await stream.wait_for_result()
            await stream.cancel()
            await stream.aclose()
        assert await model.count_tokens("a b") == 2
        assert (proxy.count_packets("cancel"), stream.result()) == (0, result)


async def test_closing_the_stream_cancels(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("Hi")
        await stream.start()
        assert await background.wait(gate.reached)
        await stream.aclose()
        assert await stopped(proxy, engine)


async def test_left_stream_has_no_result(proxy: FaultProxy, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi") as stream:
            pass
        with pytest.raises(lms.LMStudioCancelledError, match="left before"):
            stream.result()
        with pytest.raises(lms.LMStudioCancelledError):
            await stream.wait_for_result()
        with pytest.raises(lms.LMStudioCancelledError):
            async for _fragment in stream:
                pass


async def test_half_read_stream_that_is_collected_cancels(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        fragments = aiter(await model.respond_stream("Hi"))
        assert (await anext(fragments)).content == "one"
        cycle: list[object] = [fragments]
        cycle.append(cycle)
        del fragments, cycle
        gc.collect()
        assert await stopped(proxy, engine)


async def test_started_stream_that_is_collected_unread_cancels(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("Hi")
        await stream.start()
        assert await background.wait(gate.reached)
        del stream
        gc.collect()
        assert await stopped(proxy, engine)


async def test_stream_object_may_be_dropped_while_its_fragments_are_read(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        texts = [fragment.content async for fragment in await model.respond_stream("Hi there")]
        assert texts == ["You", " said:", " Hi", " there"]
        assert proxy.count_packets("cancel") == 0


async def test_closing_the_client_right_after_a_break_cancels(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        async for _fragment in await model.respond_stream("Hi"):
            break
    assert await stopped(proxy, engine)


async def test_closing_the_client_stops_what_is_running(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with AsyncBackground() as background:
        client = lms.AsyncClient(proxy.api_host)
        model = await client.llm.model("scripted-chat")
        call = background.start(lambda: model.respond("Hi"))
        assert await background.wait(gate.reached)
        await client.aclose()
        with pytest.raises(lms.LMStudioWebsocketError, match="client was closed"):
            await call.result()
        assert await background.wait(engine.wait_for_cancel)


async def test_disconnecting_the_session_stops_what_is_running(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        call = background.start(lambda: model.respond("Hi"))
        assert await background.wait(gate.reached)
        await client.llm.disconnect()
        with pytest.raises(lms.LMStudioWebsocketError, match="closed"):
            await call.result()
        assert await background.wait(engine.wait_for_cancel)
        assert await model.count_tokens("a b c") == 3


async def test_exception_of_the_message_callback_reaches_the_caller(proxy: FaultProxy) -> None:
    def refuse(_message: lms.AssistantResponse) -> None:
        raise OwnError

    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(OwnError):
            await model.respond("Hi", on_message=refuse)
        assert (await model.respond("Hi")).content == "You said: Hi"


# Late frames ---------------------------------------------------------------------------------------------------------


async def test_late_frames_of_a_left_prediction_are_ignored(proxy: FaultProxy, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        async with await model.respond_stream("Hi"):
            pass
        channel_id = proxy.messages("channelCreate")[-1]["channelId"]
        fragment = {"content": "late", "tokensCount": 1, "containsDrafted": False, "reasoningType": "none"}
        packets = [{"type": "fragment", "fragment": fragment}, {"type": "promptProcessingProgress", "progress": 1}]
        for packet in [*packets, {"type": "nobodyKnowsThis"}, "not even a packet"]:
            proxy.send_message({"type": "channelSend", "channelId": channel_id, "message": packet})
        proxy.send_message({"type": "channelError", "channelId": channel_id, "error": {"title": "late"}})
        proxy.send_message({"type": "channelClose", "channelId": channel_id})
        assert await model.count_tokens("a b") == 2


async def test_late_reply_of_a_call_is_ignored(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        assert await model.count_tokens("a") == 1
        call_id = proxy.messages("rpcCall")[-1]["callId"]
        proxy.send_message({"type": "rpcResult", "callId": call_id, "result": {"tokenCount": 5}})
        proxy.send_message({"type": "rpcError", "callId": call_id, "error": {"title": "late"}})
        assert await model.count_tokens("a b") == 2


async def test_frames_of_channels_that_never_were_are_ignored(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        for message in (
            {"type": "channelSend", "channelId": 999, "message": {}},
            {"type": "channelClose", "channelId": 999},
            {"type": "rpcResult", "callId": 999, "result": None},
            {"type": "keepAliveAck"},
        ):
            proxy.send_message(message)
        assert await model.count_tokens("a b") == 2


# Loads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_new_instance", [False, True])
async def test_exception_of_the_progress_callback_cancels_the_load(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, is_new_instance: bool
) -> None:
    def refuse(_progress: float) -> None:
        raise OwnError

    engine.load_gate = gate
    async with lms.AsyncClient(proxy.api_host) as client:
        with pytest.raises(OwnError):
            if is_new_instance:
                await client.llm.load_new_instance("scripted-chat", on_load_progress=refuse)
            else:
                await client.llm.model("scripted-chat", on_load_progress=refuse)
        assert await stopped(proxy, engine)
        assert await client.llm.list_loaded() == []


async def test_closing_the_client_cancels_a_load(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    engine.load_gate = gate
    async with AsyncBackground() as background:
        client = lms.AsyncClient(proxy.api_host)
        call = background.start(lambda: client.llm.model("scripted-chat"))
        assert await background.wait(gate.reached)
        await client.aclose()
        with pytest.raises(lms.LMStudioWebsocketError):
            await call.result()
        assert await background.wait(engine.wait_for_cancel)
