"""Everything that is said in the namespace plugins, in one conversation of three connections and the server itself."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from patience import PATIENCE_SECONDS
from plugin_kit import config, message, turn_settings, user_message
from websockets.sync.client import connect

from lmstudio._sdk_models import ProcessingRequestResponse, ProcessingRequestResponseTextInput
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import scripted_models

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from lmstudio._sdk_models import ProcessingRequest
    from lmstudio.server._port import Handlers
    from lmstudio.server.engine.scripted import ScriptedEngine

T = TypeVar("T")

MANIFEST = {"type": "plugin", "runner": "node", "owner": "me", "name": "helper"}
SCHEMATICS = {
    "schematics": {
        "fields": [{"shortKey": "a", "fullKey": "a", "typeKey": "string", "typeParams": {}, "defaultValue": "b"}],
        "extensionPrefixes": [],
    }
}
HOOKS = ("setPromptPreprocessor", "setPredictionLoopHandler", "setToolsProvider", "setGenerator")
FAILURE = {"title": "No luck", "rootTitle": "No luck", "cause": "The dice.", "suggestion": "Try again."}
DIRECT = {"type": "direct", "config": config(**{"llm.prediction.topKSampling": 5}), "workingDirectoryPath": "/work"}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    },
}
CALL_REQUEST = {"type": "function", "id": "call-1", "name": "add", "arguments": {"a": 1}}
STATUS = {"type": "status.create", "id": "s", "state": {"status": "loading", "text": "Thinking"}}


class PluginCore(ServerCore):
    """A server with the scripted models, whose loop tests can use."""

    def __init__(self, engine: ScriptedEngine) -> None:
        super().__init__(engine, Catalog(scripted_models()))
        self._loop: asyncio.AbstractEventLoop | None = None

    def handlers(self, namespace: str) -> Handlers:
        """As the base; the first call is in the server's own loop."""
        self._loop = asyncio.get_running_loop()
        return super().handlers(namespace)

    def begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run *work* in the server's own loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work(), self._loop)

    def within(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run *work* in the server's own loop, to its end."""
        return self.begin(work).result(PATIENCE_SECONDS)


class Wire:
    """A connection to the namespace plugins on which the test says every word."""

    def __init__(self, stack: ExitStack, api_host: str, identifier: str, passkey: str = "secret") -> None:
        self._socket = stack.enter_context(connect(f"ws://{api_host}/plugins", proxy=None))
        self._ids = iter(range(1000))
        self._unread: list[dict[str, Any]] = []
        self._send({"authVersion": 1, "clientIdentifier": identifier, "clientPasskey": passkey})
        assert json.loads(self._socket.recv(PATIENCE_SECONDS))["success"]

    def call(self, endpoint: str, parameter: Any = None) -> dict[str, Any]:
        """The answer, a result or an error."""
        identifier = next(self._ids)
        given = {} if parameter is None else {"parameter": parameter}
        self._send({"type": "rpcCall", "endpoint": endpoint, "callId": identifier, **given})
        return self._wait(lambda each: each.get("callId") == identifier)

    def open(self, endpoint: str, parameter: Any = None) -> int:
        identifier = next(self._ids)
        given = {} if parameter is None else {"creationParameter": parameter}
        self._send({"type": "channelCreate", "endpoint": endpoint, "channelId": identifier, **given})
        return identifier

    def say(self, channel: int, kind: str, **members: Any) -> None:
        self._send({"type": "channelSend", "channelId": channel, "message": {"type": kind, **members}})

    def hear(self, channel: int, kind: str) -> dict[str, Any]:
        """The packet *kind*, which comes next on *channel*."""
        packet: dict[str, Any] = self._wait(lambda each: each.get("channelId") == channel)["message"]
        assert packet["type"] == kind, packet
        return packet

    def end_of(self, channel: int) -> str:
        """How *channel* ends, which it does next."""
        return str(self._wait(lambda each: each.get("channelId") == channel)["type"])

    def _send(self, data: dict[str, Any]) -> None:
        self._socket.send(json.dumps(data))

    def _wait(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            for number, each in enumerate(self._unread):
                if is_wanted(each):
                    return self._unread.pop(number)
            self._unread.append(json.loads(self._socket.recv(PATIENCE_SECONDS)))


def use_plugins(core: PluginCore, api_host: str) -> None:
    """The conversation, with a server of *core*."""
    with ExitStack() as stack:
        developer, user = (Wire(stack, api_host, name) for name in ("a developer", "a user"))
        registration = developer.open("registerDevelopmentPlugin", {"manifest": MANIFEST})
        ready = developer.hear(registration, "ready")
        again = developer.open("registerDevelopmentPlugin", {"manifest": MANIFEST})
        assert developer.end_of(again) == "channelError"
        plugin = Wire(stack, api_host, ready["clientIdentifier"], ready["clientPasskey"])
        hooks = {endpoint: plugin.open(endpoint) for endpoint in HOOKS}
        _introduce(plugin)
        _intrude(user)
        _use_tools(user, plugin, hooks["setToolsProvider"])
        _generate(user, plugin, hooks["setGenerator"])
        _work_on_messages(core, plugin, hooks)
        developer.say(registration, "end")
        assert developer.end_of(registration) == "channelClose"
        assert {plugin.end_of(hook) for hook in hooks.values()} == {"channelClose"}


def _introduce(plugin: Wire) -> None:
    for endpoint, parameter in (
        ("setConfigSchematics", SCHEMATICS),
        ("setGlobalConfigSchematics", SCHEMATICS),
        ("pluginInitCompleted", None),
        ("reportError", {"type": "unauthorized", "pluginRunId": "1", "serverUrl": "http://a", "message": "b"}),
        ("reportError", {"type": "networkUnavailable", "pluginRunId": "1", "serverUrl": "http://a", "message": "b"}),
        ("reindexPlugins", None),
    ):
        assert plugin.call(endpoint, parameter)["type"] == "rpcResult"


def _processing(task: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every rpc about a message."""
    proof = {"pci": task["pci"], "token": task["token"]}
    return [
        ("processingHandleUpdate", {**proof, "update": STATUS}),
        ("processingHandleRequest", {**proof, "request": {"type": "textInput", "prompt": "Name?"}}),
        ("processingPullHistory", {**proof, "includeCurrent": True}),
        ("processingGetOrLoadTokenSource", proof),
        ("processingHasStatus", proof),
        ("processingNeedsNaming", proof),
        ("processingSuggestName", {**proof, "name": "A chat"}),
        ("processingSetSenderName", {**proof, "name": "Bot"}),
    ]


def _intrude(user: Wire) -> None:
    """Everything that only plugins may do."""
    for hook in HOOKS:
        assert user.end_of(user.open(hook)) == "channelError"
    calls = [("setConfigSchematics", SCHEMATICS), ("setGlobalConfigSchematics", SCHEMATICS)]
    calls += _processing({"pci": "guessed", "token": "guessed"})
    for endpoint, parameter in calls:
        assert user.call(endpoint, parameter)["type"] == "rpcError"
    assert user.call("pluginInitCompleted")["type"] == "rpcError"


def _use_tools(user: Wire, plugin: Wire, hook: int) -> None:
    parameter = {"pluginIdentifier": "me/helper", "pluginConfigSpecifier": DIRECT}
    failing = user.open("startToolUseSession", parameter)
    session = plugin.hear(hook, "initSession")["sessionId"]
    plugin.say(hook, "sessionInitializationFailed", sessionId=session, error=FAILURE)
    assert user.end_of(failing) == "channelError"

    tools = user.open("startToolUseSession", parameter)
    session = plugin.hear(hook, "initSession")["sessionId"]
    plugin.say(hook, "sessionInitialized", sessionId=session, toolDefinitions=[ADD])
    user.hear(tools, "sessionReady")
    said: list[tuple[str, dict[str, Any]]] = [
        ("toolCallStatus", {"statusText": "Adding."}),
        ("toolCallWarn", {"warnText": "Only one?"}),
        ("toolCallComplete", {"result": 1}),
        ("toolCallError", {"error": FAILURE}),
    ]
    for number, (kind, members) in enumerate(said):
        user.say(tools, "callTool", callId=number, name="add", arguments={"a": 1})
        call = plugin.hear(hook, "callTool")["callId"]
        plugin.say(hook, kind, sessionId=session, callId=call, **members)
        user.hear(tools, kind)
    user.say(tools, "abortToolCall", callId=0)
    plugin.hear(hook, "abortToolCall")
    user.say(tools, "discardSession")
    plugin.hear(hook, "discardSession")
    assert user.end_of(tools) == "channelClose"


def _generate(user: Wire, plugin: Wire, hook: int) -> None:
    parameter = {
        "pluginIdentifier": "me/helper",
        "pluginConfigSpecifier": DIRECT,
        "tools": [ADD],
        "history": {"messages": [message("Hi")]},
    }
    said: list[tuple[str, dict[str, Any], str]] = [
        ("fragmentGenerated", {"content": "Hi", "opts": {"tokens": [{"text": "Hi", "id": 1}]}}, "fragment"),
        ("toolCallGenerationStarted", {"toolCallId": "call-1"}, "toolCallGenerationStart"),
        ("toolCallGenerationNameReceived", {"toolName": "add"}, "toolCallGenerationNameReceived"),
        (
            "toolCallGenerationArgumentFragmentGenerated",
            {"content": "{"},
            "toolCallGenerationArgumentFragmentGenerated",
        ),
        ("toolCallGenerationEnded", {"toolCallRequest": CALL_REQUEST}, "toolCallGenerationEnd"),
        ("toolCallGenerationFailed", {"error": FAILURE}, "toolCallGenerationFailed"),
        ("complete", {}, "success"),
    ]
    prediction = user.open("generateWithGenerator", parameter)
    task = plugin.hear(hook, "generate")["taskId"]
    for kind, members, expected in said:
        plugin.say(hook, kind, taskId=task, **members)
        user.hear(prediction, expected)
    assert user.end_of(prediction) == "channelClose"

    failing = user.open("generateWithGenerator", parameter)
    plugin.say(hook, "error", taskId=plugin.hear(hook, "generate")["taskId"], error=FAILURE)
    assert user.end_of(failing) == "channelError"

    cancelled = user.open("generateWithGenerator", parameter)
    task = plugin.hear(hook, "generate")["taskId"]
    user.say(cancelled, "cancel")
    plugin.hear(hook, "abort")
    plugin.say(hook, "aborted", taskId=task)
    user.hear(cancelled, "success")


async def _answer(_: ProcessingRequest) -> ProcessingRequestResponse:
    return ProcessingRequestResponseTextInput(result="Ada")


def _work_on_messages(core: PluginCore, plugin: Wire, hooks: dict[str, int]) -> None:
    async def work_on_message(kind: str, *, is_left: bool) -> None:
        settings = turn_settings(ask=_answer, needs_name=True, working_directory="/work", enabled_plugins=["me/helper"])
        with core.plugins.turn(user_message("Hi"), settings) as turn:
            start = core.plugins.preprocess if kind == "preprocess" else core.plugins.run_loop
            async with start("me/helper", turn) as run:
                async for _item in run:
                    if is_left:
                        return

    for kind, endpoint in (
        ("preprocess", "setPromptPreprocessor"),
        ("handlePredictionLoop", "setPredictionLoopHandler"),
    ):
        hook = hooks[endpoint]
        working = core.begin(lambda kind=kind: work_on_message(kind, is_left=False))  # type: ignore[misc]
        task = plugin.hear(hook, kind)
        for name, parameter in _processing(task):
            assert plugin.call(name, parameter)["type"] == "rpcResult", name
        processed = {"processed": message("HI")} if kind == "preprocess" else {}
        plugin.say(hook, "complete", taskId=task["taskId"], **processed)
        working.result(PATIENCE_SECONDS)
        working = core.begin(lambda kind=kind: work_on_message(kind, is_left=True))  # type: ignore[misc]
        task = plugin.hear(hook, kind)
        plugin.call("processingHandleUpdate", {"pci": task["pci"], "token": task["token"], "update": STATUS})
        plugin.hear(hook, "abort")
        plugin.say(hook, "aborted", taskId=task["taskId"])
        working.result(PATIENCE_SECONDS)
