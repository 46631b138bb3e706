"""One run of a hook: what it yields while it works, and how it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from lmstudio._sdk_models import (
    PluginsChannelSetPromptPreprocessorToServerPacketComplete,
    PluginsChannelToClientPacketAbort,
    PluginsChannelToServerPacketAborted,
    PluginsChannelToServerPacketComplete,
    PluginsChannelToServerPacketError,
)
from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.generation import GenerationPacket, generation_packet
from lmstudio.server.plugins.hooks import Hook, plugin_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["BUSY_ABOVE", "MAX_UNREAD", "GeneratorRun", "HookRun"]

BUSY_ABOVE: Final = 1000
"""With more items of one run than this unread, a plugin that waits for answers has to wait."""
MAX_UNREAD: Final = 5000
"""With more, the run ends: its plugin does not wait."""

ItemT = TypeVar("ItemT")


class HookRun(Generic[ItemT]):
    """A task that a plugin works on. Enter it to start it, iterate over what comes; leaving it early aborts the task.

    `async for` raises RequestError for an error in the plugin, and when the plugin goes.
    """

    def __init__(
        self,
        plugin_identifier: str,
        attempted: str,
        find_hook: Callable[[], Awaitable[Hook]],
        start_packet: Callable[[str], Any],
    ) -> None:
        """*attempted* is what the plugin is asked to do, for errors; *start_packet* makes what starts the task."""
        self.plugin_identifier = plugin_identifier
        self._attempted = attempted
        self._find_hook = find_hook
        self._start_packet = start_packet
        self._hook: Hook | None = None
        self._task_id = ""
        self._items: deque[ItemT] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._error: RequestError | None = None
        self.is_over: bool = False
        """Nothing more will come from the plugin."""

    async def __aenter__(self) -> Self:
        """Give the task to the plugin, waiting for one that has just been started.

        Raises:
            RequestError: there is no such plugin, it has no such hook, or it is busy.
        """
        self._hook = await self._find_hook()
        self._task_id = self._hook.begin(self)
        self._hook.send(self._start_packet(self._task_id))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        while not self._items:
            if self.is_over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        item = self._items.popleft()
        if len(self._items) <= BUSY_ABOVE // 2:
            self._room.set()
        return item

    def fail(self, error: RequestError) -> None:
        """End with *error*, which is raised after what has come so far."""
        if not self.is_over:
            self._error = error
            self._end()

    def receive(self, packet: Any) -> None:
        """The plugin has answered."""
        # What ends the run waits for its turn: an rpc that came before it is a task that has not begun yet.
        end_soon = asyncio.get_running_loop().call_soon
        match packet:
            case PluginsChannelToServerPacketError(error=error):
                end_soon(self.fail, plugin_error(self.plugin_identifier, self._attempted, error))
            case PluginsChannelToServerPacketAborted():
                # Not on our request: then the hook would have forgotten this run.
                end_soon(self.fail, RequestError(f"The plugin {self.plugin_identifier!r} refused to {self._attempted}"))
            case PluginsChannelToServerPacketComplete() | PluginsChannelSetPromptPreprocessorToServerPacketComplete():
                end_soon(self.finish, packet)
            case _:
                self.receive_more(packet)

    def receive_invalid(self, packet: dict[str, Any], error: RequestError) -> None:  # noqa: ARG002 (others look at it)
        """The plugin has answered with something that cannot be used: it may go on, but nobody knows with what."""
        if not self.is_over:
            self._give_up(error)

    def receive_more(self, packet: Any) -> None:
        """The plugin has answered with a packet that not all hooks have."""
        raise TypeError(f"This hook does not answer with {type(packet).__name__}.")

    def finish(self, _last_packet: Any) -> None:
        """The plugin has done its work."""
        self._end()

    def add(self, item: ItemT) -> None:
        """Hand *item* to the reader."""
        if self.is_over:
            return
        self._items.append(item)
        self._news.set()
        if len(self._items) > MAX_UNREAD:
            self._give_up(
                RequestError(
                    f"The plugin {self.plugin_identifier!r} was stopped: {MAX_UNREAD} of its updates were waiting to "
                    "be read, which is the limit",
                    suggestion="Read faster, or let the plugin send fewer and larger pieces.",
                )
            )

    async def offer(self, item: ItemT) -> None:
        """Hand *item* to the reader, and wait while many are waiting. The order is that of the calls."""
        self.add(item)
        while len(self._items) > BUSY_ABOVE and not self.is_over:
            self._room.clear()
            await self._room.wait()

    def _end(self) -> None:
        self.is_over = True
        if self._hook is not None:
            self._hook.end(self._task_id)
        self._news.set()
        self._room.set()

    def _give_up(self, error: RequestError) -> None:
        self._error = error
        self._leave()

    def _leave(self) -> None:
        if self._hook is not None and not self.is_over:
            self._hook.send(PluginsChannelToClientPacketAbort(task_id=self._task_id))
        self._end()


class GeneratorRun(HookRun[GenerationPacket]):
    """A generator plugin at work. Yields the packets that clients of `generateWithGenerator` get, but the last."""

    def receive_more(self, packet: Any) -> None:
        """Pass a fragment, or a part of a tool call, on."""
        self.add(generation_packet(packet))
