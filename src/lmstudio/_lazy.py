"""Names of a package that are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazy_names"]


def lazy_names(
    package: dict[str, Any], module_of: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package with these globals, whose public names are elsewhere.

    *module_of* says in which modules; one that begins with a dot is the package's own. To be assigned where type
    checkers do not look: they would believe in every name.
    """

    def get(name: str) -> object:
        module = module_of.get(name)
        if module is None:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        value = package[name] = getattr(import_module(module, package["__name__"]), name)
        return value

    def names() -> list[str]:
        return sorted({*package, *module_of})

    return get, names
