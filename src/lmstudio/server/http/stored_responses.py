"""GET and DELETE of the responses that the server remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from lmstudio._http_models.openai_responses import DeletedResponse, InputItemList
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.http.stored_chats import StoredChat

__all__ = ["delete_response", "list_input_items", "retrieve_response"]

_MAX_LISTED: Final = 100
_LISTED: Final = 20


async def retrieve_response(exchange: Exchange, _: None) -> None:
    """A response once more."""
    if exchange.request.query_params.get("stream", "").lower() in ("true", "1"):
        message = "A stored response cannot be streamed again: leave out stream."
        raise HttpError("invalid_request", message, param="stream", code="unsupported_parameter")
    await exchange.reply(_stored(exchange).reply)


async def delete_response(exchange: Exchange, _: None) -> None:
    """Forget a response. Those that go on with it stay."""
    chat = _stored(exchange)
    exchange.core.stored_chats.delete(chat.id)
    await exchange.reply(DeletedResponse(id=chat.id, object="response", deleted=True))


async def list_input_items(exchange: Exchange, _: None) -> None:
    """What the request of a response has brought, a page at a time, the newest first unless asked otherwise."""
    chat, query = _stored(exchange), exchange.request.query_params
    items = [*chat.input_items]
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise HttpError("invalid_request", f"order must be asc or desc, not {order[:50]!r}.", param="order")
    if order == "desc":
        items.reverse()
    if (after := query.get("after")) is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise HttpError("invalid_request", f"after must be the id of an item, not {after[:80]!r}.", param="after")
        items = items[ids.index(after) + 1 :]
    page = items[: _page_size(query.get("limit"))]
    await exchange.reply(
        InputItemList(
            object="list",
            data=page,
            first_id=page[0]["id"] if page else None,
            last_id=page[-1]["id"] if page else None,
            has_more=len(page) < len(items),
        )
    )


def _page_size(limit: str | None) -> int:
    if limit is None:
        return _LISTED
    try:
        size = msgspec.convert(limit, int, strict=False)
    except msgspec.ValidationError:
        size = 0
    if not 1 <= size <= _MAX_LISTED:
        message = f"limit must be a number from 1 to {_MAX_LISTED}, not {limit[:50]!r}."
        raise HttpError("invalid_request", message, param="limit")
    return size


def _stored(exchange: Exchange) -> StoredChat:
    response_id = exchange.path_parameters["response_id"]
    chat = exchange.core.stored_chats.get(response_id)
    if chat is None or chat.reply is None:
        message = f"There is no stored response {response_id[:80]!r}, or not any more."
        raise HttpError("not_found", message, param="response_id", code="response_not_found")
    return chat
