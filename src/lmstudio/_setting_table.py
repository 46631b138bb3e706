"""Settings that are declared once, and then have a flag, an environment variable and a key in a file.

A flag wins over the environment, the environment over the file, and the file over the default. Lists are not joined:
the one that wins replaces the others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from lmstudio._near import near_matches
from lmstudio._setting_files import no_setting, public_file_warnings, read_document
from lmstudio._setting_kinds import Number
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from lmstudio._setting_kinds import Kind

__all__ = ["EffectiveSettings", "Section", "Setting", "SettingTable", "TomlLines", "YamlLines", "about"]

_DEFAULT_SOURCE: Final = "default"
_KEY: Final = "setting"

ValuesT = TypeVar("ValuesT")


@dataclass(frozen=True)
class Section:
    """Settings that belong together."""

    title: str
    prefix: str
    """With which the names of their environment variables begin."""
    target: str | None = None
    """Which argument of the server they are part of, "server" for arguments of their own; None for nothing of it."""
    place: tuple[str, ...] = ()
    """The keys of the file under which they stand."""


@dataclass(frozen=True)
class _Declaration:
    """What `about` says of a field."""

    section: Section
    kind: Kind
    help: str
    flag: str | None
    key: str | None
    variables: tuple[str, ...]


def about(
    section: Section,
    kind: Kind,
    help: str,
    flag: str | None = None,
    *,
    key: str | None = None,
    variables: Iterable[str] = (),
) -> dict[str, Any]:
    """The metadata of a field that is a setting.

    *flag* and *key* if its option and its key in the file are not named as the field. *variables*: more environment
    variables that count, where its own is not set.
    """
    return {_KEY: _Declaration(section, kind, help, flag, key, tuple(variables))}


@dataclass(frozen=True)
class Setting:
    """One setting, as it was declared."""

    name: str
    default: Any
    kind: Kind
    section: Section
    help: str
    flag: str
    """The option of the command line."""
    path: tuple[str, ...]
    """Its key in the file, after those it stands under."""
    variables: tuple[str, ...]
    """The environment variables; the first one that is not empty counts."""

    @property
    def variable(self) -> str:
        """The environment variable of its own."""
        return self.variables[0]

    @property
    def place(self) -> str:
        """Where it stands in a file, for people."""
        return ".".join(self.path)

    def parse(self, value: object, place: str) -> Any:
        """What *value* means.

        Raises:
            LMStudioValueError: it is not allowed. It begins with *place*.
        """
        try:
            return self.kind.parse(value)
        except LMStudioValueError as error:
            raise LMStudioValueError(f"{place}: {error}") from None


def _declared(struct: type) -> Iterator[Setting]:
    for each in fields(struct):
        said: _Declaration = each.metadata[_KEY]
        key = said.key or each.name
        yield Setting(
            each.name,
            each.default,
            said.kind,
            said.section,
            said.help,
            said.flag or f"--{each.name.replace('_', '-')}",
            (*said.section.place, key),
            (said.section.prefix + key.upper(), *said.variables),
        )


class TomlLines:
    """How settings are shown: as TOML."""

    indent = ""

    def __init__(self) -> None:
        self._path: tuple[str, ...] = ()

    def heading(self, path: tuple[str, ...]) -> Iterator[str]:
        """What precedes the first of several settings under *path*."""
        if path != self._path:
            yield f"[{'.'.join(path)}]"
        self._path = path

    def pair(self, key: str, value: str) -> str:
        """One setting, its value as TOML has it."""
        return f"{key} = {value}"


class YamlLines(TomlLines):
    """As YAML. Settings of one place must follow each other."""

    def heading(self, path: tuple[str, ...]) -> Iterator[str]:
        """The keys above, as far as they are new."""
        for depth, key in enumerate(path):
            if path[: depth + 1] != self._path[: depth + 1]:
                yield f"{'  ' * depth}{key}:"
        self._path = path
        self.indent: str = "  " * len(path)

    def pair(self, key: str, value: str) -> str:
        """Texts, numbers, switches and lists of them are the same in TOML and YAML."""
        return f"{key}: {value}"


@dataclass(frozen=True)
class EffectiveSettings(Generic[ValuesT]):
    """The settings that apply, and where each comes from."""

    values: ValuesT
    sources: Mapping[str, str]
    settings: Mapping[str, Setting]
    warnings: tuple[str, ...] = ()
    line_style: Callable[[], TomlLines] = TomlLines

    def lines(self) -> Iterator[str]:
        """As a file of settings, with the sources as comments; secrets are left out."""
        style = self.line_style()
        for setting in self.settings.values():
            value, source = getattr(self.values, setting.name), self.sources[setting.name]
            yield from style.heading(setting.path[:-1])
            key = setting.path[-1]
            if setting.kind.is_secret and value:
                count = f"{len(value)}, " if isinstance(value, tuple) else ""
                line = f"# {key}: {count}not shown here"
            elif value is None and not (isinstance(setting.kind, Number) and setting.kind.none_word):
                line = f"# {key} is not set"
            else:
                line = style.pair(key, setting.kind.toml(value))
            yield style.indent + f"{line}  # {source}"


class SettingTable(Generic[ValuesT]):
    """All settings of one program: the fields of *struct*, a dataclass whose fields say what they are with `about`.

    *config_variable* is the environment variable that may name the file, *line_style* how settings are shown.
    """

    def __init__(
        self, struct: type[ValuesT], config_variable: str, line_style: Callable[[], TomlLines] = TomlLines
    ) -> None:
        self._struct = struct
        self._line_style = line_style
        self.config_variable: str = config_variable
        self.settings: Mapping[str, Setting] = {setting.name: setting for setting in _declared(struct)}
        self._at = {setting.path: setting for setting in self.settings.values()}
        self._sections = {path[:length] for path in self._at for length in range(1, len(path))}

    def resolve(
        self, flags: Mapping[str, Any], environment: Mapping[str, str], config_file: Path | None = None
    ) -> EffectiveSettings[ValuesT]:
        """What applies of *flags* (parsed, those that were given), *environment*, *config_file* and the defaults.

        Raises:
            LMStudioValueError: a setting that is not known, or a value that is not allowed. It names file and key.
        """
        values: dict[str, Any] = {name: setting.default for name, setting in self.settings.items()}
        sources = dict.fromkeys(self.settings, _DEFAULT_SOURCE)
        warnings: list[str] = []
        variable = environment.get(self.config_variable)
        if config_file is None and variable:
            config_file = Path(variable).expanduser()
        if config_file is not None:
            found = self._read(config_file)
            values.update(found)
            sources.update(dict.fromkeys(found, str(config_file)))
            if any(self.settings[name].kind.is_secret and value for name, value in found.items()):
                warnings += public_file_warnings(config_file)
        for name, setting in self.settings.items():
            for variable in setting.variables:
                if environment.get(variable, "").strip():
                    place = f"In the environment variable {variable}"
                    values[name] = setting.parse(setting.kind.split(environment[variable]), place)
                    sources[name] = variable
                    break
            if name in flags:
                values[name] = tuple(flags[name]) if isinstance(flags[name], list) else flags[name]
                sources[name] = setting.flag
        warnings += self._unknown_variables(environment)
        return EffectiveSettings(
            self._struct(**values), sources, self.settings, tuple(warnings), line_style=self._line_style
        )

    def _read(self, file: Path) -> dict[str, Any]:
        folder = file.absolute().parent
        found: dict[str, Any] = {}
        for path, value in self._leaves(read_document(file).value, file):
            setting = self._at[path]
            found[setting.name] = _placed(setting.parse(value, f"In {file}, {setting.place}"), folder)
        return found

    def _leaves(
        self, document: Mapping[Any, object], file: Path, above: tuple[str, ...] = ()
    ) -> Iterator[tuple[tuple[str, ...], object]]:
        for key, value in document.items():
            path = (*above, str(key))
            if path in self._sections:
                if isinstance(value, dict):
                    yield from self._leaves(value, file, path)
                elif value is not None:
                    raise LMStudioValueError(f"In {file}, {'.'.join(path)}: settings belong under it, not a value.")
            elif path not in self._at:
                place = f"In {file}, {'.'.join(above)}" if above else f"In {file}"
                raise LMStudioValueError(f"{place}: {self._no_setting(path)}")
            elif value is not None:  # YAML's way to leave something open
                yield path, value

    def _no_setting(self, path: tuple[str, ...]) -> str:
        """What to say of a *path* at which there is none."""
        *above, key = path
        elsewhere = [setting.place for known, setting in self._at.items() if known[-1] == key]
        if elsewhere:
            return f"there is no setting {key!r}. Did you mean {elsewhere[0]}?"
        known = [*self._at, *sorted(self._sections)]
        return no_setting(key, [each[-1] for each in known if list(each[:-1]) == above])

    def _unknown_variables(self, environment: Mapping[str, str]) -> Iterator[str]:
        """Warnings, not errors: Kubernetes puts variables of its own there for a service of such a name."""
        own = {setting.variable for setting in self.settings.values()}
        known = {self.config_variable, *own}
        prefixes = tuple({setting.section.prefix for setting in self.settings.values()})
        for variable in sorted(environment):
            if variable.startswith(prefixes) and variable not in known:
                near = near_matches(variable, own, 1)
                yield f"the environment variable {variable} is no setting" + (
                    f"; did you mean {near[0]}?" if near else ""
                )


def _placed(value: Any, folder: Path) -> Any:
    """*value* with its paths, if it has some, relative to *folder*."""
    if isinstance(value, tuple):
        return tuple(_placed(item, folder) for item in value)
    return folder / value if isinstance(value, Path) else value
