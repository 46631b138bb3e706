"""What happens in the server, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from lmstudio._abort import check_signal
from lmstudio._bounded_channel import BoundedChannel
from lmstudio._endpoints.diagnostics import STREAM_LOGS
from lmstudio._port import aborted
from lmstudio._sdk_models import DiagnosticsChannelStreamLogsToServerPacketStop
from lmstudio.errors import LMStudioChannelClosedError, LMStudioError, LMStudioRuntimeError, LMStudioValueError
from lmstudio.json_api import fresh_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lmstudio._abort import AbortSignal
    from lmstudio._port import Port
    from lmstudio._sdk_models import DiagnosticsChannelStreamLogsToClientPacket, DiagnosticsLogEvent
    from lmstudio.json_api import Channel

LogEventType: TypeAlias = Literal["llm.prediction.input", "llm.prediction.output", "server.log", "runtime.log"]
"""What an event tells: a prompt as the model gets it, what came of it, the server's log, or that of an engine."""

_ATTEMPTED = "stream the server's log"


def read_event_types(given: LogEventType | Iterable[LogEventType] | None) -> frozenset[str] | None:
    """The types of events that somebody wants to see; None for all.

    Raises:
        LMStudioValueError: there is no such type, or none was given.
    """
    if given is None:
        return None
    try:
        types = [given] if isinstance(given, str) else list(given)
    except TypeError:
        raise LMStudioValueError(f"types must be a list of types of events, got {type(given).__name__}.") from None
    known = get_args(LogEventType)
    for name in types:
        if name not in known:
            raise LMStudioValueError(f"{name!r:.80} is not a type of events; there are {', '.join(known)}.")
    if not types:
        raise LMStudioValueError("types is empty, so that no event could ever come. Leave it out for all of them.")
    return frozenset(types)


class LogEvents:
    """The events of one server, until somebody or something ends it.

    Whoever waits drives it. Leaving it tells the server to stop; telling never waits.
    """

    def __init__(self, port: Port, types: frozenset[str] | None, signal: AbortSignal | None) -> None:
        check_signal(signal)
        self._port, self._types, self._signal = port, types, signal
        self._channel: Channel[DiagnosticsChannelStreamLogsToClientPacket, Any] | None = None
        self._ignore_signal: Callable[[], None] | None = None
        self._error: LMStudioError | None = None
        self._is_over = False

    @property
    def is_started(self) -> bool:
        """The request was sent."""
        return self._channel is not None

    @property
    def state(self) -> str:
        """How far it has come, for people."""
        if self._error is not None:
            return "failed"
        if self._is_over:
            return "ended"
        return "running" if self.is_started else "not started"

    def start(self) -> None:
        """Send the request; once only, later calls do nothing. Protocol: channel diagnostics/streamLogs.

        Raises:
            LMStudioRuntimeError: the stream was closed.
            LMStudioCancelledError: the signal is aborted already.
        """
        if self._is_over:
            raise LMStudioRuntimeError("The stream of the server's log has ended. Make a new one.")
        if self._channel is not None:
            return
        signal = self._signal
        if signal is not None and signal.aborted:
            raise aborted(signal, _ATTEMPTED)
        stop = DiagnosticsChannelStreamLogsToServerPacketStop()
        self._channel = BoundedChannel(self._port, STREAM_LOGS, None, _ATTEMPTED, stop)
        # A server in which nothing happens says nothing.
        self._channel.limits = self._port.new_limits(_ATTEMPTED, is_patient=True)
        try:
            self._channel.open()
            if signal is not None:
                self._ignore_signal = signal.add_listener(self._leave)
        except BaseException:
            self.close()
            raise

    async def next_event(self) -> DiagnosticsLogEvent | None:
        """The next event, None when the stream has ended. Starts it if necessary.

        A wait that is cancelled ends nothing: the next one gets the next event.
        """
        if not self._is_over:
            self.start()
        while not self._is_over and self._channel is not None:
            try:
                event = (await self._channel.receive()).log
            except LMStudioChannelClosedError:
                self.close()
            except LMStudioError as error:
                self._fail(error)
            else:
                if self._types is None or event.data.type in self._types:
                    return event
        if self._channel is not None:
            self._channel.close()  # whoever else waits here looks, too
        if self._error is not None:
            raise fresh_copy(self._error)
        return None

    def _fail(self, error: LMStudioError) -> None:
        if self._is_over:
            return  # it was closed meanwhile, which is how whoever waited gets to know
        signal = self._signal
        if signal is not None and signal.aborted:
            error = aborted(signal, _ATTEMPTED)
        # Not the error that was caught: its traceback leads back here, and a stream that is left must be freed at once.
        self._error = fresh_copy(error)
        if self._channel is not None:
            self._channel.located(self._error)
        self.close()

    def close(self) -> None:
        """Tell the server to stop, and forget what has not been read. Later calls do nothing."""
        if self._is_over:
            return
        self._is_over = True
        if self._ignore_signal is not None:
            self._ignore_signal()
        self._leave()

    def _leave(self) -> None:
        if self._channel is not None:
            self._channel.send_last(DiagnosticsChannelStreamLogsToServerPacketStop())
