"""Bytes from a file or an http address."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping

    import httpx

    from lmstudio.server.repository.listing import ListedFile, Source

__all__ = ["Part", "fetch", "in_thread", "read_text"]

T = TypeVar("T")

_CHUNK_BYTES: Final = 2**20
_MAX_TEXT_BYTES: Final = 16 * 2**20
_REST: Final = 206
_NO_SUCH_RANGE: Final = 416
_CONNECT_SECONDS: Final = 15.0
_SILENCE_SECONDS: Final = 30.0
"""Clients wait a minute for a sign of life."""


async def in_thread(work: Callable[[], T]) -> T:
    """Run *work* in a thread. A cancellation takes effect when it is over: nothing is used behind its back."""
    try:
        running = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:  # the interpreter is ending, and starts no threads any more
        return work()
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):  # who asks more than once has to wait all the same
                await asyncio.wait([running])
        raise


@dataclass
class Part:
    """A file that may be there in part, because an earlier download was interrupted."""

    target: Path
    version: str | None = None
    """What the source has said about itself; as long as that is the same, the beginning is still right."""


async def fetch(
    file: ListedFile, part: Part, on_bytes: Callable[[int], None], on_found: Callable[[int], None] = lambda _: None
) -> None:
    """Write the rest of *file*, or all of it, to the target of *part*.

    *on_found* hears how many bytes were there, *on_bytes* how many have come, chunk by chunk.

    Raises:
        RequestError: it cannot be had, or is not what the catalogue says; in that case the target is gone.
        OSError: it cannot be written.
    """
    found = await in_thread(partial(_found, file, part))
    digest = hashlib.sha256() if file.sha256 else None
    if found and digest is not None:
        await in_thread(partial(_read_into, digest, part.target))
    if 0 < found == file.size_bytes:
        on_found(found)
        received = found
    else:
        async with _opened(file.source, part, found) as (start, chunks):
            if start == 0 and digest is not None:
                digest = hashlib.sha256()
            on_found(start)
            received = start
            with open(part.target, "ab" if start else "wb") as output:  # noqa: ASYNC230 - a file on a local disk
                async for chunk in chunks:
                    received += len(chunk)
                    if received > file.size_bytes:
                        break
                    await in_thread(partial(_write, output, chunk, digest))
                    on_bytes(len(chunk))
    problem = None
    if received != file.size_bytes:
        size = f"{received} bytes" if received < file.size_bytes else "more bytes"
        problem = f"it has {size} instead of {file.size_bytes}"
    elif digest is not None and digest.hexdigest() != file.sha256:
        problem = f"its SHA-256 is {digest.hexdigest()}"
    if problem is not None:
        part.target.unlink(missing_ok=True)
        raise RequestError(
            f"{file.source} is not the file of the catalogue: {problem}.",
            suggestion="Try again; if that does not help, the catalogue is wrong.",
        )


def _found(file: ListedFile, part: Part) -> int:
    """How many bytes are there to go on with."""
    if file.sha256 is None and part.version is None:
        return 0  # nobody could tell whether the rest belongs to them
    try:
        size = part.target.stat().st_size
    except FileNotFoundError:
        return 0
    return size if size <= file.size_bytes else 0


def _read_into(digest: hashlib._Hash, target: Path) -> None:
    with open(target, "rb") as beginning:
        while chunk := beginning.read(_CHUNK_BYTES):
            digest.update(chunk)


def _write(output: BinaryIO, chunk: bytes, digest: hashlib._Hash | None) -> None:
    output.write(chunk)
    if digest is not None:
        digest.update(chunk)


@asynccontextmanager
async def _opened(source: Source, part: Part, found: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
    """The bytes of *source*, and which is the first of them: that at *found*, else all are sent once more."""
    if isinstance(source, Path):
        with _reading(source):
            file = open(source, "rb")  # noqa: ASYNC230, SIM115 - only opened here, read in a thread
        with file:
            version = str(os.fstat(file.fileno()).st_mtime_ns)
            start = found if version == part.version else 0
            part.version = version
            file.seek(start)
            async with aclosing(_read(file, source)) as chunks:
                yield start, chunks
        return
    headers = {"Range": f"bytes={found}-"} if found else {}
    if found and part.version is not None:
        headers["If-Range"] = part.version
    async with _response(source, headers) as response:
        if response.status_code == _NO_SUCH_RANGE:
            part.target.unlink(missing_ok=True)
            raise RequestError(f"Cannot go on with the download of {source}: it has changed.", suggestion="Try again.")
        tag = response.headers.get("ETag", "")
        part.version = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        yield found if response.status_code == _REST else 0, response.aiter_raw()


async def _read(file: BinaryIO, source: Path) -> AsyncGenerator[bytes, None]:
    while True:
        with _reading(source):
            chunk = await in_thread(partial(file.read, _CHUNK_BYTES))
        if not chunk:
            return
        yield chunk


@contextmanager
def _reading(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(f"The catalogue's file {source} cannot be read: {error.strerror or error}.") from error


async def read_text(url: str) -> str:
    """The text at *url*. Raises RequestError if it cannot be had."""
    received = bytearray()
    async with _response(url) as response:
        async for chunk in response.aiter_raw():
            received += chunk
            if len(received) > _MAX_TEXT_BYTES:
                raise RequestError(f"{url} is not a catalogue: it has more than {_MAX_TEXT_BYTES >> 20} MiB.")
    return received.decode(errors="replace")


@asynccontextmanager
async def _response(url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[httpx.Response]:
    """The answer to a request of *url*, its body still to come. *headers* may ask for a part of it.

    Raises:
        RequestError: there is none, or not the one wanted; also while the body is read.
    """
    import httpx

    timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
    try:
        async with (
            httpx.AsyncClient(follow_redirects=True, timeout=timeout, trust_env=not _is_of_this_machine(url)) as client,
            # Compressed on the way, a file would not have its size.
            client.stream("GET", url, headers={"Accept-Encoding": "identity", **(headers or {})}) as response,
        ):
            accepted = (httpx.codes.OK, _REST, _NO_SUCH_RANGE) if headers else (httpx.codes.OK,)
            if response.status_code not in accepted:
                raise RequestError(f"Cannot download {url}: {response.status_code} {response.reason_phrase}.")
            yield response
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            is_connected = not isinstance(error, httpx.ConnectTimeout)
            reason = f"nothing came for {_SILENCE_SECONDS if is_connected else _CONNECT_SECONDS:g} seconds"
        raise RequestError(
            f"Cannot download {url}: {reason}.",
            suggestion="Try again; if that does not help, the address may be wrong.",
        ) from error


def _is_of_this_machine(url: str) -> bool:
    """Whether it is reached without a proxy, whatever the environment says."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
