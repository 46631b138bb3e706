"""How many downloads the server remembers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lmstudio.server.catalog import Catalog
from lmstudio.server.instances import Clock
from lmstudio.server.repository.downloads import Downloads
from lmstudio.server.repository.jobs import DownloadJobs
from lmstudio.server.repository.listing import DownloadOption, ListedFile

if TYPE_CHECKING:
    from pathlib import Path


def option(name: str, source: Path | str = "http://127.0.0.1:9/nothing") -> DownloadOption:
    return DownloadOption(f"maker/{name}", (ListedFile(f"{name}.gguf", source, 10),))


def test_jobs_that_are_over_make_room(tmp_path: Path) -> None:
    async def main() -> None:
        downloads = Downloads(Catalog(), tmp_path, Clock())
        jobs = DownloadJobs(downloads, Clock(), max_jobs=2)
        first = jobs.start(option("first", tmp_path / "missing"))
        await asyncio.wait(all_but_this())
        await asyncio.sleep(0)
        assert first.state == "failed"
        second, third = jobs.start(option("second")), jobs.start(option("third"))
        assert jobs.all() == [second, third]
        assert jobs.get(first.id) is None
        fourth = jobs.start(option("fourth"))  # what is in progress stays, however many there are
        assert jobs.all() == [second, third, fourth]
        await downloads.aclose()

    asyncio.run(main())


def all_but_this() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}
