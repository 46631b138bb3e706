"""A server with a catalogue of one file that can be downloaded, without a network in between."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from native_client import CHAT, OpenChannel, Session, Stage, staged
from patience import PATIENCE_SECONDS

from lmstudio._endpoints.repository import DOWNLOAD_MODEL
from lmstudio.server.models import EMBEDDING_MODEL_FILE
from lmstudio.server.repository.listing import DownloadCatalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from file_host import FileHost

CONTENT = EMBEDDING_MODEL_FILE.read_bytes()
KEY = "text-embedding-pebble"
NAME = "pebble-embed-0.8m-q8_0.gguf"
IDENTIFIER = f"maker/pebble-GGUF/{NAME}"
CANCEL = {"type": "cancel"}


@asynccontextmanager
async def repository(folder: Path | None, source: Path | str, **settings: Any) -> AsyncIterator[tuple[Stage, Session]]:
    catalog = DownloadCatalog(source)
    async with staged(models=[CHAT], download_catalog=catalog, models_folder=folder, **settings) as stage:
        session = Session(stage.core, "repository")
        try:
            yield stage, session
        finally:
            await session.hang_up()


def write_catalog(folder: Path, *files: dict[str, Any]) -> Path:
    path = folder / "catalog.json"
    path.write_text(json.dumps({"models": [{"owner": "maker", "name": "pebble-GGUF", "files": files}]}))
    return path


def hosted(folder: Path, host: FileHost, **members: Any) -> Path:
    """A catalogue with one file of *host*."""
    return write_catalog(folder, {"url": f"{host.url}/model", "name": NAME, "size": len(CONTENT), **members})


def download(session: Session, identifier: str = IDENTIFIER) -> OpenChannel:
    return session.open(DOWNLOAD_MODEL, {"downloadIdentifier": identifier})


async def happens(event: Any) -> None:
    """Wait for a threading event."""
    assert await asyncio.to_thread(event.wait, PATIENCE_SECONDS)


def left_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
