"""Who may connect: the first frame of a connection, passkeys, and API tokens."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

import msgspec

from lmstudio._wire import AuthPacket
from lmstudio.errors import LMStudioValueError
from lmstudio.server._port import ClientContext, ClientLifetime

if TYPE_CHECKING:
    from collections.abc import Iterable

AUTHENTICATION_SECONDS = 10.0
"""As long as lmstudio.js's server waits for the first frame."""
MAX_CREDENTIAL_LENGTH = 256
"""Characters, of the identifier and of the passkey."""

_AUTH_VERSION = 1
_TOKEN = re.compile(r"sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})")
_decode_packet = msgspec.json.Decoder(AuthPacket).decode


class AuthenticationRefusedError(Exception):
    """The client is not let in; the message is what it is told."""


def parse_auth_packet(frame: str) -> AuthPacket | None:
    """The packet in *frame*, None if there is none: such frames are ignored, as lmstudio.js does."""
    try:
        return _decode_packet(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def parse_api_token(token: str) -> tuple[str, str]:
    """Client identifier and passkey of an API token.

    Raises:
        LMStudioValueError: not of the form of an API token. The token is not repeated.
    """
    match = _TOKEN.fullmatch(token.strip())
    if match is None:
        raise LMStudioValueError(
            f"An API token has the form 'sk-lm-', 8 letters or digits, ':' and 20 letters or digits; "
            f"the one given has {len(token)} characters and another form."
        )
    return match[1], match[2]


class _Client:
    """One client identifier in use."""

    def __init__(self, passkey: str) -> None:
        self.passkey = passkey
        self.connections = 0
        self.lifetime = ClientLifetime()


class Authenticator:
    """Decides who may connect, and remembers who is connected.

    Without *api_tokens* everybody is let in, and the first connection of an identifier fixes its passkey until its last
    connection ends. With them, only their holders are.
    """

    def __init__(self, api_tokens: Iterable[str] = ()) -> None:
        self._passkey_of_token = dict(parse_api_token(token) for token in api_tokens)
        self._clients: dict[str, _Client] = {}

    def admit(self, packet: AuthPacket) -> ClientContext:
        """Let the sender of *packet* in. Each admission must be paired with one `release`.

        Raises:
            AuthenticationRefusedError: with the reason for the client.
        """
        identifier, passkey = packet.client_identifier, packet.client_passkey
        if packet.auth_version != _AUTH_VERSION:
            raise AuthenticationRefusedError(f"This server knows authVersion {_AUTH_VERSION} only")
        if max(len(identifier), len(passkey)) > MAX_CREDENTIAL_LENGTH:
            raise AuthenticationRefusedError(
                f"Client identifier and passkey may have at most {MAX_CREDENTIAL_LENGTH} characters"
            )
        if self._passkey_of_token:
            self._require_token(identifier, passkey)
        client = self._clients.setdefault(identifier, _Client(passkey))
        if not _equal(client.passkey, passkey):
            # The words of lmstudio.js's server.
            raise AuthenticationRefusedError(
                f'Failed to validate client: Invalid client passkey for client "{identifier}"'
            )
        client.connections += 1
        return ClientContext(identifier, bool(self._passkey_of_token), client.lifetime)

    def _require_token(self, identifier: str, passkey: str) -> None:
        expected = self._passkey_of_token.get(identifier)
        if _equal(expected or "", passkey) and expected is not None:
            return
        if identifier.startswith("guest:"):
            raise AuthenticationRefusedError("This server requires an API token, and none was given")
        raise AuthenticationRefusedError("This server requires an API token, and the one given is not valid")

    def release(self, context: ClientContext) -> None:
        """One connection of this client has ended; after the last one its identifier is free again."""
        client = self._clients[context.client_identifier]
        client.connections -= 1
        if client.connections == 0:
            del self._clients[context.client_identifier]
            client.lifetime.end()


def _equal(first: str, second: str) -> bool:
    """Compare secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(first.encode(), second.encode())
