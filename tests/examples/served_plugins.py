"""The plugins that docs/using-plugins.md takes for granted, served in threads."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from patience import PATIENCE_SECONDS

import lmstudio as lms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN = {"type": "function", "function": {"name": "run_javascript", "description": "Run it."}}


@contextmanager
def served_plugins(api_host: str) -> Iterator[None]:
    """Within the block, the server has a plugin with a tool and one with a generator."""
    with lms.Client(api_host) as client, ExitStack() as stack:
        stack.enter_context(_served(client, "lmstudio/js-code-sandbox", "set_tools_provider", _offer))
        stack.enter_context(_served(client, "me/echo", "set_generator", _echo))
        yield


@contextmanager
def _served(
    client: lms.Client, plugin: str, hook: str, answer: Callable[[Any], list[dict[str, Any]]]
) -> Iterator[None]:
    owner, name = plugin.split("/")
    manifest = {"type": "plugin", "runner": "node", "owner": owner, "name": name}
    with client.plugins.register_development_plugin(manifest) as registration:
        process = lms.Client(
            registration.base_url,
            client_identifier=registration.client_identifier,
            client_passkey=registration.client_passkey,
        )
        with process:
            host = process.plugins.get_self_registration_host()
            channel = getattr(host, hook)()
            host.init_completed()
            serving = threading.Thread(target=_serve, args=(channel, answer), daemon=True)
            serving.start()
            try:
                yield
            finally:
                registration.unregister()
                serving.join(PATIENCE_SECONDS)
                assert not serving.is_alive()


def _serve(channel: Any, answer: Callable[[Any], list[dict[str, Any]]]) -> None:
    while True:
        try:
            packet = channel.receive()
        except lms.LMStudioChannelClosedError:  # the registration has ended
            return
        for each in answer(packet):
            channel.send(each)


def _offer(packet: Any) -> list[dict[str, Any]]:
    session = packet.session_id
    if packet.type == "initSession":
        return [{"type": "sessionInitialized", "sessionId": session, "toolDefinitions": [RUN]}]
    if packet.type == "callTool":
        return [{"type": "toolCallComplete", "sessionId": session, "callId": packet.call_id, "result": 670592745}]
    return []


def _echo(packet: Any) -> list[dict[str, Any]]:
    if packet.type != "generate":
        return []
    said = {"type": "fragmentGenerated", "content": packet.input.messages[-1].content[0].text, "opts": {}}
    return [{**each, "taskId": packet.task_id} for each in (said, {"type": "complete"})]
