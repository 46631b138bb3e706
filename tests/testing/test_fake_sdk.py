"""The doubles of the contract: what they say, what they note, how they fail, wait and stop."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from typing import Any

import pytest
import trio
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.contract import ChatMessage, ChatRole, Chunk, Completed
from lmstudio.testing import AsyncFakeSdk, FakeSdk, Gate, Reply

pytest_plugins = ["pytester"]

ADD: Any = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {}}}


def text(sdk: FakeSdk, messages: Any = "Hi", **params: Any) -> str | None:
    return sdk.chat_completion(messages, **params).choices[0].message.content


# What it says --------------------------------------------------------------------------------------------------------


def test_replies_are_given_in_order() -> None:
    sdk = FakeSdk()
    sdk.reply("one", {"two": 2})
    assert [text(sdk), text(sdk)] == ["one", '{"two": 2}']


def test_replies_may_be_for_some_chats_only() -> None:
    sdk = FakeSdk()
    sdk.reply("Sunny.", to=re.compile("weather", re.IGNORECASE), times=None)
    sdk.reply(lambda request: request.text.upper(), times=None)
    assert [text(sdk, each) for each in ("The weather?", "hi", "Weather!")] == ["Sunny.", "HI", "Sunny."]


def test_without_a_script_the_user_is_repeated() -> None:
    assert text(FakeSdk(), [ChatMessage(ChatRole.USER, "Hi")]) == "You said: Hi"


def test_a_chat_that_no_reply_fits_fails() -> None:
    sdk = FakeSdk()
    sdk.reply("one")
    text(sdk)
    with pytest.raises(lms.LMStudioServerError, match="no scripted reply"):
        text(sdk, "Again?")


def test_images_are_noted_and_not_read() -> None:
    sdk = FakeSdk()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content: list[Any] = [{"type": "text", "text": "Look"}, image]
    assert text(sdk, [ChatMessage(ChatRole.USER, content)]) == "You said: Look"
    assert sdk.last_request.messages == [{"role": "user", "content": content}]


# Models --------------------------------------------------------------------------------------------------------------


def test_any_model_exists_until_some_are_named() -> None:
    assert FakeSdk().chat_completion("Hi", model="qwen/qwen3-4b").model == "qwen/qwen3-4b"
    sdk = FakeSdk(["qwen/qwen3-4b"])
    assert sdk.chat_completion("Hi").model == "qwen/qwen3-4b"
    with pytest.raises(lms.LMStudioModelNotFoundError, match="Did you mean 'qwen/qwen3-4b'"):
        sdk.chat_completion("Hi", model="qwen3-4")


def test_a_model_is_loaded_when_it_is_used() -> None:
    sdk = FakeSdk(["one"])
    sdk.add_model("two", loaded=False)
    assert [model.id for model in sdk.list_models(status="ready")] == ["one"]
    sdk.chat_completion("Hi", model="two")
    assert [model.id for model in sdk.list_models({"status": "ready"})] == ["one", "two"]


# What was asked ------------------------------------------------------------------------------------------------------


def test_requests_are_noted() -> None:
    sdk = FakeSdk()
    chat = lms.Chat("You answer briefly.")
    chat.add_user_message("Why?")
    sdk.chat_completion(chat, model="m", max_tokens=5, temperature=0.5, tools=[ADD])
    sdk.assert_called_with(
        "Why?", model="m", system="You answer briefly.", tools=["add"], config={"max_tokens": 5, "temperature": 0.5}
    )
    with pytest.raises(AssertionError, match=r"config\['max_tokens'\]: expected 6, sent 5"):
        sdk.assert_called_with(config={"max_tokens": 6})
    assert len(sdk.requests) == 1
    assert sdk.last_request.finished


def test_no_request_is_told() -> None:
    with pytest.raises(AssertionError, match="No chat completion was asked for"):
        _ = FakeSdk().last_request


def test_reset_forgets() -> None:
    sdk = FakeSdk()
    sdk.reply("never")
    sdk.fail("never")
    text_of_failure(sdk)
    sdk.reset()
    assert sdk.requests == []
    assert text(sdk) == "You said: Hi"


def text_of_failure(sdk: FakeSdk) -> str:
    with pytest.raises(lms.LMStudioError) as caught:
        text(sdk)
    return str(caught.value)


# Failures ------------------------------------------------------------------------------------------------------------


def test_calls_fail_as_they_are_told_to() -> None:
    sdk = FakeSdk()
    sdk.fail(lms.LMStudioRateLimitError("Busy."))
    sdk.fail("No list.", on="list_models", times=2)
    sdk.fail("Sick.", on="health", times=None)
    with pytest.raises(lms.LMStudioRateLimitError, match="Busy"):
        text(sdk)
    assert text(sdk) == "You said: Hi"
    for _ in range(2):
        with pytest.raises(lms.LMStudioServerError, match="No list"):
            sdk.list_models()
    assert len(sdk.list_models()) == 1
    assert [sdk.health(), sdk.health()] == [False, False]


def test_a_stream_fails_in_the_middle() -> None:
    sdk = FakeSdk()
    sdk.reply(Reply("one two three", error="No memory.", error_after=2))
    stream = sdk.stream_chat_completion("Hi")
    events = stream.events()
    assert [next(events), next(events)] == [Chunk("one"), Chunk(" two")]
    with pytest.raises(lms.LMStudioServerError, match="No memory"):
        next(events)
    with pytest.raises(lms.LMStudioServerError, match="No memory"):
        stream.result()


def test_bad_scripts_are_refused() -> None:
    sdk = FakeSdk()
    nothing: Any = "chat"
    with pytest.raises(lms.LMStudioValueError, match="Did you mean 'chat_completion'"):
        sdk.fail("x", on=nothing)
    with pytest.raises(lms.LMStudioValueError, match="at least one answer"):
        sdk.reply()


def test_a_reply_function_that_raises_is_reported() -> None:
    sdk = FakeSdk()
    sdk.reply(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]  # it never returns
    with pytest.raises(ZeroDivisionError):
        text(sdk)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        sdk.check()


def test_strict_doubles_want_everything_used() -> None:
    sdk = FakeSdk(strict=True)
    sdk.reply("one")
    sdk.fail("two", on="list_models")
    with pytest.raises(AssertionError, match=r"(?s)the reply 'one'.*the error two on list_models"):
        sdk.check()


# Waiting and stopping ------------------------------------------------------------------------------------------------


def test_a_reply_stands_at_a_gate() -> None:
    gate, sdk = Gate(), FakeSdk()
    sdk.reply(["one", gate, " two"])
    replies: list[str | None] = []
    thread = threading.Thread(target=lambda: replies.append(text(sdk)))
    thread.start()
    assert gate.reached(PATIENCE_SECONDS)
    assert replies == []
    gate.open()
    thread.join(PATIENCE_SECONDS)
    assert replies == ["one two"]


def test_cancelling_ends_a_wait_with_the_text_so_far() -> None:
    gate, sdk = Gate(), FakeSdk()
    sdk.reply(["one", gate, " two"])
    stream = sdk.stream_chat_completion("Hi")
    events: list[Any] = []
    thread = threading.Thread(target=lambda: events.extend(stream.events()))
    thread.start()
    assert gate.reached(PATIENCE_SECONDS)
    stream.cancel()
    thread.join(PATIENCE_SECONDS)
    assert [type(event) for event in events] == [Chunk, Completed]
    assert stream.result().choices[0].message.content == "one"
    assert sdk.last_request.cancelled


def test_leaving_the_block_stops() -> None:
    sdk = FakeSdk()
    sdk.reply(["one", Gate(), " two"])
    with sdk.stream_chat_completion("Hi") as stream:
        for _ in stream:
            break
    assert sdk.last_request.cancelled
    with pytest.raises(lms.LMStudioCancelledError):
        stream.result()


def test_the_total_ends_a_wait() -> None:
    sdk = FakeSdk()
    sdk.reply([Gate()])
    with pytest.raises(lms.LMStudioTimeoutError) as caught:
        sdk.chat_completion("Hi", timeout=0.1)
    assert caught.value.limit == "total"


def in_asyncio(main: Any) -> None:
    asyncio.run(main())


@pytest.mark.parametrize("run", [in_asyncio, trio.run])
def test_the_asynchronous_double_does_the_same(run: Any) -> None:
    async def main() -> None:
        gate = Gate()
        async with AsyncFakeSdk(["m"]) as sdk:
            sdk.reply(["one", gate, " two"], "three four")
            events = sdk.stream_chat_completion("Hi").events()
            assert await anext(events) == Chunk("one")
            gate.open()
            assert [type(event) async for event in events] == [Chunk, Completed]
            assert (await sdk.chat_completion("Hi", model="m", max_tokens=1)).choices[0].finish_reason == "length"
            assert [model.id for model in await sdk.list_models()] == ["m"]
            assert await sdk.health() is True
            sdk.assert_called_with("Hi", config={"max_tokens": 1})

    run(main)


def test_a_cancelled_task_leaves_the_gate() -> None:
    async def main() -> None:
        gate, sdk = Gate(), AsyncFakeSdk()
        sdk.reply([gate])
        task = asyncio.ensure_future(sdk.chat_completion("Hi"))
        await asyncio.to_thread(gate.reached, PATIENCE_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sdk.last_request.cancelled

    asyncio.run(main())


# Fixtures ------------------------------------------------------------------------------------------------------------


def test_the_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        def test_double(lmstudio_fake_sdk):
            lmstudio_fake_sdk.reply("one")
            assert lmstudio_fake_sdk.chat_completion("Hi").choices[0].message.content == "one"

        @pytest.mark.lmstudio(models=["m"])
        def test_asynchronous_double(lmstudio_async_fake_sdk):
            assert asyncio.run(lmstudio_async_fake_sdk.chat_completion("Hi")).model == "m"

        @pytest.mark.lmstudio(strict=True)
        def test_strict(lmstudio_fake_sdk):
            lmstudio_fake_sdk.reply("never")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*Nobody has asked for the reply 'never'*"])


def test_the_double_opens_nothing() -> None:
    code = (
        "import sys; from lmstudio.testing import FakeSdk; sdk = FakeSdk(); sdk.reply('one'); "
        "assert sdk.chat_completion('Hi').choices[0].message.content == 'one'; "
        "print([name for name in ('uvicorn', 'starlette', 'httpx', 'xllamacpp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
