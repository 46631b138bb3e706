# Generated from ../async/test_files.py by tools/make_sync.py. Edit that file instead.
"""Images and documents: uploaded, shown to models, parsed and searched."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from sample_files import GIF, JPEG, PNG, docx, pdf

import lmstudio as lms
from lmstudio.server import Gate, ScriptedEngine, Server
from lmstudio.server.engine.scripted import ScriptedModel, scripted_models
from surface.background import Background

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


def test_image_is_seen_by_a_vision_model(seeing_server: Server, engine: ScriptedEngine, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    with lms.Client(seeing_server.api_host) as client:
        model = client.llm.model("scripted-chat")
        chat = lms.Chat()
        first = client.prepare_image(str(tmp_path / "cat.png"))
        second = client.files.prepare_image(JPEG, "dog.jpg")
        chat.add_user_message("What are these?", images=[first, second])
        model.respond(chat)
    assert first == lms.FileHandle(name="cat.png", identifier=first.identifier, size_bytes=len(PNG), file_type="image")
    assert [(image.name, image.content) for image in engine.chats[-1].images] == [("cat.png", PNG), ("dog.jpg", JPEG)]


def test_every_kind_of_image_source_is_taken(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    with lms.Client(server.api_host) as client:
        with path.open("rb") as open_file:
            sources: list[Any] = [path, str(path), PNG, bytearray(PNG), memoryview(PNG), io.BytesIO(PNG), open_file]
            sources.append("data:image/png;base64," + base64.b64encode(PNG).decode())
            handles = [client.prepare_image(source) for source in sources]
        assert {handle.identifier for handle in handles} == {handles[0].identifier}
        encoded = base64.b64encode(PNG).decode()
        assert (client.files.prepare_image_base64("cat.png", encoded)).identifier == handles[0].identifier
        picture = client.prepare_image(Image.new("RGB", (3, 2)))
        assert (picture.name, picture.file_type) == ("image.png", "image")
        converted = client.prepare_image(GIF, "cat.gif")
        assert (converted.name, client.files.is_image(converted)) == ("cat.png", True)


def test_bad_file_is_refused_without_a_connection(proxy: FaultProxy, tmp_path: Path) -> None:
    with lms.Client(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioFileNotFoundError, match="There is no file"):
            client.prepare_image(tmp_path / "gone.png")
        with pytest.raises(lms.LMStudioValueError, match="a PDF document, not an image"):
            client.prepare_image(pdf("x"))
        with pytest.raises(lms.LMStudioValueError, match="is not valid base64"):
            client.files.prepare_file_base64("a.txt", "!")
        assert not client.files.connected
    assert proxy.messages("rpcCall") == []


# Uploads -------------------------------------------------------------------------------------------------------------


def test_same_file_is_uploaded_once_however_many_ask(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client, Background() as background:
        client.files.connect()
        proxy.hold()
        calls = [background.start(lambda: client.prepare_image(PNG, "cat.png")) for _ in range(10)]
        proxy.release()
        handles = [call.result() for call in calls]
        assert handles == [handles[0]] * 10
        assert (client.prepare_image(PNG, "dog.png")).name == "dog.png"
    assert len(uploads(proxy)) == 1


def test_each_client_has_files_of_its_own(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as one, lms.Client(proxy.api_host) as other:
        mine, theirs = one.prepare_file(b"words"), other.prepare_file(b"words")
        assert mine.identifier != theirs.identifier
        with pytest.raises(lms.LMStudioServerError, match="There is no file"):
            other.files.get_file_path(mine)


def test_file_is_uploaded_again_after_the_connection_was_lost(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client, Background() as background:
        first = client.prepare_file(b"words", "a.txt")
        path = Path(client.files.get_file_path(first))
        proxy.close_connections()
        background.until(lambda: not client.files.connected)
        background.until(lambda: not path.exists())
        second = client.prepare_file(b"words", "a.txt")
        assert content(client.files.get_file_path(second)) == b"words"
    assert len(uploads(proxy)) == 2


def test_files_are_deleted_when_the_client_goes(server: Server) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        path = Path(client.files.get_file_path(client.prepare_file(b"words")))
        assert content(str(path)) == b"words"
        client.files.disconnect()
        background.until(lambda: not path.exists())


def test_large_file_arrives_complete(server: Server) -> None:
    large = bytes(range(256)) * (12 * 1024) + b"the end"
    with lms.Client(server.api_host) as client:
        handle = client.prepare_file(large)
        assert handle.size_bytes == len(large)
        assert content(client.files.get_file_path(handle)) == large


# Documents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "library"),
    [(b"Some words.", "plain-text"), (pdf("Some words."), "pypdf"), (docx("Some words."), "docx")],
)
def test_document_is_parsed(server: Server, document: bytes, library: str) -> None:
    progress: list[float] = []
    parsers: list[lms.DocumentParsingLibraryIdentifier] = []
    with lms.Client(server.api_host) as client:
        file = client.prepare_file(document)
        parser = client.files.get_document_parsing_library(file)
        result = client.files.parse_document(
            file, parser_id=parser, on_parser_loaded=parsers.append, on_progress=progress.append
        )
    assert result.content == "Some words."
    assert result.parser.library == library
    assert [result.parser, *parsers] == [parser] * 2
    assert (progress[0], progress[-1]) == (0.0, 1.0)


def test_document_in_a_chat_is_read_by_the_model(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        chat = lms.Chat()
        chat.add_user_message(["What is the code?", client.prepare_file(b"The code is 7.", "note.md")])
        model.respond(chat)
    assert "[note.md]\nThe code is 7.\n" in engine.requests[-1].prompt


# Retrieval -----------------------------------------------------------------------------------------------------------


def test_search_finds_the_closest_piece(real_server: Server) -> None:
    events: list[str] = []
    with lms.Client(real_server.api_host) as client:
        model = client.embedding.load_new_instance("pebble-embed-0.8m")
        facts = client.prepare_file(FACTS.encode(), "facts.md")
        paged = client.prepare_file(pdf("Bread is made of flour.", "Cats like fish."), "other.pdf")
        result = client.files.retrieve(
            QUESTION,
            [paged, facts],
            embedding_model=model,
            chunking_method=SMALL,
            limit=4,
            on_file_process_list=lambda files: events.append(f"{len(files)} files"),
            on_file_processing_start=lambda file, number, files: events.append(f"{number + 1}. {file.name}"),
            on_searching_end=lambda: events.append("end"),
        )
        again = client.files.retrieve("Do cats like fish?", [paged, facts], embedding_model=model.identifier, limit=1)
        model.unload()
    best = result.entries[0]
    assert (best.content, best.source.name, best.line_number) == ("Oslo is the capital of Norway.", "facts.md", 3)
    assert [entry.score for entry in result.entries] == sorted((e.score for e in result.entries), reverse=True)
    assert len(result.entries) == 4
    assert events == ["2 files", "1. other.pdf", "2. facts.md", "end"]
    assert (again.entries[0].content, again.entries[0].page_number) == ("Cats like fish.", 2)


def test_search_takes_the_model_that_is_loaded(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        file = client.prepare_file(b"words")
        with pytest.raises(lms.LMStudioModelNotFoundError, match="No embedding model is loaded"):
            client.files.retrieve("what?", [file])
        with pytest.raises(lms.LMStudioModelNotFoundError, match="my embedder"):
            client.files.retrieve("what?", [file], embedding_model="my embedder")
        client.embedding.load_new_instance("scripted-embed", "my embedder")
        for model in (None, "my embedder"):
            result = client.files.retrieve("what?", [file], embedding_model=model)
            assert [entry.content for entry in result.entries] == ["words"]


def test_failing_callback_does_not_end_the_search(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    with lms.Client(server.api_host) as client:
        client.embedding.model("scripted-embed")
        file = client.prepare_file(b"words")
        assert (client.files.retrieve("what?", [file], on_searching_start=fail)).entries
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["lmstudio.callbacks"]


@pytest.fixture
def never_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedding a text never ends."""
    monkeypatch.setattr(ScriptedModel, "embed", lambda _model, _text: Gate().pass_through())


def test_abort_stops_the_search_on_the_server(proxy: FaultProxy, never_embedded: None) -> None:
    signal = lms.AbortSignal()
    with lms.Client(proxy.api_host) as client, Background() as background:
        client.embedding.model("scripted-embed")
        file = client.prepare_file(b"words")
        with pytest.raises(lms.LMStudioCancelledError, match="Aborted: no time"):
            client.files.retrieve(
                "what?", [file], signal=signal, on_file_processing_start=lambda *_: signal.abort("no time")
            )
        assert background.wait(lambda: proxy.wait_for_packet("stop"))
