# Generated from async_responses.py by tools/make_sync.py. Edit that file instead.
"""OpenAI's responses over HTTP: answers that the server remembers, so that the next request can go on from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from lmstudio._http_models.openai_responses import (
    DeletedResponse,
    InputItemList,
    Response,
    ResponseParams,
    ResponseRequest,
)
from lmstudio.http._caller import HttpEndpoint
from lmstudio.http._requests import body_of, checked_id
from lmstudio.http._streams_responses import ResponseReader, ResponseStreamEvent
from lmstudio.http.sync_base import EventStream
from lmstudio.http.sync_namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from lmstudio._timeouts import TimeoutInput

__all__ = ["Responses"]

CREATE: Final = HttpEndpoint("POST", "v1/responses", Response, "create a response")
RETRIEVE: Final = HttpEndpoint("GET", "v1/responses/{id}", Response, "retrieve a response", is_read=True)
DELETE: Final = HttpEndpoint("DELETE", "v1/responses/{id}", DeletedResponse, "delete a response")
INPUT_ITEMS: Final = HttpEndpoint(
    "GET", "v1/responses/{id}/input_items", InputItemList, "list the input of a response", is_read=True
)


class Responses(Namespace):
    """`client.responses`: answers that the server remembers.

    ::

        first = client.responses.create(input="My name is Ada.")
        second = client.responses.create(input="What is my name?", previous_response_id=first.id)
        print(second.output_text)

    A request is a `ResponseRequest`, or its members as a dict or as keywords; keywords go before it. What this
    version does not know is sent as it is. `extra_body` goes over everything, unchecked.
    """

    def create(
        self,
        request: ResponseRequest | Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[ResponseParams],
    ) -> Response:
        """The whole response. One that `status` calls "failed" or "incomplete" is returned as it is, not raised.

        Raises:
            LMStudioValueError: something is missing, or has a bad value; nothing was sent.
            LMStudioValidationError: the server refused the request.
        """
        body = body_of(ResponseRequest, CREATE.attempted, self._settings, request, params, extra_body)
        return self._run(self._caller.call(CREATE, body, timeout=timeout))

    def stream(
        self,
        request: ResponseRequest | Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[ResponseParams],
    ) -> EventStream[ResponseStreamEvent, Response]:
        """The response as events, while the model writes. The result is the response of the last event.

        ::

            with client.responses.stream(input="Tell me a story.") as stream:
                for event in stream:
                    if event.type == "response.output_text.delta":
                        print(event.delta, end="", flush=True)
                print(stream.result().usage)
        """
        body = body_of(ResponseRequest, CREATE.attempted, self._settings, request, params, extra_body, stream=True)
        stream = self._caller.stream(CREATE, body, ResponseReader(), timeout=timeout)
        return EventStream(stream)

    def retrieve(self, response_id: str, *, timeout: TimeoutInput = None) -> Response:
        """A response that the server has stored.

        Raises:
            LMStudioServerError: it has none of that id.
        """
        path = {"id": checked_id(response_id, "response_id", RETRIEVE.attempted)}
        return self._run(self._caller.call(RETRIEVE, path=path, timeout=timeout))

    def delete(self, response_id: str, *, timeout: TimeoutInput = None) -> DeletedResponse:
        """Make the server forget a response."""
        path = {"id": checked_id(response_id, "response_id", DELETE.attempted)}
        return self._run(self._caller.call(DELETE, path=path, timeout=timeout))

    def input_items(
        self,
        response_id: str,
        *,
        limit: int | None = None,
        order: Literal["asc", "desc"] | None = None,
        after: str | None = None,
        timeout: TimeoutInput = None,
    ) -> InputItemList:
        """What a stored response is the answer to. The newest come first, unless *order* is "asc".

        Args:
            response_id: Of the answer.
            limit: How many at most, up to 100; by default 20.
            order: Of the items.
            after: The id of an item: those that follow it. `has_more` of the reply says whether there are any.
            timeout: A time limit for this call.
        """
        query = {"limit": limit, "order": order, "after": after}
        given = {name: str(value) for name, value in query.items() if value is not None}
        path = {"id": checked_id(response_id, "response_id", INPUT_ITEMS.attempted)}
        return self._run(self._caller.call(INPUT_ITEMS, path=path, query=given, timeout=timeout))
