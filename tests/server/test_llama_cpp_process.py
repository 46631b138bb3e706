"""Processes of the llama.cpp engine that misbehave on purpose: how they are started, explained, and ended."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio.server.engine import _llama_process, llama_cpp
from lmstudio.server.engine._llama_process import EngineProcess
from lmstudio.server.engine._loopback_http import ConnectionLostError
from lmstudio.server.engine.base import (
    EngineError,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    ModelDiedError,
    ModelFile,
)
from lmstudio.server.engine.llama_cpp import LlamaCppEngine, LlamaCppModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

SMALL = ModelFile(
    kind="llm",
    model_key="gull",
    path="reef/gull/gull.gguf",
    file=Path("gull.gguf"),
    display_name="Gull",
    publisher="reef",
    size_bytes=1_000_000,
    max_context_length=32_768,
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a process that will not end."""
    monkeypatch.setattr(_llama_process, "_DEATH_PATIENCE_SECONDS", 0.01)


def fake_worker(folder: Path, body: str) -> tuple[str, str]:
    """A command that runs *body* after reading its settings; `say` writes a line, `wait` waits for the end of stdin."""
    script = folder / "worker.py"
    script.write_text(
        "import json, os, signal, sys\n"
        "settings = sys.stdin.buffer.read(int(sys.stdin.buffer.read(8)))\n"
        "def say(line): os.write(1, line.encode() + b'\\n')\n"
        "def state(value, **more): say('cmd_child_to_router:state:' + json.dumps("
        "{'state': 'loading', 'payload': {'value': value, **more}}))\n"
        "def wait(): sys.stdin.buffer.read()\n" + body
    )
    return sys.executable, str(script)


async def start(command: Sequence[str], on_progress: Callable[[float], None] = lambda _: None) -> EngineProcess:
    return await EngineProcess.start({}, "m.gguf", on_progress, command=command)


def test_progress_counts_all_stages_and_never_falls(tmp_path: Path) -> None:
    command = fake_worker(
        tmp_path,
        "stages = ['a', 'b']\n"
        "state(0.5, stages=stages, current='a')\nstate(0.2, stages=stages, current='a')\n"
        "state(0.5, stages=stages, current='b')\nstate('x')\nstate(7)\n"
        "say('worker:[')\nsay('worker:[]')\nsay('noise')\n"
        "say('worker:{\"listening\": \"http://127.0.0.1:1\"}')\nsay('cmd_child_to_router:state:{}')\nwait()\n",
    )
    seen: list[float] = []

    async def main() -> EngineProcess:
        process = await start(command, seen.append)
        await process.close()
        return process

    assert asyncio.run(main()).address == "http://127.0.0.1:1"
    assert seen == [0.0, 0.25, 0.75, 1.0]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "Cannot load m.gguf: the processor lacks instructions .* \\(SIGILL\\)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "Cannot load m.gguf: it gave no reason .* ended with SIGSEGV"),
        ("say('worker:' + json.dumps({'failed': 'libgomp.so.1: no', 'type': 'ImportError'}))", "cannot start: libgomp"),
        ("sys.exit('  E srv load: out of luck')", "Cannot load m.gguf: .*out of luck .* exit code 1"),
    ],
)
def test_process_that_ends_while_loading_is_explained(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        asyncio.run(start(fake_worker(tmp_path, body)))


def assert_gone(process_id: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="asks for processes by signal")
def test_cancelled_load_kills_the_process_at_once(tmp_path: Path) -> None:
    command = fake_worker(tmp_path, "say('pid'); state(os.getpid() / 2**40)\nwhile True: signal.pause()\n")
    seen: list[float] = []

    async def main() -> None:
        loading = asyncio.Event()

        def on_progress(value: float) -> None:
            seen.append(value)
            if value:
                loading.set()

        engine = LlamaCppEngine(worker_command=command)
        model = replace(SMALL, file=Path(__file__))
        task = asyncio.create_task(engine.load(model, LoadOptions(), on_progress))
        await loading.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert_gone(round(seen[-1] * 2**40))


@pytest.mark.skipif(sys.platform == "win32", reason="asks for processes by signal")
def test_process_that_ignores_the_end_of_its_input_is_killed(tmp_path: Path) -> None:
    command = fake_worker(tmp_path, 'say(\'worker:{"listening": "http://127.0.0.1:1"}\')\nwhile True: signal.pause()\n')

    async def main() -> int:
        process = await start(command)
        await process.close(timeout=0.05)
        return process.pid

    assert_gone(asyncio.run(main()))


def test_callback_that_fails_ends_the_load(tmp_path: Path) -> None:
    def on_progress(value: float) -> None:
        raise RuntimeError(f"at {value}")

    with pytest.raises(RuntimeError, match=r"at 0\.0"):
        asyncio.run(start(fake_worker(tmp_path, "wait()"), on_progress))


def test_dropped_request_and_death_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = 'say(\'worker:{"listening": "http://127.0.0.1:1"}\')\n'
    lost = ConnectionLostError("no reply")

    async def explain(body: str) -> EngineError:
        process = await start(fake_worker(tmp_path, listening + body))
        try:
            return await process.explain_lost_connection(lost)
        finally:
            await process.close()

    monkeypatch.setattr(_llama_process, "_DEATH_PATIENCE_SECONDS", 20)
    died = asyncio.run(explain("sys.exit('0.1 E srv decode: all is lost')"))
    assert isinstance(died, ModelDiedError)
    assert str(died) == "The engine process of m.gguf ended unexpectedly (exit code 1): all is lost."
    monkeypatch.setattr(_llama_process, "_DEATH_PATIENCE_SECONDS", 0.01)
    dropped = asyncio.run(explain("wait()"))
    assert str(dropped) == "The inference engine dropped a request for m.gguf: no reply."


def test_model_whose_worker_serves_nothing_is_not_loaded(tmp_path: Path) -> None:
    command = fake_worker(tmp_path, 'say(\'worker:{"listening": "http://127.0.0.1:1"}\')\n')
    with pytest.raises(ModelDiedError):
        asyncio.run(
            LlamaCppEngine(worker_command=command).load(
                replace(SMALL, file=Path(__file__)), LoadOptions(), lambda _: None
            )
        )


SERVER = """
import http.server, threading
REPLIES = json.loads({replies!r})
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = REPLIES[self.path].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST
    def log_message(self, *ignored): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
say("worker:" + json.dumps({{"listening": "http://127.0.0.1:%d" % server.server_port}}))
wait()
os._exit(0)
"""


def with_replies(
    folder: Path, replies: dict[str, str], use: Callable[[LlamaCppModel], Awaitable[Any]], *, model: ModelFile = SMALL
) -> Any:
    """Run *use* on a model whose worker answers every request to a path with the same body."""
    command = fake_worker(folder, SERVER.format(replies=json.dumps({"/slots": '[{"n_ctx": 256}]', **replies})))

    async def main() -> Any:
        file = replace(model, file=Path(__file__))
        loaded = await LlamaCppEngine(worker_command=command).load(file, LoadOptions(), lambda _: None)
        try:
            return await use(loaded)
        finally:
            await loaded.close()

    return asyncio.run(main())


async def generated(model: LlamaCppModel, **fields: Any) -> list[GenerationEvent]:
    return [event async for event in model.generate(GenerationRequest("p", **fields))]


def test_replies_of_another_engine_version_are_reported(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="reply that cannot be read"):
        with_replies(tmp_path, {"/slots": "{}"}, lambda model: model.busy_sessions())


@pytest.mark.usefixtures("impatient")
def test_stream_that_ends_without_an_end_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"dropped a request for .*: the stream ended early"):
        with_replies(tmp_path, {"/completion": 'data: {"content": "a"}\n\n'}, generated)


