"""Plugins of @lmstudio/sdk and of the official Python package, hosted by our server, used by @lmstudio/sdk."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugin_kit import config, turn_settings, user_message

import lmstudio as lms
from lmstudio._sdk_models import (
    KvConfig,
    ProcessingRequest,
    ProcessingRequestResponse,
    ProcessingRequestResponseConfirmToolCall,
    ProcessingRequestResponseConfirmToolCallResultAllow,
    ProcessingUpdateStatusCreate,
    ProcessingUpdateStatusUpdate,
    TokenSourceIdentifierGenerator,
)
from lmstudio.server import Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.host import NameSuggestion, TurnItem

from .node_peer import JsClient, JsError, NodePeer, Run
from .official_sdk import require_official_python
from .plugin_session import PluginCore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.plugins.host import PluginHost

JS = "me/js-helper"
PYTHON = "me/python-helper"
GREET = {"name": "greet", "params": {"name": "Ada"}}
WHERE = {"name": "where"}
WAIT = {"name": "wait", "abortOn": "Waiting."}
FOLDER = Path(__file__).parent / "plugins"


class Stage:
    """A server with the scripted engine, its event loop, and a client of @lmstudio/sdk."""

    def __init__(self, server: Server, core: PluginCore, js: JsClient, node: NodePeer, engine: ScriptedEngine) -> None:
        self.server = server
        self.host: PluginHost = core.plugins
        self.js = js
        self.node = node
        self.engine = engine
        self.within = core.within

    @contextmanager
    def js_plugin(self, *arguments: str) -> Iterator[Run]:
        """A plugin of @lmstudio/sdk in a process of its own, registered by a client of the same."""
        manifest = {"type": "plugin", "runner": "node", "owner": "me", "name": "js-helper"}
        with self.node.client(self.server, clientIdentifier="developer") as developer:
            run = developer.begin("developPlugin", manifest=manifest, command=["node", "plugin.mjs", *arguments])
            run.wait_for("ready")
            yield run
            developer.run("endPlugin", name="js-helper")
            run.end()

    @contextmanager
    def python_plugin(self) -> Iterator[None]:
        """A plugin of the official Python package, which also registers it."""
        command = [str(require_official_python()), "-u", str(FOLDER / "run_official_plugin.py")]
        env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LM_API_TOKEN")}
        arguments = [str(FOLDER / "python-helper"), self.server.api_host]
        with subprocess.Popen([*command, *arguments], env=env, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                assert line == "Plugin 'python-helper' running, press Ctrl-C to terminate...\n"
                yield
            finally:
                process.kill()

    def use(self, plugin: str, *calls: dict[str, Any], **opts: Any) -> Run:
        return self.js.run("useTools", plugin=plugin, opts=opts, calls=[*calls])


@pytest.fixture
def stage(node: NodePeer) -> Iterator[Stage]:
    engine = ScriptedEngine()
    core = PluginCore(engine)
    with Server.for_core(core) as server:
        node.take_warnings()
        with node.client(server) as js:
            yield Stage(server, core, js, node, engine)


# Tools ---------------------------------------------------------------------------------------------------------------


def test_js_plugin_is_given_where_the_server_is(stage: Stage) -> None:
    with stage.js_plugin() as run:
        registered = run.wait_for("registered")
        assert registered["baseUrl"] == f"ws://{stage.server.api_host}"
        assert registered["clientIdentifier"].startswith(f"plugin:{JS}:")


def test_js_client_uses_tools_of_a_js_plugin(stage: Stage) -> None:
    stage.host.global_configs[JS] = KvConfig.from_dict(config(key="secret"))
    with stage.js_plugin():
        run = stage.use(
            JS,
            GREET,
            WHERE,
            {"name": "nothing"},
            pluginConfig=config(greeting="Good day"),
            workingDirectory="/work",
        )
    assert run.value == [{"greeting": "Good day, Ada!", "key": "secret"}, "/work", "undefined"]
    assert [tool["name"] for tool in run.wait_for("tools")] == ["greet", "where", "nothing", "wait", "exit"]
    assert run.all("status") == ["Looking up the name."]
    assert run.all("warn")[0] == "It is early."


def test_error_of_a_tool_reaches_the_js_client(stage: Stage) -> None:
    with stage.js_plugin():
        (failure,) = stage.use(JS, WHERE).value
    assert failure["error"].startswith("This prediction process is not attached to a working directory.")
    assert failure["cause"] == f"The plugin '{JS}' failed to run a tool."


def test_js_client_stops_a_tool(stage: Stage) -> None:
    with stage.js_plugin() as run:
        stopped, next_ = stage.use(JS, WAIT, GREET).value
        assert stopped["error"] == "Not wanted any more."
        assert next_["greeting"] == "Hello, Ada!"
        assert run.wait_for("printed") == "aborted wait"


def test_js_plugin_that_cannot_provide_tools(stage: Stage) -> None:
    with stage.js_plugin(), pytest.raises(JsError, match="There are no tools today") as caught:
        stage.use(JS, pluginConfig=config(greeting="fail"))
    assert "It is Sunday." in str(caught.value.details)


def test_js_plugin_that_ends_in_the_middle_of_a_call(stage: Stage) -> None:
    with stage.js_plugin() as run:
        lost, after = stage.use(JS, {"name": "exit"}, GREET).value
        assert lost["error"].startswith(f"The plugin '{JS}' has gone")
        assert after["error"]
        assert run.end() == {"status": 3}
    stage.node.take_warnings()  # "Tool use session error"


def test_plugin_that_nobody_registered(stage: Stage) -> None:
    with pytest.raises(JsError, match="No plugin 'me/absent' is registered"):
        stage.use("me/absent")


def test_act_of_a_js_client_with_tools_of_a_plugin(stage: Stage) -> None:
    stage.engine.reply = [Reply([ToolCall("greet", {"name": "Ada"})]), "Done."]
    with stage.js_plugin():
        run = stage.js.run("actWithPlugin", plugin=JS, model="scripted-chat", input="Greet Ada.")
    assert run.value == 2
    results = [result for message in run.all("message") for result in message["results"]]
    assert "Hello, Ada!" in results[0]


def test_sessions_at_the_same_time_have_their_own_settings(stage: Stage) -> None:
    with stage.js_plugin():
        runs = [
            stage.js.begin("useTools", plugin=JS, opts={"pluginConfig": config(greeting=word)}, calls=[GREET] * 5)
            for word in ("Hi", "Hey", "Ho")
        ]
        assert [{each["greeting"] for each in run.end()} for run in runs] == [{"Hi, Ada!"}, {"Hey, Ada!"}, {"Ho, Ada!"}]


def test_plugin_registered_anew_replaces_the_old_one(stage: Stage) -> None:
    for _ in range(2):
        with stage.js_plugin():
            assert len(stage.use(JS, GREET).value) == 1


def test_our_client_uses_a_js_plugin(stage: Stage) -> None:
    stage.engine.reply = [Reply([ToolCall("greet", {"name": "Ada"}), ToolCall("where", {})]), Reply("Done.")]
    with stage.js_plugin(), lms.Client(stage.server.api_host) as client:
        with client.plugins.plugin_tools(JS, plugin_config={"greeting": "Ahoy"}) as tools:
            client.llm.model("scripted-chat").act("Greet Ada.", tools)
        reply = client.plugins.create_generator_handle(JS).respond("Hi")
    greeted, failed = (part["content"] for part in stage.engine.chats[-1].messages if part["role"] == "tool")
    assert greeted == '{"greeting": "Ahoy, Ada!", "key": "none"}'
    assert "not attached to a working directory" in failed
    assert (reply.reasoning_content, reply.non_reasoning_content) == ("Let me see.", "You said: Hi")


# Generators ----------------------------------------------------------------------------------------------------------


def test_js_client_predicts_with_a_generator(stage: Stage) -> None:
    with stage.js_plugin():
        run = stage.js.run("generate", plugin=JS, input="Hi")
    assert run.value == {
        "content": "Let me see.You said: Hi",
        "reasoningContent": "Let me see.",
        "nonReasoningContent": "You said: Hi",
        "pluginIdentifier": JS,
    }
    assert [each["tokensCount"] for each in run.all("fragment")] == [3, 1]


def test_js_client_cancels_a_generator(stage: Stage) -> None:
    with stage.js_plugin() as plugin:
        run = stage.js.run("generate", plugin=JS, input="wait", cancelAfter=2)
        assert run.value["nonReasoningContent"] == "You said: wait"
        assert plugin.wait_for("printed") == "aborted generation"


def test_error_of_a_generator_reaches_the_js_client(stage: Stage) -> None:
    with stage.js_plugin(), pytest.raises(JsError, match="No words") as caught:
        stage.js.run("generate", plugin=JS, input="fail")
    assert "Ask for something else." in str(caught.value.details)


def test_act_of_a_generator_with_tools(stage: Stage) -> None:
    tools = [{"kind": "function", "name": "add", "result": 3}]
    with stage.js_plugin():
        run = stage.js.run("generatorAct", plugin=JS, input="Add.", tools=tools)
    assert run.value == 2
    assert run.wait_for("called")["params"] == {"a": 1}


# What a chat window does ---------------------------------------------------------------------------------------------


async def preprocessed(host: PluginHost, plugin: str, text: str) -> tuple[str, list[TurnItem]]:
    """The message that a plugin makes of *text*, and what it showed meanwhile."""
    with host.turn(user_message(text), turn_settings()) as turn:
        async with host.preprocess(plugin, turn) as run:
            shown = [item async for item in run]
        return turn.message.content[0].text, shown  # type: ignore[union-attr]


def statuses(items: list[TurnItem]) -> list[tuple[str, str]]:
    return [
        (item.state.status, item.state.text)
        for item in items
        if isinstance(item, (ProcessingUpdateStatusCreate, ProcessingUpdateStatusUpdate))
    ]


@contextmanager
def either_plugin(stage: Stage, which: str) -> Iterator[None]:
    with stage.js_plugin() if which == JS else stage.python_plugin():
        yield


@pytest.mark.parametrize("which", [JS, PYTHON])
def test_preprocessor_changes_the_message(stage: Stage, which: str) -> None:
    with either_plugin(stage, which):
        text, shown = stage.within(lambda: preprocessed(stage.host, which, "Hi there"))
    assert text == "HI THERE"
    expected = [("loading", "Shouting"), ("done", "Shouted after 2 messages")]
    assert statuses(shown) == (expected if which == JS else [("waiting", "Shouting"), ("done", "Shouted")])


@pytest.mark.parametrize(
    ("which", "title", "cause"),
    [
        (JS, "I have no voice.", f"The plugin '{JS}' failed to preprocess a message."),
        (PYTHON, "Prompt preprocessing error in plugin 'python-helper'", "Error calling prompt preprocessing hook"),
    ],
)
def test_error_of_a_preprocessor_is_told(stage: Stage, which: str, title: str, cause: str) -> None:
    with either_plugin(stage, which), pytest.raises(RequestError) as caught:
        stage.within(lambda: preprocessed(stage.host, which, "fail"))
    assert caught.value.title == title
    assert (caught.value.cause or "").startswith(cause)


@pytest.mark.parametrize("which", [JS, PYTHON])
def test_cancelled_preprocessor_lets_the_next_one_work(stage: Stage, which: str) -> None:
    async def cancel() -> None:
        with stage.host.turn(user_message("wait"), turn_settings()) as turn:
            async with stage.host.preprocess(which, turn) as run:
                await run.__anext__()

    with either_plugin(stage, which):
        stage.within(cancel)
        assert stage.within(lambda: preprocessed(stage.host, which, "Hi"))[0] == "HI"


async def allow(_: ProcessingRequest) -> ProcessingRequestResponse:
    return ProcessingRequestResponseConfirmToolCall(result=ProcessingRequestResponseConfirmToolCallResultAllow())


async def answered(host: PluginHost, **settings: Any) -> tuple[str, list[TurnItem]]:
    """What a prediction loop handler answers, and all that it said."""
    with host.turn(user_message("Hi"), turn_settings(ask=allow, needs_name=True, **settings)) as turn:
        async with host.run_loop(JS, turn) as run:
            items = [item async for item in run]
    return "".join(getattr(item, "text", "") for item in items), items


def test_prediction_loop_handler_answers_with_the_model_of_the_chat(stage: Stage) -> None:
    stage.engine.reply = "Good morning."
    with stage.js_plugin("--loop"):
        text, items = stage.within(lambda: answered(stage.host))
    assert text == "allow: Good morning."
    assert NameSuggestion("A chat") in items
    assert "Helper" in [getattr(item, "name", None) for item in items]
    assert [message["content"] for message in stage.engine.chats[-1].messages][-1] == "Hi"


def test_prediction_loop_handler_answers_with_a_generator(stage: Stage) -> None:
    with stage.js_plugin("--loop"):
        source = TokenSourceIdentifierGenerator(plugin_identifier=JS)
        text, _ = stage.within(lambda: answered(stage.host, token_source=source))
    assert text == "allow: Let me see.You said: Hi"


# A plugin of the official Python package -----------------------------------------------------------------------------


def test_js_client_uses_tools_of_a_python_plugin(stage: Stage) -> None:
    with stage.python_plugin():
        run = stage.use(PYTHON, GREET, {"name": "fail"}, pluginConfig=config(greeting="Good day"))
        settings = stage.host.registry.find(PYTHON).config_schematics
    greeting, failure = run.value
    assert greeting == "Good day, Ada!"
    assert "ValueError: I cannot do that." in failure["error"]
    assert (run.all("status"), run.all("warn")) == (["Looking up the name."], ["It is early."])
    assert settings is not None
    assert [field.full_key for field in settings.fields] == ["greeting"]


def test_js_client_stops_a_tool_of_a_python_plugin(stage: Stage) -> None:
    with stage.python_plugin():
        stopped, greeting = stage.use(PYTHON, WAIT, GREET).value
    assert stopped["error"] == "Not wanted any more."
    assert greeting == "Hello, Ada!"


def test_python_plugin_that_is_killed_is_not_registered_any_more(stage: Stage) -> None:
    with stage.python_plugin():
        plugin = stage.host.registry.find(PYTHON)

    async def until_ended() -> None:
        await plugin.has_ended.wait()

    stage.within(until_ended)
    with pytest.raises(JsError, match=f"No plugin '{PYTHON}' is registered"):
        stage.use(PYTHON)
