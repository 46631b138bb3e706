# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from lmstudio._struct import LMStudioStruct
from msgspec import Meta, field

from .shared import (
    ChannelPacketCancel,
    ChannelPacketProgress,
    ChannelPacketStop,
    FileType,
    KvConfig,
)


class FilesRpcGetLocalFileAbsolutePathParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc files/getLocalFileAbsolutePath."""

    file_name: str


class FilesRpcGetLocalFileAbsolutePathReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc files/getLocalFileAbsolutePath."""

    path: str


class FilesRpcUploadFileBase64Parameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc files/uploadFileBase64."""

    name: str
    content_base64: str


class FilesRpcUploadFileBase64Returns(LMStudioStruct, kw_only=True):
    """Result of the rpc files/uploadFileBase64."""

    identifier: str
    file_type: FileType
    size_bytes: int


class FilesRpcGetDocumentParsingLibraryParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc files/getDocumentParsingLibrary."""

    file_identifier: str


class FilesRpcGetDocumentParsingLibraryReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc files/getDocumentParsingLibrary."""

    library: str
    version: str


class FilesChannelRetrieveToClientPacketOnFileProcessList(LMStudioStruct, kw_only=True, tag_field="type", tag="onFileProcessList"):
    """Packet `onFileProcessList` from the server, channel files/retrieve."""

    type: ClassVar[Literal["onFileProcessList"]] = "onFileProcessList"
    indices: list[int]


class FilesChannelRetrieveToClientPacketOnFileProcessingStart(LMStudioStruct, kw_only=True, tag_field="type", tag="onFileProcessingStart"):
    """Packet `onFileProcessingStart` from the server, channel files/retrieve."""

    type: ClassVar[Literal["onFileProcessingStart"]] = "onFileProcessingStart"
    index: int


class FilesChannelRetrieveToClientPacketOnFileProcessingEnd(LMStudioStruct, kw_only=True, tag_field="type", tag="onFileProcessingEnd"):
    """Packet `onFileProcessingEnd` from the server, channel files/retrieve."""

    type: ClassVar[Literal["onFileProcessingEnd"]] = "onFileProcessingEnd"
    index: int


RetrievalFileProcessingStep: TypeAlias = Literal["loading", "chunking", "embedding"]


class FilesChannelRetrieveToClientPacketOnFileProcessingStepProgress(LMStudioStruct, kw_only=True, tag_field="type", tag="onFileProcessingStepProgress"):
    """Packet `onFileProcessingStepProgress` from the server, channel files/retrieve."""

    type: ClassVar[Literal["onFileProcessingStepProgress"]] = (
        "onFileProcessingStepProgress"
    )
    index: int
    step: RetrievalFileProcessingStep
    progress: float


class FilesChannelRetrieveToClientPacketOnFileProcessingStepEnd(LMStudioStruct, kw_only=True, tag_field="type", tag="onFileProcessingStepEnd"):
    """Packet `onFileProcessingStepEnd` from the server, channel files/retrieve."""

    type: ClassVar[Literal["onFileProcessingStepEnd"]] = "onFileProcessingStepEnd"
    index: int
    step: RetrievalFileProcessingStep


class FilesChannelRetrieveToClientPacketOnSearchingStart(LMStudioStruct, kw_only=True, tag_field="type", tag="onSearchingStart"):
    """Packet `onSearchingStart` from the server, channel files/retrieve."""

    type: ClassVar[Literal["onSearchingStart"]] = "onSearchingStart"


class FilesChannelRetrieveToClientPacketOnSearchingEnd(LMStudioStruct, kw_only=True, tag_field="type", tag="onSearchingEnd"):
    """Packet `onSearchingEnd` from the server, channel files/retrieve."""

    type: ClassVar[Literal["onSearchingEnd"]] = "onSearchingEnd"


InternalRetrievalResultEntryPageNumberRange: TypeAlias = Annotated[
    list[int], Meta(max_length=2)
]


InternalRetrievalResultEntryLineNumberRange: TypeAlias = Annotated[
    list[int], Meta(max_length=2)
]


class InternalRetrievalResultEntry(LMStudioStruct, kw_only=True):
    """Part of InternalRetrievalResult."""

    content: str
    score: float
    source_index: int
    page_number: int | InternalRetrievalResultEntryPageNumberRange | None = None
    line_number: int | InternalRetrievalResultEntryLineNumberRange | None = None


class DocumentParsingLibraryIdentifier(LMStudioStruct, kw_only=True):
    """Part of DocumentParsingOpts, FilesChannelParseDocumentToClientPacketParserLoaded and 1 more."""

    library: str
    version: str


class FilesChannelParseDocumentToClientPacketParserLoaded(LMStudioStruct, kw_only=True, tag_field="type", tag="parserLoaded"):
    """Packet `parserLoaded` from the server, channel files/parseDocument."""

    type: ClassVar[Literal["parserLoaded"]] = "parserLoaded"
    parser: DocumentParsingLibraryIdentifier


class FilesChannelParseDocumentToClientPacketResult(LMStudioStruct, kw_only=True, tag_field="type", tag="result"):
    """Packet `result` from the server, channel files/parseDocument."""

    type: ClassVar[Literal["result"]] = "result"
    content: str
    parser: DocumentParsingLibraryIdentifier


class RetrievalChunkingMethodRecursiveV1(LMStudioStruct, tag_field="type", tag="recursive-v1", kw_only=True):
    """Not sent as such: its content travels in the fields of a KvConfig."""

    type: ClassVar[Literal["recursive-v1"]] = "recursive-v1"
    chunk_size: int
    chunk_overlap: int


class FilesChannelRetrieveCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel files/retrieve."""

    query: str
    file_identifiers: list[str]
    config: KvConfig


