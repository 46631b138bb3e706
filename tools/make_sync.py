"""Write the synchronous twins of the asynchronous surface; with `--check`, only compare.

Removing `async`, `await` and the `Async` prefix is the conversion: an ordered list of substitutions over the text, so
that comments and docstring examples are converted too. A substitution that matches nowhere in the files it is declared
for is an error, so the list never says more than the sources need.

What exists in one surface only is marked at the end of its line, in the source:

    `# sync: skip`    leaves the line out, together with the block or the brackets that it opens
    `# sync: CODE`    puts CODE there instead
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Substitutions = tuple[tuple[str, str], ...]

# Applied to every file, in this order.
COMMON: Substitutions = (
    (r"\bawait ", ""),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bAsync(Base|Connections|ModelHandle)\b", r"Sync\1"),  # the handle as the official package calls it
    (
        (
            r"\b(_?)async_(io|api|base|client|rest\w*|anthropic|responses|namespace|streams|handles|llm|sessions|files|plugins|repository"
            r"|system|diagnostics|runtime|hub|planner|fake_sdk|blocks|controllers|contexts|processing|tool_sessions)"
            r"\b"
        ),
        r"\1sync_\2",
    ),
    (r"Async(?=[A-Z])", ""),  # also inside StopAsyncIteration and AbstractAsyncContextManager
    (r"\b__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"\basynchronous\b", "synchronous"),
)


@dataclass(frozen=True)
class FileSet:
    """Sources of one kind, where each one's twin lies, and what is substituted in them besides COMMON."""

    pattern: str  # of the sources, relative to the project
    twin: tuple[str, str]  # what to replace in a source's path, and by what
    substitutions: Substitutions = ()


FILE_SETS = (
    FileSet("src/lmstudio/**/async_*.py", ("/async_", "/sync_")),
    FileSet(
        "tests/surface/async/*.py",  # coroutine functions, which the conftest.py there runs
        ("/async/", "/sync/"),
        ((r"\ba(iter|next)\(", r"\1("),),
    ),
)

# Of hooks and tools of plugins. The asynchronous controllers have the official names, without a prefix.
_PLUGIN_NAMES: Substitutions = ((r"\b(\w+Controller)\b", r"Sync\1"),)
_PLUGIN_FUNCTIONS: Substitutions = ((r"that are coroutine functions", "that are plain functions"),)
_PLUGIN = _PLUGIN_NAMES + _PLUGIN_FUNCTIONS

# Applied last, to single files: sentences that are true of one surface only.
SENTENCES: Mapping[str, Substitutions] = {
    "src/lmstudio/async_api.py": (
        (
            r"`sync_api` is generated from this file, as are the other modules with twins\.",
            "Generated from `async_api`.",
        ),
        (r"One client may be used from many tasks, .*trio\.", "One client may be used from many threads."),
    ),
    "src/lmstudio/_surface/async_llm.py": (
        (r"Cancelling the task, a timeout around the call, or an exception", "Ctrl-C, or any other exception,"),
    ),
    "src/lmstudio/_surface/async_repository.py": ((r"by cancellation or any exception", "by Ctrl-C or any exception"),),
    "src/lmstudio/_surface/async_hub.py": ((r"by cancellation or any exception", "by Ctrl-C or any exception"),),
    "src/lmstudio/_surface/async_planner.py": (
        (r"by cancellation or any exception", "by Ctrl-C or any exception"),
        (
            r"Several tasks may wait at the same time\.",
            "Only one thread at a time may wait; others may look.",
        ),
    ),
    "src/lmstudio/_surface/async_runtime.py": ((r"by cancellation or any exception", "by Ctrl-C or any exception"),),
    "src/lmstudio/_surface/async_streams.py": (
        (r"Several tasks may do so at the same time\.", "Only one thread at a time may do so."),
    ),
    "src/lmstudio/_surface/async_sessions.py": ((r"by cancellation or any exception", "by Ctrl-C or any exception"),),
    **{f"src/lmstudio/plugin/_controllers/async_{name}.py": _PLUGIN for name in ("controllers", "processing")},
    "src/lmstudio/plugin/_controllers/async_blocks.py": (
        *_PLUGIN_NAMES,
        (r"as synchronous hooks get them", "as hooks that are plain functions get them"),
    ),
    **{
        f"src/lmstudio/plugin/_controllers/async_{name}.py": _PLUGIN_FUNCTIONS for name in ("contexts", "tool_sessions")
    },
    **{f"tests/surface/async/test_{name}.py": _PLUGIN_NAMES for name in ("plugin_controllers", "every_endpoint")},
}

HEADER = "# Generated from {source} by tools/make_sync.py. Edit that file instead.\n"
MARK = re.compile(r"^(?P<indent> *).*?# sync: (?P<instead>.+)$")


