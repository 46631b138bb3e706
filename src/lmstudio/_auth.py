"""Who this client is towards the server: an API token, or a guest."""

from __future__ import annotations

import base64
import os
import re

import msgspec

from ._wire import AuthPacket
from .errors import LMStudioValueError

TOKEN_VARIABLES = ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN")
"""Environment variables that may hold an API token; the first one that is not empty counts."""

_TOKEN_PATTERN = r"sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})"

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


def resolve_credentials(
    api_token: str | None, client_identifier: str | None = None, client_passkey: str | None = None
) -> Credentials:
    """Credentials from *api_token*, else the given pair, else from the environment, else those of a new guest.

    Raises:
        LMStudioValueError: the token does not have the form of an LM Studio API token (which is not repeated), it is
            given together with the pair, or a part of the pair is not a text of 1 to 256 characters.
    """
    if client_identifier is not None or client_passkey is not None:
        if api_token is not None:
            raise LMStudioValueError("Pass either api_token, or client_identifier and client_passkey: not both.")
        guest = _guest()
        return Credentials(
            guest.identifier if client_identifier is None else _checked("client_identifier", client_identifier),
            guest.passkey if client_passkey is None else _checked("client_passkey", client_passkey),
        )
    source, token = "api_token", api_token
    for name in TOKEN_VARIABLES:
        if token is None and os.environ.get(name, "").strip():
            source, token = f"the environment variable {name}", os.environ[name]
    if token is not None and not isinstance(token, str):
        raise LMStudioValueError(f"api_token must be a text, got {type(token).__name__}.")
    token = (token or "").strip()
    if not token:
        return _guest()
    match = re.fullmatch(_TOKEN_PATTERN, token)
    if match is None:
        raise LMStudioValueError(
            f"The API token given by {source} is not valid: it has {len(token)} characters, expected are 'sk-lm-', "
            "8 letters or digits, ':' and 20 letters or digits. Create one in LM Studio's developer settings."
        )
    return Credentials(match[1], match[2])


def _guest() -> Credentials:
    return Credentials(f"guest:{_random_text()}", _random_text())


def _checked(name: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST:
        raise LMStudioValueError(f"{name} must be a text of 1 to {_LONGEST} characters.")
    return value


def _random_text() -> str:
    # What secrets.token_urlsafe does; importing secrets or uuid takes milliseconds.
    return base64.urlsafe_b64encode(os.urandom(18)).decode()
