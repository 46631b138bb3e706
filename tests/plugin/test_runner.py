"""Plugins of this package, used by the embedded server."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugin_kit import turn_settings, user_message
from running_stage import RunningStage, running_stage, write_plugin

from lmstudio._sdk_models import ChatHistoryData, LlmTool
from lmstudio.plugin import LMStudioPluginRuntimeError
from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

COROUTINES = '''
import asyncio
import lmstudio as lms
from lmstudio.plugin import (
    AsyncToolCallContext, BaseConfigSchema, ToolCallContext, config_field, get_tool_call_context,
    get_tool_call_context_async
)

class ConfigSchema(BaseConfigSchema):
    greeting: str = config_field(label="Greeting", hint="How to greet", default="Hello")

ended = []
begun = asyncio.Event()

async def preprocess_prompt(ctl, message):
    text = message.get_text()
    if text == "keep":
        return None
    if text == "fail":
        raise ValueError("no voice")
    if text == "odd":
        return 5
    if text == "wait":
        status = await ctl.notify_start("Waiting")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(text)
    if text == "ended":
        return ",".join(ended)
    status = await ctl.notify_start("Shouting")
    earlier = await ctl.pull_history()
    await status.notify_done(f"After {len(earlier)} messages")
    return {"role": "user", "content": [{"type": "text", "text": text.upper()}]}

async def list_provided_tools(ctl):
    greeting = ctl.plugin_config.greeting
    if greeting == "fail":
        raise RuntimeError("no tools today")
    waiting = asyncio.Event()

    @lms.tool
    async def greet(name: str) -> dict[str, str]:
        """Greet somebody."""
        await get_tool_call_context_async().notify_status("Looking")
        return {"greeting": f"{greeting}, {name}!"}

    async def nothing(call: AsyncToolCallContext) -> None:
        """Return nothing."""
        await call.notify_status("nothing in call " + call.call_id)

    async def mistaken(call: ToolCallContext) -> None:
        """Want the context of plain functions."""

    async def meet(last: bool) -> str:
        """Wait for the last."""
        if last:
            waiting.set()
        await waiting.wait()
        return "met"

    async def fail() -> str:
        """Fail."""
        raise LookupError("not there")

    async def confused() -> str:
        """Ask for the wrong context."""
        get_tool_call_context()

    return [greet, nothing, meet, fail, confused, mistaken]

async def generate_tokens(ctl, history):
    text = history[-1].get_text()
    if text == "wait":
        ctl.fragment_generated("...")
        await asyncio.Event().wait()
    for word in text.split():
        ctl.fragment_generated(word)
    ctl.fragment_generated(str(len(ctl.get_tool_definitions())))
'''

FUNCTIONS = '''
import threading
import lmstudio as lms
from lmstudio.plugin import PluginContext, ToolCallContext, get_tool_call_context

left = threading.Event()
late = threading.Event()

def preprocess(ctl, message):
    if message.get_text() == "wait":
        ctl.notify_start("Waiting")
        ctl.abort_signal.add_listener(left.set)
        left.wait()
        return "too late"
    if message.get_text() == "exit":
        raise SystemExit(4)
    status = ctl.notify_start("Whispering")
    model = ctl.client.llm.model("scripted-chat")
    status.notify_done(model.respond("Hi").content)
    return message.get_text().lower()

def tools(ctl):
    barrier = threading.Barrier(2, timeout=60)

    def whisper(text: str, context: lms.ToolCallContext, call: ToolCallContext | None = None) -> str:
        """Whisper."""
        get_tool_call_context().notify_warning("quiet")
        context.status("whispering")
        assert call is get_tool_call_context()
        return text.lower()

    def meet() -> str:
        """Wait for another call."""
        barrier.wait()
        return "met"

    def wait() -> str:
        """Wait until it is stopped."""
        context = get_tool_call_context()
        stopped = threading.Event()
        context.signal.add_listener(stopped.set)
        context.notify_status("waiting")
        stopped.wait()
        left.set()
        return "too late"

    def was_left() -> bool:
        """Whether a call was stopped."""
        return left.wait(60)

    def circle() -> object:
        """Return what is no JSON."""
        return object()

    @lms.tool(timeout=0.01)
    def oversleep(context: lms.ToolCallContext) -> str:
        """Take too long."""
        context.signal.add_listener(late.set)
        late.wait()
        return "too late"

    def was_late() -> bool:
        """Whether a call knew that its time was over."""
        return late.wait(60)

    return [whisper, meet, wait, was_left, circle, oversleep, was_late]

def generate(ctl):
    ctl.fragment_generated(ctl.history[-1].get_text()[::-1])

def main(context: PluginContext) -> None:
    context.with_prompt_preprocessor(preprocess).with_tools_provider(tools).with_generator(generate)
'''

LOOP = """
async def handle_prediction_loop(ctl):
    model = await ctl.token_source()
    block = ctl.create_content_block()
    await block.pipe_from(model.respond_stream(await ctl.pull_history()))
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[RunningStage]:
    with running_stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def coroutines(stage: RunningStage, patch: pytest.MonkeyPatch, tmp_path_factory: Any) -> Iterator[RunningStage]:
    folder = write_plugin(tmp_path_factory.mktemp("coroutines"), COROUTINES)
    with stage.running(patch, folder):
        yield stage


