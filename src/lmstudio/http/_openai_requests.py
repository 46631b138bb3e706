"""What is sent to OpenAI's endpoints, made of what users give."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models import openai as wire
from lmstudio._openai_messages import openai_messages
from lmstudio._openai_parameters import bad_parameter
from lmstudio._struct import camel_case
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._http_models import HttpStruct, JsonObject
    from lmstudio.history import ChatInput
    from lmstudio.settings import Settings

__all__ = ["ChatCompletionRequest", "chat_request", "merged", "refuse_typo", "request_body", "split_params"]

_TYPO: Final = 0.85
"""How much alike two names are of which one is a slip of the pen; `max_tokens` and `min_tokens` are not."""


class ChatCompletionRequest(wire.ChatParameters, kw_only=True):
    """A chat to be answered, and how.

    *messages* is whatever can be read as a chat: a text, a `Chat`, a list of `ChatMessage`, of dicts, or of both.
    """

    messages: Any

    def checked(self, attempted: str) -> JsonObject:
        """As `to_dict`, after a look at every value."""
        return {**self._as_sent().checked(attempted), **self.extra}

    def to_dict(self) -> JsonObject:
        """The request as it is sent."""
        return {**self._as_sent().to_dict(), **self.extra}

    def _as_sent(self) -> wire.ChatCompletionRequest:
        members = {name: getattr(self, name) for name in wire.ChatParameters.__struct_fields__}
        messages = openai_messages(self.messages)
        if not messages:
            raise bad_parameter("messages", "messages is empty: it needs at least one message.", code=None)
        return wire.ChatCompletionRequest(**members, messages=messages)


def chat_request(
    messages: ChatInput, model: str | None, params: Mapping[str, Any]
) -> tuple[ChatCompletionRequest, JsonObject]:
    """The request of a call with keywords, and what else it is to say.

    Raises:
        LMStudioValueError: a keyword looks like a typing error.
    """
    known, others = split_params(wire.ChatParameters, params)
    return ChatCompletionRequest(messages=messages, model=model, **known), others


def split_params(request_type: type[HttpStruct], params: Mapping[str, Any]) -> tuple[dict[str, Any], JsonObject]:
    """The members of a request by their names, and what else *params* has, which is passed on as it is.

    Names may be in camelCase.

    Raises:
        LMStudioValueError: one looks like a typing error, is given twice, or is not for callers to choose.
    """
    names = [name for name in request_type.__struct_fields__ if name not in ("model", "stream")]
    spellings = {spelling: name for name in names for spelling in (name, camel_case(name))}
    known: dict[str, Any] = {}
    others: JsonObject = {}
    for given, value in params.items():
        if given == "stream":
            raise LMStudioValueError(
                "stream is not a parameter of this call: the methods whose names begin with 'stream_' stream."
            )
        name = spellings.get(given)
        if name in known:
            raise LMStudioValueError(f"{name} is given twice, the second time as {given}.")
        if name is not None:
            known[name] = value
        else:
            refuse_typo(given, names)
            others[given] = value
    return known, others


def refuse_typo(given: str, names: Sequence[str]) -> None:
    """Raise LMStudioValueError if *given*, which is none of *names*, looks like one of them."""
    plain = given.replace("_", "").lower()
    near = [name for name in names if name.replace("_", "") == plain] or difflib.get_close_matches(
        given, names, n=1, cutoff=_TYPO
    )
    if near:
        complaint = f"There is no parameter {given!r}. Did you mean {near[0]!r}?"
        message = f"{complaint} To send it all the same, use extra_body={{{given!r}: ...}}."
        raise LMStudioValueError(message).with_context(errors={given: complaint})


def merged(members: JsonObject, extra_body: Mapping[str, Any] | None) -> JsonObject:
    """*members*, with those of *extra_body* over them.

    Raises:
        LMStudioValueError: *extra_body* is no mapping.
    """
    if extra_body is None:
        return members
    if not isinstance(extra_body, Mapping):
        raise LMStudioValueError(f"extra_body must be a mapping of more members to send, got {extra_body!r:.80}.")
    return {**members, **extra_body}


def request_body(
    settings: Settings,
    request: HttpStruct,
    attempted: str,
    extra_body: Mapping[str, Any] | None = None,
    *,
    stream: bool = False,
) -> JsonObject:
    """The body to send for *request*: with the model of the settings if it names none.

    Raises:
        LMStudioValueError: a value is not valid, or the model is not allowed.
    """
    body = merged(request.checked(attempted), extra_body)
    body.setdefault("model", settings.default_model)
    if body["model"] is None:
        del body["model"]
    elif isinstance(body["model"], str):
        settings.check_model(body["model"])
    if stream:
        body["stream"] = True
    else:
        body.pop("stream", None)
    return body
