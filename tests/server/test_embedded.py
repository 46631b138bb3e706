"""Starting and stopping the embedded server."""

from __future__ import annotations

import asyncio
import errno
import gc
import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from programs import uncovered
from transport_stub import TOKEN, RawClient, StubCore, call, client, create_message, token_packet
from websockets.exceptions import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from lmstudio._async_io import AsyncioRuntime
from lmstudio._auth import resolve_credentials
from lmstudio._endpoints.system import VERSION
from lmstudio._settings import ConnectionSettings
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError
from lmstudio.server import EngineError, ScriptedEngine, Server, ServerStartError, scripted_models
from lmstudio.server import background as background_module
from lmstudio.server.errors import PortInUseError
from lmstudio.server.models import EMBEDDING_MODEL_FILE
from lmstudio.server.websocket import DirectWebSocket

if TYPE_CHECKING:
    from pathlib import Path


_threads_of_others: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Other test modules may have servers that run for the whole session."""
    _threads_of_others.clear()
    _threads_of_others.update(threading.enumerate())


def server_threads() -> list[threading.Thread]:
    started = set(threading.enumerate()) - _threads_of_others
    return [thread for thread in started if thread.name.startswith("lmstudio-server")]


def count_tokens(server: Server, text: str = "abc") -> Any:
    with client(server.api_host) as websocket:
        return call(websocket, "countTokens", {"inputString": text})


def test_server_is_reachable_while_its_block_runs() -> None:
    core = StubCore()
    with Server.for_core(core) as server:
        assert server_threads() != []
        assert server.core is core
        assert server.api_host == f"127.0.0.1:{server.port}"
        assert count_tokens(server) == 3
    assert not server.is_running
    assert core.is_closed
    assert server_threads() == []


def test_asynchronous_block_leaves_the_callers_loop_free() -> None:
    async def main() -> None:
        async with Server.for_core(StubCore()) as server:
            assert await asyncio.to_thread(count_tokens, server) == 3
        assert not server.is_running

    asyncio.run(main())


def test_start_and_stop_may_be_called_twice() -> None:
    server = Server.for_core(StubCore())
    server.start()
    port = server.port
    server.start()
    assert server.port == port
    server.stop()
    server.stop()
    assert server_threads() == []


def test_server_starts_again_on_its_port_although_clients_were_connected() -> None:
    server = Server.for_core(StubCore())
    with server:
        port = server.port
        with client(server.api_host) as websocket:
            server.stop()
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012  # "service restart"
            server.start()
            assert server.port == port
            assert count_tokens(server) == 3


def test_new_server_takes_over_the_port_of_one_that_has_stopped() -> None:
    with Server.for_core(StubCore()) as old:
        assert count_tokens(old) == 3
    with Server.for_core(StubCore(), port=old.port) as new:
        assert count_tokens(new) == 3


def test_connection_that_comes_at_the_moment_of_the_stop_is_closed() -> None:
    for _ in range(5):
        with Server(engine=ScriptedEngine()) as server:
            connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
        with connection, suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_connection_that_is_accepted_in_the_turn_of_the_stop_is_closed() -> None:
    """asyncio forgets one whose server has ended before it was told of it; pytest hears of what is not closed."""
    connections = []
    with Server(engine=ScriptedEngine()) as server:
        loop, listener = server._loop, server._listener
        assert loop is not None
        assert listener is not None
        is_done = threading.Event()

        def connect_and_stop() -> None:
            connections.append(socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS))
            listener.stopping.set()
            is_done.set()

        loop.call_soon_threadsafe(connect_and_stop)
        assert is_done.wait(PATIENCE_SECONDS)
    with connections[0], suppress(ConnectionResetError):
        assert connections[0].recv(1) == b""
    gc.collect()


def test_stop_is_prompt_with_busy_and_stuck_clients() -> None:
    core, stuck_core = StubCore(), StubCore()
    with Server.for_core(core) as server, Server.for_core(stuck_core) as stuck_server:
        with client(server.api_host) as websocket, RawClient(stuck_server.api_host) as raw:
            websocket.send(create_message("predict"))
            assert core.started.wait(PATIENCE_SECONDS)
            raw.send(create_message("completeRawText", "politely"))
            assert stuck_core.blocked.wait(PATIENCE_SECONDS)
            begin = time.monotonic()
            server.stop()
            stuck_server.stop()
            assert time.monotonic() - begin < 2
        assert core.cancelled.is_set()
        assert stuck_core.cancelled.is_set()


def test_handler_that_ignores_its_cancellation_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    class StubbornCore(StubCore):
        async def _hold(self, *_arguments: object) -> None:
            self.started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()

    core = StubbornCore()
    with Server.for_core(core) as server, client(server.api_host) as websocket:
        websocket.send(create_message("predict"))
        assert core.started.wait(PATIENCE_SECONDS)
        begin = time.monotonic()
        with caplog.at_level(logging.WARNING, "lmstudio.server"):
            server.stop()
        assert time.monotonic() - begin < 2
    assert "1 handlers of llm go on" in caplog.text


def test_connection_that_has_said_goodbye_already_does_not_disturb_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The window between the closing handshake and the end of the transport is too small to hit with a real client.
    say_goodbye = DirectWebSocket.shutdown

    def shutdown(self: DirectWebSocket) -> None:
        say_goodbye(self)
        raise LocalProtocolError("Connection already closed.")

    monkeypatch.setattr(DirectWebSocket, "shutdown", shutdown)
    server = Server.for_core(StubCore())
    with (
        caplog.at_level(logging.ERROR, "lmstudio.server"),
        server,
        client(server.api_host) as first,
        client(server.api_host, "system") as second,
    ):
        server.stop()
        for websocket in (first, second):
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
    assert caplog.text == ""


def test_failure_to_unload_does_not_keep_the_server_from_stopping(caplog: pytest.LogCaptureFixture) -> None:
    class FailingCore(StubCore):
        async def aclose(self) -> None:
            raise OSError("no")

    with caplog.at_level(logging.ERROR, "lmstudio.server"), Server.for_core(FailingCore()) as server:
        server.stop()
    assert "Could not unload all models" in caplog.text
    assert server_threads() == []


def test_privileged_client_ends_the_server_and_gets_its_answer() -> None:
    with Server(engine="scripted", api_tokens=[TOKEN]) as server:
        (thread,) = server_threads()
        with client(server.api_host, "system", packet=token_packet(TOKEN)) as websocket:
            assert call(websocket, "requestShutdown") is None
            thread.join(PATIENCE_SECONDS)
        assert not server.is_running


def test_stop_from_the_servers_own_thread_does_not_wait_for_itself() -> None:
    class StoppingCore(StubCore):
        async def _who(self, *_arguments: object) -> str:
            server.stop()
            return "stopped"

    with Server.for_core(StoppingCore()) as server:
        (thread,) = server_threads()
        with client(server.api_host) as websocket:
            assert call(websocket, "listLoaded") == "stopped"
        thread.join(PATIENCE_SECONDS)
        assert not server.is_running


def test_client_of_this_package_is_served() -> None:
    async def main() -> str:
        async with Server(engine="scripted") as server:
            settings = ConnectionSettings(server.api_host, resolve_credentials())
            runtime = AsyncioRuntime(settings, asyncio.get_running_loop())
            try:
                return (await runtime.port("system").call(VERSION, None, "ask for the version")).version
            finally:
                await runtime.aclose()

    assert asyncio.run(main()).count(".") == 2


# Models and engine ---------------------------------------------------------------------------------------------------


def test_engine_and_models_can_be_looked_at_once_started() -> None:
    engine = ScriptedEngine()
    server = Server(engine=engine)
    assert server.engine is engine
    assert len(server.models) == 0
    with server:
        assert list(server.models) == scripted_models()
    assert engine.is_closed


def test_made_up_models_can_be_given() -> None:
    with Server(scripted_models()[:1], engine="scripted", jit_ttl_seconds=None) as server:
        assert [model.model_key for model in server.models] == ["scripted-chat"]
        with client(server.api_host, "system") as websocket:
            assert [model["modelKey"] for model in call(websocket, "listDownloadedModels")] == ["scripted-chat"]


def test_shipped_models_are_offered_by_default() -> None:
    with Server() as server:
        assert {model.kind for model in server.models} == {"llm", "embedding"}
        assert server.engine.name == "llama.cpp"


def test_nothing_to_look_at_before_the_start() -> None:
    server = Server(engine="scripted")
    assert repr(server) == "<Server 127.0.0.1:0, stopped>"
    for member in ("api_host", "engine", "core"):
        with pytest.raises(LMStudioRuntimeError, match="started"):
            getattr(server, member)


@pytest.mark.parametrize(
    ("host", "expected"), [("0.0.0.0", "127.0.0.1:1234"), ("::", "[::1]:1234"), ("localhost", "localhost:1234")]
)
def test_address_for_clients_is_one_they_can_connect_to(host: str, expected: str) -> None:
    assert Server(host=host, port=1234).api_host == expected


# What keeps a server from starting -----------------------------------------------------------------------------------


def test_port_in_use_is_one_clear_sentence() -> None:
    with Server.for_core(StubCore()) as first:
        second = Server.for_core(StubCore(), port=first.port)
        with pytest.raises(PortInUseError) as refused:
            second.start()
        assert str(refused.value) == (
            f"Port {first.port} on 127.0.0.1 is already in use; choose another port, or 0 for a free one."
        )
        assert isinstance(refused.value.__cause__, OSError)
        assert count_tokens(first) == 3
    with second:
        assert count_tokens(second) == 3


def test_bad_model_file_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(ServerStartError, match=r"broken\.gguf"):
        Server([file]).start()
    with pytest.raises(ServerStartError, match=r"absent\.gguf"):
        Server([tmp_path / "absent.gguf"], engine="scripted").start()
    assert server_threads() == []


def test_setting_that_makes_no_sense_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="temperature"):
        Server(engine="scripted", prediction_defaults={"llm.prediction.temperature": "hot"}).start()
    with pytest.raises(ServerStartError, match=r"There is no folder of presets [^.]*\.$"):
        Server(engine="scripted", presets=tmp_path / "absent").start()
    assert server_threads() == []


def test_engine_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_server: Server) -> None:
        raise EngineError("The engine needs a library that is not there.")

    monkeypatch.setattr(Server, "_new_engine", refuse)
    with pytest.raises(ServerStartError, match="needs a library"):
        Server().start()


def test_bad_token_is_refused_at_the_start() -> None:
    with pytest.raises(LMStudioValueError, match="sk-lm-"):
        Server(engine="scripted", api_tokens=["hello"]).start()
    assert server_threads() == []


@pytest.mark.parametrize(("engine", "missing"), [("scripted", "uvicorn"), ("llama_cpp", "xllamacpp")])
def test_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, engine: Any, missing: str
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(ServerStartError, match=rf"needs {missing}, .* pip install 'lmstudio\[server\]'"):
        Server(engine=engine).start()


@pytest.mark.parametrize("port", [-1, 65536])
def test_impossible_port_is_refused(port: int) -> None:
    with pytest.raises(LMStudioValueError, match=f"{port} is not a port"):
        Server(engine="scripted", port=port).start()


@pytest.mark.parametrize(
    ("host", "words"),
    [("203.0.113.7", "not an address of this machine"), ("no such host", "The host name 'no such host' is not known")],
)
def test_address_of_another_machine_is_refused(host: str, words: str) -> None:
    with pytest.raises(ServerStartError, match=words):
        Server(engine="scripted", host=host, insecure=True).start()


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "reserved for administrators"), (errno.ENOBUFS, "Cannot listen on port 80")]
)
def test_refusal_of_the_system_is_explained(monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    class Refusing(socket.socket):
        def bind(self, _address: Any) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(ServerStartError, match=words):
        Server(engine="scripted", port=80).start()


def test_interrupt_while_starting_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Future[None]):
        def result(self, timeout: float | None = None) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(background_module, "Future", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Server.for_core(StubCore()).start()
    assert server_threads() == []


def test_server_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from lmstudio.server.listener import Listener

    async def fail(_listener: Listener) -> None:
        raise OSError("out of order")

    monkeypatch.setattr(Listener, "main_loop", fail)
    with caplog.at_level(logging.ERROR, "lmstudio.server"):
        server = Server.for_core(StubCore())
        server.start()
        for thread in server_threads():
            thread.join(PATIENCE_SECONDS)
        assert not server.is_running
        server.stop()
    assert "ended unexpectedly" in caplog.text


# The process ---------------------------------------------------------------------------------------------------------


def run_python(script: str, *options: str) -> str:
    """What *script* prints; it must succeed and complain about nothing."""
    command = [sys.executable, *options, "-c", script]
    environment = uncovered() if "os.fork" in script else None
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_package_is_imported_without_the_extra_packages() -> None:
    script = """
