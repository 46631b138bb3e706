"""Files for the server: upload them, search them, read their text."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

import msgspec

from lmstudio import _wire
from lmstudio._abort import check_signal, on_abort
from lmstudio._callbacks import check_callbacks, tell
from lmstudio._endpoints import embedding as embedding_endpoints
from lmstudio._endpoints.files import (
    GET_DOCUMENT_PARSING_LIBRARY,
    GET_LOCAL_FILE_ABSOLUTE_PATH,
    PARSE_DOCUMENT,
    RETRIEVE,
    UPLOAD_FILE_BASE64,
)
from lmstudio._kv_config import read_config
from lmstudio._local_files import LocalFile, Purpose, decode_base64, read_local_file
from lmstudio._ops import models as model_ops
from lmstudio._sdk_models import (
    ChannelPacketCancel,
    ChannelPacketStop,
    DocumentParsingLibraryIdentifier,
    DocumentParsingOpts,
    FileHandle,
    FilesChannelParseDocumentCreationParameter,
    FilesChannelRetrieveCreationParameter,
    FilesRpcGetDocumentParsingLibraryParameter,
    FilesRpcGetLocalFileAbsolutePathParameter,
    FilesRpcUploadFileBase64Parameter,
    InternalRetrievalResult,
    KvConfig,
    KvConfigField,
    RetrievalChunkingMethodRecursiveV1,
)
from lmstudio.errors import LMStudioError, LMStudioProtocolError, LMStudioValueError

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._port import Port
    from lmstudio._runtime import Delivery, Inbox, Runtime
    from lmstudio._sdk_models.dicts import FileHandleDict
    from lmstudio.json_api import Channel, Multiplexer

T = TypeVar("T")

RetrievalStep: TypeAlias = Literal["loading", "chunking", "embedding"]
FileHandleInput: TypeAlias = "FileHandle | FileHandleDict"
ChunkingMethodInput: TypeAlias = RetrievalChunkingMethodRecursiveV1 | Mapping[str, Any]
DocumentParserInput: TypeAlias = DocumentParsingLibraryIdentifier | Mapping[str, Any]
Place: TypeAlias = "int | tuple[int, int] | None"
"""A page or line, counted from 1, or the first and the last of several; None where there is no such thing."""

FileListCallback: TypeAlias = Callable[[list[FileHandle]], object]
FileCallback: TypeAlias = Callable[[FileHandle, int, list[FileHandle]], object]
FileStepCallback: TypeAlias = Callable[[FileHandle, RetrievalStep], object]
FileStepProgressCallback: TypeAlias = Callable[[FileHandle, RetrievalStep, float], object]
SearchingCallback: TypeAlias = Callable[[], object]
ParserLoadedCallback: TypeAlias = Callable[[DocumentParsingLibraryIdentifier], object]
ParsingProgressCallback: TypeAlias = Callable[[float], object]


class RetrievalResultEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a file that was found."""

    content: str
    """The text."""
    score: float
    """How close it is to the query: the larger the closer."""
    source: FileHandle
    """The file, one of those given."""
    page_number: Place = None
    line_number: Place = None


class RetrievalResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a search in files found, the closest first."""

    entries: list[RetrievalResultEntry]


class ParseDocumentResult(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a document."""

    content: str
    parser: DocumentParsingLibraryIdentifier
    """What read it."""


class RetrievalOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to search; None leaves a choice to the server."""

    chunking_method: ChunkingMethodInput | None = None
    limit: int | None = None
    database_path: str | os.PathLike[str] | None = None
    embedding_model: model_ops.ModelTarget | None = None
    """None for one that is loaded."""


class RetrievalCallbacks(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to tell how a search proceeds."""

    on_file_process_list: FileListCallback | None = None
    on_file_processing_start: FileCallback | None = None
    on_file_processing_end: FileCallback | None = None
    on_file_processing_step_start: FileStepCallback | None = None
    on_file_processing_step_progress: FileStepProgressCallback | None = None
    on_file_processing_step_end: FileStepCallback | None = None
    on_searching_start: SearchingCallback | None = None
    on_searching_end: SearchingCallback | None = None


# Uploading -----------------------------------------------------------------------------------------------------------


