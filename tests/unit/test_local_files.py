"""What users may give as a file, what it is taken for, and what is refused before anything is sent."""

from __future__ import annotations

import array
import base64
import io
import mmap
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sample_files import GIF, JPEG, PNG, WEBP, docx, pdf, zipped

import lmstudio as lms
from lmstudio import history
from lmstudio._file_types import HEAD_BYTES, recognise
from lmstudio._local_files import LocalFile, decode_base64, read_local_file


def image(source: object, name: str | None = None) -> LocalFile:
    return read_local_file(source, name, "image")


def file(source: object, name: str | None = None) -> LocalFile:
    return read_local_file(source, name, "file")


# What is accepted ----------------------------------------------------------------------------------------------------


def test_path_gives_content_and_last_component_as_name(tmp_path: Path) -> None:
    path = tmp_path / "photo of Ünal.png"
    path.write_bytes(PNG)

    assert image(path) == image(str(path)) == LocalFile("photo of Ünal.png", PNG)


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: array.array("B", data), io.BytesIO])
def test_content_gets_a_name_by_its_type(make: Any) -> None:
    assert image(make(PNG)) == LocalFile("image.png", PNG)
    assert file(make(pdf("x"))).name == "file.pdf"
    assert file(make(b"just words")).name == "file.txt"
    assert file(make(b"\0\1\2")).name == "file"


def test_mapped_and_strided_memory_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    with path.open("rb") as open_file, mmap.mmap(open_file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert image(mapped).content == PNG
    doubled = bytes(byte for pair in zip(PNG, PNG, strict=True) for byte in pair)
    assert image(memoryview(doubled)[::2]).content == PNG


def test_bytes_are_not_copied_and_what_can_change_is() -> None:
    changing = bytearray(PNG)
    read = image(changing)
    changing[0] = 0

    assert read.content == PNG
    assert image(PNG).content is PNG


def test_open_file_is_read_from_where_it_stands_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"skip this, read this")
    with path.open("rb") as open_file:
        open_file.seek(11)
        assert file(open_file) == LocalFile("note.txt", b"read this")
    with io.FileIO(os.open(path, os.O_RDONLY)) as nameless:  # its name is a number
        assert file(nameless).name == "file.txt"


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "DATA:image/png;BASE64," + base64.encodebytes(PNG).decode(),
        "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
    ],
)
def test_data_uri_is_read(uri: str) -> None:
    assert image(uri) == LocalFile("image.png", PNG)


def test_base64_is_read_with_and_without_line_breaks_and_as_data_uri() -> None:
    plain = base64.b64encode(PNG * 3).decode()

    assert decode_base64("x", plain) == PNG * 3
    assert decode_base64("x", base64.encodebytes(PNG * 3).decode()) == PNG * 3
    assert decode_base64("x", plain.encode()) == PNG * 3
    assert decode_base64("x", f"data:image/png;base64,{plain}") == PNG * 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/cat.png", "cat.png"),
        (r"C:\pictures\cat.png", "cat.png"),
        ("folder/", "folder"),
        ("..", "image.png"),
        ("", "image.png"),
        (" \n ", "image.png"),
        ("c\0a\nt\ud800.png", "cat.png"),
    ],
)
def test_given_name_wins_without_folders_and_control_characters(given: str, expected: str) -> None:
    assert image(PNG, given).name == expected


# Images --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "name"), [(PNG, "image.png"), (JPEG, "image.jpg"), (WEBP, "image.webp")])
def test_image_that_models_take_goes_as_it_is(content: bytes, name: str) -> None:
    assert image(content) == LocalFile(name, content)


def written(image_format: str, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (4, 2)).save(out, image_format, **options)
    return out.getvalue()


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "TIFF"])
def test_other_image_is_sent_as_png(image_format: str) -> None:
    read = image(written(image_format), f"cat.{image_format.lower()}")

    assert read.name == "cat.png"
    assert (opened := Image.open(io.BytesIO(read.content))).format == "PNG"
    assert opened.size == (4, 2)


def test_converted_image_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side

    assert Image.open(io.BytesIO(image(written("TIFF", exif=exif)).content)).size == (2, 4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "PA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_pillow_image_of_every_mode_is_sent_as_png(mode: str) -> None:
    read = image(Image.new(mode, (4, 2)))

    assert read.name == "image.png"
    assert Image.open(io.BytesIO(read.content)).size == (4, 2)


def test_pillow_image_keeps_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "cat.gif").write_bytes(GIF)
    with Image.open(tmp_path / "cat.gif") as opened:
        assert image(opened).name == "cat.png"


def test_closed_pillow_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat.gif").write_bytes(GIF)
    with Image.open(tmp_path / "cat.gif") as opened:
        pass
    with pytest.raises(lms.LMStudioValueError, match="The Pillow image cannot be written as PNG"):
        image(opened)


def test_other_image_without_pillow_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    expected = r"'cat\.gif' is a GIF image\. JPEG, PNG and WebP images are sent as they are; .*pip install Pillow"
    with pytest.raises(lms.LMStudioValueError, match=expected):
        image(GIF, "cat.gif")
    assert file(GIF, "cat.gif").content == GIF


