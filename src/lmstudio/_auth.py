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

_TOKEN_PATTERN = re.compile(r"sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})")


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


def resolve_credentials(api_token: str | None) -> Credentials:
    """Credentials from *api_token*, else from the environment, else those of a new guest.

    Raises:
        LMStudioValueError: the token does not have the form of an LM Studio API token. The token is not repeated.
    """
    source, token = "api_token", api_token
    for name in TOKEN_VARIABLES:
        if token is None and os.environ.get(name, "").strip():
            source, token = f"the environment variable {name}", os.environ[name]
    token = (token or "").strip()
    if not token:
        return Credentials(f"guest:{_random_text()}", _random_text())
    match = _TOKEN_PATTERN.fullmatch(token)
    if match is None:
        raise LMStudioValueError(
            f"The API token given by {source} is not valid: it has {len(token)} characters, expected are 'sk-lm-', "
            "8 letters or digits, ':' and 20 letters or digits. Create one in LM Studio's developer settings."
        )
    return Credentials(match[1], match[2])


def _random_text() -> str:
    # What secrets.token_urlsafe does; importing secrets or uuid takes milliseconds.
    return base64.urlsafe_b64encode(os.urandom(18)).decode()
