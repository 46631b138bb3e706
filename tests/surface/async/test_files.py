"""Images and documents: uploaded, shown to models, parsed and searched."""

from __future__ import annotations

import base64
import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from patience import PATIENCE_SECONDS
from PIL import Image
from sample_files import GIF, JPEG, PNG, docx, pdf

import lmstudio as lms
from lmstudio.server import Gate, ScriptedEngine, Server
from lmstudio.server.engine.scripted import ScriptedModel, scripted_models
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from collections.abc import Iterator

    from surface.fault_proxy import FaultProxy

QUESTION = "What is the capital of Norway?"
FACTS = "Rome is the capital of Italy.\n\nOslo is the capital of Norway.\n\nParis is the capital of France.\n"
SMALL = {"chunk_size": 40, "chunk_overlap": 0}


def uploads(proxy: FaultProxy) -> list[Any]:
    """What was uploaded."""
    return [message for message in proxy.messages("rpcCall") if message["endpoint"] == "uploadFileBase64"]


def content(path: str) -> bytes:
    """What is at *path*."""
    return Path(path).read_bytes()


# Images --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def seeing_server(engine: ScriptedEngine) -> Iterator[Server]:
    """A running server whose model understands images."""
    with Server([replace(scripted_models()[0], vision=True)], engine=engine) as server:
        yield server


