"""One chat through our server, with a plugin of this package and one of @lmstudio/sdk, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.http import HttpClient
from lmstudio.server import HttpSettings, Reply, ScriptedEngine, Server, ToolCall

from .plugin_session import MANIFEST, PluginCore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .node_peer import NodePeer

JS, PYTHON, LOOP = "me/js-helper", "me/py-helper", "me/py-loop"
HELPER = '''
async def preprocess_prompt(ctl, message):
    return message.get_text() + ", says Python"

def list_provided_tools(ctl):
    def add(a: int) -> int:
        """Add two."""
        return a + 2

    return [add]

async def generate_tokens(ctl, history):
    ctl.fragment_generated(f"Python read {len(history)} messages.")
'''
HANDLER = """
def handle_prediction_loop(ctl):
    decision = ctl.request_confirm_tool_call(call_id=1, name="add", parameters={})
    block = ctl.create_content_block()
    block.append_text(decision.type + ": ")
    block.pipe_from(ctl.token_source().respond_stream(ctl.pull_history()))
"""


@contextmanager
def python_plugin(server: Server, folder: Path, source: str) -> Iterator[None]:
    """A plugin of this package, as its host starts it."""
    manifest = {**MANIFEST, "name": folder.name}
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "plugin.py").write_text(source, encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps({**manifest, "runner": "python"}), encoding="utf-8")
    command = [sys.executable, "-m", "lmstudio.plugin", str(folder)]
    with lms.Client(server.api_host) as developer, developer.plugins.register_development_plugin(manifest) as given:
        environment = {
            **os.environ,
            "LMS_PLUGIN_CLIENT_IDENTIFIER": given.client_identifier,
            "LMS_PLUGIN_CLIENT_PASSKEY": given.client_passkey,
            "LMS_PLUGIN_BASE_URL": f"ws://{server.api_host}",
        }
        with running(command, environment):
            yield


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        impatience = threading.Timer(PATIENCE_SECONDS, process.kill)
        impatience.start()
        try:
            said = [process.stdout.readline()]
            while "is running" not in said[-1]:
                assert said[-1], said
                said.append(process.stdout.readline())
            impatience.cancel()
            yield
        finally:
            impatience.cancel()
            process.terminate()
            process.stdout.read()


@contextmanager
def js_plugin(server: Server, node: NodePeer) -> Iterator[None]:
    manifest = {**MANIFEST, "name": "js-helper"}
    with node.client(server, clientIdentifier="developer") as developer:
        run = developer.begin("developPlugin", manifest=manifest, command=["node", "plugin.mjs"])
        run.wait_for("ready")
        yield
        developer.run("endPlugin", name="js-helper")
        run.end()


def texts(reply: Any, kind: str = "message") -> list[str]:
    return [item.content for item in reply.output if item.type == kind]


def calls(reply: Any) -> list[Any]:
    return [item for item in reply.output if item.type == "tool_call"]


def test_one_chat_uses_every_hook_of_both(node: NodePeer, tmp_path: Path) -> None:
    engine = ScriptedEngine()
    with ExitStack() as stack:
        server = stack.enter_context(Server.for_core(PluginCore(engine), http=HttpSettings(allow_plugins=True)))
        stack.enter_context(js_plugin(server, node))
        stack.enter_context(python_plugin(server, tmp_path / "py-helper", HELPER))
        stack.enter_context(python_plugin(server, tmp_path / "py-loop", HANDLER))
        client = stack.enter_context(HttpClient(server.api_host))

        def chat(text: str, model: str, *plugins: str, after: Any = None) -> Any:
            previous = None if after is None else after.response_id
            return client.rest_v1.chat(model=model, input=text, integrations=[*plugins], previous_response_id=previous)

        # Both change the message, and the model calls a tool of each.
        engine.reply = [Reply([ToolCall("greet", {"name": "Ada"}), ToolCall("add", {"a": 1})]), "Done."]
        first = chat("Hi", "scripted-chat", PYTHON, JS)
        assert engine.chats[-1].messages[0]["content"] == "HI, SAYS PYTHON"
        assert [(item.tool, item.provider_info.plugin_id) for item in calls(first)] == [("greet", JS), ("add", PYTHON)]
        assert "Hello, Ada!" in calls(first)[0].output
        assert calls(first)[1].output == "3"
        assert texts(first) == ["Done."]

        # The generator of one reads what was said before, and calls a tool of the other.
        second = chat("Again", JS, PYTHON, after=first)
        assert [(item.tool, item.output) for item in calls(second)] == [("add", "3")]
        assert texts(second, "reasoning") == ["Let me see."]
        assert texts(second)[0].startswith("You said:")

        third = chat("And you", PYTHON, after=second)
        read = 1 + 3 + 1 + 3 + 1
        assert texts(third) == [f"Python read {read} messages."]

        # A plugin answers in place of the server, with the generator that was chosen.
        fourth = chat("Last one", PYTHON, LOOP, JS, after=third)
        assert texts(fourth) == [f"allow: Python read {read + 2} messages."]
        engine.reply = "Goodbye."
        with client.rest_v1.stream_chat(model="scripted-chat", input="Bye", integrations=[LOOP]) as stream:
            said = "".join(event.content for event in stream if event.type == "message.delta")
        assert said == "allow: Goodbye."
