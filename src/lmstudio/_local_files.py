"""Files that users give for the server, read into memory and checked. Nothing here is sent.

Everything may take long (disk, decoding, conversion), so operations call it through `Runtime.offload`.
"""

from __future__ import annotations

import base64
import binascii
import errno
import io
import os
import re
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, cast
from urllib.parse import unquote_to_bytes

import msgspec
from typing_extensions import Buffer

from ._file_types import JPEG, PNG, WEBP, FileFormat, recognise
from .errors import LMStudioFileNotFoundError, LMStudioOSError, LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LocalFile", "LocalFileInput", "PillowImage", "Purpose", "decode_base64", "read_local_file"]


class PillowImage(Protocol):
    """What is needed of a PIL.Image.Image."""

    def save(self, fp: Any, format: str | None = None) -> None:
        """Write it as a file."""


LocalFileInput: TypeAlias = IO[bytes] | Buffer | str | os.PathLike[str] | PillowImage
"""A path, a file's content (bytes, or anything with a buffer), an open binary file, a Pillow image, a data: URI."""

Purpose: TypeAlias = Literal["image", "file"]

_SENDABLE_IMAGES: Final = (JPEG, PNG, WEBP)
_SENDABLE_NAMES: Final = "JPEG, PNG and WebP"
_PNG_MODES: Final = frozenset(("1", "L", "LA", "I;16", "P", "RGB", "RGBA"))
_NEAREST_PNG_MODE: Final = {"I": "I;16", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
# What Pillow raises for damaged images, and for closed ones.
_PILLOW_ERRORS: Final = (OSError, ValueError, SyntaxError, EOFError, AssertionError, AttributeError)
_SHOWN_LENGTH: Final = 200
_UNPRINTABLE: Final = re.compile(r"[\0-\x1f\x7f\ud800-\udfff]")


class LocalFile(msgspec.Struct, frozen=True):
    """A file that is ready to be sent."""

    name: str
    """Without folders."""
    content: bytes


def read_local_file(source: object, name: str | None, purpose: Purpose) -> LocalFile:
    """Read what a user gives as a file; what is no image is refused, and other formats converted, if it must be one.

    Raises:
        LMStudioFileNotFoundError: there is no such file.
        LMStudioOSError: it cannot be read.
        LMStudioValueError: nothing that is accepted, or not for this purpose; the message says what is.
    """
    if name is not None and not isinstance(name, str):
        raise LMStudioValueError(f"The name of a file must be a string, got {type(name).__name__}.")
    found_name, content = _read(source)
    shown = _clean_name(name) or _clean_name(found_name)
    if not content:
        raise LMStudioValueError(f"{repr(shown) if shown else 'The content'} is empty: there is nothing to send.")
    file_format = recognise(content)
    if purpose == "image" and file_format not in _SENDABLE_IMAGES:
        content = _as_png(content, file_format, repr(shown) if shown else "The content")
        return LocalFile(_renamed(shown or "image", PNG), content)
    suffix = "" if file_format is None else file_format.suffix
    return LocalFile(shown or f"{purpose}{suffix}", content)


def decode_base64(file_name: object, content: object) -> bytes:
    """The bytes of *content*: base64 as text, also with line breaks, or as a data: URI.

    Raises:
        LMStudioValueError: it is not base64.
    """
    if not isinstance(file_name, str):
        raise LMStudioValueError(f"The name of a file must be a string, got {type(file_name).__name__}.")
    if isinstance(content, (bytes, bytearray)):
        content = content.decode("ascii", "replace")
    if not isinstance(content, str):
        raise LMStudioValueError(f"The base64 of {file_name!r} must be a string, got {type(content).__name__}.")
    if _is_data_uri(content):
        return _read_data_uri(content)
    return _decode(content, f"The content of {file_name!r}")


# Reading -------------------------------------------------------------------------------------------------------------


def _read(source: object) -> tuple[str, bytes]:
    """Name, as far as there is one, and content."""
    if isinstance(source, str):
        if _is_data_uri(source):
            return "", _read_data_uri(source)
        return source, _read_path(source)
    if isinstance(source, os.PathLike):
        path = os.fspath(source)
        if not isinstance(path, str):
            raise LMStudioValueError(f"A path must be text, got {type(source).__name__} with a path in bytes.")
        return path, _read_path(path)
    if _is_pillow_image(source):
        image = cast("PillowImage", source)
        file_name = _clean_name(getattr(source, "filename", ""))
        try:
            content = _save_as_png(image)
        except _PILLOW_ERRORS as error:
            raise LMStudioValueError(f"The Pillow image cannot be written as PNG: {error}.") from error
        return _renamed(file_name or "image", PNG), content
    if isinstance(source, bytes):
        return "", source
    try:
        view = memoryview(cast("Buffer", source))
    except TypeError:
        pass
    else:
        # A copy, because the caller could change it while it is sent.
        return "", view.tobytes()
    if hasattr(source, "read"):
        return _read_open_file(source)
    raise LMStudioValueError(
        f"Cannot read {type(source).__name__} as a file. Expected a path, bytes or another buffer, an open binary "
        "file, a Pillow image, or a data: URI."
    )


def _read_path(path: str) -> bytes:
    if re.match(r"(?i)https?://", path):
        raise LMStudioValueError(f"{_shorten(path)} is a URL: download the file first, and give its content or path.")
    if "\0" in path:
        raise LMStudioValueError("A path must not contain null characters. For content give bytes.")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise LMStudioValueError(f"{_shorten(path)} cannot be the path of a file: it is no valid Unicode.") from None
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise LMStudioFileNotFoundError(error.errno, f"There is no file {_shorten(path)}.{_hint(path)}") from error
    except IsADirectoryError as error:
        raise LMStudioOSError(error.errno, f"{_shorten(path)} is a folder, not a file.") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise LMStudioFileNotFoundError(error.errno, f"There is no file {_shorten(path)}.{_hint(path)}") from error
        if os.path.isdir(path):  # not allowed, says Windows
            raise LMStudioOSError(error.errno, f"{_shorten(path)} is a folder, not a file.") from error
        raise LMStudioOSError(error.errno, f"Cannot read {_shorten(path)}: {error.strerror or error}.") from error


def _hint(path: str) -> str:
    if len(path) > 200 and re.fullmatch(r"[A-Za-z0-9+/=\s]+", path):
        return " If this is the content in base64, use prepare_image_base64() or prepare_file_base64()."
    return ""


def _read_open_file(file: Any) -> tuple[str, bytes]:
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) and not name.startswith("<") else ""
    shown = repr(_clean_name(name)) if name else "The file object"
    if getattr(file, "closed", False):
        raise LMStudioValueError(f"{shown} is closed: it cannot be read any more.")
    if isinstance(file, io.TextIOBase):
        raise _text_mode(shown)
    try:
        content = file.read()
    except OSError as error:
        raise LMStudioOSError(error.errno, f"Cannot read {shown}: {error.strerror or error}.") from error
    if isinstance(content, str):
        raise _text_mode(shown)
    if hasattr(content, "__await__"):
        close: Callable[[], object] = getattr(content, "close", lambda: None)
        close()
        raise LMStudioValueError(f"{shown} reads asynchronously: give the content, e.g. `await file.read()`.")
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise LMStudioValueError(f"{shown} cannot be read as a file: read() returned {type(content).__name__}.")
    return name, bytes(content)


