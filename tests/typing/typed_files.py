"""What a type checker must make of files and downloads. Checked by mypy and pyright, never run."""

from __future__ import annotations

import io
from array import array
from pathlib import Path
from tempfile import NamedTemporaryFile, SpooledTemporaryFile
from typing import IO, BinaryIO

import PIL.Image
from typing_extensions import assert_type

import lmstudio as lms

# Whatever has a file's content ----------------------------------------------------------------------------------------


def inputs(client: lms.Client, picture: PIL.Image.Image, opened: BinaryIO, other: IO[bytes]) -> None:
    assert_type(client.prepare_image("cat.jpg"), lms.FileHandle)
    client.prepare_image("data:image/png;base64,iVBORw0KGgo=")
    client.prepare_image(Path("cat.jpg"), "Tom")
    client.prepare_image(b"...", name="cat.jpg")
    client.prepare_image(bytearray(b"..."))
    client.prepare_image(memoryview(b"..."))
    client.prepare_image(array("B", b"..."))
    client.prepare_image(io.BytesIO(b"..."))
    client.prepare_image(opened)
    client.prepare_image(picture)
    client.prepare_image(picture.convert("RGB"))
    client.prepare_file(other)
    with open("notes.txt", "rb") as notes, SpooledTemporaryFile() as spooled, NamedTemporaryFile() as named:
        client.prepare_file(notes)
        client.prepare_file(named)
        client.files.prepare_file(spooled)
    assert_type(lms.prepare_image("cat.jpg"), lms.FileHandle)
    assert_type(lms.prepare_file(Path("notes.txt")), lms.FileHandle)
    assert_type(client.files.prepare_image_base64("cat.jpg", "aGk="), lms.FileHandle)


def images_in_chats(model: lms.LLM, pictures: list[lms.FileHandle], saved: lms.FileHandleDict) -> None:
    chat = lms.Chat()
    chat.add_user_message("Look", images=pictures)
    chat.add_user_message("Look", images=tuple(pictures))
    chat.add_user_message(["Look", *pictures, saved])
    model.respond([("user", ["Look", *pictures])])
    model.respond({"messages": [{"role": "user", "content": "Look", "images": pictures}]})


def wrong_inputs(client: lms.Client, path: Path, chat: lms.Chat) -> None:
    client.prepare_image(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no content
    client.prepare_image(path.open())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a text file
    client.prepare_image([path])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # one at a time
    chat.add_user_message("Look", images=["cat.jpg"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


# Documents ------------------------------------------------------------------------------------------------------------


def on_step(file: lms.FileHandle, step: str) -> None: ...


def on_step_progress(file: lms.FileHandle, step: str, progress: float) -> None: ...


def on_file(file: lms.FileHandle, index: int, files: list[lms.FileHandle]) -> None: ...


def documents(client: lms.Client, report: lms.FileHandle, model: lms.EmbeddingModel) -> None:
    parsed = client.files.parse_document(
        report, on_progress=print, on_parser_loaded=lambda parser: print(parser.library)
    )
    assert_type(parsed, lms.ParseDocumentResult)
    assert_type(parsed.content, str)
    found = client.files.retrieve(
        "Why?",
        [report, report.to_dict()],  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # a plain dict
    )
    found = client.files.retrieve(
        "Why?",
        (report,),
        limit=3,
        embedding_model=model,
        database_path=Path("index"),
        signal=lms.AbortSignal(),
        on_file_process_list=print,
        on_file_processing_start=on_file,
        on_file_processing_step_start=on_step,
        on_file_processing_step_progress=on_step_progress,
        on_searching_start=lambda: None,
    )
    assert_type(found, lms.RetrievalResult)
    assert_type(found.entries[0], lms.RetrievalResultEntry)
    assert_type(found.entries[0].score, float)
    assert_type(found.entries[0].source, lms.FileHandle)
    client.files.retrieve("Why?", [report], embedding_model="nomic", chunking_method={"type": "recursive-v1"})
    client.files.retrieve("Why?", [report], on_searching_start=on_step)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def async_documents(client: lms.AsyncClient, report: lms.FileHandle) -> None:
    async def on_progress(progress: float) -> None: ...

    assert_type(await client.prepare_image("cat.jpg"), lms.FileHandle)
    assert_type(await client.files.parse_document(report, on_progress=on_progress), lms.ParseDocumentResult)
    assert_type(await client.files.retrieve("Why?", [report]), lms.RetrievalResult)


# Downloads ------------------------------------------------------------------------------------------------------------


class Bar:
    def show(self, update: lms.DownloadProgressUpdate) -> None:
        assert_type(update.downloaded_bytes, int)
        assert_type(update.total_bytes, int)
        assert_type(update.speed_bytes_per_second, float)

    async def show_later(self, update: lms.DownloadProgressUpdate) -> None: ...


def downloads(client: lms.Client, bar: Bar) -> None:
    found = client.repository.search_models("tiny", limit=3, compatibility_types=("gguf",))
    assert_type(found, list[lms.AvailableModel])
    options = found[0].get_download_options()
    assert_type(options, list[lms.ModelDownloadOption])
    assert_type(options[0].quantization, str | None)
    assert_type(options[0].download(on_progress=bar.show, on_finalize=lambda: None), str)
    options[0].download(on_progress=print, signal=lms.AbortSignal())
    options[0].download(on_finalize=bar.show)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no arguments
    client.repository.search_models(compatibility_types=["gugf"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def async_downloads(client: lms.AsyncClient, bar: Bar) -> None:
    found = await client.repository.search_models()
    assert_type(found, list[lms.AsyncAvailableModel])
    options = await found[0].get_download_options()
    assert_type(options, list[lms.AsyncModelDownloadOption])
    assert_type(await options[0].download(on_progress=bar.show_later), str)


def plans(client: lms.Client, bar: Bar, signal: lms.AbortSignal) -> None:
    source = lms.HuggingFaceModelDownloadSource(user="maker", repo="heron")
    with client.repository.create_model_download_planner(source, on_plan_updated=print, signal=signal) as planner:
        assert_type(planner, lms.ArtifactDownloadPlanner)
        assert_type(planner.is_ready(), bool)
        planner.until_ready(timeout=5)
        assert_type(planner.get_plan(), lms.ArtifactDownloadPlan)
        node = planner.get_plan().nodes[0]
        if isinstance(node, lms.ArtifactDownloadPlanNodeModel):
            assert_type(node.download_options, list[lms.ArtifactDownloadPlanDownloadOptionInfo] | None)
        planner.download(bar.show, lambda: None, signal=signal)
    client.repository.create_model_download_planner({"user": "maker", "repo": "heron"})
    client.repository.create_model_download_planner("maker/heron")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def async_plans(client: lms.AsyncClient, bar: Bar) -> None:
    async with client.repository.create_artifact_download_planner("maker", "heron") as planner:
        assert_type(planner, lms.AsyncArtifactDownloadPlanner)
        await planner.select_model_download_option(0, 1)
        await planner.download(bar.show_later)


def hub(client: lms.Client) -> None:
    def show(code: lms.AuthenticationCode) -> None:
        assert_type(code.filled_url, str)

    client.repository.ensure_authenticated(show)
    assert_type(client.repository.get_model_catalog(), list[lms.HubModel])
    assert_type(client.repository.lm_link.status(), lms.LmLinkStatusResult)
    manifest: lms.ArtifactManifestBase = lms.PluginManifest.from_dict({})
    assert_type(manifest.dependencies, list[lms.ArtifactDependency] | None)