def test_lines_after_the_end_are_ignored(tmp_path: Path) -> None:
    stream = 'data: {"content": "a", "stop": true, "stop_type": "eos"}\n\ndata: [DONE]\n\n'
    seen = with_replies(tmp_path, {"/completion": stream}, generated)
    assert isinstance(seen[-1], GenerationEnd)


def test_schema_is_refused_even_without_a_reason_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "_LOG_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(llama_cpp, "_REMEMBERED_SCHEMAS", 1)

    async def use(model: LlamaCppModel) -> None:
        for schema in ({"a": 1}, {"b": 1}, {"b": 1}):
            with pytest.raises(EngineError, match="cannot be enforced: no reason given"):
                await generated(model, json_schema=schema)

    with_replies(tmp_path, {"/completion": '{"tokens": [7]}', "/tokenize": '{"tokens": [3, 7]}'}, use)


@pytest.mark.usefixtures("impatient")
def test_schema_is_not_checked_with_a_vocabulary_that_cannot(tmp_path: Path) -> None:
    replies = {"/completion": '{"tokens": [7]}', "/tokenize": '{"tokens": []}'}
    with pytest.raises(EngineError, match="dropped a request"):
        with_replies(tmp_path, replies, lambda model: generated(model, json_schema={}))


def test_embedding_without_pooling_is_refused(tmp_path: Path) -> None:
    replies = {"/embedding": '[{"embedding": [[1.0], [0.0]]}]'}
    with pytest.raises(EngineError, match="no pooling"):
        with_replies(tmp_path, replies, lambda model: model.embed("x"), model=replace(SMALL, kind="embedding"))


def test_template_process_that_dies_is_replaced_and_ends_with_its_model(tmp_path: Path) -> None:
    async def use(model: LlamaCppModel) -> None:
        assert await model.render_chat([], template="T") == "P"
        assert model._renderer is not None
        await model._renderer[1]._process.close()
        with pytest.raises(EngineError, match="Applying the chat template failed"):
            await model.render_chat([], template="T")
        assert await model.render_chat([], template="T") == "P"
        await model.close()
        with pytest.raises(ModelDiedError, match="unloaded"):
            await model.render_chat([], template="T")

    with_replies(tmp_path, {"/apply-template": '{"prompt": "P"}'}, use)


def test_worker_that_cannot_be_started_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"Cannot start the inference engine .*nothing-here"):
        asyncio.run(start([str(tmp_path / "nothing-here")]))
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(EngineError, match="does not know its own executable"):
        asyncio.run(EngineProcess.start({}, "m.gguf", lambda _: None))


def test_missing_files_and_missing_engine_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def load(model: ModelFile, **options: Any) -> None:
        await LlamaCppEngine().load(model, LoadOptions(**options), lambda _: None)

    here = replace(SMALL, file=Path(__file__))
    with pytest.raises(EngineError, match=r"Cannot load the model gull\.gguf: there is no such file"):
        asyncio.run(load(SMALL))
    with pytest.raises(EngineError, match="Cannot load the draft model"):
        asyncio.run(load(here, draft_model=tmp_path / "gone.gguf"))
    with pytest.raises(EngineError, match="it has no file"):
        asyncio.run(load(replace(SMALL, file=None)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match="not installed") as caught:
        asyncio.run(load(here))
    assert "pip install" in str(caught.value.suggestion)


def test_version_is_that_of_the_installed_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    assert LlamaCppEngine().version
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert LlamaCppEngine().version == "not installed"
    asyncio.run(LlamaCppEngine().close())