_Key: TypeAlias = tuple[int | bytes, str]
"""Size or digest of a file, and the ending of its name."""


class _Upload:
    """One file on its way to the server, or there."""

    def __init__(self, digest: Callable[[], Coroutine[Any, Any, bytes]]) -> None:
        self.digest = digest
        """What tells its content from that of others; may have to be waited for."""
        self.connection: Multiplexer | None = None
        """The server keeps the file as long as this connection lives."""
        self.handle: FileHandle | None = None
        self.is_over = False
        self.waiting: list[Inbox] = []

    def note_connection(self, port: Port) -> None:
        """Runs right before the upload is sent, so it is sent on this connection; or later, if this one has failed."""
        self.connection = port.live_multiplexer()

    @property
    def is_kept(self) -> bool:
        """The server has the file."""
        return self.handle is not None and self.connection is not None and self.connection.failure is None

    def end(self) -> None:
        self.is_over = True
        while self.waiting:
            inbox = self.waiting.pop()
            # Only the arrival counts, there is nothing to tell.
            inbox.put(cast("Delivery", None))
            inbox.wake()

    async def wait(self, port: Port, attempted: str) -> None:
        """Return when the upload is over, for whoever did not begin it. It has time limits of its own."""
        inbox = port.runtime.new_inbox()
        self.waiting.append(inbox)
        with port.interruptible(inbox, attempted):
            # Those who end it first set the flag and then look for who waits.
            while not self.is_over:
                delivery = await inbox.get(port.new_limits(attempted, is_patient=True))
                if isinstance(delivery, LMStudioError):
                    raise delivery


class Uploads:
    """The files that a client has uploaded: each content once per connection, however often it is given."""

    def __init__(self) -> None:
        self._of_port: WeakKeyDictionary[Port, dict[_Key, _Upload]] = WeakKeyDictionary()

    async def handle(self, port: Port, file: LocalFile) -> FileHandle:
        """A handle for *file*, which is uploaded if the server does not have it yet."""
        uploads = self._of_port.setdefault(port.base, {})
        # The server may judge a file by the ending of its name, too.
        suffix = os.path.splitext(file.name)[1].lower()
        # The first file of its size cannot be there yet, so nothing waits for its digest, which takes as long as a
        # quarter of the upload.
        first_of_size = (len(file.content), suffix)
        first = uploads.get(first_of_size)
        if first is None or (first.is_over and not first.is_kept):
            mine = _Upload(port.runtime.begin(partial(_digest, file.content)))
            # Threads may do this at the same time; one of them uploads.
            first = uploads.setdefault(first_of_size, mine)
            if first is mine:
                return await self._begin(port, file, uploads, first_of_size, mine)
        digest = await port.runtime.offload(partial(_digest, file.content))
        is_same = await first.digest() == digest
        return await self._join(port, file, uploads, first_of_size if is_same else (digest, suffix), digest)

    async def _begin(
        self, port: Port, file: LocalFile, uploads: dict[_Key, _Upload], key: _Key, mine: _Upload
    ) -> FileHandle:
        """Upload *file*; whoever wants the same meanwhile waits for *mine*."""
        try:
            _drop_lost(uploads)
            return await _upload(port, file, mine)
        finally:
            if mine.handle is None and uploads.get(key) is mine:
                uploads.pop(key, None)
            mine.end()

    async def _join(
        self, port: Port, file: LocalFile, uploads: dict[_Key, _Upload], key: _Key, digest: bytes
    ) -> FileHandle:
        """The handle of the same content under *key*, uploaded if it is not or its upload fails."""

        async def known_digest() -> bytes:
            return digest

        while True:
            mine = _Upload(known_digest)
            upload = uploads.setdefault(key, mine)
            if upload is mine:
                return await self._begin(port, file, uploads, key, mine)
            if not upload.is_over:
                await upload.wait(port, f"upload {file.name!r}")
            if upload.is_kept and upload.handle is not None:
                return msgspec.structs.replace(upload.handle, name=file.name)
            if uploads.get(key) is upload:
                uploads.pop(key, None)  # its connection is gone


def _digest(content: bytes) -> bytes:
    from hashlib import sha256

    return sha256(content).digest()


