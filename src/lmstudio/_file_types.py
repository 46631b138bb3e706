"""What a file is, by its first bytes. For the client and for the embedded server."""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = ["HEAD_BYTES", "FileFormat", "is_text", "recognise"]

HEAD_BYTES: Final = 512
"""How much of a file `recognise` looks at."""


class FileFormat(msgspec.Struct, frozen=True):
    """A file format."""

    name: str
    """With its article, for error messages: "a PNG image"."""
    suffix: str
    """The usual ending of file names, with the dot."""
    is_image: bool = False
    is_text: bool = False


PNG: Final = FileFormat("a PNG image", ".png", is_image=True)
JPEG: Final = FileFormat("a JPEG image", ".jpg", is_image=True)
WEBP: Final = FileFormat("a WebP image", ".webp", is_image=True)
PDF: Final = FileFormat("a PDF document", ".pdf")
ZIP: Final = FileFormat("a ZIP archive or Office document", ".zip")
SVG: Final = FileFormat("an SVG drawing", ".svg", is_text=True)
HTML: Final = FileFormat("an HTML page", ".html", is_text=True)
TEXT: Final = FileFormat("a text", ".txt", is_text=True)

_MAGIC: Final[tuple[tuple[re.Pattern[bytes], FileFormat], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), file_format)
    for pattern, file_format in (
        (rb"\x89PNG\r\n\x1a\n", PNG),
        (rb"\xff\xd8\xff", JPEG),
        (rb"RIFF....WEBP", WEBP),
        (rb"GIF8[79]a", FileFormat("a GIF image", ".gif", is_image=True)),
        # Two letters are too few to tell a bitmap from a text: the size of its second header must be a known one.
        (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", FileFormat("a BMP image", ".bmp", is_image=True)),
        (rb"II[*+]\0|MM\0[*+]", FileFormat("a TIFF image", ".tiff", is_image=True)),
        (rb"....ftyp(avif|avis)", FileFormat("an AVIF image", ".avif", is_image=True)),
        (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", FileFormat("a HEIC image", ".heic", is_image=True)),
        (rb"....ftyp", FileFormat("a video or sound in an MP4 container", ".mp4")),
        (rb"%PDF-", PDF),
        (rb"PK(\x03\x04|\x05\x06)", ZIP),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileFormat("an old Office document", ".doc")),
        (rb"\x1f\x8b", FileFormat("a gzip archive", ".gz")),
        (rb"\x7fELF|MZ.{58}..\0\0", FileFormat("a program", "")),
        (rb"GGUF", FileFormat("a GGUF model", ".gguf")),
        (rb"(?i)(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg[\s>]", SVG),
        (rb"(?i)(\xef\xbb\xbf)?\s*(<!doctype html|<html)[\s>]", HTML),
    )
)
# A control character other than tab, line feed, form feed, carriage return and escape is not part of a text.
_NOT_TEXT: Final = re.compile(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_ASCII: Final = bytes(range(128))
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def recognise(content: bytes | memoryview) -> FileFormat | None:
    """The format of a file with this beginning; None for one that is not known here."""
    head = bytes(content[:HEAD_BYTES])
    for pattern, file_format in _MAGIC:
        if pattern.match(head):
            return file_format
    return TEXT if is_text(head) else None


def is_text(head: bytes) -> bool:
    """Whether a file with this beginning is a text: in UTF-8, in UTF-16 with its mark, or mostly in ASCII."""
    if head.startswith(_UTF16_MARKS):
        return True
    if _NOT_TEXT.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        is_cut_off = error.reason == "unexpected end of data"
        return is_cut_off or 4 * len(head.translate(None, _ASCII)) < len(head)
    return True
