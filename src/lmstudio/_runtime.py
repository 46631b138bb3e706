"""What operations may ask of the world: places to wait in, and where the protocol state lives.

There are two runtimes: in the asynchronous one a wait suspends the task, in the blocking one it blocks the thread.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from ._retries import NO_RETRIES
from ._timeouts import DEFAULT_TIMEOUT
from .logs import fields, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from . import _wire
    from ._lenient import Findings
    from ._port import Port
    from ._retries import RetryConfig
    from ._timeouts import CallLimits, Timeout
    from ._tool_runner import ToolRunner
    from .errors import LMStudioError
    from .json_api import Multiplexer

T = TypeVar("T")

_INDEX = re.compile(r"\[\d+\]")
_MOST_REPORTED = 1000
"""Things that are remembered as reported: a server may well make up a new one with each message."""

Delivery: TypeAlias = (
    "_wire.ChannelSend | _wire.ChannelClose | _wire.ChannelError | _wire.RpcResult | _wire.RpcError | LMStudioError"
)


class Outlet(ABC):
    """Where the deliveries for one call or channel go."""

    put: Callable[[Delivery], None]
    """Append. Never blocks and wakes nobody."""

    @abstractmethod
    def wake(self) -> None:
        """Tell waiting consumers that something was put. Once per batch is enough."""


class Inbox(Outlet):
    """Where deliveries wait for whoever consumes them. The reader puts, the consumer gets."""

    __slots__ = ("_items", "put")

    def __init__(self) -> None:
        self._items: deque[Delivery] = deque()
        self.put: Callable[[Delivery], None] = self._items.append

    @property
    def has_items(self) -> bool:
        """Something was put that nobody has got."""
        return bool(self._items)

    def take(self) -> Delivery | None:
        """Consumer's side: the next delivery that is here already, None if there is none."""
        try:
            return self._items.popleft()
        except IndexError:
            return None

    async def get(self, limits: CallLimits | None = None) -> Delivery:
        """Consumer's side: the next delivery. Raises LMStudioTimeoutError when one of *limits* expires."""
        items = self._items
        is_waiting = False
        while True:
            try:
                return items.popleft()
            except IndexError:
                pass  # what is raised in here would name the IndexError as its context
            if limits is None:
                await self.pause(None)
                continue
            if not is_waiting:
                is_waiting = True
                limits.begin_wait()
            await self.pause(limits.left())

    @abstractmethod
    async def pause(self, seconds: float | None) -> None:
        """Wait until `wake` is called, or for so long; not at all if something is there. May end early."""


class UnknownItem(NamedTuple):
    """Something in a message of the server that this version does not know, or expects in another form."""

    endpoint: str
    """ "llm/predict", for example; the namespace alone for a message that belongs to no endpoint."""
    path: str
    """Where it is, as a JSON path."""
    problem: str
    """What it is, for people."""


class Runtime(ABC):
    """Everything an operation may ask of the world."""

    suspends: bool = True
    """Whether waits suspend a task, so that an operation may await anything; otherwise they block the thread."""

    def __init__(self) -> None:
        self._ports: dict[str, Port] = {}
        self.on_unknown: Callable[[UnknownItem], object] | None = None
        """Told once of each thing that the server sends and this version does not know. A plain function; runs in
        whatever thread finds it."""
        self._reported: set[UnknownItem] = set()

    def port(self, namespace: str) -> Port:
        """The port of *namespace*; it connects on first use."""
        port = self._ports.get(namespace)
        if port is None:
            from ._port import Port

            port = self._ports.setdefault(namespace, Port(namespace, self))
        return port

    def logger(self, area: str) -> logging.Logger:
        """Where this client reports what happens in *area*: "models", for example."""
        return get_logger(area)

    @property
    def looks_for_unknown(self) -> bool:
        """Whether somebody wants to hear of members that are ignored. Looking for them takes time."""
        return self.on_unknown is not None or self._protocol_logger.isEnabledFor(logging.DEBUG)

    @cached_property
    def _protocol_logger(self) -> logging.Logger:
        return self.logger("protocol")

    def report_unknown(self, endpoint: str, findings: Findings) -> None:
        """Tell the log, and whoever wants to know, of what the server has sent. Each thing is told once."""
        namespace, _, name = endpoint.partition("/")
        known = fields(namespace=namespace, endpoint=name or None)
        for path, problem in findings:
            item = UnknownItem(endpoint, *(_INDEX.sub("[]", text) for text in (path, problem)))
            if item in self._reported or len(self._reported) == _MOST_REPORTED:
                continue
            self._reported.add(item)
            self._protocol_logger.debug("In a message of %s: %s - at `%s`", endpoint, problem, path, extra=known)
            if self.on_unknown is None:
                continue
            try:
                self.on_unknown(item)
            except Exception as error:
                text = "The callback %r failed; the operation goes on."
                more = fields(namespace=namespace, callback="on_unknown")
                self.logger("callbacks").error(text, self.on_unknown, exc_info=error, extra=more)

    @property
    def server_address(self) -> str | None:
        """The server's address as far as it is known, for errors and the log."""
        return None

    @property
    def timeout(self) -> Timeout:
        """The limits of calls that have none of their own."""
        return DEFAULT_TIMEOUT

    @property
    def retry(self) -> RetryConfig:
        """When to send a read again whose connection was lost."""
        return NO_RETRIES

    @abstractmethod
    def new_inbox(self) -> Inbox:
        """An empty inbox whose `get` suspends or blocks, as this runtime does."""

    @abstractmethod
    def post(self, action: Callable[[], None]) -> None:
        """Run *action* where the multiplexers live, in order. From any thread, never waits."""

    @abstractmethod
    def new_tool_runner(self, limit: int | None) -> ToolRunner:
        """Runs tools beside the operation, at most *limit* at a time."""

    async def offload(self, work: Callable[[], T]) -> T:
        """The result of *work*, which takes long and needs no protocol: files, hashing. Blocks no event loop."""
        return work()

    def begin(self, work: Callable[[], T]) -> Callable[[], Coroutine[Any, Any, T]]:
        """Do *work* in a thread meanwhile. What is returned waits for its result, any number of times.

        *work* is not cancelled.
        """
        value = work()

        async def result() -> T:
            return value

        return result

    @abstractmethod
    def connect(self, namespace: str, multiplexer: Multiplexer) -> None:
        """Start connecting *multiplexer* to the server. Runs there; failure arrives through `Multiplexer.fail`."""