async def _upload(port: Port, file: LocalFile, upload: _Upload) -> FileHandle:
    parameter = FilesRpcUploadFileBase64Parameter(name=file.name, content_base64="")
    payload = _wire.encode_with_base64(parameter, "contentBase64", file.content)
    port.runtime.post(partial(upload.note_connection, port))
    reply = await port.call(UPLOAD_FILE_BASE64, payload, f"upload {file.name!r}")
    upload.handle = FileHandle(
        name=file.name, identifier=reply.identifier, size_bytes=reply.size_bytes, file_type=reply.file_type
    )
    return msgspec.structs.replace(upload.handle)


def _drop_lost(uploads: dict[_Key, _Upload]) -> None:
    for key, upload in list(uploads.items()):
        if upload.is_over and not upload.is_kept:
            uploads.pop(key, None)


async def prepare(port: Port, uploads: Uploads, source: object, name: str | None, purpose: Purpose) -> FileHandle:
    """Upload a file that a user gives, and return its handle. Protocol: rpc files/uploadFileBase64."""
    return await _prepare(port, uploads, partial(read_local_file, source, name, purpose))


async def prepare_base64(
    port: Port, uploads: Uploads, file_name: str, content_base64: str, purpose: Purpose
) -> FileHandle:
    """As `prepare`, for content that is base64 already."""

    def read() -> LocalFile:
        return read_local_file(decode_base64(file_name, content_base64), file_name, purpose)

    return await _prepare(port, uploads, read)


async def _prepare(port: Port, uploads: Uploads, read: Callable[[], LocalFile]) -> FileHandle:
    return await uploads.handle(port, await port.runtime.offload(read))


# Handles -------------------------------------------------------------------------------------------------------------


def read_handle(given: object) -> FileHandle:
    """A file handle, also one given as a dict.

    Raises:
        LMStudioValueError: it is none.
    """
    if isinstance(given, FileHandle):
        return given
    if isinstance(given, Mapping):
        try:
            return FileHandle.from_dict({"type": "file", **given})
        except msgspec.ValidationError as error:
            raise LMStudioValueError(f"Cannot read {given!r:.80} as a file handle: {error}") from error
    hint = " Await it first: prepare_file() of an asynchronous client." if hasattr(given, "__await__") else ""
    raise LMStudioValueError(f"Expected a file handle, as prepare_file() returns it; got {type(given).__name__}.{hint}")


def is_image(handle: object) -> bool:
    """Whether a file is an image."""
    return read_handle(handle).file_type == "image"


async def get_file_path(port: Port, handle: object) -> str:
    """The path of a file on the server's machine. Protocol: rpc files/getLocalFileAbsolutePath."""
    file = read_handle(handle)
    kind, separator, name = file.identifier.partition(":")
    if not separator:
        kind, name = "local", file.identifier
    if kind == "base64":
        raise LMStudioValueError(f"The file {file.name!r} has no path: its handle carries its content.")
    if kind != "local" or not name or "/" in name or "\\" in name:
        raise LMStudioValueError(f"The file {file.name!r} has an identifier of unknown form: {file.identifier!r:.80}.")
    parameter = FilesRpcGetLocalFileAbsolutePathParameter(file_name=name)
    return (await port.call(GET_LOCAL_FILE_ABSOLUTE_PATH, parameter, f"get the path of {file.name!r}")).path


# Documents -----------------------------------------------------------------------------------------------------------


async def get_document_parsing_library(port: Port, handle: object) -> DocumentParsingLibraryIdentifier:
    """What would read a document. Protocol: rpc files/getDocumentParsingLibrary."""
    file = read_handle(handle)
    parameter = FilesRpcGetDocumentParsingLibraryParameter(file_identifier=file.identifier)
    reply = await port.call(GET_DOCUMENT_PARSING_LIBRARY, parameter, f"find the parser for {file.name!r}")
    return DocumentParsingLibraryIdentifier(library=reply.library, version=reply.version)


