"""Documents -> their text."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, TypeAlias
from xml.etree import ElementTree as ET

from lmstudio._sdk_models import DocumentParsingLibraryIdentifier
from lmstudio._version import __version__
from lmstudio.server.errors import RequestError
from lmstudio.server.files.threads import in_thread
from lmstudio.server.files.types import DOCX_BODY, DocumentKind

if TYPE_CHECKING:
    from lmstudio.server.files.store import StoredFile

__all__ = ["Document", "Parser", "parse", "parser_for"]

ProgressCallback: TypeAlias = Callable[[float], object]
Pages: TypeAlias = Iterator[tuple[str, float]]
"""The text of each page, and how much of the document that was, from 0 to 1."""

MAX_TEXT_CHARACTERS: Final = 50_000_000
"""Small files can hold large texts: archives are compressed, and a PDF may show one text on many pages."""
_WORD: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_SUPPORTED: Final = "text (also Markdown, source code and the like), PDF and Word (docx) documents"


@dataclass(frozen=True)
class Document:
    """The text of a file."""

    pages: tuple[str, ...]
    is_paged: bool
    """Pages are those of the document; otherwise all its text is one."""

    @property
    def text(self) -> str:
        """All of it."""
        return "\n\n".join(self.pages)


@dataclass(frozen=True)
class Parser:
    """Reads documents of one kind."""

    library: str
    version: str
    pages: Callable[[bytes], Pages]
    is_paged: bool = False

    @property
    def identifier(self) -> DocumentParsingLibraryIdentifier:
        """How the protocol names it."""
        return DocumentParsingLibraryIdentifier(library=self.library, version=self.version)


def parser_for(file: StoredFile, wanted: DocumentParsingLibraryIdentifier | None = None) -> Parser:
    """What reads *file*; *wanted* must be that.

    Raises:
        RequestError: nothing does, or something else than *wanted*.
    """
    if file.type.document is None:
        raise RequestError(
            f"The file {file.name!r} cannot be read as a document: it is {file.type.description}.",
            suggestion=f"This server reads {_SUPPORTED}.",
        )
    parser = _parser(file.type.document)
    if wanted is not None and wanted != parser.identifier:
        raise RequestError(
            f"The file {file.name!r} cannot be parsed with {wanted.library!r} {wanted.version!r}.",
            suggestion=f"It can with {parser.library!r} {parser.version!r}.",
        )
    return parser


def _parser(kind: DocumentKind) -> Parser:
    if kind == "text":
        return Parser("plain-text", __version__, _text_pages)
    if kind == "docx":
        return Parser("docx", __version__, _docx_pages)
    if importlib.util.find_spec("pypdf") is None:
        raise RequestError(
            "This server cannot read PDF documents: the package pypdf is not installed where it runs.",
            suggestion="Install it there with: pip install 'lmstudio[server]'",
        )
    return Parser("pypdf", version("pypdf"), _pdf_pages, is_paged=True)


async def parse(file: StoredFile, parser: Parser, on_progress: ProgressCallback) -> Document:
    """The text of *file*, which remembers it. Cancelling this ends it after the current page.

    Raises:
        RequestError: the file is damaged, or holds too much.
    """
    if file.document is None:
        file.document = await _parse(file, parser, on_progress)
    else:
        on_progress(1.0)
    return file.document


async def _parse(file: StoredFile, parser: Parser, on_progress: ProgressCallback) -> Document:
    on_progress(0.0)
    texts: list[str] = []
    length = 0
    try:
        pages = parser.pages(await in_thread(file.read))
        while (page := await in_thread(lambda: next(pages, None))) is not None:
            text, progress = page
            texts.append(text)
            length += len(text)
            if length > MAX_TEXT_CHARACTERS:
                raise RequestError(
                    f"The document {file.name!r} is too long: more than {MAX_TEXT_CHARACTERS} characters.",
                    suggestion="Send the part that is needed.",
                )
            on_progress(progress)
    except RequestError:
        raise
    except Exception as error:  # whatever a parser makes of a damaged file is the file's fault
        raise RequestError(
            f"The file {file.name!r} cannot be read as {file.type.description}: {str(error) or type(error).__name__}.",
            suggestion="It may be damaged or protected by a password.",
        ) from error
    return Document(tuple(texts), parser.is_paged)


# The kinds -----------------------------------------------------------------------------------------------------------


def _text_pages(content: bytes) -> Pages:
    yield _decoded(content).replace("\r\n", "\n").replace("\r", "\n"), 1.0


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _pdf_pages(content: bytes) -> Pages:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    count = len(reader.pages)
    for number in range(count):
        # The pages are taken one by one, because the reader remembers what it has parsed.
        yield reader.pages[number].extract_text().strip(), (number + 1) / count


def _docx_pages(content: bytes) -> Pages:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if archive.getinfo(DOCX_BODY).file_size > 4 * MAX_TEXT_CHARACTERS:
            raise ValueError("its text is too long")
        body = archive.read(DOCX_BODY)
    if b"<!DOCTYPE" in body:
        raise ValueError("it declares a document type, which Word never does")  # entities could grow without end
    paragraphs = ET.fromstring(body).iter(f"{_WORD}p")
    yield "\n".join("".join(map(_docx_text, paragraph.iter())) for paragraph in paragraphs), 1.0


def _docx_text(element: ET.Element) -> str:
    if element.tag == f"{_WORD}t":
        return element.text or ""
    return {f"{_WORD}tab": "\t", f"{_WORD}br": "\n", f"{_WORD}cr": "\n"}.get(element.tag, "")
