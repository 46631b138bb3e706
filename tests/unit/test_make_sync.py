"""The generator of the synchronous twins, run as its users run it, on small projects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

GENERATOR = Path(__file__).parents[2] / "tools" / "make_sync.py"

# Something for every substitution that is not about one file only.
SOURCE = '''\
"""The asynchronous surface of a sample."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ._async_io import AsyncBase

__all__ = ["AsyncLLM", "Thing"]


class Thing:
    """The same in both surfaces."""


class AsyncLLM(AsyncBase):
    """A model.

    ::

        async with AsyncLLM() as model:
            print(await model.respond("Hi"))
    """

    async def __aenter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        fragment = await self._run(next_fragment())
        if fragment is None:
            raise StopAsyncIteration
        return fragment

    async def aclose(self) -> None:
        await self._run(close())
'''

TWIN = '''\
# Generated from async_sample.py by tools/make_sync.py. Edit that file instead.
"""The synchronous surface of a sample."""

from __future__ import annotations

from collections.abc import Iterator

from ._sync_io import SyncBase

__all__ = ["LLM", "Thing"]


class Thing:
    """The same in both surfaces."""


class LLM(SyncBase):
    """A model.

    ::

        with LLM() as model:
            print(model.respond("Hi"))
    """

    def __enter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        fragment = self._run(next_fragment())
        if fragment is None:
            raise StopIteration
        return fragment

    def close(self) -> None:
        self._run(close())
'''


class Project:
    """A directory with sources, and the generator to run over it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "src/lmstudio/async_sample.py"
        self.twin = root / "src/lmstudio/sync_sample.py"
        self.write(self.source, SOURCE)

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(GENERATOR), "--root", str(self.root), *arguments]
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    def converted(self, addition: str) -> str:
        """What *addition*, put at the end of the sample, becomes."""
        self.write(self.source, f"{SOURCE}\n\n{dedent(addition)}")
        done = self.run()
        assert done.returncode == 0, done.stderr
        text = self.twin.read_text(encoding="utf-8")
        assert text.startswith(TWIN)
        return text[len(TWIN) :].strip()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_code_and_docstring_examples_are_converted(project: Project) -> None:
    project.run()
    assert project.twin.read_text(encoding="utf-8") == TWIN


def test_async_loops_and_comprehensions_become_plain_ones(project: Project) -> None:
    addition = """
        async def texts(stream):
            async for fragment in stream:
                print(fragment)
            return [fragment async for fragment in stream]
    """
    expected = """
        def texts(stream):
            for fragment in stream:
                print(fragment)
            return [fragment for fragment in stream]
    """
    assert project.converted(addition) == dedent(expected).strip()


def test_line_that_becomes_short_is_laid_out_anew(project: Project) -> None:
    addition = """
        AsyncHandles = (
            AsyncLanguageModelHandle | AsyncEmbeddingModelHandle | AsyncDownloadedHandle
        )
    """
    assert project.converted(addition) == "Handles = LanguageModelHandle | EmbeddingModelHandle | DownloadedHandle"


def test_line_marked_skip_is_left_out(project: Project) -> None:
    addition = """
        FIRST = 1
        SECOND = 2  # sync: skip
        THIRD = 3
    """
    assert project.converted(addition) == "FIRST = 1\nTHIRD = 3"


def test_block_marked_skip_is_left_out_with_its_body(project: Project) -> None:
    addition = '''
        async def only_async() -> None:  # sync: skip
            """Not in the twin."""

            await nothing()


        async def both() -> None:
            await something()
    '''
    assert project.converted(addition) == "def both() -> None:\n    something()"


def test_bracket_opened_on_a_skipped_line_is_left_out_to_its_end(project: Project) -> None:
    addition = """
        async def only_async(  # sync: skip
            first: int,
        ) -> None:
            await nothing(first)


        LAST = 1
    """
    assert project.converted(addition) == "LAST = 1"


def test_marked_line_is_replaced_at_its_own_indentation(project: Project) -> None:
    addition = """
        async def work() -> None:
            async with timeout(1):  # sync: if True:
                await something()
    """
    assert project.converted(addition) == "def work() -> None:\n    if True:\n        something()"


def test_check_accepts_what_was_written(project: Project) -> None:
    project.run()
    assert project.run("--check").returncode == 0


def test_check_shows_how_an_edited_twin_differs(project: Project) -> None:
    project.run()
    project.write(project.twin, TWIN.replace("def close", "def shut"))
    done = project.run("--check")
    assert (done.returncode, "-    def shut" in done.stdout, "+    def close" in done.stdout) == (1, True, True)


def test_check_reports_a_missing_twin_and_writes_nothing(project: Project) -> None:
    done = project.run("--check")
    assert (done.returncode, "sync_sample.py" in done.stdout, project.twin.exists()) == (1, True, False)


def test_check_reports_a_twin_without_source(project: Project) -> None:
    project.run()
    orphan = project.twin.with_name("sync_gone.py")
    project.write(orphan, TWIN.replace("async_sample", "async_gone"))
    done = project.run("--check")
    assert (done.returncode, "sync_gone.py" in done.stdout) == (1, True)


def test_writing_removes_a_twin_without_source(project: Project) -> None:
    orphan = project.twin.with_name("sync_gone.py")
    project.write(orphan, TWIN.replace("async_sample", "async_gone"))
    project.run()
    assert not orphan.exists()


def test_file_without_the_first_line_of_a_twin_is_left_alone(project: Project) -> None:
    own = project.twin.with_name("sync_by_hand.py")
    project.write(own, '"""Written by hand."""\n')
    assert project.run().returncode == 0
    assert own.exists()


def test_unchanged_twin_is_not_written_again(project: Project) -> None:
    project.run()
    assert project.run().stdout == ""


def test_substitution_that_matches_nothing_is_an_error(project: Project) -> None:
    project.write(project.source, SOURCE.replace("aclose", "end"))
    done = project.run()
    assert (done.returncode, "aclose" in done.stderr, project.twin.exists()) == (2, True, False)


def test_source_that_does_not_survive_the_conversion_is_an_error(project: Project) -> None:
    project.write(project.source, f"{SOURCE}\n\nasync def broken() -> None:\n    await nothing()  # sync: skip\n")
    done = project.run()
    assert (done.returncode, "sync_sample.py" in done.stderr) == (2, True)


def test_test_of_the_asynchronous_surface_becomes_one_of_the_other(project: Project) -> None:
    test = project.root / "tests/surface/async/test_sample.py"
    text = """\
        async def test_reply_arrives() -> None:
            async with AsyncClient() as client:
                stream = aiter(await client.reply())
                assert await anext(stream) == "Hi"
    """
    expected = """\
        # Generated from ../async/test_sample.py by tools/make_sync.py. Edit that file instead.
        def test_reply_arrives() -> None:
            with Client() as client:
                stream = iter(client.reply())
                assert next(stream) == "Hi"
    """
    project.write(test, dedent(text))
    project.run()
    twin = project.root / "tests/surface/sync/test_sample.py"
    assert twin.read_text(encoding="utf-8") == dedent(expected)