async def parse_document(
    port: Port,
    handle: object,
    parser_id: DocumentParserInput | None = None,
    on_parser_loaded: ParserLoadedCallback | None = None,
    on_progress: ParsingProgressCallback | None = None,
    signal: AbortSignal | None = None,
) -> ParseDocumentResult:
    """The text of a document. Leaving early in any way stops the server. Protocol: channel files/parseDocument."""
    file = read_handle(handle)
    parser = None if parser_id is None else read_config(DocumentParsingLibraryIdentifier, parser_id)
    runtime = port.runtime
    check_callbacks(runtime, on_parser_loaded=on_parser_loaded, on_progress=on_progress)
    check_signal(signal)
    parameter = FilesChannelParseDocumentCreationParameter(
        file_identifier=file.identifier, parse_opts=DocumentParsingOpts(parser_id=parser)
    )
    channel = port.channel(PARSE_DOCUMENT, parameter, f"parse {file.name!r}")

    async def take(packet: Any) -> ParseDocumentResult | None:
        match packet.type:
            case "parserLoaded":
                await tell(runtime, on_parser_loaded, packet.parser)
            case "progress":
                await tell(runtime, on_progress, packet.progress)
            case "result":
                return ParseDocumentResult(content=packet.content, parser=packet.parser)
        return None

    return await _follow(channel, ChannelPacketCancel(), take, signal)


# Retrieval -----------------------------------------------------------------------------------------------------------


async def retrieve(
    port: Port,
    embedding_port: Port,
    query: str,
    files: Iterable[object],
    options: RetrievalOptions,
    callbacks: RetrievalCallbacks,
    signal: AbortSignal | None = None,
) -> RetrievalResult:
    """The pieces of *files* that are closest to *query*. Leaving early in any way stops the server.

    Protocol: channel files/retrieve.
    """
    if not isinstance(query, str) or not query.strip():
        raise LMStudioValueError(f"The query must be a text that is not empty, got {query!r:.80}.")
    handles = _read_handles(files)
    fields = _retrieval_fields(options)
    check_callbacks(port.runtime, **msgspec.structs.asdict(callbacks))
    check_signal(signal)
    if signal is not None:
        signal.throw_if_aborted()
    fields["retrieval.embeddingModel"] = await _embedding_identifier(embedding_port, options.embedding_model)
    parameter = FilesChannelRetrieveCreationParameter(
        query=query,
        file_identifiers=[handle.identifier for handle in handles],
        config=KvConfig(fields=[KvConfigField(key=key, value=value) for key, value in fields.items()]),
    )
    channel = port.channel(RETRIEVE, parameter, f"search {len(handles)} {'file' if len(handles) == 1 else 'files'}")
    search = _Search(port.runtime, handles, callbacks)
    return await _follow(channel, ChannelPacketStop(), search.take, signal)


def _read_handles(files: Iterable[object]) -> list[FileHandle]:
    if isinstance(files, (FileHandle, Mapping)):
        return [read_handle(files)]
    if isinstance(files, (str, bytes)) or not isinstance(files, Iterable):
        raise LMStudioValueError(f"files must be a list of file handles, got {type(files).__name__}.")
    handles = [read_handle(file) for file in files]
    if not handles:
        raise LMStudioValueError("There are no files to search: give at least one handle.")
    return handles


def _retrieval_fields(options: RetrievalOptions) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if options.chunking_method is not None:
        fields["retrieval.chunkingMethod"] = _read_chunking_method(options.chunking_method).to_dict()
    if options.database_path is not None:
        fields["retrieval.databaseFile"] = os.fspath(options.database_path)
    limit: object = options.limit
    if limit is not None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise LMStudioValueError(f"limit must be a whole number from 1, got {limit!r}.")
        fields["retrieval.limit"] = limit
    return fields


def _read_chunking_method(given: ChunkingMethodInput) -> RetrievalChunkingMethodRecursiveV1:
    if isinstance(given, Mapping):
        kind = given.get("type", "recursive-v1")
        if kind != "recursive-v1":
            raise LMStudioValueError(f"There is one chunking method, 'recursive-v1'; got {kind!r}.")
        given = {key: value for key, value in given.items() if key != "type"}
    method = read_config(RetrievalChunkingMethodRecursiveV1, given)
    if method.chunk_size < 1 or not 0 <= method.chunk_overlap < method.chunk_size:
        raise LMStudioValueError(
            "chunk_size must be at least 1, and chunk_overlap at least 0 and smaller; "
            f"got {method.chunk_size} and {method.chunk_overlap}."
        )
    return method


