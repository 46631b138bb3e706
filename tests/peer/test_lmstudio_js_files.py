"""The npm package @lmstudio/sdk against our server: images, documents and retrieval."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sample_files import JPEG, PNG, docx, pdf

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server
from lmstudio.server.engine.scripted import ScriptedModel, scripted_models

from .frame_relay import FrameRelay, RecordedFrame, check_frames
from .node_peer import JsClient, JsError, NodePeer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("nothing_to_complain_about")

CHAT, EMBED = scripted_models()
MODELS = [replace(CHAT, vision=True), EMBED]
FACTS = "Rome is the capital of Italy.\n\nOslo is the capital of Norway.\n\nParis is the capital of France.\n"
SMALL = {"chunkingMethod": {"type": "recursive-v1", "chunkSize": 40, "chunkOverlap": 0}, "limit": 2}


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture(scope="module")
def frames() -> Iterator[list[RecordedFrame]]:
    """All frames of this module; at its end the schemas of lmstudio.js must agree with them."""
    frames: list[RecordedFrame] = []
    yield frames
    assert frames
    assert [str(violation) for violation in check_frames(frames).violations] == []


@pytest.fixture
def js(node: NodePeer, engine: ScriptedEngine, frames: list[RecordedFrame]) -> Iterator[JsClient]:
    """A client of a fresh server, whose model can see."""
    with Server(MODELS, engine=engine) as server, FrameRelay(server.api_host) as relay:
        yield from client_of(node, relay)
    add(frames, relay)


def client_of(node: NodePeer, relay: FrameRelay) -> Iterator[JsClient]:
    with node.client(relay.api_host) as client:
        yield client


def add(frames: list[RecordedFrame], relay: FrameRelay) -> None:
    """Add what *relay* has seen, under connection numbers of its own."""
    offset = 1 + max((frame.connection for frame in frames), default=0)
    frames += [replace(frame, connection=offset + frame.connection) for frame in relay.frames]


def given(content: bytes, name: str) -> dict[str, Any]:
    return {"parameters": [name, base64.b64encode(content).decode()]}


def test_prepares_files_and_images_by_path_and_by_content(js: JsClient, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_bytes(b"words")
    (tmp_path / "cat.png").write_bytes(PNG)
    files = [
        {"method": "prepareFile", "parameters": [str(tmp_path / "note.txt")]},
        {"method": "prepareImage", "parameters": [str(tmp_path / "cat.png")]},
        {"method": "prepareFileBase64", **given(pdf("x"), "a.pdf")},
        {"method": "prepareImageBase64", **given(JPEG, "dog.jpg")},
    ]
    prepared = js.run("prepare", files=files).value

    found = [(file["name"], file["type"], file["sizeBytes"], file["isImage"]) for file in prepared]
    assert found == [
        ("note.txt", "text/plain", 5, False),
        ("cat.png", "image", len(PNG), True),
        ("a.pdf", "application/pdf", len(pdf("x")), False),
        ("dog.jpg", "image", len(JPEG), True),
    ]
    assert [Path(file["path"]).read_bytes() for file in prepared] == [b"words", PNG, pdf("x"), JPEG]


def test_image_reaches_the_model(js: JsClient, engine: ScriptedEngine) -> None:
    js.call("llm.model", CHAT.model_key)
    js.run("respondToImages", files=[given(PNG, "cat.png")], text="What is this?")

    (chat,) = engine.chats
    assert chat.messages[0]["content"] == "What is this?"
    assert [(image.name, image.content) for image in chat.images] == [("cat.png", PNG)]


@pytest.mark.parametrize(
    ("content", "library"),
    [(pdf("One.", "Two."), "pypdf"), (docx("One.", "", "Two."), "docx"), (b"One.", "plain-text")],
)
def test_document_is_parsed(js: JsClient, content: bytes, library: str) -> None:
    run = js.run("parseDocument", file=given(content, "a"))

    (parser,) = run.all("parser")
    assert run.value == {"content": "One." if library == "plain-text" else "One.\n\nTwo.", "parser": parser}
    assert parser["library"] == library
    assert run.all("library") == [parser]
    assert (run.all("progress")[0], run.all("progress")[-1]) == (0, 1)


def test_parser_may_be_insisted_on(js: JsClient) -> None:
    with pytest.raises(JsError, match="cannot be parsed with 'other' '1'"):
        js.run("parseDocument", file=given(b"words", "a"), opts={"parserId": {"library": "other", "version": "1"}})


def test_parsing_may_be_aborted(js: JsClient) -> None:
    with pytest.raises(JsError, match="The test does not want it any more"):
        js.run("parseDocument", file=given(pdf("One.", "Two."), "a.pdf"), abortAt=0)


def test_file_that_cannot_be_parsed_is_an_error(js: JsClient) -> None:
    with pytest.raises(JsError, match=r"The file 'a\.pdf' cannot be read as a document: it is a PNG image"):
        js.run("parseDocument", file=given(PNG, "a.pdf"))


def test_search_reports_its_steps_and_finds_something(js: JsClient) -> None:
    files = [given(FACTS.encode(), "facts.md"), given(pdf("Cats like fish."), "cats.pdf")]
    run = js.run("retrieve", query="capital", files=files, modelKey=EMBED.model_key, opts=SMALL)

    names = ["facts.md", "cats.pdf"]
    steps = [[name, step] for name in names for step in ("loading", "chunking", "embedding")]
    assert run.all("list") == [names]
    assert run.all("start") == run.all("end") == [[name, number, names] for number, name in enumerate(names)]
    assert run.all("stepStart") == [step[:2] for step in run.all("stepEnd")] == steps
    assert [progress for _, step, progress in run.all("stepProgress") if step == "embedding"][-1] == 1
    assert [name for name, _ in run.events if name.startswith("search")] == ["searching", "searched"]
    assert len(run.value) == 2
    assert run.value[0]["score"] >= run.value[1]["score"]


def test_real_model_finds_what_belongs_together(node: NodePeer) -> None:
    pytest.importorskip("xllamacpp")
    with Server() as server, node.client(server) as js:
        files = [given(FACTS.encode(), "facts.md")]
        query = "What is the capital of Norway?"
        found = js.run("retrieve", query=query, files=files, modelKey="pebble-embed-0.8m", opts=SMALL).value

    assert (found[0]["content"], found[0]["source"]) == ("Oslo is the capital of Norway.", "facts.md")


def test_this_package_says_the_same(engine: ScriptedEngine, frames: list[RecordedFrame]) -> None:
    with (
        Server(MODELS, engine=engine) as server,
        FrameRelay(server.api_host) as relay,
        lms.Client(relay.api_host) as client,
    ):
        client.embedding.model(EMBED.model_key)
        facts = client.prepare_file(FACTS.encode(), "facts.md")
        client.files.get_file_path(facts)
        client.files.parse_document(facts, parser_id=client.files.get_document_parsing_library(facts))
        options = {"chunk_size": 40, "chunk_overlap": 0}
        client.files.retrieve("capital", [facts], chunking_method=options, limit=2, database_path="/srv/db")
        one, two = lms.AbortSignal(), lms.AbortSignal()
        with pytest.raises(lms.LMStudioCancelledError):
            client.files.parse_document(facts, signal=one, on_parser_loaded=lambda _: one.abort())
        with pytest.raises(lms.LMStudioCancelledError):
            client.files.retrieve("capital", [facts], signal=two, on_file_process_list=lambda _: two.abort())
        with pytest.raises(lms.LMStudioServerError):
            client.files.parse_document(client.prepare_image(PNG))
    add(frames, relay)


def test_search_may_be_aborted(js: JsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def embed(_: ScriptedModel, text: str) -> list[float]:
        await asyncio.get_running_loop().create_future()
        return []

    monkeypatch.setattr(ScriptedModel, "embed", embed)
    with pytest.raises(JsError, match="The test does not want it any more"):
        js.run("retrieve", query="x", files=[given(b"x", "a")], modelKey=EMBED.model_key, abortAt="embedding")
