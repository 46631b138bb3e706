"""The tools of an installed plugin, or of an MCP server that a plugin bridges to."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio import _wire
from lmstudio._abort import on_abort
from lmstudio._endpoints.plugins import START_TOOL_USE_SESSION
from lmstudio._runtime import Outlet
from lmstudio._sdk_models import (
    PluginsChannelStartToolUseSessionCreationParameter,
    PluginsChannelStartToolUseSessionToClientPacketSessionReady,
    PluginsChannelStartToolUseSessionToClientPacketToolCallComplete,
    PluginsChannelStartToolUseSessionToClientPacketToolCallError,
    PluginsChannelStartToolUseSessionToClientPacketToolCallStatus,
    PluginsChannelStartToolUseSessionToClientPacketToolCallWarn,
    PluginsChannelStartToolUseSessionToServerPacketAbortToolCall,
    PluginsChannelStartToolUseSessionToServerPacketCallTool,
    PluginsChannelStartToolUseSessionToServerPacketDiscardSession,
)
from lmstudio._tool_definitions import current_call
from lmstudio.errors import LMStudioCancelledError, LMStudioRuntimeError, from_wire
from lmstudio.json_api import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._abort import AbortSignal
    from lmstudio._port import Port
    from lmstudio._runtime import Delivery, Inbox
    from lmstudio._sdk_models import LlmTool, PluginConfigSpecifier
    from lmstudio._tool_definitions import ToolCallContext
    from lmstudio.json_api import Multiplexer


class _Addressed(msgspec.Struct):
    """Whose packet it is; None for one of the session itself."""

    call_id: float | None = msgspec.field(name="callId", default=None)


_read_address = msgspec.json.Decoder(_Addressed).decode


class _Router(Outlet):
    """Brings the packets of a session to the calls that they are for. Only inside posted actions."""

    def __init__(self, session: Inbox) -> None:
        self._session: Inbox | None = session
        """Where the session waits until it is ready; None afterwards."""
        self._calls: dict[float, Inbox] = {}
        self._end: Delivery | None = None
        self.put = self._put

    def _put(self, delivery: Delivery) -> None:
        if isinstance(delivery, _wire.ChannelSend):
            inbox = self._inbox_of(delivery.message)
            if inbox is not None:
                inbox.put(delivery)
            return
        self._end = delivery
        for inbox in self._inboxes():
            inbox.put(delivery)

    def _inboxes(self) -> list[Inbox]:
        return [*self._calls.values(), *([] if self._session is None else [self._session])]

    def _inbox_of(self, message: msgspec.Raw) -> Inbox | None:
        try:
            call_id = _read_address(message).call_id
        except msgspec.MsgspecError:  # perhaps what the session waits for: it can say what is wrong
            return self._session
        return self._session if call_id is None else self._calls.get(call_id)

    def wake(self) -> None:
        for inbox in self._inboxes():
            inbox.wake()

    def begin(self) -> None:
        """The session is ready. Nothing but its calls is waited for from now on."""
        self._session = None

    def join(self, call_id: int, inbox: Inbox) -> None:
        """Bring packets of this call to *inbox*; the end of the session, too, if it has come already."""
        if self._end is None:
            self._calls[call_id] = inbox
        else:
            inbox.put(self._end)
            inbox.wake()

    def leave(self, call_id: int) -> None:
        """The call is over."""
        self._calls.pop(call_id, None)

    def end(self, delivery: Delivery) -> None:
        """Nothing will come any more, because of *delivery*."""
        if self._end is None:
            self._put(delivery)
            self.wake()


class _SessionChannel(Channel[Any, Any]):
    """The channel of a session, which its calls use as well."""

    def __init__(self, port: Port, parameter: PluginsChannelStartToolUseSessionCreationParameter, name: str) -> None:
        attempted = f"use the tools of the plugin {name!r}"
        super().__init__(port, START_TOOL_USE_SESSION, _wire.encode_payload(parameter), attempted)
        self.router: _Router = _Router(self._inbox)
        self._name = name

    def _open(self) -> None:
        self._multiplexer = self._port.live_multiplexer()
        self.limits.use(self._multiplexer, self._inbox)
        self._id = self._multiplexer.open(self._spec.name, self._parameter, self.router)
        self._parameter = _wire.ABSENT

    @property
    def address(self) -> tuple[Multiplexer | None, int]:
        """Where packets of calls go. Only inside posted actions."""
        return self._multiplexer, self._id

    def _close(self) -> None:
        super()._close()
        self.router.end(LMStudioCancelledError(f"The use of the tools of the plugin {self._name!r} has been ended."))


class _CallChannel(Channel[Any, Any]):
    """One call: what the session's channel brings for it."""

    def __init__(self, port: Port, session: _SessionChannel, call_id: int, name: str, arguments: Any) -> None:
        super().__init__(port, START_TOOL_USE_SESSION, _wire.ABSENT, f"call the tool {name!r}")
        # It may take as long as it likes: the time limits of tools are those of `act`.
        self.limits = port.new_limits(self._attempted, is_patient=True)
        self._session, self._call_id = session, call_id
        packet = PluginsChannelStartToolUseSessionToServerPacketCallTool(
            call_id=call_id, name=name, arguments=arguments
        )
        self._request = _wire.encode_payload(packet)

    def _open(self) -> None:
        if self._is_closed:  # aborted in another thread, before it began
            return
        self._session.router.join(self._call_id, self._inbox)
        self._multiplexer, self._id = self._session.address
        self._send(self._request)

    def _close(self) -> None:
        self._session.router.leave(self._call_id)
        self._inbox.put(self._cancelled())
        self._inbox.wake()

    def abort(self) -> None:
        """Nobody wants the result any more. Does nothing when the call is over."""
        self.send_last(PluginsChannelStartToolUseSessionToServerPacketAbortToolCall(call_id=self._call_id))


