"""A server made of a list, and the runtime to meet it with: no loop, no socket, no thread.

A test says what arrives (`runtime.script(...)`); each time an operation waits and nothing has arrived yet, the next
step is taken. `runtime.sent` shows what the operation sent, decoded.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lmstudio import _wire
from lmstudio._runtime import Inbox, Runtime
from lmstudio._timeouts import Timeout
from lmstudio._tool_runner import ThreadToolRunner, ToolRunner
from lmstudio.json_api import Multiplexer, Port, run_blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

Step: TypeAlias = "dict[str, Any] | bytes | BaseException | Callable[[], object]"
"""A frame that arrives, an exception that the wait raises, or something that happens meanwhile."""


class WaitsForeverError(AssertionError):
    """The operation waits although the script is over."""


class ScriptedInbox(Inbox):
    """Takes the runtime's next step instead of blocking."""

    def __init__(self, runtime: ScriptedRuntime) -> None:
        super().__init__()
        self._runtime = runtime
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1

    async def pause(self, seconds: float | None) -> None:
        self._runtime.timeouts.append(seconds)
        self._runtime.take_step()


class ScriptedRuntime(Runtime):
    """Runs posted actions at once, unless `hold_posts` is set; then `run_posts` does."""

    suspends = False

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        self.steps = deque(steps)
        self.multiplexers: list[Multiplexer] = []
        self.sent: list[Any] = []
        self.posts: list[Callable[[], None]] = []
        self.hold_posts = False
        self.timeouts: list[float | None] = []
        self.inboxes: list[ScriptedInbox] = []
        self.refuse_with: Exception | None = None
        self.interrupt_next_post = False
        """Ctrl-C strikes when the next action has been posted, before `post` returns."""

    def script(self, *steps: Step) -> None:
        self.steps.extend(steps)

    @property
    def timeout(self) -> Timeout:
        return Timeout(idle=7.5)

    def new_tool_runner(self, limit: int | None) -> ToolRunner:
        return ThreadToolRunner(limit)

    def new_inbox(self) -> Inbox:
        inbox = ScriptedInbox(self)
        self.inboxes.append(inbox)
        return inbox

    def post(self, action: Callable[[], None]) -> None:
        if self.hold_posts:
            self.posts.append(action)
        else:
            action()
        if self.interrupt_next_post:
            self.interrupt_next_post = False
            raise KeyboardInterrupt

    def run_posts(self) -> None:
        posts, self.posts = self.posts, []
        for action in posts:
            action()

    def connect(self, namespace: str, multiplexer: Multiplexer) -> None:
        self.multiplexers.append(multiplexer)
        multiplexer.end_attempt(is_ready=True)
        multiplexer.on_outgoing = lambda: self._collect(multiplexer)

    def _collect(self, multiplexer: Multiplexer) -> None:
        self.sent += [json.loads(bytes(message)) for message in multiplexer.take_outgoing()]

    def take_step(self) -> None:
        if not self.steps:
            raise WaitsForeverError("The operation waits, and the script is over.")
        step = self.steps.popleft()
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            step()
        else:
            self.arrive(step)

    def arrive(self, *messages: dict[str, Any] | bytes) -> None:
        """Messages of the server, in one socket read, on the newest connection."""
        self.multiplexers[-1].receive([m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages])

    def sent_packets(self, channel_id: int = 1) -> list[Any]:
        """What was sent on a channel after it was opened."""
        return [
            message.get("message")
            for message in self.sent
            if message["type"] == "channelSend" and message["channelId"] == channel_id
        ]

    def llm(self) -> Port:
        return self.port("llm")


def run(operation: Coroutine[Any, Any, T]) -> T:
    """Finish *operation* here and now."""
    return run_blocking(operation)


# What a server says ---------------------------------------------------------------------------------------------------


def packet(message: Any, channel_id: int = 1) -> dict[str, Any]:
    return {"type": "channelSend", "channelId": channel_id, "message": message}


def close(channel_id: int = 1) -> dict[str, Any]:
    return {"type": "channelClose", "channelId": channel_id}


def channel_error(error: Any, channel_id: int = 1) -> dict[str, Any]:
    return {"type": "channelError", "channelId": channel_id, "error": error}


def result(value: Any, call_id: int = 1) -> dict[str, Any]:
    return {"type": "rpcResult", "callId": call_id, "result": value}


def void(call_id: int = 1) -> dict[str, Any]:
    return {"type": "rpcResult", "callId": call_id}


def rpc_error(error: Any, call_id: int = 1) -> dict[str, Any]:
    return {"type": "rpcError", "callId": call_id, "error": error}


def encoded(value: Any) -> bytes:
    """As this package writes it."""
    return _wire.encode(value)
