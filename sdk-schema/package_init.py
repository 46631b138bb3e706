"""Writes `_sdk_models/__init__.py`: every name importable from the package, no module loaded before it is needed."""

from __future__ import annotations

from collections import defaultdict

_TEMPLATE = '''{header}
"""Wire types of LM Studio's native API.

Structs of one namespace live in the module of that name, those of several in `shared`, typed dicts in `dicts`. Each can
be imported from here; the module behind a name is loaded when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
{imports}

_MODULE_OF = {{
{table}
}}

__all__ = [
{exports}
]


def __getattr__(name: str) -> Any:  # a struct class or a type alias: mypy sees the imports above
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
    value = getattr(import_module(f"{{__name__}}.{{module}}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
'''


def render(modules: dict[str, str], header: str) -> str:
    """The text of the file, for names and the modules they live in."""
    by_module: defaultdict[str, list[str]] = defaultdict(list)
    for name, module in modules.items():
        by_module[module].append(name)
    imports = "\n".join(
        f"    from .{module} import (\n" + "".join(f"        {name} as {name},\n" for name in sorted(names)) + "    )"
        for module, names in sorted(by_module.items())
    )
    table = "\n".join(f'    "{name}": "{module}",' for name, module in sorted(modules.items()))
    exports = "\n".join(f'    "{name}",' for name in sorted(modules))
    return _TEMPLATE.format(header=header, imports=imports, table=table, exports=exports)
