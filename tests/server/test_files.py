"""The namespace files as clients see it: frames in, frames out, no sockets."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from native_client import CHAT, Refused, Session, Stage, layers, run, staged, types
from sample_files import GIF, JPEG, PNG, WEBP, docx, pdf, zipped

from lmstudio._endpoints import files as endpoints
from lmstudio._endpoints import llm
from lmstudio.server._port import ClientContext, ServerPort
from lmstudio.server.engine.scripted import Reply, ScriptedEngine, ScriptedModel
from lmstudio.server.files.store import FileLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

VISION = {"models": [replace(CHAT, vision=True)]}


class FilesStage:
    """A server and a client that is connected to its namespace files."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.files = Session(stage.core, "files")

    async def upload(self, content: bytes, name: str = "a.txt", session: Session | None = None) -> dict[str, Any]:
        parameter = {"name": name, "contentBase64": base64.b64encode(content).decode()}
        uploaded: dict[str, Any] = await (session or self.files).call(endpoints.UPLOAD_FILE_BASE64, parameter)
        return uploaded

    async def identifier(self, content: bytes, name: str = "a.txt") -> str:
        identifier: str = (await self.upload(content, name))["identifier"]
        return identifier

    async def path(self, identifier: str) -> Path:
        reply = await self.files.call(endpoints.GET_LOCAL_FILE_ABSOLUTE_PATH, {"fileName": identifier})
        return Path(reply["path"])

    async def parse(self, content: bytes, name: str = "a.txt", **opts: Any) -> list[dict[str, Any]]:
        parameter = {"fileIdentifier": await self.identifier(content, name), "parseOpts": opts}
        return await self.files.open(endpoints.PARSE_DOCUMENT, parameter).rest()

    async def retrieve(self, query: str, *identifiers: str, **fields: Any) -> list[dict[str, Any]]:
        config = {"fields": [{"key": f"retrieval.{key}", "value": value} for key, value in fields.items()]}
        parameter = {"query": query, "fileIdentifiers": list(identifiers), "config": config}
        return await self.files.open(endpoints.RETRIEVE, parameter).rest()

    async def respond(self, *parts: Any) -> None:
        history = {"messages": [{"role": "user", "content": list(parts)}]}
        await self.stage.predict(history=history).rest()


@asynccontextmanager
async def files_stage(engine: ScriptedEngine | None = None, **settings: Any) -> AsyncIterator[FilesStage]:
    async with staged(engine, **settings) as stage:
        files = FilesStage(stage)
        yield files
        await files.files.hang_up()


def on_stage(test: Callable[[FilesStage], Awaitable[None]], **settings: Any) -> None:
    async def play() -> None:
        async with files_stage(**settings) as stage:
            await test(stage)

    run(play)


# Uploads -------------------------------------------------------------------------------------------------------------


def test_file_is_kept_as_it_was_sent() -> None:
    async def test(stage: FilesStage) -> None:
        uploaded = await stage.upload(PNG, "../cat.png")
        assert uploaded == {"identifier": uploaded["identifier"], "fileType": "image", "sizeBytes": len(PNG)}
        path = await stage.path(uploaded["identifier"])
        assert path.read_bytes() == PNG
        assert path.suffix == ".png"
        assert await stage.path(f"local:{uploaded['identifier']}") == path

    on_stage(test)


@pytest.mark.parametrize(
    ("content", "name", "file_type"),
    [
        (PNG, "", "image"),
        (JPEG, "cat.txt", "image"),
        (GIF, "", "image"),
        (WEBP, "", "image"),
        (pdf("x"), "a", "application/pdf"),
        (docx("x"), "a", "application/word"),
        (zipped({"a": "b"}), "a.docx", "unknown"),
        (b"PK\3\4 broken", "a.docx", "unknown"),
        (b"words", "a.txt", "text/plain"),
        (b"words", "a", "text/plain"),
        (b"# Title", "a.md", "text/other"),
        (b"", "a.txt", "text/plain"),
        (b"\0\1\2", "a.txt", "unknown"),
    ],
)
def test_type_is_found_by_content(content: bytes, name: str, file_type: str) -> None:
    async def test(stage: FilesStage) -> None:
        assert (await stage.upload(content, name))["fileType"] == file_type

    on_stage(test)


