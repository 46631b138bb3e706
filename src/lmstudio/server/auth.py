"""Who may connect: the first frame of a connection, passkeys, and API tokens."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from lmstudio._auth import parse_api_token
from lmstudio._wire import AuthPacket
from lmstudio.errors import LMStudioValueError
from lmstudio.server._port import ClientContext, ClientLifetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AUTHENTICATION_SECONDS = 10.0
"""As long as lmstudio.js's server waits for the first frame."""
MAX_CREDENTIAL_LENGTH = 256
"""Characters, of the identifier and of the passkey."""

_AUTH_VERSION = 1
_decode_packet = msgspec.json.Decoder(AuthPacket).decode


class AuthenticationRefusedError(Exception):
    """The client is not let in; the message is what it is told."""


def parse_auth_packet(frame: str) -> AuthPacket | None:
    """The packet in *frame*, None if there is none: such frames are ignored, as lmstudio.js does."""
    try:
        return _decode_packet(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


class ApiTokens:
    """The API tokens of a server. Only digests of their secret parts are kept, so nothing can show them."""

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        """Take *tokens* in.

        Raises:
            LMStudioValueError: one has another form, or two have the same identifier. No token is repeated.
        """
        if isinstance(tokens, str):
            raise LMStudioValueError("api_tokens must be a list of API tokens, not one text.")
        self._digests: dict[str, bytes] = {}
        for identifier, passkey in map(parse_api_token, tokens):
            digest = _digest(passkey)
            if self._digests.setdefault(identifier, digest) != digest:
                raise LMStudioValueError(
                    f"Two API tokens begin with 'sk-lm-{identifier}:'; the part before the colon names a client, so "
                    "each needs its own."
                )

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return f"<{len(self)} API tokens>"

    def __contains__(self, identifier: object) -> bool:
        """Whether a token names this client."""
        return identifier in self._digests

    def accept(self, identifier: str, passkey: str) -> bool:
        """Whether this is a token. Takes the same time for an identifier that is not known."""
        is_same = hmac.compare_digest(self._digests.get(identifier, _NOBODYS_DIGEST), _digest(passkey))
        return is_same and identifier in self._digests


class IssuedCredentials:
    """Pairs of identifier and passkey that this server has given out. Each is good until it is revoked.

    Nobody else can take an identifier of that kind, so what connects with one is who it was given to.
    """

    PREFIX: Final = "plugin:"

    def __init__(self, owner: ApiTokens | None = None) -> None:
        """*owner*: the tokens of who has started this server."""
        self.owner: ApiTokens = owner or ApiTokens()
        self._digests: dict[str, bytes] = {}
        self._listeners: list[Callable[[str], None]] = []

    def issue(self, name: str) -> tuple[str, str]:
        """A new pair, for what is called *name*."""
        identifier, passkey = f"{self.PREFIX}{name}:{secrets.token_hex(8)}", secrets.token_urlsafe(24)
        self._digests[identifier] = _digest(passkey)
        return identifier, passkey

    def revoke(self, identifier: str) -> None:
        """Let nobody in with this pair any more, and end the connections of those who came in with it."""
        del self._digests[identifier]
        for listener in self._listeners:
            listener(identifier)

    def on_revoked(self, listener: Callable[[str], None]) -> None:
        """Call *listener* with each identifier that is revoked."""
        self._listeners.append(listener)

    def accept(self, identifier: str, passkey: str) -> bool:
        """Whether this pair is good. Takes the same time for an identifier that is not known."""
        is_same = hmac.compare_digest(self._digests.get(identifier, _NOBODYS_DIGEST), _digest(passkey))
        return is_same and identifier in self._digests


class _Client:
    """One client identifier in use."""

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.connections = 0
        self.lifetime = ClientLifetime()


class Authenticator:
    """Decides who may connect, and remembers who is connected.

    Without *api_tokens* everybody is let in, and the first connection of an identifier fixes its passkey until its last
    connection ends. With them, only their holders are. Those who bring *issued* credentials are let in either way,
    and so is the owner.
    """

    def __init__(self, api_tokens: ApiTokens | None = None, issued: IssuedCredentials | None = None) -> None:
        self._api_tokens = api_tokens or ApiTokens()
        self._issued = issued or IssuedCredentials()
        self._issued.on_revoked(self._hang_up)
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
        is_issued = identifier.startswith(IssuedCredentials.PREFIX)
        is_owner = self._issued.owner.accept(identifier, passkey)
        if is_issued:
            if not self._issued.accept(identifier, passkey):
                raise AuthenticationRefusedError(
                    f"Identifiers that begin with '{IssuedCredentials.PREFIX}' are those of registered plugins, and "
                    "these are not the credentials of one; the plugin may have been registered anew"
                )
        elif self._api_tokens and not is_owner and not self._api_tokens.accept(identifier, passkey):
            what = "none was given" if identifier.startswith("guest:") else "the one given is not valid"
            raise AuthenticationRefusedError(f"This server requires an API token, and {what}")
        elif identifier in self._issued.owner and not is_owner:
            raise AuthenticationRefusedError(
                "This identifier is that of the owner of this server, and the passkey is not"
            )
        digest = _digest(passkey)
        client = self._clients.setdefault(identifier, _Client(digest))
        if not hmac.compare_digest(client.digest, digest):
            # The words of lmstudio.js's server.
            raise AuthenticationRefusedError(
                f'Failed to validate client: Invalid client passkey for client "{identifier}"'
            )
        client.connections += 1
        is_privileged = is_owner or (bool(self._api_tokens) and not is_issued)
        return ClientContext(identifier, is_privileged, client.lifetime)

    def release(self, context: ClientContext) -> None:
        """One connection of this client has ended; after the last one its identifier is free again."""
        client = self._clients[context.client_identifier]
        client.connections -= 1
        if client.connections == 0:
            del self._clients[context.client_identifier]
            client.lifetime.end()

    def _hang_up(self, identifier: str) -> None:
        if identifier in self._clients:
            self._clients[identifier].lifetime.hang_up()


def _digest(passkey: str) -> bytes:
    # Passkeys are random, so no salt and no slow function are needed. Comparing digests takes a time that depends on
    # neither the length of a secret nor on where two differ.
    return hashlib.sha256(passkey.encode()).digest()


_NOBODYS_DIGEST = os.urandom(32)