class FilesChannelRetrieveToClientPacketOnFileProcessingStepStart(LMStudioStruct, kw_only=True, tag_field="type", tag="onFileProcessingStepStart"):
    """Packet `onFileProcessingStepStart` from the server, channel files/retrieve."""

    type: ClassVar[Literal["onFileProcessingStepStart"]] = "onFileProcessingStepStart"
    index: int
    step: RetrievalFileProcessingStep


class InternalRetrievalResult(LMStudioStruct, kw_only=True):
    """Part of FilesChannelRetrieveToClientPacketResult."""

    entries: list[InternalRetrievalResultEntry]


FilesChannelRetrieveToServerPacket: TypeAlias = ChannelPacketStop


FilesChannelRetrieveToServerPacketStop: TypeAlias = ChannelPacketStop


class DocumentParsingOpts(LMStudioStruct, kw_only=True):
    """Part of FilesChannelParseDocumentCreationParameter."""

    parser_id: DocumentParsingLibraryIdentifier | None = None


FilesChannelParseDocumentToClientPacket: TypeAlias = FilesChannelParseDocumentToClientPacketParserLoaded | ChannelPacketProgress | FilesChannelParseDocumentToClientPacketResult


FilesChannelParseDocumentToClientPacketProgress: TypeAlias = ChannelPacketProgress


FilesChannelParseDocumentToServerPacket: TypeAlias = ChannelPacketCancel


FilesChannelParseDocumentToServerPacketCancel: TypeAlias = ChannelPacketCancel


RetrievalChunkingMethod: TypeAlias = RetrievalChunkingMethodRecursiveV1


class FilesChannelRetrieveToClientPacketResult(LMStudioStruct, kw_only=True, tag_field="type", tag="result"):
    """Packet `result` from the server, channel files/retrieve."""

    type: ClassVar[Literal["result"]] = "result"
    result: InternalRetrievalResult


class FilesChannelParseDocumentCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel files/parseDocument."""

    file_identifier: str
    parse_opts: DocumentParsingOpts


FilesChannelRetrieveToClientPacket: TypeAlias = FilesChannelRetrieveToClientPacketOnFileProcessList | FilesChannelRetrieveToClientPacketOnFileProcessingStart | FilesChannelRetrieveToClientPacketOnFileProcessingEnd | FilesChannelRetrieveToClientPacketOnFileProcessingStepStart | FilesChannelRetrieveToClientPacketOnFileProcessingStepProgress | FilesChannelRetrieveToClientPacketOnFileProcessingStepEnd | FilesChannelRetrieveToClientPacketOnSearchingStart | FilesChannelRetrieveToClientPacketOnSearchingEnd | FilesChannelRetrieveToClientPacketResult