@pytest.mark.parametrize("content", ["no base64!", "data:image/png;base64,AAAA", "abc"])
def test_content_that_is_not_base64_is_refused(content: str) -> None:
    async def test(stage: FilesStage) -> None:
        with pytest.raises(Refused, match=r"The content of 'a\.txt' is not valid base64"):
            await stage.files.call(endpoints.UPLOAD_FILE_BASE64, {"name": "a.txt", "contentBase64": content})

    on_stage(test)


def test_file_that_is_too_large_is_refused() -> None:
    async def test(stage: FilesStage) -> None:
        await stage.upload(bytes(100))
        with pytest.raises(Refused, match=r"The file 'a\.txt' cannot be uploaded: 105 bytes, and a file may have 100"):
            await stage.upload(bytes(105))

    on_stage(test, file_limits=FileLimits(max_file_bytes=100))


def test_all_files_of_a_client_together_have_a_limit_too() -> None:
    async def test(stage: FilesStage) -> None:
        with pytest.raises(Refused):
            await stage.files.call(endpoints.UPLOAD_FILE_BASE64, {"name": "a", "contentBase64": "?" * 100})
        await stage.upload(bytes(99))
        with pytest.raises(Refused, match="all files of a client may have 150 bytes"):
            await stage.upload(bytes(99))

    on_stage(test, file_limits=FileLimits(max_client_bytes=150))


@pytest.mark.parametrize("identifier", ["nothing", "local:nothing", "../../etc/passwd", ""])
def test_unknown_identifier_is_refused(identifier: str) -> None:
    async def test(stage: FilesStage) -> None:
        await stage.upload(b"words")
        with pytest.raises(Refused, match=r"There is no file .* of this client"):
            await stage.path(identifier)
        with pytest.raises(Refused, match="There is no file"):
            await stage.retrieve("what?", identifier)
        with pytest.raises(Refused, match="There is no file"):
            await stage.files.call(endpoints.GET_DOCUMENT_PARSING_LIBRARY, {"fileIdentifier": identifier})

    on_stage(test)


def test_files_are_the_own_ones_of_a_client_and_deleted_with_its_last_connection() -> None:
    async def test(stage: FilesStage) -> None:
        core = stage.stage.core
        other = Session(core, "files")
        context = ClientContext("somebody else")
        other.port = ServerPort("files", core.handlers("files"), context, other._spawn, other._answer)
        identifier = (await stage.upload(b"secret", session=other))["identifier"]
        with pytest.raises(Refused, match="There is no file"):
            await stage.path(identifier)
        reply = await other.call(endpoints.GET_LOCAL_FILE_ABSOLUTE_PATH, {"fileName": identifier})
        own = await stage.path(await stage.identifier(b"words"))

        context.lifetime.end()
        assert not Path(reply["path"]).parent.exists()
        assert own.exists()
        with pytest.raises(Refused, match="There is no file"):
            await other.call(endpoints.GET_LOCAL_FILE_ABSOLUTE_PATH, {"fileName": identifier})

    on_stage(test)


def test_nothing_is_left_when_the_server_ends() -> None:
    roots: list[Path] = []

    async def test(stage: FilesStage) -> None:
        await stage.upload(b"words")
        root = stage.stage.core.files.root
        assert root is not None
        roots.append(root)

    on_stage(test)
    assert [root.exists() for root in roots] == [False]


# Documents -----------------------------------------------------------------------------------------------------------


