"""What hooks of plugins ask and show, and what comes of it at their host."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import anyio  # sync: skip
import pytest
from hook_stage import HookStage, HookWork, hook_stage
from patience import PATIENCE_SECONDS
from plugin_kit import config

import lmstudio as lms
from lmstudio._sdk_models import (
    FileHandle,
    KvConfig,
    ProcessingRequest,
    ProcessingRequestResponse,
    ProcessingRequestResponseConfirmToolCall,
    ProcessingRequestResponseConfirmToolCallResultAllow,
    ProcessingRequestResponseConfirmToolCallResultDeny,
    ProcessingRequestResponseTextInput,
    StatusStepState,
    TokenSourceIdentifierGenerator,
    ToolStatusStepStateStatusToolCallSucceeded,
)
from lmstudio.plugin._controllers.async_controllers import TokenGeneratorController
from lmstudio.plugin._controllers.async_processing import (
    PredictionLoopHandlerController,
    PromptPreprocessorController,
)
from lmstudio.plugin._schematics import create_config_schematics
from lmstudio.plugin.config_schemas import BaseConfigSchema, config_field
from lmstudio.server import Gate, Reply, ToolCall
from lmstudio.server.plugins.turns import NameSuggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLING = {"type": "callingTool"}
ADD = {"type": "function", "name": "add", "arguments": {"a": 1}}


@pytest.fixture(scope="module")
def stage() -> Iterator[HookStage]:
    with hook_stage() as running:
        yield running


def controller(client: lms.AsyncClient, work: HookWork, **more: Any) -> PredictionLoopHandlerController:
    return PredictionLoopHandlerController(client, work.task, **more)


def without_ids(updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in update.items() if name != "id"} for update in updates]


# Blocks --------------------------------------------------------------------------------------------------------------


async def test_status_lines_change_and_go(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl = controller(client, work)
            status = ctl.create_status({"status": "waiting", "text": "Soon"})
            status.set_text("Sooner")
            status.set_state(StatusStepState(status="loading", text="Now"))
            first = status.add_sub_status({"status": "loading", "text": "1"})
            inner = first.add_sub_status({"status": "loading", "text": "1.1"})
            second = status.add_sub_status({"status": "done", "text": "2"})
            status.remove()
            await ctl.flush()
            assert await ctl.has_status()
    assert len({status.id, first.id, inner.id, second.id}) == 4

    def line(block: Any, text: str, after: Any, indentation: int, state: str = "loading") -> dict[str, Any]:
        location = {"type": "afterId", "id": after.id}
        new = {"type": "status.create", "id": block.id, "state": {"status": state, "text": text}}
        return {**new, "location": location, "indentation": indentation}

    assert work.shown == [
        {"type": "status.create", "id": status.id, "state": {"status": "waiting", "text": "Soon"}},
        {"type": "status.update", "id": status.id, "state": {"status": "waiting", "text": "Sooner"}},
        {"type": "status.update", "id": status.id, "state": {"status": "loading", "text": "Now"}},
        line(first, "1", status, 1),
        line(inner, "1.1", first, 2),
        line(second, "2", inner, 1, "done"),
        {"type": "status.remove", "id": status.id},
    ]


async def test_status_notes_of_the_official_package(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work("preprocess") as work:
            ctl: Any = PromptPreprocessorController(client, work.task)
            status = await ctl.notify_start("0")
            await status.notify_waiting("1")
            await status.notify_working("2")
            await status.notify_error("3")
            await status.notify_canceled("4")
            await status.notify_done("5")
            await ctl.notify_done("6")
            await ctl.flush()
    states = ["waiting", "waiting", "loading", "error", "canceled", "done", "done"]
    assert [update["state"]["status"] for update in work.shown] == states
    assert [update["state"]["text"] for update in work.shown] == [*"0123456"]
    assert [update["type"] for update in work.shown] == ["status.create", *["status.update"] * 5, "status.create"]


@pytest.mark.parametrize(
    ("error", "shown"), [(KeyboardInterrupt(), 2), (lms.LMStudioCancelledError("Enough."), 2), (OSError("No."), 1)]
)
async def test_only_cancellation_is_shown_as_such(stage: HookStage, error: BaseException, shown: int) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl = controller(client, work)
            status = await ctl.notify_start("Begin")
            with pytest.raises(type(error)):
                async with status.notify_aborted("Over"):
                    raise error
            async with status.notify_aborted("Never shown"):
                pass
            await ctl.flush()
    states = [{"status": "waiting", "text": "Begin"}, {"status": "canceled", "text": "Over"}]
    assert [update["state"] for update in work.shown] == states[:shown]


async def test_cancellation_of_a_task_is_shown(stage: HookStage) -> None:  # sync: skip
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl = controller(client, work)
            status = await ctl.notify_start("Begin")
            with anyio.CancelScope() as scope:
                async with status.notify_aborted("Over"):
                    scope.cancel()
                    await anyio.sleep_forever()
            await ctl.flush()
    assert work.shown[-1]["state"] == {"status": "canceled", "text": "Over"}


async def test_content_blocks_grow_and_change(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl = controller(client, work)
            block = ctl.create_content_block(
                include_in_context=False, style={"type": "thinking", "title": "Hm"}, prefix="<", suffix=">"
            )
            block.append_text("Hi", tokens_count=1, from_draft_model=True, is_structural=False)
            block.append_tool_request(call_id=1, name="add", parameters={"some_key": 1}, tool_call_request_id="x")
            block.replace_tool_request(call_id=1, name="add", parameters={}, plugin_identifier="me/helper")
            block.replace_text("Ho")
            block.set_style({"type": "customLabel", "label": "L", "color": "red", "force_render_as_plain_text": True})
            block.set_prefix("[")
            block.set_suffix("]")
            tool = ctl.create_content_block(role_override="tool")
            tool.append_tool_result(call_id=1, content="3", tool_call_request_id="x", name="add")
            await ctl.flush()
    call = {"callId": 1, "name": "add"}
    label = {"type": "customLabel", "label": "L", "color": "red", "forceRenderAsPlainText": True}
    look = {"style": {"type": "thinking", "title": "Hm"}, "prefix": "<", "suffix": ">"}
    append = {"text": "Hi", "tokensCount": 1, "fromDraftModel": True, "isStructural": False}
    request, result = {"parameters": {"some_key": 1}, "toolCallRequestId": "x"}, {"content": "3"}
    replacement = {"parameters": {}, "pluginIdentifier": "me/helper"}
    assert work.shown == [
        {"type": "contentBlock.create", "id": block.id, "includeInContext": False, **look},
        {"type": "contentBlock.appendText", "id": block.id, **append},
        {"type": "contentBlock.appendToolRequest", "id": block.id, **call, **request},
        {"type": "contentBlock.replaceToolRequest", "id": block.id, **call, **replacement},
        {"type": "contentBlock.replaceText", "id": block.id, "text": "Ho"},
        {"type": "contentBlock.setStyle", "id": block.id, "style": label},
        {"type": "contentBlock.setPrefix", "id": block.id, "prefix": "["},
        {"type": "contentBlock.setSuffix", "id": block.id, "suffix": "]"},
        {"type": "contentBlock.create", "id": tool.id, "includeInContext": True, "roleOverride": "tool"},
        {"type": "contentBlock.appendToolResult", "id": tool.id, **call, **result, "toolCallRequestId": "x"},
    ]


async def test_citations_of_a_search_name_their_places(stage: HookStage) -> None:
    file = FileHandle(name="a.txt", identifier="id-1", size_bytes=1, file_type="text/plain")
    found = lms.RetrievalResultEntry(content="So it is.", score=1, source=file, page_number=(3, 4), line_number=7)
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl = controller(client, work)
            ctl.add_citations(lms.RetrievalResult(entries=[found]))
            ctl.add_citations([found])
            ctl.create_citation_block("Bare.", file_name="b.txt", file_identifier="id-2")
            await ctl.flush()
    source = {"fileName": "a.txt", "fileIdentifier": "id-1", "pageNumber": [3, 4], "lineNumber": 7}
    full = {"type": "citationBlock.create", "citedText": "So it is.", **source}
    bare = {"type": "citationBlock.create", "citedText": "Bare.", "fileName": "b.txt", "fileIdentifier": "id-2"}
    assert without_ids(work.shown) == [full, full, bare]


async def test_debug_shows_any_values(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl = controller(client, work)
            state = StatusStepState(status="done", text="Ja")
            ctl.debug("a", 1, None, {"b": [1]}, state, {"c": ctl})
            ctl.debug(ValueError("Broken."))
            await ctl.flush()
    values, error = (update["debugInfo"] for update in work.shown)
    assert values == (
        'a 1 None {\n  "b": [\n    1\n  ]\n} {\n  "status": "done",\n  "text": "Ja"\n} ' + repr({"c": ctl})
    )
    assert error == "ValueError: Broken."


async def test_tool_status_keeps_what_does_not_change(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl = controller(client, work)
            status = ctl.create_tool_status(3, {"type": "generatingToolCall", "plugin_identifier": "me/helper"})
            status.append_argument_fragment('{"a"')
            status.set_status(CALLING)
            status.set_custom_status_text("Counting")
            status.add_warning("Odd")
            status.add_warning("Odder")
            status.set_status(ToolStatusStepStateStatusToolCallSucceeded(time_ms=5))
            await ctl.flush()
    created, fragment, *changes = work.shown
    generating = {"type": "generatingToolCall", "pluginIdentifier": "me/helper"}
    assert created["callId"] == 3
    assert created["state"] == {"status": generating, "customStatus": "", "customWarnings": []}
    assert fragment == {"type": "toolStatus.argumentFragment", "id": status.id, "content": '{"a"'}
    assert [change["state"] for change in changes] == [
        {"status": CALLING, "customStatus": "", "customWarnings": []},
        {"status": CALLING, "customStatus": "Counting", "customWarnings": []},
        {"status": CALLING, "customStatus": "Counting", "customWarnings": ["Odd"]},
        {"status": CALLING, "customStatus": "Counting", "customWarnings": ["Odd", "Odder"]},
        {
            "status": {"type": "toolCallSucceeded", "timeMs": 5},
            "customStatus": "Counting",
            "customWarnings": ["Odd", "Odder"],
        },
    ]


async def test_what_the_protocol_does_not_allow_is_not_sent(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl: Any = controller(client, work)
            text, tool = (ctl.create_content_block(role_override=role) for role in ("user", "tool"))
            status = ctl.create_status({"status": "done", "text": "Ja"})
            refusals: tuple[Callable[[], object], ...] = (
                lambda: ctl.create_status({"status": "happy", "text": "Ja"}),
                lambda: status.set_state({"status": "done"}),
                lambda: status.set_text(1),
                lambda: ctl.create_content_block(role_override="judge"),
                lambda: ctl.create_tool_status("1", CALLING),
                lambda: ctl.create_tool_status(1, {"type": "resting"}),
                lambda: text.append_text(b"Hi"),
                lambda: text.append_tool_request(call_id=1, name="add", parameters={}),
                lambda: text.replace_tool_request(call_id=1, name="add", parameters={}),
                lambda: text.append_tool_result(call_id=1, content="3"),
                lambda: tool.append_text("Hi"),
                lambda: tool.replace_text("Hi"),
            )
            for refused in refusals:
                with pytest.raises(lms.LMStudioValueError, match=r"^Could not "):
                    refused()
            with pytest.raises(lms.LMStudioValueError, match=r"^Could not suggest a name"):
                await ctl.suggest_name(1)
            await ctl.flush()
    assert len(work.items) == 3


# What goes wrong -----------------------------------------------------------------------------------------------------


async def test_updates_that_the_host_does_not_take_are_logged(
    stage: HookStage, caplog: pytest.LogCaptureFixture
) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            work.task.token = "guessed"
            ctl = controller(client, work)
            ctl.debug("a")
            ctl.debug("b")
            await ctl.flush()
            with pytest.raises(lms.LMStudioServerError, match="no prediction process"):
                await ctl.has_status()
    records = [record for record in caplog.records if record.name == "lmstudio.plugins"]
    assert [record.levelno for record in records] == [logging.ERROR] * 2
    assert "no prediction process" in records[0].getMessage()
    assert work.items == []


async def test_updates_of_a_closed_client_are_logged(stage: HookStage, caplog: pytest.LogCaptureFixture) -> None:
    with stage.work() as work:
        async with lms.AsyncClient(stage.api_host) as client:
            ctl = controller(client, work)
            await ctl.flush()
        ctl.debug("a")
        await ctl.flush()
    messages = [record.getMessage() for record in caplog.records if record.name == "lmstudio.plugins"]
    assert messages == ["The host did not take an update: The client is closed."]


async def test_abort_ends_what_waits_for_the_user(stage: HookStage) -> None:
    signal = lms.AbortSignal()

    def answer(_: ProcessingRequest) -> None:
        signal.abort("No more.")

    aborted, at_once = threading.Event(), threading.Event()
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(answer=answer) as work:
            ctl = controller(client, work, signal=signal)
            ctl.on_aborted(aborted.set)
            ctl.guard_abort()
            with pytest.raises(lms.LMStudioCancelledError, match=r"Could not ask the user .*No more\."):
                await ctl.request_text_input("Name?")
            assert aborted.wait(PATIENCE_SECONDS)  # another thread has aborted, and may have woken this one first
            ctl.on_aborted(at_once.set)
            assert at_once.is_set()
            with pytest.raises(lms.LMStudioCancelledError, match=r"No more\."):
                ctl.guard_abort()
            with pytest.raises(lms.LMStudioCancelledError, match=r"No more\."):
                await ctl.pull_history()
            ctl.debug("Still shown.")
            await ctl.flush()
    assert len(work.shown) == 1


# Questions -----------------------------------------------------------------------------------------------------------


async def test_user_allows_denies_and_writes(stage: HookStage) -> None:
    asked: list[dict[str, Any]] = []

    def answer(request: ProcessingRequest) -> ProcessingRequestResponse:
        asked.append(request.to_dict())
        if request.type == "textInput":
            return ProcessingRequestResponseTextInput(result="Ada")
        if request.name == "add":
            allowed = ProcessingRequestResponseConfirmToolCallResultAllow(tool_args_override={"a": 2})
            return ProcessingRequestResponseConfirmToolCall(result=allowed)
        denied = ProcessingRequestResponseConfirmToolCallResultDeny(deny_reason="Never.")
        return ProcessingRequestResponseConfirmToolCall(result=denied)

    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(answer=answer) as work:
            ctl = controller(client, work)
            allowed = await ctl.request_confirm_tool_call(
                call_id=1, name="add", parameters={"a": 1}, plugin_identifier="me/helper"
            )
            denied = await ctl.request_confirm_tool_call(call_id=2, name="delete", parameters={})
            assert await ctl.request_text_input("Name?", timeout=60) == "Ada"
    assert allowed.to_dict() == {"type": "allow", "toolArgsOverride": {"a": 2}}
    assert denied.to_dict() == {"type": "deny", "denyReason": "Never."}
    confirm = {"type": "confirmToolCall", "callId": 1, "name": "add", "parameters": {"a": 1}}
    assert asked == [
        {**confirm, "pluginIdentifier": "me/helper"},
        {"type": "confirmToolCall", "callId": 2, "name": "delete", "parameters": {}},
        {"type": "textInput", "prompt": "Name?"},
    ]


async def test_history_of_a_loop_has_the_message_and_that_of_a_preprocessor_not(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            history = await controller(client, work).pull_history()
        with stage.work("preprocess") as work:
            earlier = await PromptPreprocessorController(client, work.task).pull_history()
    assert [message.role for message in history] == ["user", "assistant", "user"]
    assert [message.role for message in earlier] == ["user", "assistant"]
    earlier.add_user_message("It is a copy.")


async def test_names_of_chat_and_sender(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(needs_name=True) as work:
            ctl = controller(client, work)
            assert not await ctl.has_status()
            assert await ctl.needs_naming()
            await ctl.suggest_name("Sums")
            assert not await ctl.needs_naming()
            await ctl.set_sender_name("Bot")
            await ctl.set_sender_name("Robot", wait=True)
    assert work.items[0] == NameSuggestion("Sums")
    assert [update["name"] for update in work.shown] == ["Bot", "Robot"]


async def test_settings_and_directory_come_with_the_task(stage: HookStage) -> None:
    class Schema(BaseConfigSchema):
        loud: bool = config_field(label="Loud", hint="", default=False)

    schematics = create_config_schematics().field("loud", "boolean", {}, False).build()
    settings: dict[str, Any] = {
        "plugin_configs": {"me/helper": KvConfig.from_dict(config(loud=True))},
        "working_directory": "/work",
        "enabled_plugins": ["me/helper"],
    }
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(**settings) as work:
            ctl = controller(client, work, plugin_config="parsed")
        with stage.work() as bare:
            without = controller(client, bare)
    assert (ctl.client, ctl.request, ctl.pci, ctl.token) == (client, work.task, work.task.pci, work.task.token)
    assert (ctl.task_id, ctl.plugin_config, ctl.global_config) == (work.task.task_id, "parsed", KvConfig(fields=[]))
    assert [each["loud"] for each in (ctl.get_plugin_config(schematics), ctl.get_global_plugin_config(schematics))] == [
        True,
        False,
    ]
    assert (ctl.get_plugin_config(Schema).loud, ctl.get_global_plugin_config(Schema).loud) == (True, False)
    anything: Any = ctl
    with pytest.raises(lms.LMStudioValueError, match=r"create_config_schematics\(\)"):
        anything.get_plugin_config({})
    assert ctl.working_path == ctl.get_working_directory()
    assert ctl.get_working_directory().as_posix() == "/work"
    assert [info.identifier for info in ctl.enabled_plugin_infos] == ["me/helper"]
    assert without.working_path is None
    with pytest.raises(lms.LMStudioRuntimeError, match="no working directory"):
        without.get_working_directory()


# Models --------------------------------------------------------------------------------------------------------------


async def test_token_source_predicts_with_the_settings_of_the_chat(stage: HookStage) -> None:
    stage.engine.reply = [Reply("Good day."), "Bye."]
    chat_config = KvConfig.from_dict(config(**{"llm.prediction.temperature": 0.125}))
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(config=chat_config) as work:
            ctl = controller(client, work)
            model: Any = await ctl.token_source()
            block = ctl.create_content_block()
            result = await block.pipe_from(model.respond_stream(await ctl.pull_history()))
            acted = await model.act("Bye", [], config={"temperature": 0.25})
            await ctl.flush()
    assert str(result) == "Good day."
    assert result.prediction_config.temperature == 0.125
    assert acted.final_result.prediction_config.temperature == 0.25
    _, *texts, last = work.shown
    assert "".join(update["text"] for update in texts) == "Good day."
    info = last["genInfo"]
    assert (last["type"], info["identifier"]) == ("contentBlock.attachGenInfo", "scripted-chat")
    assert info["stats"]["stopReason"] == "eosFound"


async def test_token_source_counts_with_the_settings_of_the_chat(stage: HookStage) -> None:
    template = {
        "type": "manual",
        "manualPromptTemplate": {
            "beforeSystem": "",
            "afterSystem": "",
            "beforeUser": "Now somebody says: ",
            "afterUser": " (That was all.)",
            "beforeAssistant": "",
            "afterAssistant": "",
        },
        "stopStrings": [],
    }
    chat_config = KvConfig.from_dict(config(**{"llm.prediction.promptTemplate": template}))
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(config=chat_config) as work:
            model: Any = await controller(client, work).token_source()
            tokens = await model.count_chat_tokens("Hi")
            assert tokens == await model.count_tokens(await model.apply_prompt_template("Hi"))
            plain = await client.llm.model("scripted-chat")
            assert tokens > await plain.count_chat_tokens("Hi")
            with pytest.raises(lms.LMStudioValueError, match=f"it has {tokens}"):
                await model.trim_chat("Hi", tokens - 1)


async def test_generator_of_the_chat_speaks_with_its_settings(stage: HookStage) -> None:
    source = TokenSourceIdentifierGenerator(plugin_identifier="me/helper")
    settings: dict[str, Any] = {
        "token_source": source,
        "plugin_configs": {"me/helper": KvConfig.from_dict(config(loud=True))},
    }
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(**settings) as work:
            ctl = controller(client, work)
            generator: Any = await ctl.token_source()
            block = ctl.create_content_block()
            with stage.generating("Ho") as asked:
                result = await block.pipe_from(generator.respond_stream("Hi"))
            members: tuple[dict[str, Any], ...] = ({"plugin_config": {}}, {"working_directory": "/else"})
            for member in members:
                with pytest.raises(lms.LMStudioValueError, match="was chosen in a chat"):
                    await generator.respond("Hi", **member)
            await ctl.flush()
    assert generator.identifier == "me/helper"
    assert generator != client.plugins.create_generator_handle("me/helper")
    assert result.content == "Ho"
    assert asked[0]["pluginConfig"] == config(loud=True)
    assert [update["type"] for update in work.shown] == ["contentBlock.create", "contentBlock.appendText"]


async def test_tools_of_the_plugins_of_the_chat(stage: HookStage) -> None:
    call = ToolCall("add", {"a": 1})
    stage.engine.reply = [Reply([call]), "It is 3."]
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(enabled_plugins=["me/helper"], working_directory="/work") as work:
            ctl = controller(client, work)
            model = await ctl.token_source()
            assert ctl.session is client.plugins
            with stage.providing_tools() as asked:
                async with ctl.start_tool_use_session() as tools:
                    assert [tool.name for tool in tools] == ["add"]
                    assert (len(tools), tools[0], tools[:1]) == (1, tools.tools[0], tools.tools)
                    result = await model.act("Add.", tools)
        with stage.work() as work:
            async with controller(client, work).start_tool_use_session() as none:
                assert len(none) == 0
    assert result.content == "It is 3."
    assert asked[0]["workingDirectoryPath"] == "/work"
    assert asked[1]["parameters"] == {"a": 1}
    assert asked[2]["type"] == "discardSession"


async def test_tools_that_a_plugin_cannot_provide(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work(enabled_plugins=["me/helper"]) as work:
            ctl = controller(client, work)
            with stage.providing_tools(fails=True), pytest.raises(lms.LMStudioServerError, match="No luck"):
                async with ctl.start_tool_use_session():
                    pass
        signal = lms.AbortSignal()
        signal.abort()
        with stage.work(enabled_plugins=["me/helper"]) as work, pytest.raises(lms.LMStudioCancelledError):
            async with controller(client, work, signal=signal).start_tool_use_session():
                pass


async def test_abort_stops_what_flows_into_a_block(stage: HookStage) -> None:
    gate = Gate()
    stage.engine.reply = Reply(["One", gate, " two"])
    signal = lms.AbortSignal()
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work() as work:
            ctl = controller(client, work, signal=signal)
            model: Any = await ctl.token_source()
            block = ctl.create_content_block()
            stream = model.respond_stream("Count.", on_first_token=signal.abort)
            with pytest.raises(lms.LMStudioCancelledError):
                await block.pipe_from(stream)
            gate.open()
            unsent = model.respond_stream("Count.")
            with pytest.raises(lms.LMStudioCancelledError):
                await block.pipe_from(unsent)
            await ctl.flush()
    assert stream.stats is not None
    assert stream.stats.stop_reason == "userStopped"


# Generators ----------------------------------------------------------------------------------------------------------


async def test_generator_reports_reach_its_host(stage: HookStage) -> None:
    async with lms.AsyncClient(stage.api_host) as client:
        with stage.work("generate") as work:
            ctl: Any = TokenGeneratorController(client, work.task, work.send)
            assert str(ctl.history) == str(lms.Chat.from_history("Hi"))
            assert (ctl.task_id, ctl.get_tool_definitions()) == (work.task.task_id, [])
            ctl.fragment_generated("Hm", token_count=2, reasoning_type="reasoning", tokens=[{"text": "Hm", "id": 1}])
            ctl.fragment_generated("Hi")
            ctl.tool_call_generation_started("call-1")
            ctl.tool_call_generation_name_received("add")
            ctl.tool_call_generation_argument_fragment_generated('{"a"')
            ctl.tool_call_generation_ended(ADD)
            ctl.tool_call_generation_started()
            ctl.tool_call_generation_failed(ValueError("No JSON."))
            with pytest.raises(lms.LMStudioValueError, match="Could not report what is generated"):
                ctl.fragment_generated("Hi", reasoning_type="guess")
    first, second, *calls = work.shown
    assert (first["fragment"]["content"], first["fragment"]["tokensCount"]) == ("Hm", 2)
    assert (second["fragment"]["content"], second["fragment"]["reasoningType"]) == ("Hi", "none")
    assert calls == [
        {"type": "toolCallGenerationStart", "toolCallId": "call-1"},
        {"type": "toolCallGenerationNameReceived", "name": "add"},
        {"type": "toolCallGenerationArgumentFragmentGenerated", "content": '{"a"'},
        {"type": "toolCallGenerationEnd", "toolCallRequest": ADD},
        {"type": "toolCallGenerationStart"},
        {"type": "toolCallGenerationFailed"},
    ]
