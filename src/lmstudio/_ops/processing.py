"""What a hook of a plugin asks and says while it works on a message: the rpcs `plugins/processing...`."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from lmstudio import _wire
from lmstudio._endpoints import plugins as endpoints
from lmstudio._runtime import Outlet
from lmstudio._sdk_models import (
    PluginsRpcProcessingHandleRequestParameter,
    PluginsRpcProcessingHandleUpdateParameter,
    PluginsRpcProcessingNameParameter,
    PluginsRpcProcessingParameter,
    PluginsRpcProcessingPullHistoryParameter,
)
from lmstudio._timeouts import Timeout, read_timeout
from lmstudio.errors import LMStudioError, LMStudioProtocolError, LMStudioValueError, from_wire
from lmstudio.json_api import decode_error
from lmstudio.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio._port import Port
    from lmstudio._runtime import Delivery, Inbox
    from lmstudio._sdk_models import (
        ChatHistoryData,
        ProcessingRequest,
        ProcessingRequestResponse,
        ProcessingUpdate,
        TokenSourceIdentifier,
    )
    from lmstudio._struct import LMStudioStruct
    from lmstudio._timeouts import TimeoutInput

StructT = TypeVar("StructT", bound="LMStudioStruct")


_SHOW = "show what a hook does"
_NOT_TEXT = (bytes, bytearray, memoryview)
"""What msgspec would make base64 of."""


class Processing(NamedTuple):
    """A message that a hook works on, as the host knows it."""

    pci: str
    token: str


def new_block_id() -> str:
    """The id of a new block, as lmstudio.js makes them."""
    return f"{time.time_ns() // 1_000_000}-{random.random()}"


def patient(timeout: TimeoutInput) -> Timeout:
    """*timeout* for what takes as long as people, or the load of a model, take: silence is no failure."""
    return read_timeout(timeout).over(Timeout(idle=None))


def read_struct(cls: type[StructT], what: str, **members: Any) -> StructT:
    """A struct for the host, whose members may be given as structs, or as dicts in snake_case or camelCase.

    *what* completes "Could not ..."; None leaves a member out.

    Raises:
        LMStudioValueError: a value that the protocol does not allow; nothing was sent.
    """
    try:
        given = {name: value for name, value in members.items() if value is not None}
        plain = msgspec.to_builtins(given, builtin_types=_NOT_TEXT)
        return cls.from_dict(plain)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise LMStudioValueError(f"Could not {what}: {error}. Nothing was sent.") from error


class UpdateSender(Outlet):
    """Sends updates about one message, in order and without waiting; those that fail are logged.

    May be used from any thread.
    """

    def __init__(self, port: Port, processing: Processing) -> None:
        self._port, self._processing = port, processing
        self.put: Callable[[Delivery], None] = self._settle
        # Both belong to the loop's thread.
        self._unanswered = 0
        self._waiting: list[Inbox] = []

    def send(self, update: ProcessingUpdate) -> None:
        """Protocol: rpc processingHandleUpdate."""
        pci, token = self._processing
        parameter = PluginsRpcProcessingHandleUpdateParameter(pci=pci, token=token, update=update)
        self._port.runtime.post(partial(self._send, _wire.encode_payload(parameter)))

    def _send(self, parameter: _wire.Payload) -> None:
        self._unanswered += 1
        self._port.live_multiplexer().call(endpoints.PROCESSING_HANDLE_UPDATE.name, parameter, self)

    def _settle(self, reply: Delivery) -> None:
        self._unanswered -= 1
        if isinstance(reply, _wire.RpcError):
            self._log(from_wire(decode_error(reply.error), _SHOW))
        elif isinstance(reply, LMStudioError):
            self._log(reply)
        if not self._unanswered:
            self._release()

    def _log(self, error: LMStudioError) -> None:
        endpoint = endpoints.PROCESSING_HANDLE_UPDATE.name
        known = fields(error, namespace=self._port.namespace, endpoint=endpoint)
        self._port.runtime.logger("plugins").error("The host did not take an update: %s", error, extra=known)

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for inbox in waiting:
            inbox.put(_wire.RpcResult(call_id=0))
            inbox.wake()

    def wake(self) -> None:
        """Nobody waits for single replies."""

    async def flush(self, port: Port) -> None:
        """Wait until each update so far was answered, within the limits of *port*.

        Raises:
            LMStudioTimeoutError: a time limit expired.
        """
        inbox = port.runtime.new_inbox()
        port.runtime.post(partial(self._wait, inbox))
        await inbox.get(port.new_limits(_SHOW))

    def _wait(self, inbox: Inbox) -> None:
        self._waiting.append(inbox)
        if not self._unanswered:
            self._release()


async def handle_request(port: Port, processing: Processing, request: ProcessingRequest) -> ProcessingRequestResponse:
    """The user's answer to *request*. Protocol: rpc processingHandleRequest."""
    pci, token = processing
    parameter = PluginsRpcProcessingHandleRequestParameter(pci=pci, token=token, request=request)
    attempted = f"ask the user ({request.type})"
    response = (await port.call(endpoints.PROCESSING_HANDLE_REQUEST, parameter, attempted)).response
    if response.type != request.type:
        raise LMStudioProtocolError(f"Could not {attempted}: the host has answered {response.type!r}.")
    return response