async def test_image_is_seen_by_a_vision_model(seeing_server: Server, engine: ScriptedEngine, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    async with lms.AsyncClient(seeing_server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        chat = lms.Chat()
        first = await client.prepare_image(str(tmp_path / "cat.png"))
        second = await client.files.prepare_image(JPEG, "dog.jpg")
        chat.add_user_message("What are these?", images=[first, second])
        await model.respond(chat)
    assert first == lms.FileHandle(name="cat.png", identifier=first.identifier, size_bytes=len(PNG), file_type="image")
    assert [(image.name, image.content) for image in engine.chats[-1].images] == [("cat.png", PNG), ("dog.jpg", JPEG)]


async def test_every_kind_of_image_source_is_taken(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    async with lms.AsyncClient(server.api_host) as client:
        with path.open("rb") as open_file:
            sources: list[Any] = [path, str(path), PNG, bytearray(PNG), memoryview(PNG), io.BytesIO(PNG), open_file]
            sources.append("data:image/png;base64," + base64.b64encode(PNG).decode())
            handles = [await client.prepare_image(source) for source in sources]
        assert {handle.identifier for handle in handles} == {handles[0].identifier}
        encoded = base64.b64encode(PNG).decode()
        assert (await client.files.prepare_image_base64("cat.png", encoded)).identifier == handles[0].identifier
        picture = await client.prepare_image(Image.new("RGB", (3, 2)))
        assert (picture.name, picture.file_type) == ("image.png", "image")
        converted = await client.prepare_image(GIF, "cat.gif")
        assert (converted.name, client.files.is_image(converted)) == ("cat.png", True)


async def test_bad_file_is_refused_without_a_connection(proxy: FaultProxy, tmp_path: Path) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioFileNotFoundError, match="There is no file"):
            await client.prepare_image(tmp_path / "gone.png")
        with pytest.raises(lms.LMStudioValueError, match="a PDF document, not an image"):
            await client.prepare_image(pdf("x"))
        with pytest.raises(lms.LMStudioValueError, match="is not valid base64"):
            await client.files.prepare_file_base64("a.txt", "!")
        assert not client.files.connected
    assert proxy.messages("rpcCall") == []


# Uploads -------------------------------------------------------------------------------------------------------------


async def test_same_file_is_uploaded_once_however_many_ask(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        await client.files.connect()
        proxy.hold()
        calls = [background.start(lambda: client.prepare_image(PNG, "cat.png")) for _ in range(10)]
        proxy.release()
        handles = [await call.result() for call in calls]
        assert handles == [handles[0]] * 10
        assert (await client.prepare_image(PNG, "dog.png")).name == "dog.png"
    assert len(uploads(proxy)) == 1


async def test_each_client_has_files_of_its_own(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as one, lms.AsyncClient(proxy.api_host) as other:
        mine, theirs = await one.prepare_file(b"words"), await other.prepare_file(b"words")
        assert mine.identifier != theirs.identifier
        with pytest.raises(lms.LMStudioServerError, match="There is no file"):
            await other.files.get_file_path(mine)


async def test_file_is_uploaded_again_after_the_connection_was_lost(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        first = await client.prepare_file(b"words", "a.txt")
        path = Path(await client.files.get_file_path(first))
        proxy.close_connections()
        await background.until(lambda: not client.files.connected)
        await background.until(lambda: not path.exists())
        second = await client.prepare_file(b"words", "a.txt")
        assert content(await client.files.get_file_path(second)) == b"words"
    assert len(uploads(proxy)) == 2


async def test_files_are_deleted_when_the_client_goes(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client, AsyncBackground() as background:
        path = Path(await client.files.get_file_path(await client.prepare_file(b"words")))
        assert content(str(path)) == b"words"
        await client.files.disconnect()
        await background.until(lambda: not path.exists())


async def test_large_file_arrives_complete(server: Server) -> None:
    large = bytes(range(256)) * (12 * 1024) + b"the end"
    async with lms.AsyncClient(server.api_host) as client:
        handle = await client.prepare_file(large)
        assert handle.size_bytes == len(large)
        assert content(await client.files.get_file_path(handle)) == large


async def test_default_client_prepares_files(server: Server) -> None:  # sync: skip
    lms.configure_default_client(server.api_host)
    try:
        image = await anyio.to_thread.run_sync(lms.prepare_image, PNG, "cat.png")
        text = await anyio.to_thread.run_sync(lms.prepare_file, b"words")
    finally:
        await anyio.to_thread.run_sync(lms.close_default_client)
    assert (image.file_type, text.file_type) == ("image", "text/plain")


async def test_loop_goes_on_while_a_file_is_read(server: Server) -> None:  # sync: skip
    reading, go_on = threading.Event(), threading.Event()

    class SlowFile:
        def read(self) -> bytes:
            reading.set()
            # Ends only if the loop can run something meanwhile.
            assert go_on.wait(PATIENCE_SECONDS)
            return PNG

    async with lms.AsyncClient(server.api_host) as client, AsyncBackground() as background:
        file: Any = SlowFile()  # reads, and no more
        preparing = background.start(lambda: client.prepare_image(file))
        assert await background.wait(lambda: reading.wait(PATIENCE_SECONDS))
        go_on.set()
        assert (await preparing.result()).file_type == "image"


# Documents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "library"),
    [(b"Some words.", "plain-text"), (pdf("Some words."), "pypdf"), (docx("Some words."), "docx")],
)
async def test_document_is_parsed(server: Server, document: bytes, library: str) -> None:
    progress: list[float] = []
    parsers: list[lms.DocumentParsingLibraryIdentifier] = []
    async with lms.AsyncClient(server.api_host) as client:
        file = await client.prepare_file(document)
        parser = await client.files.get_document_parsing_library(file)
        result = await client.files.parse_document(
            file, parser_id=parser, on_parser_loaded=parsers.append, on_progress=progress.append
        )
    assert result.content == "Some words."
    assert result.parser.library == library
    assert [result.parser, *parsers] == [parser] * 2
    assert (progress[0], progress[-1]) == (0.0, 1.0)


async def test_document_in_a_chat_is_read_by_the_model(server: Server, engine: ScriptedEngine) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        chat = lms.Chat()
        chat.add_user_message(["What is the code?", await client.prepare_file(b"The code is 7.", "note.md")])
        await model.respond(chat)
    assert "[note.md]\nThe code is 7.\n" in engine.requests[-1].prompt


# Retrieval -----------------------------------------------------------------------------------------------------------


async def test_search_finds_the_closest_piece(real_server: Server) -> None:
    events: list[str] = []
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.embedding.load_new_instance("pebble-embed-0.8m")
        facts = await client.prepare_file(FACTS.encode(), "facts.md")
        paged = await client.prepare_file(pdf("Bread is made of flour.", "Cats like fish."), "other.pdf")
        result = await client.files.retrieve(
            QUESTION,
            [paged, facts],
            embedding_model=model,
            chunking_method=SMALL,
            limit=4,
            on_file_process_list=lambda files: events.append(f"{len(files)} files"),
            on_file_processing_start=lambda file, number, files: events.append(f"{number + 1}. {file.name}"),
            on_searching_end=lambda: events.append("end"),
        )
        again = await client.files.retrieve(
            "Do cats like fish?", [paged, facts], embedding_model=model.identifier, limit=1
        )
        await model.unload()
    best = result.entries[0]
    assert (best.content, best.source.name, best.line_number) == ("Oslo is the capital of Norway.", "facts.md", 3)
    assert [entry.score for entry in result.entries] == sorted((e.score for e in result.entries), reverse=True)
    assert len(result.entries) == 4
    assert events == ["2 files", "1. other.pdf", "2. facts.md", "end"]
    assert (again.entries[0].content, again.entries[0].page_number) == ("Cats like fish.", 2)


async def test_search_takes_the_model_that_is_loaded(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        file = await client.prepare_file(b"words")
        with pytest.raises(lms.LMStudioModelNotFoundError, match="No embedding model is loaded"):
            await client.files.retrieve("what?", [file])
        with pytest.raises(lms.LMStudioModelNotFoundError, match="my embedder"):
            await client.files.retrieve("what?", [file], embedding_model="my embedder")
        await client.embedding.load_new_instance("scripted-embed", "my embedder")
        for model in (None, "my embedder"):
            result = await client.files.retrieve("what?", [file], embedding_model=model)
            assert [entry.content for entry in result.entries] == ["words"]


async def test_failing_callback_does_not_end_the_search(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    async with lms.AsyncClient(server.api_host) as client:
        await client.embedding.model("scripted-embed")
        file = await client.prepare_file(b"words")
        assert (await client.files.retrieve("what?", [file], on_searching_start=fail)).entries
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["lmstudio.callbacks"]


@pytest.fixture
def never_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedding a text never ends."""
    monkeypatch.setattr(ScriptedModel, "embed", lambda _model, _text: Gate().pass_through())


async def test_abort_stops_the_search_on_the_server(proxy: FaultProxy, never_embedded: None) -> None:
    signal = lms.AbortSignal()
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        await client.embedding.model("scripted-embed")
        file = await client.prepare_file(b"words")
        with pytest.raises(lms.LMStudioCancelledError, match="Aborted: no time"):
            await client.files.retrieve(
                "what?", [file], signal=signal, on_file_processing_start=lambda *_: signal.abort("no time")
            )
        assert await background.wait(lambda: proxy.wait_for_packet("stop"))


async def test_coroutine_callbacks_are_awaited(server: Server) -> None:  # sync: skip
    seen: list[object] = []

    async def note(*values: object) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(values)

    async with lms.AsyncClient(server.api_host) as client:
        file = await client.prepare_file(b"words")
        await client.files.parse_document(file, on_progress=note)
    assert seen == [(0.0,), (1.0,)]


async def test_cancelled_task_does_not_wait_for_a_slow_file(server: Server) -> None:  # sync: skip
    reading, go_on = threading.Event(), threading.Event()

    class SlowFile:
        def read(self) -> bytes:
            reading.set()
            assert go_on.wait(PATIENCE_SECONDS)
            return PNG

    async with lms.AsyncClient(server.api_host) as client, AsyncBackground() as background:
        file: Any = SlowFile()  # reads, and no more
        preparing = background.start(lambda: client.prepare_image(file))
        assert await background.wait(lambda: reading.wait(PATIENCE_SECONDS))
        await preparing.cancelled()
        assert not go_on.is_set()
        go_on.set()


async def test_cancelled_task_stops_the_search(proxy: FaultProxy, never_embedded: None) -> None:  # sync: skip
    started = anyio.Event()
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        await client.embedding.model("scripted-embed")
        file = await client.prepare_file(b"words")
        searching = background.start(
            lambda: client.files.retrieve("what?", [file], on_file_processing_start=lambda *_: started.set())
        )
        await started.wait()
        await searching.cancelled()
        assert await background.wait(lambda: proxy.wait_for_packet("stop"))