def test_document_is_parsed_page_by_page() -> None:
    async def test(stage: FilesStage) -> None:
        packets = await stage.parse(pdf("First page.", "Second page."), "a.pdf")
        assert types(packets) == ["parserLoaded", "progress", "progress", "progress", "result"]
        assert [packet["progress"] for packet in packets[1:-1]] == [0, 0.5, 1]
        assert packets[0]["parser"]["library"] == "pypdf"
        assert packets[-1] == {
            "type": "result",
            "content": "First page.\n\nSecond page.",
            "parser": packets[0]["parser"],
        }

    on_stage(test)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (docx("One & two", "Three"), "One & two\nThree"),
        ("Grüße\r\naus Köln\r".encode(), "Grüße\naus Köln\n"),
        ("Grüße".encode("utf-8-sig"), "Grüße"),
        ("Grüße".encode("utf-16"), "Grüße"),
        ("Grüße aus Köln".encode("cp1252"), "Grüße aus Köln"),
        (b"", ""),
        (pdf(""), ""),
    ],
)
def test_text_of_every_kind_of_document_is_read(content: bytes, text: str) -> None:
    async def test(stage: FilesStage) -> None:
        assert (await stage.parse(content))[-1]["content"] == text

    on_stage(test)


def test_parser_can_be_asked_for_and_insisted_on() -> None:
    async def test(stage: FilesStage) -> None:
        identifier = await stage.identifier(b"words")
        parser = await stage.files.call(endpoints.GET_DOCUMENT_PARSING_LIBRARY, {"fileIdentifier": identifier})
        assert parser["library"] == "plain-text"
        assert (await stage.parse(b"words", parserId=parser))[-1]["content"] == "words"
        with pytest.raises(Refused, match="cannot be parsed with 'pypdf' '1'") as caught:
            await stage.parse(b"words", parserId={"library": "pypdf", "version": "1"})
        assert "It can with 'plain-text'" in caught.value.error["suggestion"]

    on_stage(test)


@pytest.mark.parametrize(
    ("content", "found"), [(PNG, "a PNG image"), (b"\0\1", "a file of unknown type"), (b"\x1f\x8b", "a gzip archive")]
)
def test_file_without_text_is_refused_by_what_it_is(content: bytes, found: str) -> None:
    async def test(stage: FilesStage) -> None:
        with pytest.raises(Refused, match=rf"The file 'a\.pdf' cannot be read as a document: it is {found}"):
            await stage.parse(content, "a.pdf")
        with pytest.raises(Refused, match="cannot be read as a document"):
            await stage.retrieve("what?", await stage.identifier(b"words"), await stage.identifier(content))

    on_stage(test)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"%PDF-1.7 and no more", "a PDF document"),
        (zipped({"word/document.xml": "<w:document>"}), "a Word document: unclosed token|a Word document: unbound"),
        (docx("x", head='<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>'), "a Word document: it declares a document type"),
    ],
)
def test_damaged_document_is_refused(content: bytes, found: str) -> None:
    async def test(stage: FilesStage) -> None:
        with pytest.raises(Refused, match=rf"The file 'a' cannot be read as ({found})"):
            await stage.parse(content, "a")

    on_stage(test)


def test_document_with_too_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmstudio.server.files.parsing.MAX_TEXT_CHARACTERS", 10)

    async def test(stage: FilesStage) -> None:
        with pytest.raises(Refused, match="too long: more than 10 characters"):
            await stage.parse(b"more than ten")
        with pytest.raises(Refused, match="its text is too long"):
            await stage.parse(docx("more than ten"))

    on_stage(test)


def test_pdf_without_pypdf_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    async def test(stage: FilesStage) -> None:
        with pytest.raises(Refused, match="the package pypdf is not installed") as caught:
            await stage.parse(pdf("x"))
        assert caught.value.error["suggestion"] == "Install it there with: pip install 'lmstudio[server]'"

    on_stage(test)


# Retrieval -----------------------------------------------------------------------------------------------------------

PARAGRAPHS = "The cat sleeps.\n\nThe dog barks loudly.\n\nThe bird sings."
SMALL = {"chunkingMethod": {"type": "recursive-v1", "chunkSize": 25, "chunkOverlap": 0}}