class ConversionError(Exception):
    """The sources or the list of substitutions need an edit; the message says which."""


def apply_marks(text: str) -> str:
    """Leave out or replace the lines that end with a `# sync:` comment."""
    kept: list[str] = []
    skipped_indent: int | None = None
    for line in text.splitlines(keepends=True):
        code = line.strip()
        indent = len(line) - len(line.lstrip())
        if skipped_indent is not None:
            closes_bracket = indent == skipped_indent and code[:1] in (")", "]", "}")
            if not code or indent > skipped_indent or closes_bracket:
                continue
            skipped_indent = None
        mark = MARK.match(line)
        if mark is None:
            kept.append(line)
        elif mark["instead"].strip() == "skip":
            skipped_indent = indent
        else:
            kept.append(f"{mark['indent']}{mark['instead']}\n")
    return "".join(kept)


def substitute(texts: Mapping[Path, str], substitutions: Substitutions, declared_for: str) -> dict[Path, str]:
    """The *texts* after *substitutions*, in their order.

    Raises:
        ConversionError: one of them matches in none of the texts.
    """
    result = dict(texts)
    for pattern, replacement in substitutions:
        expression = re.compile(pattern, re.MULTILINE)
        if result and not any(map(expression.search, result.values())):
            raise ConversionError(
                f"Substitution {pattern!r} matches nothing in {declared_for}: remove it from the list."
            )
        result = {path: expression.sub(replacement, text) for path, text in result.items()}
    return result


def formatted(text: str, path: Path) -> str:
    """*text* with sorted imports and without unused ones, laid out by the project's ruff settings for *path*."""
    for arguments in (["check", "--fix-only", "--exit-zero", "--select=I,F401,RUF022"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--quiet", f"--stdin-filename={path}", "-"]
        done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
        if "No module named ruff" in done.stderr:
            raise ConversionError(
                "make_sync.py lays its output out with ruff, which is not installed: `tox -e generate` has it."
            )
        if done.returncode:
            raise ConversionError(f"ruff does not accept what {path} would become:\n{done.stderr.strip()}")
        text = done.stdout
    return text


def twins(root: Path) -> dict[Path, str]:
    """What each twin has to contain, by its path."""
    sources = {path: file_set for file_set in FILE_SETS for path in sorted(root.glob(file_set.pattern))}
    texts = {path: apply_marks(path.read_text(encoding="utf-8")) for path in sources}
    texts = substitute(texts, COMMON, "any source")
    for file_set in FILE_SETS:
        own = {path: text for path, text in texts.items() if sources[path] is file_set}
        texts.update(substitute(own, file_set.substitutions, file_set.pattern))
    for name, substitutions in SENTENCES.items():
        own = {path: text for path, text in texts.items() if path == root / name}
        texts.update(substitute(own, substitutions, name))
    result = {}
    for path, text in texts.items():
        twin = root / path.relative_to(root).as_posix().replace(*sources[path].twin)
        source = Path(os.path.relpath(path, twin.parent)).as_posix()
        result[twin] = formatted(HEADER.format(source=source) + text, twin)
    return result


def orphans(root: Path, wanted: Mapping[Path, str]) -> Iterator[Path]:
    """Generated files whose source is gone. Files without our first line are not ours."""
    ours = re.compile(re.escape(HEADER).replace(r"\{source\}", ".+"))
    for file_set in FILE_SETS:
        for path in sorted(root.glob(file_set.pattern.replace(*file_set.twin))):
            if path not in wanted and ours.match(path.read_text(encoding="utf-8")):
                yield path


def differences(root: Path, wanted: Mapping[Path, str]) -> Iterator[str]:
    """Unified diffs from what is there to what is wanted."""
    for path, text in (*wanted.items(), *((orphan, "") for orphan in orphans(root, wanted))):
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        name = path.relative_to(root).as_posix()
        yield from difflib.unified_diff(found.splitlines(True), text.splitlines(True), name, f"{name} (generated)")


def write(root: Path, wanted: Mapping[Path, str]) -> None:
    for orphan in list(orphans(root, wanted)):
        orphan.unlink()
        print(f"removed {orphan.relative_to(root).as_posix()}")
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"wrote {path.relative_to(root).as_posix()}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="print a diff and exit with status 1 if a twin is not up to date"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parent.parent, help="the project (for tests)"
    )
    options = parser.parse_args(argv)
    root = options.root.resolve()
    try:
        wanted = twins(root)
    except ConversionError as error:
        print(error, file=sys.stderr)
        return 2
    if not options.check:
        write(root, wanted)
        return 0
    diff = "".join(differences(root, wanted))
    if diff:
        print(diff, end="")
        print("The twins above are not what their sources say: run `tox -e generate`.", file=sys.stderr)
    return int(bool(diff))


if __name__ == "__main__":
    sys.exit(main())
