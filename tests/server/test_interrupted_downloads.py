"""Downloads that go on where an earlier one was interrupted."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from download_stage import (
    CANCEL,
    CONTENT,
    IDENTIFIER,
    KEY,
    NAME,
    download,
    happens,
    hosted,
    left_in,
    repository,
    write_catalog,
)
from file_host import FileHost
from native_client import CHAT, Refused, Session, run
from patience import PATIENCE_SECONDS

from lmstudio.server.errors import RequestError
from lmstudio.server.repository import fetching
from lmstudio.server.repository.listing import ListedFile

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The models folder, not there yet."""
    return tmp_path / "models"


SHA256 = hashlib.sha256(CONTENT).hexdigest()


async def interrupt(host: FileHost, session: Session) -> None:
    """Begin a download, and cancel it when a part is there."""
    host.stop_after = len(CONTENT) // 2
    channel = download(session)
    while (packet := await channel.next() or {})["update"]["downloadedBytes"] == 0:
        assert packet["type"] == "downloadProgress"
    channel.send(CANCEL)
    with pytest.raises(Refused, match="was cancelled"):
        await channel.rest()
    await happens(host.hung_up)
    host.stop_after = None


@pytest.mark.parametrize(
    ("members", "before", "after", "is_asked"),
    [
        ({}, '"1"', '"1"', True),
        ({}, '"1"', '"2"', True),
        ({}, 'W/"1"', 'W/"1"', False),
        ({}, None, None, False),
        ({"sha256": SHA256}, None, '"2"', True),
        ({"sha256": SHA256}, '"1"', None, True),
    ],
    ids=["same", "changed", "weak", "unknown", "sha256", "no ranges"],
)
def test_cancelled_download_goes_on_where_it_was(
    folder: Path, tmp_path: Path, members: dict[str, str], before: str | None, after: str | None, is_asked: bool
) -> None:
    with FileHost(model=CONTENT) as host:
        source = hosted(tmp_path, host, **members)

        async def test() -> None:
            async with repository(folder, source) as (_, session):
                host.etag = before
                await interrupt(host, session)
                host.etag = after
                packets = await download(session).rest()
                assert packets[-1]["defaultIdentifier"] == KEY
                assert packets[0]["update"]["downloadedBytes"] == 0
                assert left_in(folder) == [IDENTIFIER]

        run(test)
        assert (folder / IDENTIFIER).read_bytes() == CONTENT
        first, second = host.ranges
        assert (first, second is not None) == (None, is_asked)


def test_a_download_that_comes_at_once_waits_for_the_end_of_the_cancelled_one(folder: Path, tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        host.etag, host.stop_after = '"1"', len(CONTENT) // 2
        source = hosted(tmp_path, host)

        async def test() -> None:
            async with repository(folder, source) as (stage, _):
                some_came = asyncio.Event()

                def hear(event: Any) -> None:
                    if event.update.downloaded_bytes:
                        some_came.set()

                option = await stage.core.download_catalog.option(IDENTIFIER)
                ticket = stage.core.downloads.start(option).join(hear)
                await asyncio.wait_for(some_came.wait(), PATIENCE_SECONDS)
                host.stop_after = None
                ticket.cancel()
                model = await stage.core.downloads.start(option).join(lambda _: None).result()
                assert model is not None
                assert model.path == IDENTIFIER

        run(test)
        assert host.ranges[0] is None
        assert host.ranges[1] is not None
    assert left_in(folder) == [IDENTIFIER]


def test_the_beginning_of_a_download_stays_until_the_server_ends(folder: Path, tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        host.etag = '"1"'
        source = hosted(tmp_path, host)

        async def test() -> None:
            async with repository(folder, source) as (stage, session):
                await interrupt(host, session)
                assert len(left_in(folder)) == 1
                assert [model.model_key for model in stage.core.catalog.models] == [CHAT.model_key]

        run(test)
    assert left_in(folder) == []


def test_beginnings_make_room_for_another_download(folder: Path, tmp_path: Path) -> None:
    other = "pebble-embed-0.8m-q4_0.gguf"
    with FileHost(model=CONTENT) as host:
        host.etag = '"1"'
        files = [{"url": f"{host.url}/model", "name": name, "size": len(CONTENT)} for name in (NAME, other)]

        def free(_: Path) -> int:
            return len(CONTENT) - sum((folder / name).stat().st_size for name in left_in(folder))

        async def test() -> None:
            async with repository(folder, write_catalog(tmp_path, *files), free_disk=free) as (_, session):
                await interrupt(host, session)
                await download(session, f"maker/pebble-GGUF/{other}").rest()

        run(test)
    assert left_in(folder) == [f"maker/pebble-GGUF/{other}"]


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_copy_goes_on_where_it_was(tmp_path: Path, is_changed: bool) -> None:
    source, target = tmp_path / NAME, tmp_path / "target"
    source.write_bytes(CONTENT)
    target.write_bytes(CONTENT[:1000])
    came: list[int] = []
    found: list[int] = []
    version = "0" if is_changed else str(source.stat().st_mtime_ns)
    part = fetching.Part(target, version)
    asyncio.run(fetching.fetch(ListedFile(NAME, source, len(CONTENT), SHA256), part, came.append, found.append))
    assert target.read_bytes() == CONTENT
    assert (found, sum(came)) == (([0], len(CONTENT)) if is_changed else ([1000], len(CONTENT) - 1000))
    asyncio.run(fetching.fetch(ListedFile(NAME, source, len(CONTENT), SHA256), part, came.append, found.append))
    assert found[-1] == len(CONTENT)


def test_a_file_that_has_shrunk_is_fetched_anew(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(CONTENT[:1000])
    part = fetching.Part(target)
    with FileHost(model=CONTENT[:1000]) as host:
        host.etag = '"1"'
        file = ListedFile(NAME, f"{host.url}/model", len(CONTENT), SHA256)
        with pytest.raises(RequestError, match="it has changed"):
            asyncio.run(fetching.fetch(file, part, lambda _: None))
    assert not target.exists()


def test_work_on_the_disk_is_over_when_a_download_is_however_often_it_is_cancelled() -> None:
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        over.set()

    async def main() -> None:
        task = asyncio.ensure_future(fetching.in_thread(work))
        await happens(begun)
        for _ in range(3):
            task.cancel()
            for _ in range(3):
                await asyncio.sleep(0)
        was_done = task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (was_done, over.is_set()) == (False, True)

    run(main)
