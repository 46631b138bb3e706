"""The public client in front of a recording: every request gets the recorded answer. No loop, no socket, no thread."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

from scripted_runtime import ScriptedRuntime, WaitsForeverError

import lmstudio as lms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._port import Port
    from lmstudio.json_api import Multiplexer


_RECORDED_ID = re.compile(rb'("(?:callId|channelId)": ?)1(?=[,}])')


class ReplayRuntime(ScriptedRuntime):
    """Answers each request with the next of the conversations of its endpoint; with the last one again and again.

    Their messages are encoded, with the id 1.
    """

    def __init__(self, answers: Mapping[str, Sequence[Sequence[bytes]]]) -> None:
        super().__init__()
        self._answers = answers
        self._answered: dict[str, int] = {}
        self._requests: deque[tuple[Multiplexer, str, dict[str, Any]]] = deque()

    def connect(self, namespace: str, multiplexer: Multiplexer) -> None:
        super().connect(namespace, multiplexer)

        def collect() -> None:
            self._collect(multiplexer)
            requests = [message for message in self.sent if "endpoint" in message]
            self._requests += [(multiplexer, f"{namespace}/{each['endpoint']}", each) for each in requests]
            self.sent.clear()

        multiplexer.on_outgoing = collect

    def take_step(self) -> None:
        if not self._requests:
            raise WaitsForeverError("The operation waits, and everything has been answered.")
        multiplexer, endpoint, request = self._requests.popleft()
        number = self._answered.get(endpoint, 0)
        self._answered[endpoint] = number + 1
        conversations = self._answers[endpoint]
        messages = conversations[min(number, len(conversations) - 1)]
        own_id: int = request["callId" if "callId" in request else "channelId"]
        if own_id != 1:
            messages = [_RECORDED_ID.sub(rb"\g<1>%d" % own_id, message) for message in messages]
        multiplexer.receive(messages)


class ReplayedClient(lms.Client):
    """`lmstudio.Client` with its operations on a `ReplayRuntime`."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[bytes]]]) -> None:
        super().__init__("replayed:1")
        self.replay = ReplayRuntime(answers)

    def _port(self, namespace: str) -> Port:
        return self.replay.port(namespace)

    def _connect(self, namespace: str) -> None:
        """It is connected."""
