"""Who this client is towards the server: an API token, or a guest."""

from __future__ import annotations

import base64
import os
import re
from typing import Generic, TypeVar

import msgspec

from ._wire import AuthPacket
from .errors import LMStudioValueError

_TOKEN_PATTERN = r"sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})"
_TOKEN_FORM = "'sk-lm-', 8 letters or digits, ':' and 20 letters or digits"

ValueT = TypeVar("ValueT")

_LONGEST = 256
"""Characters of an identifier or a passkey, by the protocol."""


class Credentials(msgspec.Struct, frozen=True):
    """The pair that a client presents on each of its connections. The passkey never appears in a repr."""

    identifier: str
    passkey: str

    def __repr__(self) -> str:
        return f"Credentials({self.identifier!r})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("identifier", self.identifier)]

    def packet(self) -> AuthPacket:
        """The first frame of a connection."""
        return AuthPacket(client_identifier=self.identifier, client_passkey=self.passkey)


class Hidden(Generic[ValueT]):
    """Something that no repr shows.

    Tracebacks may show the variables of each frame, so a frame that an exception may pass has no secret in a variable:
    it has one of these, and uses its `value` at once.
    """

    __slots__ = ("value",)

    def __init__(self, value: ValueT) -> None:
        self.value: ValueT = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Secret:
    """A text that no repr shows, as `Hidden`; None for none."""

    __slots__ = ("value",)

    def __init__(self, value: str | None) -> None:
        self.value: str | None = value

    def __repr__(self) -> str:
        return "Secret()" if self.value is None else "Secret(...)"


NO_SECRET = Secret(None)


def is_api_token(secret: Secret) -> bool:
    """Whether it has the form of an LM Studio API token."""
    return secret.value is not None and re.fullmatch(_TOKEN_PATTERN, secret.value) is not None


def parse_api_token(token: str) -> tuple[str, str]:
    """Client identifier and passkey of an API token.

    Raises:
        LMStudioValueError: not of the form of an API token. The token is not repeated.
    """
    match = re.fullmatch(_TOKEN_PATTERN, token.strip())
    if match is None:
        raise LMStudioValueError(
            f"An API token has the form {_TOKEN_FORM}; the one given has {len(token)} characters and another form."
        )
    return match[1], match[2]


def resolve_credentials(
    api_token: Secret = NO_SECRET,
    client_identifier: str | None = None,
    client_passkey: Secret = NO_SECRET,
    source: str = "api_token",
) -> Credentials:
    """Credentials from *api_token*, which *source* has given, else the given pair, else those of a new guest.

    Raises:
        LMStudioValueError: the token does not have the form of an LM Studio API token (which is not repeated), it is
            given together with the pair, or a part of the pair is not a text of 1 to 256 characters.
    """
    if client_identifier is not None or client_passkey.value is not None:
        if api_token.value is not None:
            raise LMStudioValueError("Pass either api_token, or client_identifier and client_passkey: not both.")
        _check("client_identifier", Secret(client_identifier))
        _check("client_passkey", client_passkey)
        return Credentials(
            _guest_name() if client_identifier is None else client_identifier,
            _random_text() if client_passkey.value is None else client_passkey.value,
        )
    if not api_token.value:
        return Credentials(_guest_name(), _random_text())
    match = re.fullmatch(_TOKEN_PATTERN, api_token.value)
    if match is None:
        raise LMStudioValueError(
            f"The API token given by {source} is not valid: it has {len(api_token.value)} characters, expected are "
            f"{_TOKEN_FORM}. Create one in LM Studio's developer settings."
        )
    return Credentials(match[1], match[2])


def _guest_name() -> str:
    return f"guest:{_random_text()}"


def _check(name: str, secret: Secret) -> None:
    if secret.value is None:
        return
    if not isinstance(secret.value, str) or not 1 <= len(secret.value) <= _LONGEST:
        raise LMStudioValueError(f"{name} must be a text of 1 to {_LONGEST} characters.")


def _random_text() -> str:
    # What secrets.token_urlsafe does; importing secrets or uuid takes milliseconds.
    return base64.urlsafe_b64encode(os.urandom(18)).decode()
