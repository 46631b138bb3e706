"""What kind of file a client has sent."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from lmstudio._file_types import PDF, ZIP, recognise

if TYPE_CHECKING:
    from lmstudio._sdk_models import FileType

__all__ = ["DOCX_BODY", "DocumentKind", "StoredType", "stored_type"]

DocumentKind: TypeAlias = Literal["text", "pdf", "docx"]

DOCX_BODY: Final = "word/document.xml"
_PLAIN_SUFFIXES: Final = ("", ".txt", ".text", ".log")


@dataclass(frozen=True)
class StoredType:
    """What a file is."""

    description: str
    """With its article, for messages."""
    file_type: FileType
    document: DocumentKind | None = None
    """How its text is written; None where there is none to read."""


def stored_type(name: str, content: bytes) -> StoredType:
    """The kind of a file, by its content, and for texts by its name as well."""
    file_format = recognise(content)
    if file_format is None:
        return StoredType("a file of unknown type", "unknown")
    if file_format.is_image:
        return StoredType(file_format.name, "image")
    if file_format is PDF:
        return StoredType(file_format.name, "application/pdf", "pdf")
    if file_format is ZIP and _is_docx(content):
        return StoredType("a Word document", "application/word", "docx")
    if file_format.is_text:
        is_plain = PurePosixPath(name.lower()).suffix in _PLAIN_SUFFIXES
        return StoredType(file_format.name, "text/plain" if is_plain else "text/other", "text")
    return StoredType(file_format.name, "unknown")


def _is_docx(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return DOCX_BODY in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
