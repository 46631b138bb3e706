"""What `import lmstudio` offers, and what it costs: nothing but names until they are used."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from programs import uncovered

import lmstudio

SOURCE = Path(lmstudio.__file__)


def in_a_new_process(code: str) -> Any:
    """Run *code*, which prints JSON; not under coverage, which imports a lot itself."""
    environment = uncovered()
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def imported_by(statement: str) -> set[str]:
    return set(in_a_new_process(f"import sys, json; {statement}; print(json.dumps(list(sys.modules)))"))


def type_checking_names() -> set[str]:
    """The names that a type checker sees: those imported under `if TYPE_CHECKING`."""
    block = next(node for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    return {
        alias.name for statement in block.body if isinstance(statement, ast.ImportFrom) for alias in statement.names
    }


@pytest.mark.parametrize("name", lmstudio.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(lmstudio, name) is not None


def test_type_checkers_and_programs_see_the_same_names() -> None:
    assert type_checking_names() | {"__version__"} == {*lmstudio.__all__, *lmstudio._MODULES}
    assert len(lmstudio.__all__) == len(set(lmstudio.__all__))


def test_a_star_import_brings_all_public_names() -> None:
    names = in_a_new_process("import json; from lmstudio import *; print(json.dumps(dir()))")
    assert set(lmstudio.__all__) <= set(names)


def test_public_names_are_listed_before_they_are_loaded() -> None:
    listed = in_a_new_process("import json, lmstudio; print(json.dumps(dir(lmstudio)))")
    assert set(lmstudio.__all__) <= set(listed)
    assert listed == sorted(listed)


def test_a_name_is_loaded_once() -> None:
    assert lmstudio.Chat is lmstudio.Chat
    assert "Chat" in vars(lmstudio)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lmstudio' has no attribute 'nonsense'"):
        _ = lmstudio.nonsense  # type: ignore[attr-defined]  # no such name


MODULES = ["async_api", "errors", "history", "json_api", "results", "schemas", "sync_api"]


@pytest.mark.parametrize("module", MODULES)
def test_the_modules_of_the_official_package_can_be_imported(module: str) -> None:
    assert importlib.import_module(f"lmstudio.{module}").__doc__


@pytest.mark.parametrize("module", MODULES)
def test_the_modules_of_the_official_package_are_attributes(module: str) -> None:
    code = f"import json, lmstudio; print(json.dumps(lmstudio.{module}.__name__))"
    assert in_a_new_process(code) == f"lmstudio.{module}"


# The official package ------------------------------------------------------------------------------------------------

OFFICIAL = json.loads(Path(__file__).with_name("official_names.json").read_text(encoding="utf-8"))
"""The public names of the official package 1.6.0b1, and of its `plugin`, with the members of each."""


def found(name: str) -> Any:
    """The object of a name such as "Chat" or "plugin.hooks"."""
    owner: Any = lmstudio
    for part in name.split("."):
        if isinstance(owner, ModuleType) and not hasattr(owner, part):
            importlib.import_module(f"{owner.__name__}.{part}")
        owner = getattr(owner, part)
    return owner


def has_member(owner: Any, member: str) -> bool:
    """Whether there is such a member, or instances are given one."""
    if hasattr(owner, member) or not isinstance(owner, type):
        return hasattr(owner, member)
    classes = [each for each in owner.__mro__ if each.__module__.startswith("lmstudio")]
    is_declared = any(member in inspect.get_annotations(each) for each in classes)
    return is_declared or any(f"self.{member}: " in inspect.getsource(each) for each in classes)


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_official_name_has_its_members(name: str) -> None:
    owner = found(name)
    assert [member for member in OFFICIAL[name] if not has_member(owner, member)] == []


def test_signatures_of_public_classes_can_be_read() -> None:
    classes = [each for each in map(found, [*lmstudio.__all__, "events.TextEvent"]) if isinstance(each, type)]
    structs = [each for each in classes if issubclass(each, msgspec.Struct)]
    assert lmstudio.ChatMessage in structs
    for struct in structs:
        assert inspect.signature(struct).parameters.keys() <= set(struct.__struct_fields__)


# What an import costs ------------------------------------------------------------------------------------------------

HEAVY = {"asyncio", "anyio", "httpx", "httpx_ws", "httpcore", "pydantic", "ssl", "threading", "socket", "PIL"}


def test_the_import_loads_nothing_but_the_package_itself() -> None:
    modules = imported_by("import lmstudio")
    assert not modules & HEAVY
    assert {name for name in modules if name.startswith("lmstudio")} == {"lmstudio", "lmstudio._version"}


def test_errors_and_results_load_no_wire_types() -> None:
    modules = imported_by("import lmstudio; lmstudio.LMStudioError; lmstudio.PredictionResult")
    assert not modules & HEAVY
    assert not any(name.startswith("lmstudio._sdk_models") for name in modules)


def test_a_chat_loads_no_network() -> None:
    modules = imported_by("import lmstudio; lmstudio.Chat('Hi').add_user_message('Hi')")
    assert not modules & (HEAVY - {"threading"})


def test_the_protocol_loads_no_network() -> None:
    modules = imported_by(
        "import lmstudio.json_api, lmstudio._ops.prediction, lmstudio._ops.models, lmstudio._ops.text"
    )
    assert not modules & (HEAVY - {"threading"})


def test_the_import_does_not_look_at_the_environment_or_open_anything() -> None:
    code = """
import json, sys
events = []
sys.addaudithook(lambda event, arguments: events.append(event))
import os
class Watched(type(os.environ)):
    def __getitem__(self, key):
        events.append("environment " + str(key))
        return super().__getitem__(key)
os.environ.__class__ = Watched
import lmstudio
print(json.dumps(sorted({e for e in events if e.startswith(("socket", "subprocess", "environment", "os.putenv"))})))
"""
    assert in_a_new_process(code) == []