@pytest.fixture(scope="module")
def functions(stage: RunningStage, patch: pytest.MonkeyPatch, tmp_path_factory: Any) -> Iterator[RunningStage]:
    folder = write_plugin(tmp_path_factory.mktemp("functions"), FUNCTIONS, "plain")
    with stage.running(patch, folder, "plain"):
        yield stage


PLAIN = "me/plain"


def statuses(shown: list[Any]) -> list[tuple[str, str]]:
    return [(item.state.status, item.state.text) for item in shown]


# Prompt preprocessors ------------------------------------------------------------------------------------------------


def test_coroutine_preprocesses_a_message(coroutines: RunningStage) -> None:
    text, shown = coroutines.preprocess("Hi there")
    assert text == "HI THERE"
    assert statuses(shown) == [("waiting", "Shouting"), ("done", "After 2 messages")]


def test_plain_function_preprocesses_a_message_with_a_client_of_its_own(functions: RunningStage) -> None:
    functions.engine.reply = "Good morning."
    text, shown = functions.preprocess("HI", PLAIN)
    assert text == "hi"
    assert statuses(shown) == [("waiting", "Whispering"), ("done", "Good morning.")]


def test_message_stays_when_the_preprocessor_returns_nothing(coroutines: RunningStage) -> None:
    assert coroutines.preprocess("keep")[0] == "keep"


def test_failure_of_a_preprocessor_is_told_and_the_plugin_lives_on(coroutines: RunningStage) -> None:
    with pytest.raises(RequestError) as caught:
        coroutines.preprocess("fail")
    assert caught.value.title == "The prompt preprocessor of the plugin 'me/helper' failed (ValueError: no voice)"
    assert caught.value.cause == "ValueError: no voice"
    assert coroutines.preprocess("keep")[0] == "keep"


def test_failure_is_logged_without_frames_of_the_package(
    coroutines: RunningStage, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RequestError):
        coroutines.preprocess("fail")
    assert "plugin.py" in caplog.text
    assert "_runner" not in caplog.text


def test_exit_of_a_plain_function_is_a_failure(functions: RunningStage) -> None:
    with pytest.raises(RequestError, match="SystemExit: 4"):
        functions.preprocess("exit", PLAIN)
    assert functions.preprocess("HI", PLAIN)[0] == "hi"


def test_result_that_is_no_message_is_refused(coroutines: RunningStage) -> None:
    with pytest.raises(RequestError, match="It returned 5, which is no message"):
        coroutines.preprocess("odd")


