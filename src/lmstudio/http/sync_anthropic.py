# Generated from async_anthropic.py by tools/make_sync.py. Edit that file instead.
"""Anthropic's messages over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models.anthropic import (
    CountTokensParams,
    CountTokensRequest,
    Message,
    MessagesParams,
    MessagesRequest,
    TokensCount,
)
from lmstudio.http._caller import HttpEndpoint
from lmstudio.http._requests import body_of
from lmstudio.http._streams_anthropic import MessageReader, MessageStreamEvent
from lmstudio.http.sync_base import EventStream
from lmstudio.http.sync_namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from lmstudio._timeouts import TimeoutInput

__all__ = ["Messages"]

CREATE: Final = HttpEndpoint("POST", "v1/messages", Message, "create a message")
COUNT_TOKENS: Final = HttpEndpoint(
    "POST", "v1/messages/count_tokens", TokensCount, "count the tokens of messages", is_read=True
)


class Messages(Namespace):
    """`client.messages`: chats as Anthropic's API has them.

    ::

        question = {"role": "user", "content": "Hi!"}
        message = client.messages.create(max_tokens=500, messages=[question])
        print(message.text)

    A request is a `MessagesRequest`, or its members as a dict or as keywords; keywords go before it. What this
    version does not know is sent as it is. `extra_body` goes over everything, unchecked.
    """

    def create(
        self,
        request: MessagesRequest | Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[MessagesParams],
    ) -> Message:
        """The whole message.

        Raises:
            LMStudioValueError: something is missing, or has a bad value; nothing was sent.
            LMStudioValidationError: the server refused the request.
        """
        body = body_of(MessagesRequest, CREATE.attempted, self._settings, request, params, extra_body)
        return self._run(self._caller.call(CREATE, body, timeout=timeout))

    def stream(
        self,
        request: MessagesRequest | Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[MessagesParams],
    ) -> EventStream[MessageStreamEvent, Message]:
        """The message as events, while the model writes. The result is what `create` would have given.

        ::

            with client.messages.stream(max_tokens=500, messages=[question]) as stream:
                for event in stream:
                    if event.type == "content_block_delta" and event.delta.type == "text_delta":
                        print(event.delta.text, end="", flush=True)
                print(stream.result().stop_reason)
        """
        body = body_of(MessagesRequest, CREATE.attempted, self._settings, request, params, extra_body, stream=True)
        stream = self._caller.stream(CREATE, body, MessageReader(), timeout=timeout)
        return EventStream(stream)

    def count_tokens(
        self,
        request: CountTokensRequest | Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[CountTokensParams],
    ) -> int:
        """How many tokens a chat has, its template and its tools included.

        LM Studio itself does not have this; the embedded server does.
        """
        attempted = COUNT_TOKENS.attempted
        body = body_of(CountTokensRequest, attempted, self._settings, request, params, extra_body)
        call = self._caller.call(COUNT_TOKENS, body, timeout=timeout)
        return (self._run(call)).input_tokens
