"""The tools of all plugins of a chat, for hooks that are coroutine functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from lmstudio._async_io import AsyncBase
from lmstudio._ops.plugin_tools import start_all
from lmstudio._tool_definitions import RawFunctionTool
from lmstudio.errors import LMStudioRuntimeError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio._abort import AbortSignal
    from lmstudio._surface.async_plugins import AsyncRemoteToolUseSession

__all__ = ["AsyncMultiRemoteToolUseSession"]


class AsyncMultiRemoteToolUseSession(AsyncBase, Sequence[RawFunctionTool]):
    """The tools of several plugins, while they are in use: a sequence that `act` takes, alone or among others.

    Leaving the `with` block lets the plugins forget the session; calls fail afterwards.
    """

    def __init__(self, sessions: Sequence[AsyncRemoteToolUseSession], signal: AbortSignal | None) -> None:
        self._sessions = sessions
        self._signal = signal
        self._tools: tuple[RawFunctionTool, ...] | None = None

    @property
    def tools(self) -> tuple[RawFunctionTool, ...]:
        """The tools, in the order of the plugins.

        Raises:
            LMStudioRuntimeError: they are not known before the session is started.
        """
        if self._tools is None:
            raise LMStudioRuntimeError("The tools of the plugins are not known yet: use them within `async with`.")
        return self._tools

    async def start(self) -> Self:
        """Ask all plugins for their tools, at the same time. Entering the `with` block does it, too."""
        offers = await self._run(start_all([session._session for session in self._sessions], self._signal))
        for session, definitions in zip(self._sessions, offers, strict=True):
            session._tools = tuple(map(session._as_tool, definitions))
        self._tools = tuple(tool for session in self._sessions for tool in session.tools)
        return self

    async def aclose(self) -> None:
        """End the session; calls that are running fail."""
        for session in self._sessions:
            await session.aclose()

    async def __aenter__(self) -> Self:
        return await self.start() if self._tools is None else self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @overload
    def __getitem__(self, index: int) -> RawFunctionTool: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RawFunctionTool, ...]: ...
    def __getitem__(self, index: int | slice) -> RawFunctionTool | tuple[RawFunctionTool, ...]:
        return self.tools[index]

    def __len__(self) -> int:
        return len(self.tools)

    def __repr__(self) -> str:
        names = [session.plugin_identifier for session in self._sessions]
        return f"<{type(self).__name__} {names!r}>"
