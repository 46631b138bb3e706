"""What a docstring says about a function and its parameters, in the Google, NumPy or Sphinx style."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Docstring", "parse_docstring"]


class Docstring(NamedTuple):
    """A docstring, taken apart."""

    description: str
    """The summary and the paragraphs after it, without sections and field lists; "" if there is nothing else."""
    parameters: dict[str, str]
    """Parameter name -> its description on one line. Parameters without a description are left out."""


_PARAMETER_SECTION = re.compile(r"(keyword |other )?(args|arguments|params|parameters)")
_OTHER_SECTION = re.compile(
    "attributes|caution|examples?|methods|notes?|raises|references|returns?|see also|todo|warnings?|warns|yields?"
)
_UNDERLINE = re.compile(r"-{3,}$|={3,}$")
# "name (type, optional): text". The type may contain brackets of its own, as in "(dict[str, tuple(int)])".
_GOOGLE_ENTRY = re.compile(r"(\*{0,2}[^\W\d]\w*)\s*(?:\(.*?\))?\s*:(?=\s|$)\s*(.*)")
_NUMPY_ENTRY = re.compile(r"(\*{0,2}[^\W\d]\w*(?:\s*,\s*\*{0,2}[^\W\d]\w*)*)\s*(?::.*)?$")
_SPHINX_FIELD = re.compile(r":([a-z]+)(?:\s+([^:]*[^:\s]))?\s*:(?=\s|$)\s*(.*)")
_SPHINX_PARAMETER = re.compile("param|parameter|arg|argument|key|keyword")
_SPHINX_OTHER = re.compile("type|returns?|rtype|raises?|except|exception|yields?|ytype|var|ivar|cvar|vartype|meta")


def parse_docstring(text: str) -> Docstring:
    """Take *text*, a docstring as it stands in the source, apart. The styles may be mixed."""
    from inspect import cleandoc

    lines = [line.rstrip() for line in cleandoc(text).split("\n")]
    description: list[str] = []
    parameters: dict[str, str] = {}
    position = 0
    while position < len(lines):
        section = _section_at(lines, position)
        if section is not None:
            name, position, end = section
            if _PARAMETER_SECTION.fullmatch(name):
                is_numpy = _is_underline(lines, position - 1)
                _read_entries(lines[position:end], parameters, is_numpy=is_numpy)
            position = end
        elif (field := _sphinx_field(lines[position])) is not None:
            end = _end_of_block(lines, position + 1)
            kind, argument, first_line = field
            if _SPHINX_PARAMETER.fullmatch(kind) and argument:
                # ":param int x:" names the type as well.
                _add(parameters, argument.split()[-1], [first_line, *lines[position + 1 : end]])
            position = end
        else:
            description.append(lines[position])
            position += 1
    return Docstring(re.sub(r"\n{3,}", "\n\n", "\n".join(description)).strip(), parameters)


def _section_at(lines: list[str], position: int) -> tuple[str, int, int] | None:
    """The section that starts in this line: its name, its first line and the line after it."""
    line = lines[position]
    if not line or line[0].isspace():
        return None
    if _is_underline(lines, position + 1):
        name = line.rstrip(":").lower()
        if _is_section(name):
            return name, position + 2, _end_of_numpy_section(lines, position + 2)
        return None
    name = line[:-1].lower()
    if line.endswith(":") and _is_section(name):
        return name, position + 1, _end_of_block(lines, position + 1)
    return None


def _is_section(name: str) -> bool:
    return (_PARAMETER_SECTION.fullmatch(name) or _OTHER_SECTION.fullmatch(name)) is not None


def _is_underline(lines: list[str], position: int) -> bool:
    return position < len(lines) and _UNDERLINE.match(lines[position]) is not None


def _end_of_block(lines: list[str], position: int) -> int:
    """The first line that is not indented."""
    while position < len(lines) and (not lines[position] or lines[position][0].isspace()):
        position += 1
    return position


def _end_of_numpy_section(lines: list[str], position: int) -> int:
    """The next underlined line or field: the entries of a NumPy section are not indented."""
    while position < len(lines) and not _is_underline(lines, position + 1) and _sphinx_field(lines[position]) is None:
        position += 1
    return position


def _sphinx_field(line: str) -> tuple[str, str, str] | None:
    match = _SPHINX_FIELD.match(line)
    if match is None or not (_SPHINX_PARAMETER.fullmatch(match[1]) or _SPHINX_OTHER.fullmatch(match[1])):
        return None
    return match[1], match[2] or "", match[3]


def _read_entries(lines: list[str], parameters: dict[str, str], *, is_numpy: bool) -> None:
    """Read a section of parameters: each starts at the outer indentation, its further lines are indented more."""
    outer = min((_indentation(line) for line in lines if line), default=0)
    names: list[str] = []
    text: list[str] = []
    for line in [*lines, " " * outer + "end"]:
        if not line or _indentation(line) > outer:
            text.append(line)
            continue
        for name in names:
            _add(parameters, name, text)
        match = (_NUMPY_ENTRY if is_numpy else _GOOGLE_ENTRY).match(line.strip())
        names = [] if match is None else [name.strip() for name in match[1].split(",")]
        text = [] if match is None or is_numpy else [match[2]]


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _add(parameters: dict[str, str], name: str, lines: list[str]) -> None:
    text = " ".join(line.strip() for line in lines if line.strip())
    if text:
        parameters.setdefault(name.strip().lstrip("*\\"), text)
