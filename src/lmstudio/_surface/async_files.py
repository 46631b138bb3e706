"""Files for models: images and documents, in the asynchronous surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lmstudio._ops import files as file_ops
from lmstudio._ops.files import RetrievalCallbacks, RetrievalOptions, Uploads
from lmstudio._specifiers import read_specifier
from lmstudio._surface.async_handles import AsyncEmbeddingModel
from lmstudio._surface.async_sessions import _AsyncSession

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from lmstudio._abort import AbortSignal
    from lmstudio._local_files import LocalFileInput
    from lmstudio._ops.files import (
        ChunkingMethodInput,
        DocumentParserInput,
        FileCallback,
        FileHandleInput,
        FileListCallback,
        FileStepCallback,
        FileStepProgressCallback,
        ParseDocumentResult,
        ParserLoadedCallback,
        ParsingProgressCallback,
        RetrievalResult,
        SearchingCallback,
    )
    from lmstudio._ops.models import ModelTarget
    from lmstudio._sdk_models import DocumentParsingLibraryIdentifier, FileHandle
    from lmstudio._specifiers import AnyModelSpecifier
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.async_api import AsyncClient


class _AsyncSessionFiles(_AsyncSession):
    """Files on the server, for as long as this client is connected."""

    API_NAMESPACE: ClassVar[str] = "files"

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client)
        self._uploads = Uploads()

    # Uploading -------------------------------------------------------------------------------------------------------

    async def prepare_image(
        self,
        src: LocalFileInput,
        name: str | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> FileHandle:
        """Give the server an image, and get a handle to use in chats.

        ::

            chat = lms.Chat()
            chat.add_user_message("What is this?", images=[await client.files.prepare_image("photo.jpg")])

        The server deletes the image when this client disconnects. The same content is sent once per connection,
        however often it is given.

        Args:
            src: A path, the content (bytes or another buffer), an open binary file, a Pillow image, or a data: URI.
                JPEG, PNG and WebP go as they are. Other images are sent as PNG if Pillow is installed.
            name: A file name to show; by default that of *src*, if it has one.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.

        Raises:
            LMStudioFileNotFoundError: there is no such file.
            LMStudioOSError: it cannot be read.
            LMStudioValueError: it is no image, or cannot be converted. Nothing was sent.
        """
        return await self._run(file_ops.prepare(self._within(timeout, signal), self._uploads, src, name, "image"))

    async def prepare_file(
        self,
        src: LocalFileInput,
        name: str | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> FileHandle:
        """Give the server a file of any type, such as a document to parse or to search; as `prepare_image`.

        It is sent as it is.
        """
        return await self._run(file_ops.prepare(self._within(timeout, signal), self._uploads, src, name, "file"))

    async def prepare_image_base64(
        self, file_name: str, content_base64: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> FileHandle:
        """As `prepare_image`, for content that is base64 text already, or a data: URI."""
        port = self._within(timeout, signal)
        return await self._run(file_ops.prepare_base64(port, self._uploads, file_name, content_base64, "image"))

    async def prepare_file_base64(
        self, file_name: str, content_base64: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> FileHandle:
        """As `prepare_file`, for content that is base64 text already, or a data: URI."""
        port = self._within(timeout, signal)
        return await self._run(file_ops.prepare_base64(port, self._uploads, file_name, content_base64, "file"))

    # Handles ---------------------------------------------------------------------------------------------------------

    @staticmethod
    def is_image(file: FileHandleInput) -> bool:
        """Whether a file is an image."""
        return file_ops.is_image(file)

    async def get_file_path(
        self, file: FileHandleInput, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> str:
        """The absolute path of a file on the server's machine.

        Raises:
            LMStudioValueError: there is none, because the handle carries the content.
        """
        return await self._run(file_ops.get_file_path(self._within(timeout, signal), file))

    # Documents -------------------------------------------------------------------------------------------------------

    async def get_document_parsing_library(
        self, file: FileHandleInput, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> DocumentParsingLibraryIdentifier:
        """The library that `parse_document` would read this file with."""
        return await self._run(file_ops.get_document_parsing_library(self._within(timeout, signal), file))

    async def parse_document(
        self,
        file: FileHandleInput,
        *,
        parser_id: DocumentParserInput | None = None,
        on_parser_loaded: ParserLoadedCallback | None = None,
        on_progress: ParsingProgressCallback | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> ParseDocumentResult:
        """The text of a document.

        Args:
            file: What `prepare_file` returned.
            parser_id: The library to read it with, as a struct or {"library": ..., "version": ...}.
            on_parser_loaded: Called with the library, before it begins.
            on_progress: Called with numbers from 0.0 to 1.0.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.

        Raises:
            LMStudioServerError: the server cannot read a file of this kind, or not with that library.
        """
        return await self._run(
            file_ops.parse_document(self._within(timeout), file, parser_id, on_parser_loaded, on_progress, signal)
        )

    async def retrieve(
        self,
        query: str,
        files: Iterable[FileHandleInput],
        *,
        chunking_method: ChunkingMethodInput | None = None,
        limit: int | None = None,
        embedding_model: AsyncEmbeddingModel | AnyModelSpecifier | None = None,
        database_path: str | os.PathLike[str] | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        on_file_process_list: FileListCallback | None = None,
        on_file_processing_start: FileCallback | None = None,
        on_file_processing_end: FileCallback | None = None,
        on_file_processing_step_start: FileStepCallback | None = None,
        on_file_processing_step_progress: FileStepProgressCallback | None = None,
        on_file_processing_step_end: FileStepCallback | None = None,
        on_searching_start: SearchingCallback | None = None,
        on_searching_end: SearchingCallback | None = None,
    ) -> RetrievalResult:
        """The pieces of documents that are closest to a query, by the embeddings of a model.

        ::

            files = [await client.files.prepare_file(path) for path in paths]
            result = await client.files.retrieve("Who pays for the return?", files, limit=3)
            for entry in result.entries:
                print(entry.score, entry.source.name, entry.content)

        Args:
            query: What to look for.
            files: What `prepare_file` returned.
            chunking_method: How to cut documents into pieces, e.g. {"chunk_size": 512, "chunk_overlap": 100}.
            limit: How many pieces to find at most.
            embedding_model: A handle or specifier of a loaded embedding model; by default any that is loaded.
            database_path: Where the server keeps embeddings for later searches, if it does.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.
            on_file_process_list: Called with the files whose embeddings are still to be computed.
            on_file_processing_start: Called with a file, its position in that list, and the list.
            on_file_processing_end: As on_file_processing_start.
            on_file_processing_step_start: Called with a file and "loading", "chunking" or "embedding".
            on_file_processing_step_progress: As on_file_processing_step_start, and a number from 0.0 to 1.0.
            on_file_processing_step_end: As on_file_processing_step_start.
            on_searching_start: Called without arguments when all embeddings are there.
            on_searching_end: Called without arguments.

        Raises:
            LMStudioModelNotFoundError: the embedding model is not loaded, or none is.
            LMStudioServerError: the server cannot read one of the files.
        """
        options = RetrievalOptions(
            chunking_method=chunking_method,
            limit=limit,
            database_path=database_path,
            embedding_model=_target(embedding_model),
        )
        callbacks = RetrievalCallbacks(
            on_file_process_list=on_file_process_list,
            on_file_processing_start=on_file_processing_start,
            on_file_processing_end=on_file_processing_end,
            on_file_processing_step_start=on_file_processing_step_start,
            on_file_processing_step_progress=on_file_processing_step_progress,
            on_file_processing_step_end=on_file_processing_step_end,
            on_searching_start=on_searching_start,
            on_searching_end=on_searching_end,
        )
        port = self._within(timeout, signal)
        embedding_port = self._client.embedding._port.like(port)
        return await self._run(file_ops.retrieve(port, embedding_port, query, files, options, callbacks, signal))


def _target(model: AsyncEmbeddingModel | AnyModelSpecifier | None) -> ModelTarget | None:
    if isinstance(model, AsyncEmbeddingModel):
        return model._target
    return None if model is None else read_specifier(model)
