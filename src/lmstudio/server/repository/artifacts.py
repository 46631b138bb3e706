"""The files of an artifact (a plugin, a preset, ...) in a folder of this machine, as LM Studio would upload them."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from lmstudio._sdk_models import LocalArtifactFileEntry, LocalArtifactFileList
from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MANIFEST", "local_files"]

MANIFEST: Final = "manifest.json"
_IGNORE_FILE: Final = ".gitignore"
_NEVER: Final = (".git", "node_modules")
_MAX_FILES: Final = 10_000


def local_files(path: str) -> LocalArtifactFileList:
    """The files of the artifact in the folder *path*, by name.

    Raises:
        RequestError: that is not the folder of an artifact. Nothing is told about other folders.
    """
    folder = Path(path)
    if not folder.is_absolute() or not (folder / MANIFEST).is_file():
        raise RequestError(
            f"There is no artifact in {path!r}: that is not the full path of a folder with a {MANIFEST} on the "
            "server's machine.",
            suggestion="Give the folder of a plugin, or of another artifact.",
        )
    try:
        ignored = _IgnoreRules((folder / _IGNORE_FILE).read_text("utf-8", "replace"))
        used: str | None = _IGNORE_FILE
    except FileNotFoundError:
        ignored, used = _IgnoreRules(""), None
    except OSError as error:
        raise RequestError(f"Cannot read {folder / _IGNORE_FILE}: {error.strerror or error}.") from error
    files: list[LocalArtifactFileEntry] = []
    for name, size in _walk(folder, ignored):
        if len(files) == _MAX_FILES:
            raise RequestError(
                f"{path!r} has more than {_MAX_FILES} files, which is the limit.",
                suggestion=f"Name what does not belong to the artifact in its {_IGNORE_FILE}.",
            )
        files.append(LocalArtifactFileEntry(relative_path=name, size_bytes=size))
    return LocalArtifactFileList(files=sorted(files, key=lambda file: file.relative_path), used_ignore_file=used)


def _walk(folder: Path, ignored: _IgnoreRules) -> Iterator[tuple[str, int]]:
    for parent, folders, names in os.walk(folder):
        place = Path(parent).relative_to(folder)
        # What is taken out of the list is not looked into. Links to folders are not followed.
        folders[:] = [
            name for name in folders if name not in _NEVER and not ignored.match((place / name).as_posix(), True)
        ]
        for name in names:
            file = Path(parent, name)
            relative = (place / name).as_posix()
            if file.is_file() and not file.is_symlink() and not ignored.match(relative, False):
                yield relative, file.stat().st_size


class _IgnoreRules:
    """The rules of a .gitignore at the top of a folder; of several that match the last counts."""

    def __init__(self, text: str) -> None:
        self._rules = [rule for line in text.splitlines() if (rule := _rule(line)) is not None]

    def match(self, path: str, is_folder: bool) -> bool:
        """Whether *path* is to be left out. Those inside of an ignored folder must not be asked for."""
        verdict = False
        for pattern, is_exception, for_folders in self._rules:
            if (is_folder or not for_folders) and pattern.fullmatch(path):
                verdict = not is_exception
        return verdict


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    """One line: its pattern, whether it begins with "!", and whether it is for folders only."""
    text = re.sub(r"(?<!\\) +$", "", line)
    if not text or text.startswith("#"):
        return None
    is_exception = text.startswith("!")
    text = text[1:] if is_exception else text
    for_folders = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    # With a slash in it, a pattern is about the path from the top; without one about a name anywhere.
    prefix = "" if "/" in text else "(?:.*/)?"
    parts = PurePosixPath(text.lstrip("/")).parts
    body = "".join(_translated(part, is_last=number == len(parts) - 1) for number, part in enumerate(parts))
    try:
        return re.compile(prefix + body), is_exception, for_folders
    except re.error:
        return None  # a range like [z-a]: git takes it for nothing, too


def _translated(part: str, *, is_last: bool) -> str:
    if part == "**":
        return ".*" if is_last else "(?:.*/)?"
    tokens = re.findall(r"\\.|\[!?\]?[^\]]*\]|.", part)
    return "".join(map(_token, tokens)) + ("" if is_last else "/")


def _token(token: str) -> str:
    if token == "*":
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if len(token) > 2 and token.startswith("["):
        inside = token[1:-1]
        negation = "^" if inside[0] in "!^" else ""
        members = re.escape(inside[len(negation) :]).replace("\\-", "-")
        return f"[{negation}{members}]"
    return re.escape(token[1:] if len(token) == 2 and token.startswith("\\") else token)
