"""The namespace files: uploads, the text of documents, and searches in them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lmstudio._endpoints.files import (
    GET_DOCUMENT_PARSING_LIBRARY,
    GET_LOCAL_FILE_ABSOLUTE_PATH,
    PARSE_DOCUMENT,
    RETRIEVE,
    UPLOAD_FILE_BASE64,
)
from lmstudio._sdk_models import (
    ChannelPacketProgress,
    FilesChannelParseDocumentToClientPacketParserLoaded,
    FilesChannelParseDocumentToClientPacketResult,
    FilesChannelRetrieveToClientPacketOnFileProcessingEnd,
    FilesChannelRetrieveToClientPacketOnFileProcessingStart,
    FilesChannelRetrieveToClientPacketOnFileProcessingStepEnd,
    FilesChannelRetrieveToClientPacketOnFileProcessingStepProgress,
    FilesChannelRetrieveToClientPacketOnFileProcessingStepStart,
    FilesChannelRetrieveToClientPacketOnFileProcessList,
    FilesChannelRetrieveToClientPacketOnSearchingEnd,
    FilesChannelRetrieveToClientPacketOnSearchingStart,
    FilesChannelRetrieveToClientPacketResult,
    FilesRpcGetDocumentParsingLibraryReturns,
    FilesRpcGetLocalFileAbsolutePathReturns,
    FilesRpcUploadFileBase64Returns,
    InternalRetrievalResult,
    ModelQuery,
    ModelSpecifierQuery,
)
from lmstudio.server.errors import RequestError
from lmstudio.server.files.parsing import parse, parser_for
from lmstudio.server.files.retrieval import Index, RetrievalConfig, chunked, embedded, search

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from lmstudio._sdk_models import (
        ChannelPacketCancel,
        ChannelPacketStop,
        FilesChannelParseDocumentCreationParameter,
        FilesChannelRetrieveCreationParameter,
        FilesRpcGetDocumentParsingLibraryParameter,
        FilesRpcGetLocalFileAbsolutePathParameter,
        FilesRpcUploadFileBase64Parameter,
        RetrievalFileProcessingStep,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore
    from lmstudio.server.files.store import StoredFile
    from lmstudio.server.instances import Instance


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve the namespace."""
    FilesHandlers(core).bind(handlers)


