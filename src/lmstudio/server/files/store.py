"""Where the files of clients are kept, each client's own, until it disconnects."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lmstudio.server.errors import RequestError
from lmstudio.server.files.threads import in_thread
from lmstudio.server.files.types import StoredType, stored_type

if TYPE_CHECKING:
    from lmstudio._sdk_models import FileType
    from lmstudio.server._port import ClientContext
    from lmstudio.server.files.parsing import Document
    from lmstudio.server.files.retrieval import Index

__all__ = ["FileLimits", "FileStore", "StoredFile"]

_SAFE_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,16}")
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class FileLimits:
    """What one client may keep here."""

    max_file_bytes: int = 128 * _MIB
    max_client_bytes: int = 1024 * _MIB


@dataclass(eq=False)
class StoredFile:
    """A file of a client."""

    identifier: str
    name: str
    """As the client calls it."""
    type: StoredType
    size_bytes: int
    path: Path | None
    """None for a file that a chat carries inside its handle."""
    inline: bytes = b""
    document: Document | None = None
    """Its text, once it was read."""
    index: Index | None = None
    """Its embeddings of the last search."""

    @property
    def file_type(self) -> FileType:
        """Its type in the words of the protocol."""
        return self.type.file_type

    def read(self) -> bytes:
        """The content. Blocks."""
        return self.inline if self.path is None else self.path.read_bytes()


@dataclass(eq=False)
class _ClientFiles:
    folder: Path
    files: dict[str, StoredFile] = field(default_factory=dict)
    size_bytes: int = 0


class FileStore:
    """The files of all clients. Belongs to one event loop; what takes long is done in threads."""

    def __init__(self, limits: FileLimits | None = None) -> None:
        self.limits: FileLimits = limits or FileLimits()
        self._root: Path | None = None
        self._clients: dict[str, _ClientFiles] = {}

    @property
    def root(self) -> Path | None:
        """The folder that holds all files; None while there are none."""
        return self._root

    async def add(self, context: ClientContext, name: str, content_base64: str) -> StoredFile:
        """Keep a file until the client disconnects.

        Raises:
            RequestError: not base64, or too large.
        """
        size = len(content_base64) * 3 // 4
        if size > self.limits.max_file_bytes + 2:  # padding
            raise _too_large(name, size, self.limits.max_file_bytes, "a file")
        client = self._client(context)
        if client.size_bytes + size > self.limits.max_client_bytes:
            raise _too_large(name, client.size_bytes + size, self.limits.max_client_bytes, "all files of a client")
        client.size_bytes += size
        try:
            file = await in_thread(partial(_write, client.folder, name, content_base64))
        except BaseException:
            client.size_bytes -= size
            raise
        client.files[file.identifier] = file
        return file

    def _client(self, context: ClientContext) -> _ClientFiles:
        identifier = context.client_identifier
        client = self._clients.get(identifier)
        if client is None:
            if self._root is None:
                self._root = Path(tempfile.mkdtemp(prefix="lmstudio-files-"))
            folder = Path(tempfile.mkdtemp(dir=self._root))
            client = self._clients[identifier] = _ClientFiles(folder)
            context.lifetime.at_end(lambda: self._forget(identifier))
        return client

    def _forget(self, identifier: str) -> None:
        client = self._clients.pop(identifier, None)
        if client is not None:
            shutil.rmtree(client.folder, ignore_errors=True)

    def find(self, context: ClientContext, identifier: str, name: str | None = None) -> StoredFile:
        """The client's file with this identifier; *name* is for one that is carried inside it.

        Raises:
            RequestError: there is none.
        """
        kind, separator, rest = identifier.partition(":")
        if separator and kind == "base64":
            return _inline_file(identifier, name or "file", rest)
        client = self._clients.get(context.client_identifier)
        key = rest if separator and kind == "local" else identifier
        file = None if client is None else client.files.get(key)
        if file is None:
            raise RequestError(
                f"There is no file {identifier[:100]!r} of this client.",
                suggestion="Upload it again: files are deleted when the client that uploaded them disconnects.",
            )
        return file

    def close(self) -> None:
        """Delete all files."""
        self._clients.clear()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None


def _write(folder: Path, name: str, content_base64: str) -> StoredFile:
    content = _decode(name, content_base64)
    file_type = stored_type(name, content)
    suffix = Path(name).suffix
    # Not the client's name: two files may have the same, and no file system takes all names.
    identifier = secrets.token_hex(16) + (suffix if _SAFE_SUFFIX.fullmatch(suffix) else "")
    path = folder / identifier
    path.write_bytes(content)
    return StoredFile(identifier, name, file_type, len(content), path)


def _inline_file(identifier: str, name: str, content_base64: str) -> StoredFile:
    content = _decode(name, content_base64)
    return StoredFile(identifier, name, stored_type(name, content), len(content), None, content)


def _decode(name: str, content_base64: str) -> bytes:
    try:
        return base64.b64decode(content_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"The content of {name[:100]!r} is not valid base64: {error}.",
            suggestion="Send plain base64, without line breaks and without 'data:' in front.",
        ) from None


def _too_large(name: str, size: int, limit: int, what: str) -> RequestError:
    return RequestError(
        f"The file {name[:100]!r} cannot be uploaded: {size} bytes, and {what} may have {limit} bytes.",
        suggestion="Send a smaller file, or only the part that is needed.",
    )
