"""Runs examples as their readers do: in a program of their own, one after the other, against a server."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from textwrap import indent
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

import lmstudio as lms
from docs.catalogue import BEFORE, snippet
from lmstudio.server import ModelFile

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from lmstudio.server import ScriptedEngine, Server
    from lmstudio.server.engine.scripted import RenderedChat

LLM_KEY = "qwen2.5-7b-instruct"
TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJKLMNOPQRST"


def _model(key: str, path: str, name: str, architecture: str, **more: Any) -> ModelFile:
    parts: dict[str, Any] = {
        "kind": "llm",
        "max_context_length": 32768,
        "trained_for_tool_use": True,
        "params_string": "7B",
        "quantization": ("Q4_K_M", 4),
    }
    parts.update(more)
    publisher = path.partition("/")[0]
    return ModelFile(
        model_key=key,
        path=path,
        file=None,
        display_name=name,
        publisher=publisher,
        size_bytes=4_000_000_000,
        architecture=architecture,
        **parts,
    )


MODELS = [
    _model(
        "qwen/qwen3-4b-2507",
        "lmstudio-community/Qwen3-4B-Instruct-2507-GGUF/Qwen3-4B-Instruct-2507-Q4_K_M.gguf",
        "Qwen3 4B Instruct 2507",
        "qwen3",
    ),
    _model(
        LLM_KEY,
        "lmstudio-community/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
        "Qwen2.5 7B Instruct",
        "qwen2",
    ),
    _model(
        "qwen2.5-0.5b-instruct",
        "lmstudio-community/Qwen2.5-0.5B-Instruct-GGUF/Qwen2.5-0.5B-Instruct-Q4_K_M.gguf",
        "Qwen2.5 0.5B Instruct",
        "qwen2",
    ),
    _model(
        "qwen2-vl-2b-instruct",
        "lmstudio-community/Qwen2-VL-2B-Instruct-GGUF/Qwen2-VL-2B-Instruct-Q4_K_M.gguf",
        "Qwen2 VL 2B Instruct",
        "qwen2vl",
        vision=True,
    ),
    _model("openai/gpt-oss-20b", "lmstudio-community/gpt-oss-20b-GGUF/gpt-oss-20b-MXFP4.gguf", "GPT OSS", "gpt-oss"),
    _model(
        "text-embedding-nomic-embed-text-v1.5",
        "nomic-ai/nomic-embed-text-v1.5-GGUF/nomic-embed-text-v1.5.Q4_K_M.gguf",
        "Nomic Embed Text v1.5",
        "nomic-bert",
        kind="embedding",
        max_context_length=2048,
        trained_for_tool_use=False,
    ),
]


class Run:
    """A program that has ended."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.printed = ""

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


class Stage:
    """A server, and a folder to run examples in."""

    def __init__(self, engine: ScriptedEngine, server: Server, folder: Path, image: Path) -> None:
        self.engine = engine
        self.server = server
        self.folder = folder
        self.image = image

    @property
    def placeholders(self) -> dict[str, str]:
        """What a reader puts in the place of the documentation's own words."""
        return {
            "localhost:1234": self.server.api_host,
            "/path/to/image.jpg": self.image.as_posix(),
            "your-token-here": TOKEN,
        }

    @property
    def last_chat(self) -> RenderedChat:
        """The last chat that a model was shown."""
        return self.engine.chats[-1]

    def load(self, key: str = LLM_KEY) -> None:
        """Load a model, as the reader has done before."""
        with lms.Client(self.server.api_host) as client:
            session = client.embedding if "embed" in key else client.llm
            session.load_new_instance(key)

    def loaded(self) -> list[str]:
        """The identifiers of all models in memory."""
        with lms.Client(self.server.api_host) as client:
            return [model.identifier for model in client.list_loaded_models()]

    def save_as(self, example: int, name: str) -> None:
        """Put an example where others can import it."""
        (self.folder / name).write_text(self._source(snippet(example)), encoding="utf-8")

    def run(self, *examples: int | str, typed: str = "", **names: Any) -> Run:
        """Run examples as one program: those that stand before the first, then these.

        What follows an example that ends with a `with` block goes on in that block. *typed* is what the user types,
        *names* are those that the program has from elsewhere.
        """
        first = examples[0]
        before = BEFORE.get(first, ()) if isinstance(first, int) else ()
        paths = [snippet(example) for example in (*before, *examples)]
        module = ModuleType("__main__")
        vars(module).update(names)
        run = Run(vars(module))
        out, errors = io.StringIO(), io.StringIO()
        with (
            _main_module(module),
            mock.patch.object(sys, "stdin", io.StringIO(typed)),
            redirect_stdout(out),
            redirect_stderr(errors),
        ):
            try:
                if paths[-1].suffix == ".pycon":
                    asyncio.run(self._type_in(paths[-1], run.names, out))
                else:
                    self._execute(paths, run.names)
            finally:
                run.printed = out.getvalue()
        assert errors.getvalue() == ""
        return run

    def _source(self, path: Path) -> str:
        source = path.read_text(encoding="utf-8")
        for placeholder, value in self.placeholders.items():
            source = source.replace(placeholder, value)
        return source

    def _execute(self, paths: list[Path], names: dict[str, Any]) -> None:
        program = ""
        for path in paths:
            program += indent(self._source(path), "    " * _ends_in_with_block(program))
        file = self.folder / "program.py"
        file.write_text(program, encoding="utf-8")
        waiting = _begin(_compiled(program, str(file), "exec"), names)
        if waiting is not None:
            asyncio.run(waiting)

    async def _type_in(self, path: Path, names: dict[str, Any], out: io.StringIO) -> None:
        """Enter a session of the interactive interpreter line by line; it must answer what the session shows."""
        for entry in doctest.DocTestParser().get_examples(self._source(path)):
            begin = out.tell()
            waiting = _begin(_compiled(entry.source, path.name, "single"), names)
            if waiting is not None:
                await waiting
            assert out.getvalue()[begin:] == entry.want, entry.source


@contextmanager
def _main_module(module: ModuleType) -> Iterator[None]:
    """Make *module* the program, which type hints and pickles look for. Modules that it imports stay."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def _ends_in_with_block(program: str) -> bool:
    statements = ast.parse(program).body
    return bool(statements) and isinstance(statements[-1], (ast.With, ast.AsyncWith))


def _compiled(source: str, name: str, mode: str) -> CodeType:
    code = compile(source, name, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


def _begin(code: CodeType, names: dict[str, Any]) -> Coroutine[Any, Any, Any] | None:
    """Execute *code*; what is left to wait for if it awaits something."""
    result = eval(code, names)
    return result if inspect.iscoroutine(result) else None
