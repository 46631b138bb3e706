"""Bytes from a file or an http address."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    import httpx

    from lmstudio.server.repository.listing import ListedFile, Source

__all__ = ["fetch", "in_thread", "read_text"]

T = TypeVar("T")

_CHUNK_BYTES: Final = 2**20
_MAX_TEXT_BYTES: Final = 16 * 2**20
_CONNECT_SECONDS: Final = 15.0
_SILENCE_SECONDS: Final = 30.0
"""Clients wait a minute for a sign of life."""


async def in_thread(work: Callable[[], T]) -> T:
    """Run *work* in a thread. A cancellation takes effect when it is over: nothing is used behind its back."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def fetch(file: ListedFile, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Write *file* to *target*, which must not exist; *on_bytes* hears how many bytes have come, chunk by chunk.

    Raises:
        RequestError: it cannot be had, or is not what the catalogue says.
        OSError: it cannot be written.
    """
    digest = hashlib.sha256() if file.sha256 else None
    received = 0
    with open(target, "xb") as output:  # noqa: ASYNC230 - a new file on a local disk
        async with aclosing(_chunks(file.source)) as chunks:
            async for chunk in chunks:
                received += len(chunk)
                if received > file.size_bytes:
                    break
                await in_thread(partial(_write, output, chunk, digest))
                on_bytes(len(chunk))
    if received != file.size_bytes:
        found = f"{received} bytes" if received < file.size_bytes else "more bytes"
        raise RequestError(
            f"{file.source} is not the file of the catalogue: it has {found} instead of {file.size_bytes}.",
            suggestion="Try again; if that does not help, the catalogue is wrong.",
        )
    if digest is not None and digest.hexdigest() != file.sha256:
        raise RequestError(
            f"{file.source} is not the file of the catalogue: its SHA-256 is {digest.hexdigest()}.",
            suggestion="Try again; if that does not help, the catalogue is wrong.",
        )


def _write(output: BinaryIO, chunk: bytes, digest: hashlib._Hash | None) -> None:
    output.write(chunk)
    if digest is not None:
        digest.update(chunk)


async def _chunks(source: Source) -> AsyncGenerator[bytes, None]:
    if isinstance(source, Path):
        try:
            with open(source, "rb") as file:  # noqa: ASYNC230 - only opened here, read in a thread
                while chunk := await in_thread(partial(file.read, _CHUNK_BYTES)):
                    yield chunk
        except OSError as error:
            raise RequestError(f"The catalogue's file {source} cannot be read: {error.strerror or error}.") from error
        return
    async with _response(source) as response:
        async for chunk in response.aiter_raw():
            yield chunk


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
async def _response(url: str) -> AsyncIterator[httpx.Response]:
    """The answer to a request of *url*, its body still to come.

    Raises:
        RequestError: there is none, or not the one wanted; also while the body is read.
    """
    import httpx

    timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
    try:
        async with (
            httpx.AsyncClient(follow_redirects=True, timeout=timeout, trust_env=not _is_of_this_machine(url)) as client,
            # Compressed on the way, a file would not have its size.
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != httpx.codes.OK:
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