@pytest.mark.parametrize("which", ["helper", "plain"])
def test_aborted_task_ends_and_lets_the_next_one_work(stage: RunningStage, which: str, request: Any) -> None:
    request.getfixturevalue("coroutines" if which == "helper" else "functions")
    plugin = f"me/{which}"

    async def leave() -> None:
        with stage.host.turn(user_message("wait"), turn_settings()) as turn:
            async with stage.host.preprocess(plugin, turn) as run:
                await run.__anext__()

    stage.within(leave)
    if which == "helper":
        assert stage.preprocess("ended")[0] == "wait"
    else:
        assert stage.call(("was_left", {}), plugin=plugin)[0] is True


# Tools ---------------------------------------------------------------------------------------------------------------


def test_tool_of_a_plugin_with_settings(coroutines: RunningStage) -> None:
    result, said = coroutines.call(("greet", {"name": "Ada"}), greeting="Good day")
    assert result == {"greeting": "Good day, Ada!"}
    assert said == ["Looking"]


def test_host_knows_the_settings_of_the_plugin(coroutines: RunningStage) -> None:
    settings = coroutines.host.registry.find("me/helper").config_schematics
    assert settings is not None
    assert [(field.full_key, field.default_value) for field in settings.fields] == [("greeting", "Hello")]


def test_plain_function_as_a_tool_reports_in_both_ways(functions: RunningStage) -> None:
    result, said = functions.call(("whisper", {"text": "HI"}), plugin=PLAIN)
    assert result == "hi"
    assert said == ["quiet", "whispering"]


def test_tool_that_returns_nothing(coroutines: RunningStage) -> None:
    nothing, said = coroutines.call(("nothing", {}))
    assert nothing is None
    assert said[0].startswith("nothing in call ")


def test_calls_of_a_session_run_at_the_same_time(coroutines: RunningStage, functions: RunningStage) -> None:
    assert coroutines.call(("meet", {"last": False}), ("meet", {"last": True}))[:2] == ["met", "met"]
    assert functions.call(("meet", {}), ("meet", {}), plugin=PLAIN)[:2] == ["met", "met"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("fail", {}, "The tool 'fail' of the plugin 'me/helper' failed (LookupError: not there)"),
        ("greet", {"name": 5}, "Invalid arguments for tool 'greet'"),
        ("confused", {}, "use get_tool_call_context_async"),
        ("mistaken", {}, "use get_tool_call_context_async"),
    ],
)
def test_failure_of_a_tool_is_told(coroutines: RunningStage, name: str, arguments: Any, expected: str) -> None:
    error = coroutines.call((name, arguments))[0]
    assert isinstance(error, RequestError)
    assert expected in error.title


def test_result_that_is_no_json_is_an_error(functions: RunningStage) -> None:
    error = functions.call(("circle", {}), plugin=PLAIN)[0]
    assert "cannot be written as JSON" in error.title


def test_failure_to_provide_tools_is_told(coroutines: RunningStage) -> None:
    with pytest.raises(RequestError, match=r"tools provider of the plugin 'me/helper' failed .*no tools today"):
        coroutines.call(greeting="fail")


def test_aborted_call_of_a_plain_function_hears_of_it(functions: RunningStage) -> None:
    async def stop() -> None:
        async with functions.host.tools(PLAIN) as session:
            waiting = asyncio.Event()
            call = asyncio.ensure_future(session.call("wait", {}, on_status=lambda _: waiting.set()))
            await waiting.wait()
            call.cancel()
            await asyncio.wait([call])

    functions.within(stop)
    assert functions.call(("was_left", {}), plugin=PLAIN)[0] is True


def test_call_over_its_time_limit_hears_of_it(functions: RunningStage) -> None:
    failed, _ = functions.call(("oversleep", {}), plugin=PLAIN)
    assert "took longer than 0.01 seconds" in str(failed)
    assert functions.call(("was_late", {}), plugin=PLAIN)[0] is True