class ToolUseSession:
    """The tools that a plugin offers under one configuration, from the request to the end.

    Calls may run at the same time. Protocol: channel plugins/startToolUseSession.
    """

    def __init__(self, port: Port, plugin_identifier: str, specifier: PluginConfigSpecifier) -> None:
        """*plugin_identifier* has been checked."""
        self.plugin_identifier = plugin_identifier
        parameter = PluginsChannelStartToolUseSessionCreationParameter(
            plugin_identifier=plugin_identifier, plugin_config_specifier=specifier
        )
        self.port: Port = port.base
        """The port of the calls: the limits of *port* are those of the start."""
        self._start_port = port
        self._parameter = parameter
        self._channel: _SessionChannel | None = None
        self._is_awaited = False
        self._is_ready = False
        self._is_ended = False
        self._call_ids = count()

    def begin(self) -> None:
        """Send the request, without waiting. Once only."""
        if self._channel is not None or self._is_ended:
            raise LMStudioRuntimeError(
                f"The use of the tools of the plugin {self.plugin_identifier!r} has been started already. Ask for them "
                "anew."
            )
        self._channel = _SessionChannel(self._start_port, self._parameter, self.plugin_identifier)
        self._channel.open()

    async def start(self, signal: AbortSignal | None = None) -> list[LlmTool]:
        """Wait for the plugin, and for what it offers. Once only.

        Raises:
            LMStudioServerError: there is no such plugin, it offers no tools, or it failed.
        """
        if signal is not None:
            signal.throw_if_aborted()
        try:
            with on_abort(signal, self.close):
                if self._channel is None or self._is_awaited:
                    self.begin()
                self._is_awaited = True
                channel = self._channel
                assert channel is not None
                while True:
                    packet = await channel.receive()
                    if isinstance(packet, PluginsChannelStartToolUseSessionToClientPacketSessionReady):
                        self.port.runtime.post(channel.router.begin)
                        self._is_ready = True
                        return packet.tool_definitions
        except BaseException as error:
            self.close()
            if signal is not None and signal.aborted and isinstance(error, LMStudioCancelledError):
                raise signal.error() from None
            raise

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """The result of a tool, as JSON. What it says meanwhile goes to the context of the call, if it has one.

        Every way of leaving early tells the plugin to stop.

        Raises:
            LMStudioServerError: the tool failed.
            LMStudioChannelClosedError: the server has ended the session.
            LMStudioWebsocketError: the connection was lost, and the session with it.
            LMStudioCancelledError: the signal of the call's context was aborted, or the session was closed meanwhile.
            LMStudioRuntimeError: the session has not begun, or was closed before.
        """
        if self._channel is None or not self._is_ready or self._is_ended:
            state = "has been ended" if self._is_ended else "has not begun yet"
            raise LMStudioRuntimeError(
                f"Could not call the tool {name!r}: the use of the tools of the plugin {self.plugin_identifier!r} "
                f"{state}. Call them within the `with` block."
            )
        context = current_call()
        signal = None if context is None else context.signal
        call = _CallChannel(self.port, self._channel, next(self._call_ids), name, arguments)
        try:
            with on_abort(signal, call.abort):
                call.open()
                return await _follow(call, context, f"call the tool {name!r}")
        except BaseException as error:
            call.abort()
            if signal is not None and signal.aborted and isinstance(error, LMStudioCancelledError):
                raise signal.error() from None
            raise

    def close(self) -> None:
        """End the session, without waiting: the plugin forgets it, and calls that are running fail."""
        self._is_ended = True
        if self._channel is not None:
            self._channel.send_last(PluginsChannelStartToolUseSessionToServerPacketDiscardSession())


async def start_all(sessions: Sequence[ToolUseSession], signal: AbortSignal | None = None) -> list[list[LlmTool]]:
    """What each of *sessions* offers. All requests are out before the first answer; if one fails, all are closed."""
    try:
        if signal is not None:
            signal.throw_if_aborted()
        for session in sessions:
            session.begin()
        return [await session.start(signal) for session in sessions]
    except BaseException:
        for session in sessions:
            session.close()
        raise


async def _follow(call: _CallChannel, context: ToolCallContext | None, attempted: str) -> Any:
    """Consume the packets of a call until it is over."""
    while True:
        match await call.receive():
            case PluginsChannelStartToolUseSessionToClientPacketToolCallStatus(status_text=text):
                if context is not None:
                    context.status(text)
            case PluginsChannelStartToolUseSessionToClientPacketToolCallWarn(warn_text=text):
                if context is not None:
                    context.warn(text)
            case PluginsChannelStartToolUseSessionToClientPacketToolCallComplete(result=result):
                call.close()
                return result
            case PluginsChannelStartToolUseSessionToClientPacketToolCallError(error=error):
                call.close()
                raise call.located(from_wire(error.to_dict(), attempted))


def parameters_of(tool: LlmTool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, which may be missing."""
    parameters = tool.function.parameters
    return {"type": "object", "properties": {}} if parameters is None else parameters.to_dict()
