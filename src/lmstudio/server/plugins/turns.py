"""One message of a chat on its way through plugins: what their hooks may ask and say about it."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from lmstudio._sdk_models import (
    ChatHistoryData,
    KvConfig,
    ProcessingUpdate,
    ProcessingUpdateStatusCreate,
)
from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.runs import HookRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from typing_extensions import Self

    from lmstudio._sdk_models import (
        AnyChatMessage,
        AvailablePluginInfo,
        ProcessingRequest,
        ProcessingRequestResponse,
        TokenSourceIdentifier,
    )
    from lmstudio.server.plugins.hooks import Hook

__all__ = ["EMPTY_CONFIG", "NameSuggestion", "Turn", "TurnItem", "TurnRun", "TurnSettings", "Turns", "task_members"]

EMPTY_CONFIG = KvConfig(fields=[])


@dataclass(frozen=True)
class NameSuggestion:
    """A plugin proposes a name for the chat."""

    name: str


TurnItem: TypeAlias = ProcessingUpdate | NameSuggestion
"""What comes from a plugin while it works on a turn."""
Ask: TypeAlias = "Callable[[ProcessingRequest], Awaitable[ProcessingRequestResponse]]"


@dataclass(frozen=True, kw_only=True)
class TurnSettings:
    """What the application knows about a message that plugins are to work on."""

    history: ChatHistoryData
    """What came before the message."""
    token_source: TokenSourceIdentifier
    """The model or the generator that is to answer; a model is loaded when a plugin asks for it."""
    config: KvConfig = EMPTY_CONFIG
    """How to predict."""
    plugin_configs: Mapping[str, KvConfig] = field(default_factory=dict)
    """The chat's settings for plugins, by plugin identifier."""
    working_directory: str | None = None
    enabled_plugins: Sequence[str] = ()
    """Identifiers of the plugins that are switched on in the chat."""
    needs_name: bool = False
    """The chat has no name yet."""
    ask: Ask | None = None
    """Asks the user: whether a tool may be called, or for a text. None if there is nobody to ask."""

    def plugin_config(self, plugin_identifier: str) -> KvConfig:
        """The chat's settings for a plugin."""
        return self.plugin_configs.get(plugin_identifier, EMPTY_CONFIG)


class Turn:
    """A message that plugins work on, one after the other. They name it by `pci`; `token` proves that they may."""

    def __init__(self, message: AnyChatMessage, settings: TurnSettings) -> None:
        self.message = message
        """The user's message, as the preprocessors so far have left it."""
        self.settings = settings
        self.pci: str = secrets.token_hex(8)
        self.token: str = secrets.token_urlsafe(24)
        self.has_status: bool = False
        self.needs_name: bool = settings.needs_name
        self._run: TurnRun | None = None
        self._questions: set[asyncio.Future[ProcessingRequestResponse]] = set()

    def begin(self, run: TurnRun) -> None:
        """*run* is at work now.

        Raises:
            RequestError: another one is.
        """
        if self._run is not None:
            raise RequestError(f"The plugin {self._run.plugin_identifier!r} is still working on this message")
        self._run = run

    def end(self, run: TurnRun) -> None:
        """*run* has ended: what it asked needs no answer any more."""
        if self._run is run:
            self._run = None
            for question in self._questions:
                question.cancel()

    def history(self, *, with_current: bool) -> ChatHistoryData:
        """The chat so far, with the message itself or without."""
        earlier = self.settings.history.messages
        return ChatHistoryData(messages=[*earlier, self.message] if with_current else [*earlier])

    async def update(self, item: TurnItem) -> None:
        """Pass on what a plugin says, as fast as it is read. What comes after a plugin's end is dropped."""
        if isinstance(item, ProcessingUpdateStatusCreate):
            self.has_status = True
        if isinstance(item, NameSuggestion):
            self.needs_name = False
        if self._run is not None:
            await self._run.offer(item)

    async def request(self, request: ProcessingRequest) -> ProcessingRequestResponse:
        """The user's answer.

        Raises:
            RequestError: there is nobody to ask, or the turn ended meanwhile.
        """
        if self.settings.ask is None or self._run is None:
            raise RequestError(
                f"The request {request.type!r} of a plugin cannot be answered: there is nobody to ask",
                suggestion="Do without an answer where the message does not come from a chat window.",
            )
        question = asyncio.ensure_future(self.settings.ask(request))
        self._questions.add(question)
        try:
            response = await question
        except asyncio.CancelledError:
            if not question.cancelled() or self._run is not None:
                question.cancel()
                raise
            raise RequestError("The message is not being worked on any more, so nobody answers") from None
        finally:
            self._questions.discard(question)
        if response.type != request.type:
            raise TypeError(f"The answer to the request {request.type!r} is {response.type!r}.")
        return response


class TurnRun(HookRun[TurnItem]):
    """A hook at work on a turn. Yields what it shows to the user."""

    def __init__(
        self, plugin_identifier: str, attempted: str, turn: Turn, find_hook: Callable[[], Awaitable[Hook]], start: Any
    ) -> None:
        super().__init__(plugin_identifier, attempted, find_hook, start)
        self._turn = turn

    async def __aenter__(self) -> Self:
        """Start the hook, see HookRun."""
        self._turn.begin(self)
        try:
            return await super().__aenter__()
        except BaseException:
            self._turn.end(self)
            raise

    def finish(self, last_packet: Any) -> None:
        """The plugin has done its work; a preprocessor has made another message."""
        processed = getattr(last_packet, "processed", None)
        if processed is not None:
            self._turn.message = processed
        super().finish(last_packet)

    def _end(self) -> None:
        super()._end()
        self._turn.end(self)


class Turns:
    """The turns in progress."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    def add(self, turn: Turn) -> None:
        """From now on plugins can speak about *turn*."""
        self._turns[turn.pci] = turn

    def remove(self, turn: Turn) -> None:
        """It is over."""
        del self._turns[turn.pci]

    def find(self, pci: str, token: str) -> Turn:
        """The turn that a plugin means.

        Raises:
            RequestError: it is over, or the token is not its.
        """
        turn = self._turns.get(pci)
        if turn is None or not hmac.compare_digest(turn.token.encode(), token.encode()):
            raise RequestError(
                "There is no prediction process with this identifier and token; it may be over",
                suggestion="Pass on the pci and the token that came with the task, and stop when the task is aborted.",
            )
        return turn


def task_members(
    turn: Turn, plugin_identifier: str, global_config: KvConfig, infos: list[AvailablePluginInfo]
) -> dict[str, Any]:
    """What every hook that works on a turn is told, as members of the packet that starts it."""
    settings = turn.settings
    return {
        "config": settings.config,
        "plugin_config": settings.plugin_config(plugin_identifier),
        "global_plugin_config": global_config,
        "working_directory_path": settings.working_directory,
        "enabled_plugin_infos": infos,
        "pci": turn.pci,
        "token": turn.token,
    }