def embed_by_words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts with the same words become close. The texts that were embedded, in order."""
    texts: list[str] = []

    async def embed(_: ScriptedModel, text: str) -> list[float]:
        texts.append(text)
        return [float(word in text.lower()) for word in ("cat", "dog", "bird", "the")]

    monkeypatch.setattr(ScriptedModel, "embed", embed)
    return texts


def test_every_step_is_reported_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    embed_by_words(monkeypatch)

    async def test(stage: FilesStage) -> None:
        await stage.stage.load("scripted-embed", stage.stage.embedding)
        packets = await stage.retrieve("dog", await stage.identifier(PARAGRAPHS.encode()), **SMALL)
        steps = [
            (packet["type"].removeprefix("onFileProcessingStep"), packet["step"])
            for packet in packets
            if "step" in packet
        ]
        assert steps == [
            ("Start", "loading"),
            ("Progress", "loading"),
            ("Progress", "loading"),
            ("End", "loading"),
            ("Start", "chunking"),
            ("End", "chunking"),
            ("Start", "embedding"),
            ("Progress", "embedding"),
            ("Progress", "embedding"),
            ("Progress", "embedding"),
            ("End", "embedding"),
        ]
        assert types([packet for packet in packets if "step" not in packet]) == [
            "onFileProcessList",
            "onFileProcessingStart",
            "onFileProcessingEnd",
            "onSearchingStart",
            "onSearchingEnd",
            "result",
        ]

    on_stage(test)


def test_closest_pieces_come_first_with_file_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    embed_by_words(monkeypatch)

    async def test(stage: FilesStage) -> None:
        await stage.stage.load("scripted-embed", stage.stage.embedding)
        text = await stage.identifier(PARAGRAPHS.encode())
        paged = await stage.identifier(pdf("Nothing.", "A dog and a bird."))
        packets = await stage.retrieve("dog", text, paged, limit=2, **SMALL)
        first, second = packets[-1]["result"]["entries"]
        assert {**first, "score": round(first["score"], 3)} == {
            "content": "The dog barks loudly.",
            "score": 0.707,
            "sourceIndex": 0,
            "lineNumber": 3,
        }
        assert (second["content"], second["sourceIndex"], second["pageNumber"]) == ("A dog and a bird.", 1, 2)

    on_stage(test)


def test_embeddings_are_kept_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = embed_by_words(monkeypatch)

    async def test(stage: FilesStage) -> None:
        await stage.stage.load("scripted-embed", stage.stage.embedding)
        old, new = [await stage.identifier(text) for text in (b"The cat.", b"The dog.")]
        assert (await stage.retrieve("cat", old))[0]["indices"] == [0]
        packets = await stage.retrieve("dog", old, new)
        assert packets[0]["indices"] == [1]
        assert [entry["sourceIndex"] for entry in packets[-1]["result"]["entries"]] == [1, 0]
        assert texts == ["The cat.", "cat", "The dog.", "dog"]
        assert (await stage.retrieve("cat", old, **SMALL))[0]["indices"] == [0]

    on_stage(test)


def test_piece_that_is_too_long_for_the_model_is_cut_further() -> None:
    async def test(stage: FilesStage) -> None:
        config = layers(embedding__load__contextLength=8)
        await stage.stage.load("scripted-embed", stage.stage.embedding, loadConfigStack=config)
        text = " ".join(f"word{number}" for number in range(20))
        packets = await stage.retrieve("word3", await stage.identifier(text.encode()), limit=100)
        entries = packets[-1]["result"]["entries"]
        assert sorted(word for entry in entries for word in entry["content"].split()) == sorted(text.split())
        assert all(len(entry["content"].split()) <= 8 for entry in entries)

    on_stage(test)


def test_search_needs_a_loaded_model() -> None:
    async def test(stage: FilesStage) -> None:
        identifier = await stage.identifier(b"words")
        with pytest.raises(Refused, match="No model is loaded that is an embedding model"):
            await stage.retrieve("what?", identifier)
        await stage.stage.load("scripted-embed", stage.stage.embedding)
        with pytest.raises(Refused, match="No loaded model matches 'other'"):
            await stage.retrieve("what?", identifier, embeddingModel="other")

    on_stage(test)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("limit", 0, r"retrieval\.limit is not valid"),
        ("chunkingMethod", {"type": "other"}, r"retrieval\.chunkingMethod is not valid"),
        ("chunkingMethod", {"type": "recursive-v1", "chunkSize": 5, "chunkOverlap": 5}, "cannot overlap by 5"),
    ],
)
def test_bad_setting_is_refused(field: str, value: Any, message: str) -> None:
    async def test(stage: FilesStage) -> None:
        with pytest.raises(Refused, match=message):
            await stage.retrieve("what?", **{field: value})

    on_stage(test)


def test_stop_ends_the_search_without_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(stage: FilesStage) -> None:
        import asyncio

        await stage.stage.load("scripted-embed", stage.stage.embedding)

        async def embed(_: ScriptedModel, text: str) -> list[float]:
            await asyncio.get_running_loop().create_future()
            return []

        monkeypatch.setattr(ScriptedModel, "embed", embed)
        parameter = {
            "query": "what?",
            "fileIdentifiers": [await stage.identifier(b"words")],
            "config": {"fields": []},
        }
        channel = stage.files.open(endpoints.RETRIEVE, parameter)
        while (packet := await channel.next()) is not None and packet.get("step") != "embedding":
            pass
        channel.send({"type": "stop"})
        assert await channel.rest() == []
        instance = stage.stage.core.instances.loaded("embedding")[0]
        assert instance.state().status == "idle"

    on_stage(test)


# Files in chats ------------------------------------------------------------------------------------------------------


def part(identifier: str, name: str, file_type: str = "text/plain") -> dict[str, Any]:
    return {"type": "file", "name": name, "identifier": identifier, "sizeBytes": 1, "fileType": file_type}


@pytest.mark.parametrize("content", [b"The code is 7.", pdf("The code is 7."), docx("The code is 7.")])
def test_document_in_a_chat_is_shown_as_text(content: bytes) -> None:
    async def test(stage: FilesStage) -> None:
        await stage.stage.load()
        file = part(await stage.identifier(content), "note")
        await stage.respond(file, {"type": "text", "text": "What is the code?"})
        assert stage.stage.engine.chats[-1].messages == [
            {"role": "user", "content": "[note]\nThe code is 7.\n[end of note]\n What is the code?"}
        ]

    on_stage(test)


def test_image_in_a_chat_reaches_a_model_that_sees() -> None:
    async def test(stage: FilesStage) -> None:
        await stage.stage.load()
        inline = "base64:" + base64.b64encode(JPEG).decode()
        await stage.respond(
            {"type": "text", "text": "What is this?"},
            part(await stage.identifier(PNG), "cat.png", "image"),
            part(inline, "dog.jpg", "image"),
        )
        (chat,) = stage.stage.engine.chats
        assert chat.messages[0]["content"] == "What is this?"
        assert [(image.name, image.content) for image in chat.images] == [("cat.png", PNG), ("dog.jpg", JPEG)]

    on_stage(test, **VISION)


def test_image_in_a_chat_with_a_model_that_does_not_see_is_refused() -> None:
    async def test(stage: FilesStage) -> None:
        await stage.stage.load()
        with pytest.raises(Refused, match=r"scripted-chat' cannot see images, and the chat contains .* 'cat\.png'"):
            await stage.respond(part(await stage.identifier(PNG), "cat.png", "image"))

    on_stage(test)


def test_file_in_a_chat_that_cannot_be_shown_is_refused() -> None:
    async def test(stage: FilesStage) -> None:
        await stage.stage.load()
        for file, message in (
            (part("gone", "a.txt"), "There is no file 'gone'"),
            (part(await stage.identifier(b"\0\1"), "a.bin"), "cannot be read as a document"),
            (part(await stage.identifier(pdf("")), "scan.pdf"), r"'scan\.pdf' has no text"),
        ):
            with pytest.raises(Refused, match=message):
                await stage.respond({"type": "text", "text": "Read."}, file)

    on_stage(test)


def test_template_shows_documents_too() -> None:
    async def test(stage: FilesStage) -> None:
        await stage.stage.load()
        history = {"messages": [{"role": "user", "content": [part(await stage.identifier(b"words"), "a.txt")]}]}
        parameter = {
            "specifier": {"type": "query", "query": {}},
            "history": history,
            "predictionConfigStack": {"layers": []},
            "opts": {},
        }
        formatted = (await stage.stage.llm.call(llm.APPLY_PROMPT_TEMPLATE, parameter))["formatted"]
        assert "[a.txt]\nwords\n" in formatted

    on_stage(test, engine=ScriptedEngine(Reply("ok")))