def test_calls_are_logged_for_developers(functions: RunningStage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lmstudio.plugins")
    functions.call(("whisper", {"text": "Hello"}), plugin=PLAIN)
    assert "The host calls the tools provider" in caplog.messages
    assert "The host calls the tool 'whisper'" in caplog.messages


def test_limit_of_parallel_calls(stage: RunningStage, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    source = '''
running = most = 0

async def list_provided_tools(ctl):
    import asyncio

    async def count() -> int:
        """Count those that run."""
        global running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return most

    return [count]
'''
    folder = write_plugin(tmp_path, source, "limited")
    with stage.running(monkeypatch, folder, "limited", max_parallel_tool_calls=2):
        results = stage.call(*[("count", {})] * 6, plugin="me/limited")[:6]
    assert max(results) == 2


# Generators and prediction loops -------------------------------------------------------------------------------------


def generated(stage: RunningStage, text: str, plugin: str = "me/helper", *, leave: bool = False) -> list[str]:
    history = ChatHistoryData.from_dict({"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]})
    add = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}

    async def run() -> list[str]:
        found = []
        async with stage.host.generate(plugin, history, [LlmTool.from_dict(add)]) as work:
            async for packet in work:
                found.append(packet.fragment.content)  # type: ignore[union-attr]
                if leave:
                    break
        return found

    return stage.within(run)


def test_generator_answers_a_chat(coroutines: RunningStage) -> None:
    assert generated(coroutines, "Hi there") == ["Hi", "there", "1"]


def test_plain_function_generates(functions: RunningStage) -> None:
    assert generated(functions, "Hi", PLAIN) == ["iH"]


def test_generator_that_is_stopped_answers_again(coroutines: RunningStage) -> None:
    assert generated(coroutines, "wait", leave=True) == ["..."]
    assert generated(coroutines, "Hi") == ["Hi", "1"]


def test_prediction_loop_handler_answers_with_the_model_of_the_chat(
    stage: RunningStage, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    stage.engine.reply = "Good morning."

    async def run() -> str:
        with stage.host.turn(user_message("Hi"), turn_settings()) as turn:
            async with stage.host.run_loop("me/looper", turn) as work:
                return "".join([getattr(item, "text", "") async for item in work])

    with stage.running(monkeypatch, write_plugin(tmp_path, LOOP, "looper"), "looper"):
        assert stage.within(run) == "Good morning."


# The host ------------------------------------------------------------------------------------------------------------


def test_plugin_ends_when_its_registration_ends(
    stage: RunningStage, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    with stage.running(monkeypatch, write_plugin(tmp_path, LOOP, "leaver"), "leaver") as work:
        end = stage.host.registry.find("me/leaver").end

        async def leave() -> None:
            end()

        stage.within(leave)
        work.join()
    assert isinstance(work.error, LMStudioPluginRuntimeError)
    assert "'me/leaver' has lost its host" in str(work.error)


def test_two_tasks_at_the_same_time(coroutines: RunningStage) -> None:
    async def overlap() -> str:
        with coroutines.host.turn(user_message("wait"), turn_settings()) as turn:
            async with coroutines.host.preprocess("me/helper", turn) as run:
                await run.__anext__()
                with coroutines.host.turn(user_message("keep"), turn_settings()) as other:
                    async with coroutines.host.preprocess("me/helper", other) as second:
                        async for _ in second:
                            pass
                    return other.message.content[0].text  # type: ignore[union-attr]

    assert coroutines.within(overlap) == "keep"


def test_plugin_that_was_written_for_the_official_package(stage: RunningStage, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).parents[1] / "peer" / "plugins" / "python-helper"
    with stage.running(monkeypatch, folder, "python-helper"):
        text, shown = stage.preprocess("Hi", "me/python-helper")
        greeting, failure, said = stage.call(
            ("greet", {"name": "Ada"}), ("fail", {}), plugin="me/python-helper", greeting="Good day"
        )
    assert (text, statuses(shown)) == ("HI", [("waiting", "Shouting"), ("done", "Shouted")])
    assert greeting == "Good day, Ada!"
    assert "ValueError: I cannot do that." in failure.title
    assert said == ["Looking up the name.", "It is early."]
