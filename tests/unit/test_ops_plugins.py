"""What plugins are given and asked, without a server: input that is refused, and packets that are odd."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scripted_runtime import ScriptedRuntime, packet, run

import lmstudio as lms
from lmstudio._ops import plugin_host, plugins
from lmstudio._ops.plugin_tools import ToolUseSession
from lmstudio._sdk_models import KvConfig, KvConfigField, PluginConfigSpecifierPredictionProcess

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = {"type": "plugin", "runner": "node", "owner": "me", "name": "helper"}
READY = {"type": "sessionReady", "toolDefinitions": [{"type": "function", "function": {"name": "add"}}]}


@pytest.mark.parametrize("identifier", ["me/helper", "lm-studio/js.code-2", "mcp/playwright"])
def test_identifiers_of_plugins_are_accepted(identifier: str) -> None:
    assert plugins.check_identifier(identifier) == identifier


@pytest.mark.parametrize("identifier", ["", "helper", "Me/helper", "me/helper/more", "me/-helper", "me/helper\n", 7])
def test_what_is_no_identifier_is_refused(identifier: Any) -> None:
    with pytest.raises(lms.LMStudioValueError, match="'owner/name'"):
        plugins.check_identifier(identifier)


def test_settings_of_plugins_are_dicts_or_wire_configs() -> None:
    config = KvConfig(fields=[KvConfigField(key="a.b", value=[1])])
    assert plugins.direct_specifier({"a.b": [1]}, Path("/work")).config == config
    assert plugins.direct_specifier(config, None).config is config
    assert plugins.direct_specifier(None, Path("/work")).working_directory_path == str(Path("/work"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: plugins.direct_specifier([("a", 1)], None), "plugin_config"),  # type: ignore[arg-type]
        (lambda: plugins.direct_specifier({"a": object()}, None), "plain JSON data"),
        (lambda: plugins.direct_specifier(None, 7), "working_directory"),  # type: ignore[arg-type]
        (lambda: plugins.read_manifest("me/helper"), "got str"),  # type: ignore[arg-type]
        (lambda: plugins.read_manifest({**MANIFEST, "owner": "Me"}), "owner"),
        (lambda: plugins.read_manifest({**MANIFEST, "sandbox": {"enabled": True}}), "only the runner 'deno'"),
        (lambda: plugins.read_manifest(lms.PluginManifest(runner="node", owner="me", name="Helper")), "name"),
        (lambda: plugins.read_manifest(lms.PluginManifest(runner="node", owner="me", name=object())), "object"),  # type: ignore[arg-type]
        (lambda: plugin_host.read_error_report({"type": "tired"}), "unauthorized or networkUnavailable"),
        (lambda: plugin_host.read_error_report({"type": "unauthorized"}), "missing required field"),
    ],
)
def test_what_cannot_be_used_is_refused(given: Callable[[], object], message: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=message):
        given()


def test_schematics_are_a_wire_form_or_make_one() -> None:
    with pytest.raises(lms.LMStudioValueError, match="got dict"):
        run(plugin_host.set_config_schematics(ScriptedRuntime().port("plugins"), {}))  # type: ignore[arg-type]


def session(runtime: ScriptedRuntime) -> ToolUseSession:
    """One that has begun, for a hook that works on a message."""
    specifier = PluginConfigSpecifierPredictionProcess(pci="p", token="t")
    made = ToolUseSession(runtime.port("plugins"), "me/helper", specifier)
    run(made.start())
    return made


def test_only_packets_of_a_call_reach_it() -> None:
    done = {"type": "toolCallComplete", "callId": 0}
    runtime = ScriptedRuntime(packet({"type": "toolCallStatus", "callId": 9, "statusText": "?"}), packet(READY))
    tools = session(runtime)
    runtime.script(packet({**done, "callId": 7, "result": "no"}), packet({**done, "callId": {}}), packet(done))
    assert run(tools.call("add", {"a": 1})) is None  # a result of nothing is left out
    assert runtime.sent_packets() == [{"type": "callTool", "callId": 0, "name": "add", "arguments": {"a": 1}}]


def test_a_lost_connection_ends_the_calls_that_run_and_those_that_come() -> None:
    lost = lms.LMStudioWebsocketError("The cable is cut.")
    runtime = ScriptedRuntime(packet(READY))
    tools = session(runtime)
    runtime.script(lambda: runtime.multiplexers[-1].fail(lost, was_lost=True))
    for _ in range(2):
        with pytest.raises(lms.LMStudioWebsocketError, match="cable"):
            run(tools.call("add", {}))


def test_a_session_without_tools_in_its_answer_is_an_error() -> None:
    runtime = ScriptedRuntime(packet({"type": "sessionReady"}), {"type": "channelClose", "channelId": 1})
    with (
        pytest.warns(lms.LMStudioUnknownMessageWarning, match="sessionReady|toolDefinitions"),
        pytest.raises(lms.LMStudioChannelClosedError, match="use the tools of the plugin 'me/helper'"),
    ):
        session(runtime)


def test_tools_are_not_called_before_the_session_begins() -> None:
    specifier = plugins.direct_specifier(None, None)
    tools = ToolUseSession(ScriptedRuntime().port("plugins"), "me/helper", specifier)
    with pytest.raises(lms.LMStudioRuntimeError, match="has not begun yet"):
        run(tools.call("add", {}))


def test_a_call_that_is_aborted_before_it_is_sent_is_not_sent() -> None:
    runtime = ScriptedRuntime(packet(READY))
    tools = session(runtime)
    runtime.hold_posts = True
    runtime.script(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(tools.call("add", {}))
    runtime.run_posts()
    assert runtime.sent_packets() == []
