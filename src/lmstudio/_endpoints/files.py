"""Endpoints of the namespace files."""

from __future__ import annotations

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._sdk_models import (
    FilesChannelParseDocumentCreationParameter,
    FilesChannelParseDocumentToClientPacket,
    FilesChannelParseDocumentToServerPacket,
    FilesChannelRetrieveCreationParameter,
    FilesChannelRetrieveToClientPacket,
    FilesChannelRetrieveToServerPacket,
    FilesRpcGetDocumentParsingLibraryParameter,
    FilesRpcGetDocumentParsingLibraryReturns,
    FilesRpcGetLocalFileAbsolutePathParameter,
    FilesRpcGetLocalFileAbsolutePathReturns,
    FilesRpcUploadFileBase64Parameter,
    FilesRpcUploadFileBase64Returns,
)

GET_LOCAL_FILE_ABSOLUTE_PATH: Rpc[
    FilesRpcGetLocalFileAbsolutePathParameter, FilesRpcGetLocalFileAbsolutePathReturns
] = Rpc("getLocalFileAbsolutePath", FilesRpcGetLocalFileAbsolutePathParameter, FilesRpcGetLocalFileAbsolutePathReturns)
UPLOAD_FILE_BASE64: Rpc[FilesRpcUploadFileBase64Parameter, FilesRpcUploadFileBase64Returns] = Rpc(
    "uploadFileBase64", FilesRpcUploadFileBase64Parameter, FilesRpcUploadFileBase64Returns, ("identifier",)
)
GET_DOCUMENT_PARSING_LIBRARY: Rpc[
    FilesRpcGetDocumentParsingLibraryParameter, FilesRpcGetDocumentParsingLibraryReturns
] = Rpc(
    "getDocumentParsingLibrary",
    FilesRpcGetDocumentParsingLibraryParameter,
    FilesRpcGetDocumentParsingLibraryReturns,
    ("library",),
)
RETRIEVE: ChannelSpec[
    FilesChannelRetrieveCreationParameter, FilesChannelRetrieveToClientPacket, FilesChannelRetrieveToServerPacket
] = ChannelSpec(
    "retrieve",
    FilesChannelRetrieveCreationParameter,
    FilesChannelRetrieveToClientPacket,
    FilesChannelRetrieveToServerPacket,
    (
        "onFileProcessList.indices",
        "onFileProcessingStart.index",
        "onFileProcessingEnd.index",
        "onFileProcessingStepStart.index",
        "onFileProcessingStepProgress.index",
        "onFileProcessingStepEnd.index",
        "result.result.entries.[].content",
        "result.result.entries.[].sourceIndex",
    ),
)
PARSE_DOCUMENT: ChannelSpec[
    FilesChannelParseDocumentCreationParameter,
    FilesChannelParseDocumentToClientPacket,
    FilesChannelParseDocumentToServerPacket,
] = ChannelSpec(
    "parseDocument",
    FilesChannelParseDocumentCreationParameter,
    FilesChannelParseDocumentToClientPacket,
    FilesChannelParseDocumentToServerPacket,
    ("result.content",),
)