def _text_mode(shown: str) -> LMStudioValueError:
    return LMStudioValueError(f"{shown} is open in text mode: open it in binary mode, with open(path, 'rb').")


def _is_data_uri(text: str) -> bool:
    return text[:5].lower() == "data:"


def _read_data_uri(uri: str) -> bytes:
    header, comma, data = uri.partition(",")
    if not comma:
        raise LMStudioValueError(f"{_shorten(uri)} is not a data: URI: there is no comma before the data.")
    if header.lower().endswith(";base64"):
        return _decode(data, f"The data: URI {_shorten(uri)}")
    return unquote_to_bytes(data)


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass  # often there are only line breaks in it
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise LMStudioValueError(f"{what} is not valid base64: {error}.") from None


def _shorten(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_LENGTH else repr(text[:_SHOWN_LENGTH] + "…")


# Names ---------------------------------------------------------------------------------------------------------------


def _clean_name(name: object) -> str:
    """The last component of a path of any system, without what no file name has."""
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if not isinstance(name, str):
        return ""
    last = re.split(r"[\\/]", name.rstrip("\\/"))[-1]
    return _UNPRINTABLE.sub("", last).strip() if last not in (".", "..") else ""


def _renamed(name: str, file_format: FileFormat) -> str:
    return os.path.splitext(name)[0] + file_format.suffix


# Images --------------------------------------------------------------------------------------------------------------


def _is_pillow_image(value: object) -> bool:
    # By name, because Pillow takes long to import and may not be there.
    return any(cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(value).__mro__)


def _as_png(content: bytes, file_format: FileFormat | None, shown: str) -> bytes:
    if file_format is None or not file_format.is_image:
        found = "not of a known image format" if file_format is None else f"{file_format.name}, not an image"
        raise LMStudioValueError(
            f"{shown} is {found}. prepare_image() takes {_SENDABLE_NAMES} images; for other files use prepare_file()."
        )
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise LMStudioValueError(
            f"{shown} is {file_format.name}. {_SENDABLE_NAMES} images are sent as they are; to have others converted: "
            "pip install Pillow"
        ) from None
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _save_as_png(ImageOps.exif_transpose(image))
    except (*_PILLOW_ERRORS, Image.DecompressionBombError) as error:
        is_unknown = isinstance(error, UnidentifiedImageError)
        reason = "it is damaged, or this Pillow has no reader for its format" if is_unknown else error
        raise LMStudioValueError(
            f"{shown} is {file_format.name} that Pillow cannot convert: {reason}. Save it as JPEG, PNG or WebP."
        ) from error


def _save_as_png(image: Any) -> bytes:
    buffer = io.BytesIO()
    if image.mode not in _PNG_MODES:
        image = image.convert(_NEAREST_PNG_MODE.get(image.mode, "RGB"))
    image.save(buffer, format="PNG")
    return buffer.getvalue()