async def _embedding_identifier(port: Port, target: model_ops.ModelTarget | None) -> str:
    if target is None:
        return (await model_ops.get_any(port, embedding_endpoints.MODELS)).identifier
    return (await model_ops.get_info(port, embedding_endpoints.MODELS, target)).identifier


class _Search:
    """A search in progress: its packets, with files in the place of their numbers."""

    def __init__(self, runtime: Runtime, files: list[FileHandle], callbacks: RetrievalCallbacks) -> None:
        self._runtime, self._files, self._callbacks = runtime, files, callbacks
        self._to_process: list[int] = []

    async def take(self, packet: Any) -> RetrievalResult | None:
        """Pass a packet on; the result, once it has come."""
        callbacks, runtime = self._callbacks, self._runtime
        match packet.type:
            case "onFileProcessList":
                self._to_process = [index for index in packet.indices if self._is_known(index)]
                await tell(runtime, callbacks.on_file_process_list, self._listed())
            case _ if not self._is_known(getattr(packet, "index", 0)):
                pass  # only a report, which nobody could make sense of
            case "onFileProcessingStart":
                await tell(runtime, callbacks.on_file_processing_start, *self._position(packet.index))
            case "onFileProcessingEnd":
                await tell(runtime, callbacks.on_file_processing_end, *self._position(packet.index))
            case "onFileProcessingStepStart":
                await tell(runtime, callbacks.on_file_processing_step_start, self._files[packet.index], packet.step)
            case "onFileProcessingStepProgress":
                callback = callbacks.on_file_processing_step_progress
                await tell(runtime, callback, self._files[packet.index], packet.step, packet.progress)
            case "onFileProcessingStepEnd":
                await tell(runtime, callbacks.on_file_processing_step_end, self._files[packet.index], packet.step)
            case "onSearchingStart":
                await tell(runtime, callbacks.on_searching_start)
            case "onSearchingEnd":
                await tell(runtime, callbacks.on_searching_end)
            case "result":
                return self._result(packet.result)
        return None

    def _is_known(self, index: int) -> bool:
        """Whether the server means a file of this search. It counts them from 0."""
        return 0 <= index < len(self._files)

    def _listed(self) -> list[FileHandle]:
        return [self._files[index] for index in self._to_process]

    def _position(self, index: int) -> tuple[FileHandle, int, list[FileHandle]]:
        number = self._to_process.index(index) if index in self._to_process else -1
        return self._files[index], number, self._listed()

    def _source(self, index: int) -> FileHandle:
        if not self._is_known(index):
            raise LMStudioProtocolError(
                f"The server reports on file {index} of a search in {len(self._files)} files, in the packet 'result' "
                f"of {RETRIEVE.name!r}, at `$.result.entries[...].sourceIndex`."
            )
        return self._files[index]

    def _result(self, result: InternalRetrievalResult) -> RetrievalResult:
        return RetrievalResult(
            entries=[
                RetrievalResultEntry(
                    content=entry.content,
                    score=entry.score,
                    source=self._source(entry.source_index),
                    page_number=_place(entry.page_number),
                    line_number=_place(entry.line_number),
                )
                for entry in result.entries
            ]
        )


def _place(value: int | list[int] | None) -> Place:
    return (value[0], value[-1]) if isinstance(value, list) and value else cast("int | None", value or None)


async def _follow(
    channel: Channel[Any, Any],
    stop_packet: object,
    take: Callable[[Any], Coroutine[Any, Any, T | None]],
    signal: AbortSignal | None,
) -> T:
    """Consume packets until *take* makes a result of one."""

    def stop() -> None:
        channel.send_last(stop_packet)

    if signal is not None:
        signal.throw_if_aborted()
    try:
        channel.open()
        with on_abort(signal, stop):
            while (result := await take(await channel.receive())) is None:
                pass
    except BaseException as error:
        stop()
        # Whatever the abort has made of the wait, the caller gets the reason that was given for it.
        if signal is not None and signal.aborted and isinstance(error, Exception):
            raise signal.error() from None
        raise
    channel.close()
    return result