@pytest.mark.parametrize(("content", "name"), [(GIF[:8], "a GIF image"), (b"\0\0\0\x1cftypheic", "a HEIC image")])
def test_image_that_pillow_cannot_read_is_refused(content: bytes, name: str) -> None:
    expected = rf"^The content is {name} that Pillow cannot convert: .*\. Save it as JPEG, PNG or WebP\.$"
    with pytest.raises(lms.LMStudioValueError, match=expected):
        image(content)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (pdf("Report"), "a PDF document, not an image"),
        (docx("Report"), "a ZIP archive or Office document, not an image"),
        (b"Once upon a time", "a text, not an image"),
        (b"<!DOCTYPE html><p>404 Not Found", "an HTML page, not an image"),
        (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg width="1"/>', "an SVG drawing, not an image"),
        (b"\0\0\0\x20ftypisom\0", "a video or sound in an MP4 container, not an image"),
        (b"\0\1\2\3", "not of a known image format"),
    ],
)
def test_what_is_no_image_is_refused_by_what_it_is(content: bytes, found: str) -> None:
    expected = rf"^'report\.pdf' is {found}\. prepare_image\(\) takes JPEG, PNG and WebP images; .*prepare_file\(\)\.$"
    with pytest.raises(lms.LMStudioValueError, match=expected):
        image(content, "report.pdf")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x1cftypavif", "an AVIF image"),
        (b"\0\0\0\x1cftypheic", "a HEIC image"),
        (b"II*\0", "a TIFF image"),
        (b"MM\0*", "a TIFF image"),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "a BMP image"),
        (b"BMW is a maker of cars", "a text"),
        (b"MZ" + bytes(58) + b"\x80\0\0\0", "a program"),
        ("Grüße".encode("utf-16"), "a text"),
        ("Grüße aus dem Süden".encode("cp1252"), "a text"),
        (("x" * (HEAD_BYTES - 1) + "ü").encode(), "a text"),
    ],
)
def test_format_is_recognised_by_content(content: bytes, name: str) -> None:
    found = recognise(content)
    assert found is not None
    assert found.name == name


# What is refused -----------------------------------------------------------------------------------------------------


def test_missing_file_is_a_file_not_found_error_of_both_families(tmp_path: Path) -> None:
    path = tmp_path / "gone.png"
    with pytest.raises(lms.LMStudioFileNotFoundError, match=r"There is no file '.*gone\.png'") as caught:
        image(path)
    assert isinstance(caught.value, FileNotFoundError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("length", [240, 8000])
def test_base64_given_as_a_path_gets_a_hint(length: int) -> None:
    with pytest.raises(lms.LMStudioFileNotFoundError, match="If this is the content in base64, use prepare_image_ba"):
        image(base64.b64encode(bytes(length)).decode())


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(lms.LMStudioOSError, match="is a folder, not a file"):
        image(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="Everything can be read here.")
def test_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.touch(mode=0)
    with pytest.raises(lms.LMStudioOSError, match=r"Cannot read '.*secret\.png': Permission denied"):
        image(path)


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"cat.png"


class AsyncFile:
    async def read(self) -> bytes:
        return PNG


class OddFile:
    def read(self) -> int:
        return 3


class BrokenFile:
    name = "/mnt/cat.png"

    def read(self) -> bytes:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "The content is empty"),
        (io.BytesIO(), "The content is empty"),
        (io.StringIO("text"), r"The file object is open in text mode: .*'rb'"),
        (BytesPath(), "A path must be text, got BytesPath with a path in bytes"),
        ("cat\0.png", "must not contain null characters"),
        ("https://example.com/cat.png", "is a URL: download the file first"),
        ("data:image/png;base64", "there is no comma"),
        ("data:image/png;base64,!!", "The data: URI .* is not valid base64"),
        (AsyncFile(), "reads asynchronously: give the content, e.g. `await file.read"),
        (OddFile(), r"read\(\) returned int"),
        (None, "Cannot read NoneType as a file. Expected a path, bytes"),
        (3, "Cannot read int as a file"),
        (["cat.png"], "Cannot read list as a file"),
    ],
)
def test_what_is_no_file_is_refused(source: object, message: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=message):
        image(source)


def test_open_file_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(lms.LMStudioOSError, match=r"Cannot read 'cat\.png': Input/output error"):
        image(BrokenFile())


def test_closed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    with path.open("rb") as open_file:
        pass
    with pytest.raises(lms.LMStudioValueError, match=r"'cat\.png' is closed"):
        image(open_file)


def test_empty_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(lms.LMStudioValueError, match=r"'empty\.txt' is empty"):
        file(tmp_path / "empty.txt")


def test_bad_names_and_bad_base64_are_refused() -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"The name of a file must be a string, got .*Path"):
        image(PNG, Path("x"))  # type: ignore[arg-type]  # that is the test
    with pytest.raises(lms.LMStudioValueError, match="The name of a file must be a string, got int"):
        decode_base64(3, "")
    with pytest.raises(lms.LMStudioValueError, match="must be a string, got int"):
        decode_base64("x", 3)
    with pytest.raises(lms.LMStudioValueError, match="The content of 'x' is not valid base64"):
        decode_base64("x", "abc")


def test_archive_is_no_word_document_for_the_name_of_a_file() -> None:
    assert file(zipped({"a": "b"})).name == "file.zip"


def test_type_of_inputs_can_be_imported_where_the_official_package_has_it() -> None:
    assert history.LocalFileInput is lms.LocalFileInput