import sys, lmstudio.server
assert "Server" in dir(lmstudio.server)
from lmstudio.server import Server, ScriptedEngine, Gate, Reply
print(sorted({"starlette", "uvicorn", "wsproto", "xllamacpp"} & set(sys.modules)))
"""
    assert run_python(script) == "[]\n"
    with pytest.raises(ImportError, match="Servant"):
        from lmstudio.server import Servant  # type: ignore[attr-defined]  # noqa: F401 - that it fails is the test


def test_forgotten_server_does_not_keep_the_process_from_ending() -> None:
    script = """
from lmstudio.server import Server
server = Server(engine="scripted")
server.start()
print(server.is_running)
"""
    assert run_python(script, "-W", "error") == "True\n"


def test_forgotten_server_deletes_its_temporary_models_at_the_end(tmp_path: Path) -> None:
    catalog, temporary = tmp_path / "catalog.json", tmp_path / "temporary"
    temporary.mkdir()
    files = [{"path": str(EMBEDDING_MODEL_FILE)}]
    catalog.write_text(json.dumps({"models": [{"owner": "maker", "name": "pebble", "files": files}]}))
    script = f"""
import pathlib, tempfile
tempfile.tempdir = {str(temporary)!r}
import lmstudio as lms
from lmstudio.server import Server
server = Server(engine="scripted", catalog={str(catalog)!r})
server.start()
with lms.Client(server.api_host) as client:
    (option,) = client.repository.search_models("pebble")[0].get_download_options()
    option.download()
print(len(list(pathlib.Path(tempfile.tempdir).rglob("*.gguf"))))
"""
    assert run_python(script) == "1\n"
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_does_not_hold_the_port() -> None:
    script = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork in a process with threads
from lmstudio.server import Server
server = Server(engine="scripted")
server.start()
from_child, to_parent = os.pipe()
from_parent, to_child = os.pipe()
child = os.fork()
if child == 0:
    assert not server.is_running
    os.write(to_parent, b".")
    os.close(to_child)
    os.read(from_parent, 1)  # until the parent is done
    raise SystemExit(0)
os.read(from_child, 1)
server.stop()
server.start()
print(server.is_running)
os.close(to_child)
print(os.waitpid(child, 0)[1])
"""
    assert run_python(script) == "True\n0\n"
