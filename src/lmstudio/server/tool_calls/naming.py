"""Names of tools as models see them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lmstudio._sdk_models import ToolNaming

__all__ = ["ToolNames", "converted_name"]


def converted_name(name: str, naming: ToolNaming) -> str:
    """*name* in the form that *naming* asks for. A name without any letter or digit stays as it is."""
    match naming:
        case "passThrough":
            return name
        case "removeSpecial":
            return re.sub(r"[^0-9A-Za-z]", "_", name)
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    if naming == "snakeCase":
        return "_".join(words).lower() or name
    return "".join([word.lower() for word in words[:1]] + [word.capitalize() for word in words[1:]]) or name


class ToolNames:
    """The names of the offered tools, for the model and back. Two that would become one are numbered."""

    def __init__(self, names: Iterable[str], naming: ToolNaming) -> None:
        self._naming: ToolNaming = naming
        self._shown: dict[str, str] = {}
        self._original: dict[str, str] = {}
        for name in names:
            if name in self._shown:
                continue
            wanted = shown = converted_name(name, naming)
            number = 1
            while shown in self._original:
                number += 1
                shown = f"{wanted}_{number}"
            self._shown[name], self._original[shown] = shown, name

    def __contains__(self, shown: str) -> bool:
        return shown in self._original

    def shown(self, name: str) -> str:
        """What the model knows the tool *name* as."""
        return self._shown.get(name) or converted_name(name, self._naming)

    def original(self, shown: str) -> str:
        """The tool that the model means; *shown* itself if it made the name up."""
        return self._original.get(shown, shown)

    def definitions(self, tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """*tools* (as chat templates expect them) under the names for the model."""
        return [
            {**tool, "function": {**tool["function"], "name": self.shown(tool["function"]["name"])}} for tool in tools
        ]