class FilesHandlers:
    """The handlers of the namespace."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def bind(self, handlers: Handlers) -> None:
        """Serve all endpoints."""
        handlers.rpc(GET_LOCAL_FILE_ABSOLUTE_PATH, self._get_path)
        handlers.rpc(UPLOAD_FILE_BASE64, self._upload)
        handlers.rpc(GET_DOCUMENT_PARSING_LIBRARY, self._get_parser)
        handlers.channel(RETRIEVE, self._retrieve)
        handlers.channel(PARSE_DOCUMENT, self._parse)

    async def _upload(
        self, context: ClientContext, parameter: FilesRpcUploadFileBase64Parameter
    ) -> FilesRpcUploadFileBase64Returns:
        file = await self._core.files.add(context, parameter.name, parameter.content_base64)
        return FilesRpcUploadFileBase64Returns(
            identifier=file.identifier, file_type=file.file_type, size_bytes=file.size_bytes
        )

    async def _get_path(
        self, context: ClientContext, parameter: FilesRpcGetLocalFileAbsolutePathParameter
    ) -> FilesRpcGetLocalFileAbsolutePathReturns:
        file = self._core.files.find(context, parameter.file_name)
        if file.path is None:
            raise RequestError("The file has no path: its identifier carries its content.")
        return FilesRpcGetLocalFileAbsolutePathReturns(path=str(file.path))

    async def _get_parser(
        self, context: ClientContext, parameter: FilesRpcGetDocumentParsingLibraryParameter
    ) -> FilesRpcGetDocumentParsingLibraryReturns:
        parser = parser_for(self._core.files.find(context, parameter.file_identifier))
        return FilesRpcGetDocumentParsingLibraryReturns(library=parser.library, version=parser.version)

    async def _parse(
        self,
        context: ClientContext,
        parameter: FilesChannelParseDocumentCreationParameter,
        channel: ServerChannel[Any, ChannelPacketCancel],
    ) -> None:
        file = self._core.files.find(context, parameter.file_identifier)
        parser = parser_for(file, parameter.parse_opts.parser_id)

        async def work() -> None:
            channel.send(FilesChannelParseDocumentToClientPacketParserLoaded(parser=parser.identifier))
            document = await parse(file, parser, lambda value: channel.send(ChannelPacketProgress(progress=value)))
            channel.send(FilesChannelParseDocumentToClientPacketResult(content=document.text, parser=parser.identifier))

        await _until_stopped(channel, work())

    async def _retrieve(
        self,
        context: ClientContext,
        parameter: FilesChannelRetrieveCreationParameter,
        channel: ServerChannel[Any, ChannelPacketStop],
    ) -> None:
        config = RetrievalConfig.parse(parameter.config)
        files = [self._core.files.find(context, identifier) for identifier in parameter.file_identifiers]
        for file in files:
            parser_for(file)  # refuses what has no text, before anything is done with the others
        query = ModelQuery(identifier=config.embedding_model or None)
        instance = self._core.instances.find("embedding", ModelSpecifierQuery(query=query))
        retrieval = Retrieval(files, config, instance, channel)
        with self._core.instances.use(instance, "computingEmbedding"):
            await _until_stopped(channel, retrieval.run(parameter.query))


class Retrieval:
    """One search, and what the client is told about it."""

    def __init__(
        self,
        files: Sequence[StoredFile],
        config: RetrievalConfig,
        instance: Instance,
        channel: ServerChannel[Any, ChannelPacketStop],
    ) -> None:
        self._files = files
        self._config = config
        self._model = instance.model
        self._channel = channel
        self._key = (instance.instance_reference, config.chunk_size, config.chunk_overlap)

    async def run(self, query: str) -> None:
        """Embed the files that have not been embedded so, then search."""
        send = self._channel.send
        to_process = [number for number, file in enumerate(self._files) if self._index_of(file) is None]
        send(FilesChannelRetrieveToClientPacketOnFileProcessList(indices=to_process))
        indices: dict[int, Index] = {}
        for number in to_process:
            send(FilesChannelRetrieveToClientPacketOnFileProcessingStart(index=number))
            indices[number] = await self._process(number)
            send(FilesChannelRetrieveToClientPacketOnFileProcessingEnd(index=number))
            await self._channel.drain()
        ready = [
            indices.get(number) or self._index_of(file) or Index(self._key, ())
            for number, file in enumerate(self._files)
        ]
        send(FilesChannelRetrieveToClientPacketOnSearchingStart())
        entries = await search(self._model, query, ready, self._config.limit)
        send(FilesChannelRetrieveToClientPacketOnSearchingEnd())
        send(FilesChannelRetrieveToClientPacketResult(result=InternalRetrievalResult(entries=entries)))

    def _index_of(self, file: StoredFile) -> Index | None:
        return file.index if file.index is not None and file.index.key == self._key else None

    async def _process(self, number: int) -> Index:
        file = self._files[number]
        parser = parser_for(file)
        document = await self._step(number, "loading", lambda report: parse(file, parser, report))
        pieces = await self._step(number, "chunking", lambda _: chunked(document, self._config))
        found = await self._step(number, "embedding", lambda report: embedded(self._model, pieces, report))
        file.index = Index(self._key, found)
        return file.index

    async def _step(
        self,
        number: int,
        step: RetrievalFileProcessingStep,
        work: Callable[[Callable[[float], object]], Coroutine[Any, Any, Any]],
    ) -> Any:
        channel = self._channel

        def report(progress: float) -> None:
            channel.send(
                FilesChannelRetrieveToClientPacketOnFileProcessingStepProgress(
                    index=number, step=step, progress=progress
                )
            )

        channel.send(FilesChannelRetrieveToClientPacketOnFileProcessingStepStart(index=number, step=step))
        result = await work(report)
        channel.send(FilesChannelRetrieveToClientPacketOnFileProcessingStepEnd(index=number, step=step))
        return result


async def _until_stopped(channel: ServerChannel[Any, Any], work: Coroutine[Any, Any, None]) -> None:
    """Do *work*; any packet of the client ends it, and with it the channel, without a result."""
    task = asyncio.ensure_future(work)
    stops = []

    def stop(packet: object) -> None:
        stops.append(packet)
        task.cancel()

    channel.listen(stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stops:
            raise
