"""Named collections of prediction settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from lmstudio._sdk_models import AvailablePresetsSampleItem, ErrorDisplayDataGenericPresetNotFound
from lmstudio.server.config import PredictionConfig
from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PresetSource", "Presets"]

PresetSource: TypeAlias = "Mapping[str, Mapping[str, Any]] | str | Path"
"""Prediction settings (values by full key, such as `llm.prediction.temperature`) by name; or a folder of LM Studio's
preset files, which are named ``*.preset.json``."""

_SAMPLE_SIZE: Final = 10


class _Field(msgspec.Struct):
    key: str
    value: Any = None


class _Operation(msgspec.Struct):
    fields: list[_Field] = []


class _PresetFile(msgspec.Struct):
    identifier: str
    name: str = ""
    operation: _Operation = msgspec.field(default_factory=_Operation)


class Presets:
    """The presets of a server."""

    def __init__(self, source: PresetSource | None = None) -> None:
        """Read them all.

        Raises:
            RequestError: the folder cannot be read, a file is no preset, or a setting has a value that is not valid.
        """
        if isinstance(source, (str, Path)):
            self._presets = _read_folder(Path(source))
        else:
            self._presets = {name: dict(fields) for name, fields in (source or {}).items()}
        for fields in self._presets.values():
            PredictionConfig(fields)

    def find(self, wanted: str) -> Mapping[str, Any]:
        """The settings of the preset that *wanted* means.

        Case and punctuation do not count; a beginning or another part of a name is enough if only one name has it.

        Raises:
            RequestError: none, or more than one.
        """
        if wanted in self._presets:
            return self._presets[wanted]
        key = _comparable(wanted)
        names = {name: _comparable(name) for name in self._presets}
        matches: list[str] = []
        for is_match in (str.__eq__, str.startswith, str.__contains__):
            matches = [name for name, comparable in names.items() if key and is_match(comparable, key)]
            if matches:
                break
        # A file is known by its identifier and by its name: both mean the same settings.
        if matches and all(self._presets[name] == self._presets[matches[0]] for name in matches):
            return self._presets[matches[0]]
        raise self._not_found(wanted, matches)

    def _not_found(self, wanted: str, matches: list[str]) -> RequestError:
        sample = (matches or list(self._presets))[:_SAMPLE_SIZE]
        if matches:
            found, suggestion = f"{wanted!r} could be any of the presets {', '.join(map(repr, sample))}.", None
        elif self._presets:
            found, suggestion = f"No preset matches {wanted!r}.", f"There are: {', '.join(sample)}."
        else:
            found = f"No preset matches {wanted!r}: this server has no presets."
            suggestion = "Give the settings with the request."
        return RequestError(
            found,
            suggestion=suggestion,
            display_data=ErrorDisplayDataGenericPresetNotFound(
                specified_fuzzy_preset_identifier=wanted,
                available_presets_sample=[AvailablePresetsSampleItem(identifier=name, name=name) for name in sample],
                total_available_presets=len(self._presets),
            ),
        )


def _comparable(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _read_folder(folder: Path) -> dict[str, dict[str, Any]]:
    presets: dict[str, dict[str, Any]] = {}
    if not folder.is_dir():
        raise RequestError(f"There is no folder of presets {str(folder)!r}.")
    for file in sorted(folder.glob("*.preset.json")):
        try:
            preset = msgspec.json.decode(file.read_bytes(), type=_PresetFile)
        except (OSError, msgspec.DecodeError) as error:
            raise RequestError(f"{str(file)!r} is not a preset that can be read: {error}.") from error
        fields = {field.key: field.value for field in preset.operation.fields if field.value is not None}
        for name in filter(None, (preset.identifier, preset.name)):
            presets.setdefault(name, fields)
    return presets