async def pull_history(port: Port, processing: Processing, *, include_current: bool) -> ChatHistoryData:
    """The chat, with the message that is worked on or without. Protocol: rpc processingPullHistory."""
    pci, token = processing
    parameter = PluginsRpcProcessingPullHistoryParameter(pci=pci, token=token, include_current=include_current)
    return await port.call(endpoints.PROCESSING_PULL_HISTORY, parameter, "get the history of the chat")


async def get_or_load_token_source(port: Port, processing: Processing) -> TokenSourceIdentifier:
    """What is to answer: a model, which is loaded if it is not, or a generator.

    Protocol: rpc processingGetOrLoadTokenSource.
    """
    attempted = "get the token source of the chat"
    parameter = _proof(processing)
    reply = await port.call(endpoints.PROCESSING_GET_OR_LOAD_TOKEN_SOURCE, parameter, attempted)
    return reply.token_source_identifier


async def has_status(port: Port, processing: Processing) -> bool:
    """Whether a hook has shown a status block. Protocol: rpc processingHasStatus."""
    return await port.call(endpoints.PROCESSING_HAS_STATUS, _proof(processing), "ask whether there is a status")


async def needs_naming(port: Port, processing: Processing) -> bool:
    """Whether the chat has no name yet. Protocol: rpc processingNeedsNaming."""
    return await port.call(endpoints.PROCESSING_NEEDS_NAMING, _proof(processing), "ask whether the chat needs a name")


async def suggest_name(port: Port, processing: Processing, name: str) -> None:
    """Propose a name for the chat. Protocol: rpc processingSuggestName."""
    parameter = _named(processing, name, "suggest a name")
    await port.call(endpoints.PROCESSING_SUGGEST_NAME, parameter, "suggest a name")


async def set_sender_name(port: Port, processing: Processing, name: str) -> None:
    """Set the name above the answer, and know that it was done. Protocol: rpc processingSetSenderName."""
    parameter = _named(processing, name, "set the sender's name")
    await port.call(endpoints.PROCESSING_SET_SENDER_NAME, parameter, "set the sender's name")


def _proof(processing: Processing) -> PluginsRpcProcessingParameter:
    return PluginsRpcProcessingParameter(pci=processing.pci, token=processing.token)


def _named(processing: Processing, name: str, what: str) -> PluginsRpcProcessingNameParameter:
    return read_struct(PluginsRpcProcessingNameParameter, what, pci=processing.pci, token=processing.token, name=name)
