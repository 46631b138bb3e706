"""`lmstudio import`: put a model file into the models folder."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lmstudio._discovery import lm_studio_home
from lmstudio.errors import LMStudioOSError, LMStudioRuntimeError

from . import native
from .output import disk_size

if TYPE_CHECKING:
    import argparse

    from .output import Output

FOLDER_VARIABLE: Final = "LMSTUDIO_SERVER_MODELS_FOLDER"
"""Where `serve` and the server in the background look, too."""

_UNKNOWN_USER: Final = "imported"
_NAME: Final = re.compile(r"[\w+-](?:[\w.+ -]*[\w+-])?", re.ASCII)
_QUANTIZATION: Final = re.compile(r"[-._](?:i?q\d\w*|t?q\d\w*|bf16|f16|f32|fp16|mxfp4)$", re.IGNORECASE)
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}$")
_MAGIC: Final = b"GGUF"
_DONE: Final = {"move": "Moved", "copy": "Copied", "hard link": "Linked", "symbolic link": "Linked"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the model: a file FILE.gguf")
    parser.add_argument("--user-repo", metavar="USER/REPO", help="whose model it is, and its name (default: asks)")
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing: take the name of the file")
    ways = parser.add_mutually_exclusive_group()
    for short, long in (("-c", "copy"), ("-L", "hard-link"), ("-l", "symbolic-link")):
        way = long.replace("-", " ")
        ways.add_argument(
            short, f"--{long}", action="store_const", const=way, dest="way", help=f"{way} the file (default: move it)"
        )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--models-folder",
        type=Path,
        metavar="FOLDER",
        help=f"where the server has its models (default: {FOLDER_VARIABLE}, else LM Studio's folder)",
    )
    native.add_message_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Import it; returns the exit code."""

    def command(output: Output) -> None:
        source, way = arguments.file.absolute(), arguments.way or "move"
        _check(source, way)
        folder = _models_folder(arguments.models_folder)
        repository = _repository(arguments, source, output)
        target = folder / repository / source.name
        if os.path.lexists(target):
            raise LMStudioRuntimeError(f"{target} is there already: remove it first, or choose another --user-repo.")
        size = disk_size(source.stat().st_size)
        if arguments.dry_run:
            output.say(f"Would {way} {source} ({size}) to {target}.")
            return
        is_new = not folder.is_dir()
        _put(source, target, way)
        output.info(f"{_DONE[way]} {source.name} ({size}) to {target}.")
        if is_new:
            output.warn(f"{folder} is new: a server that runs already has to be started again to look there")
        else:
            output.info("`lmstudio ls` shows it.")

    return native.run_locally(arguments, command)


def _check(source: Path, way: str) -> None:
    """Refuse what no server could load, or what would be lost."""
    try:
        with open(source, "rb") as file:
            is_model = file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise LMStudioOSError(f"Cannot read {source}: {error.strerror or error}.") from error
    if not is_model or source.suffix.lower() != ".gguf":
        raise LMStudioRuntimeError(f"{source} is not a model that can be imported: those are GGUF files, NAME.gguf.")
    if way == "move" and source.is_symlink():
        raise LMStudioRuntimeError(
            f"{source} is a link to {source.resolve()}, which others may need. Give --copy, --hard-link or "
            "--symbolic-link."
        )


def _models_folder(given: Path | None) -> Path:
    if given is not None:
        return given.absolute()
    named = os.environ.get(FOLDER_VARIABLE, "").strip()
    if named:
        return Path(named).absolute()
    home = lm_studio_home()
    if home is None:
        raise LMStudioRuntimeError("This system does not say where your home is: name the folder with --models-folder.")
    return home / "models"


def _repository(arguments: argparse.Namespace, source: Path, output: Output) -> str:
    name = _SHARD.sub("", source.stem)
    name = _QUANTIZATION.sub("", name) or name
    guess = f"{_UNKNOWN_USER}/{name}"
    answer = arguments.user_repo
    if answer is None and arguments.yes:
        answer = guess
    if answer is None:
        otherwise = f"Say whose model it is with --user-repo USER/REPO, or take {guess} with --yes."
        answer = output.ask("Whose model is it, and what is its name (USER/REPO)?", guess, otherwise)
    parts = str(answer).split("/")
    if len(parts) != 2 or not all(map(_NAME.fullmatch, parts)):
        raise LMStudioRuntimeError(
            f"{answer!r} cannot be the place of a model: it is USER/REPO, of letters, digits and .-_+ without a dot "
            "at the ends."
        )
    return str(answer)


def _put(source: Path, target: Path, way: str) -> None:
    """Nothing half-done is ever seen at *target*, and nothing that is there is replaced."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if way == "symbolic link":
            target.symlink_to(source.resolve())
        elif way == "hard link":
            os.link(source.resolve(), target)
        elif way == "copy" or not _moved(source, target):
            _copy(source, target)
            if way == "move":
                source.unlink()
    except OSError as error:
        raise LMStudioOSError(f"Could not {way} {source} to {target}: {error.strerror or error}.") from error


def _moved(source: Path, target: Path) -> bool:
    """False if it is on another disk."""
    if source.stat().st_dev != target.parent.stat().st_dev:
        return False
    source.rename(target)
    return True


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, part)
        part.rename(target)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
