"""What only the synchronous surface can do or suffer: threads, Ctrl-C, timeouts, forks, the end of the interpreter."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import Reply, ScriptedEngine, Server, ToolCall

from .background import Background
from .coroutine_tools import interrupted
from .odd_servers import mute_server
from .scripts import FORK, run_script, script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio.server import Gate

    from .fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and forks are different here")


@pytest.fixture
def restored_timeout() -> Iterator[None]:
    """The timeout of the synchronous API may be changed."""
    before = lms.get_sync_api_timeout()
    yield
    lms.set_sync_api_timeout(before)


def stopped(proxy: FaultProxy, engine: ScriptedEngine) -> bool:
    """Whether one cancel packet has left the client, and the engine has stopped."""
    return proxy.wait_for_packet("cancel") and engine.wait_for_cancel() and proxy.count_packets("cancel") == 1


# Threads -------------------------------------------------------------------------------------------------------------


def test_many_threads_share_a_client(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client, ThreadPoolExecutor(32) as threads:
        chat = client.llm.model("scripted-chat")
        embed = client.embedding.model("scripted-embed")

        def predict(number: int) -> bool:
            return chat.respond(f"text {number}").content == f"You said: text {number}"

        def stream(number: int) -> bool:
            with chat.complete_stream(f"text {number}") as fragments:
                return "".join(fragment.content for fragment in fragments).endswith(f" text {number}")

        def count(number: int) -> bool:
            return chat.count_tokens(" x" * number) == number

        def vectors(number: int) -> bool:
            first, second = embed.embed([f"text {number}", "other"])
            return first == embed.embed(f"text {number}") != second

        def abandon(number: int) -> bool:
            for fragment in chat.respond_stream(f"text {number}"):
                return fragment.content == "You"
            return False

        calls = (predict, stream, count, vectors, abandon)
        answers = [threads.submit(calls[number % 5], number) for number in range(1000)]
        assert all(answer.result(PATIENCE_SECONDS) for answer in answers)
    assert sorted(proxy.accepted) == ["embedding", "llm"]


def test_threads_that_use_a_client_first_at_the_same_time_share_a_connection(proxy: FaultProxy) -> None:
    barrier = threading.Barrier(16)
    with lms.Client(proxy.api_host) as client, ThreadPoolExecutor(16) as threads:

        def ask() -> int:
            barrier.wait()
            return len(client.list_downloaded_models())

        answers = [threads.submit(ask) for _ in range(16)]
        assert [answer.result(PATIENCE_SECONDS) for answer in answers] == [2] * 16
    assert proxy.accepted == ["system"]


def test_clients_share_one_thread_which_ends_with_them(server: Server) -> None:
    before = threading.active_count()
    clients = [lms.Client(server.api_host) for _ in range(5)]
    assert not clients[0].llm.connected
    assert threading.active_count() == before
    for client in clients:
        client.list_downloaded_models()
    assert threading.active_count() == before + 1
    for client in clients:
        client.close()
    assert threading.active_count() == before


def test_client_may_be_closed_by_another_thread(server: Server) -> None:
    client = lms.Client(server.api_host)
    client.list_downloaded_models()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(client.close).result(PATIENCE_SECONDS)
    with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
        client.list_downloaded_models()


def test_stream_may_be_passed_from_thread_to_thread(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    with lms.Client(proxy.api_host) as client, ThreadPoolExecutor(1) as threads:
        stream = client.llm.model("scripted-chat").respond_stream("Hi")
        threads.submit(stream.start).result(PATIENCE_SECONDS)
        fragments = iter(stream)
        assert next(fragments).content == "one"
        assert threads.submit(next, fragments).result(PATIENCE_SECONDS).content == " two"
        assert gate.reached()
        threads.submit(stream.close).result(PATIENCE_SECONDS)
        assert stopped(proxy, engine)


def test_stream_that_is_closed_by_another_thread_does_not_block_its_reader(server: Server, gate: Gate) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        stream = client.llm.model("scripted-chat").respond_stream("Hi")
        reader = background.start(stream.wait_for_result)
        assert gate.reached()
        stream.close()
        # What it gets depends on what it is doing at this moment.
        with suppress(lms.LMStudioCancelledError, lms.LMStudioChannelClosedError):
            assert reader.result().stop_reason == "userStopped"


def test_stream_may_be_cancelled_by_another_thread(server: Server, gate: Gate) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        stream = client.llm.model("scripted-chat").respond_stream("Hi")
        reader = background.start(stream.wait_for_result)
        assert gate.reached()
        stream.cancel()
        assert reader.result().stop_reason == "userStopped"


def test_works_inside_a_running_event_loop(server: Server) -> None:
    async def main() -> str:
        with lms.Client(server.api_host) as client:
            return client.llm.model("scripted-chat").respond("Hi").content

    assert asyncio.run(main()) == "You said: Hi"


def test_callbacks_run_in_the_thread_and_context_of_the_caller(server: Server) -> None:
    variable = contextvars.ContextVar("variable", default="other")
    variable.set("caller's")
    seen = set()

    def note(*_arguments: object) -> None:
        seen.add((threading.current_thread(), variable.get()))

    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat", on_load_progress=note)
        model.respond(
            "Hi",
            on_message=note,
            on_first_token=note,
            on_prediction_fragment=note,
            on_prompt_processing_progress=note,
        )
    assert seen == {(threading.current_thread(), "caller's")}


def test_callbacks_may_call_the_client(server: Server) -> None:
    counts: list[int] = []
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        model.respond("Hi there", on_prediction_fragment=lambda fragment: counts.append(model.count_tokens("a b")))
    assert counts == [2] * 4


def test_call_on_the_background_thread_is_refused_instead_of_waiting_for_itself(server: Server) -> None:
    errors: list[lms.LMStudioError] = []
    client = lms.Client(server.api_host)

    class Caller(logging.Handler):
        """The one piece of user code that may run there."""

        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Connected"):
                try:
                    client.list_loaded_models()
                except lms.LMStudioError as error:
                    errors.append(error)

    logger = logging.getLogger("lmstudio.websocket")
    handler = Caller()
    logger.addHandler(handler)
    try:
        assert len(client.list_downloaded_models()) == 2
    finally:
        logger.removeHandler(handler)
    client.close()
    assert isinstance(errors[0], lms.LMStudioRuntimeError)
    assert "background thread" in str(errors[0])


# Timeouts ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("restored_timeout")
def test_silent_prediction_times_out_and_is_stopped(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        lms.set_sync_api_timeout(0.2)
        with pytest.raises(lms.LMStudioTimeoutError, match=r"within 0\.2 seconds") as error:
            model.respond("Hi")
        assert isinstance(error.value, TimeoutError)
        assert stopped(proxy, engine)
        assert model.count_tokens("a b") == 2
        assert proxy.accepted == ["llm"]


@pytest.mark.usefixtures("restored_timeout")
def test_silent_load_times_out_and_is_stopped(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    engine.load_gate = gate
    with lms.Client(proxy.api_host) as client:
        client.llm.connect()
        lms.set_sync_api_timeout(0.2)
        with pytest.raises(lms.LMStudioTimeoutError):
            client.llm.model("scripted-chat")
        assert stopped(proxy, engine)
        assert client.llm.list_loaded() == []


@pytest.mark.usefixtures("restored_timeout")
@pytest.mark.parametrize("texts", ["a b", ["a", "b"]])
def test_silent_call_times_out_and_its_late_reply_is_ignored(proxy: FaultProxy, texts: str | list[str]) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        proxy.hold()
        lms.set_sync_api_timeout(0.1)
        with pytest.raises(lms.LMStudioTimeoutError):
            model.tokenize(texts)
        lms.set_sync_api_timeout(None)
        proxy.release()
        assert model.count_tokens("a b c") == 3
        assert proxy.accepted == ["llm"]


@pytest.mark.usefixtures("restored_timeout")
def test_prediction_that_goes_on_does_not_time_out(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["word "] * 60, delay_seconds=0.01)
    lms.set_sync_api_timeout(0.5)
    with lms.Client(server.api_host) as client:
        result = client.llm.model("scripted-chat").respond("Hi")
    assert result.stats.total_time_sec is not None
    assert result.stats.total_time_sec > 0.5


# Ctrl-C --------------------------------------------------------------------------------------------------------------

WAITS = {
    "respond": "model.respond('Hi', on_prediction_fragment=note)",
    "stream": "list(model.respond_stream('Hi', on_prediction_fragment=note))",
    "stream in with": """
            with model.respond_stream('Hi', on_prediction_fragment=note) as stream:
                for fragment in stream:
                    pass
    """,
    "load": "client.llm.load_new_instance('scripted-chat', on_load_progress=note)",
}


@posix_only
@pytest.mark.parametrize("wait", list(WAITS))
def test_ctrl_c_stops_the_server_and_the_client_stays_usable(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, wait: str
) -> None:
    code = f"""
        client = lms.Client(HOST)
        model = client.llm.model("scripted-chat")
        say("ready")
        input()
        def note(event):
            if event == 0.0 or event.content == " two":
                say("waiting")
        try:
            {WAITS[wait].strip()}
        except KeyboardInterrupt:
            say("interrupted")
        say(model.count_tokens("a b c"))
    """
    with script(code, proxy.api_host) as running:
        assert running.line() == "ready"
        if wait == "load":
            engine.load_gate = gate
        running.tell()
        assert running.line() == "waiting"
        assert gate.reached()
        running.process.send_signal(signal.SIGINT)
        assert running.line() == "interrupted"
        assert stopped(proxy, engine)
        ending = running.end()
    assert (ending.code, ending.output, ending.errors) == (0, "3\n", "")
    assert proxy.accepted == ["llm"]


@posix_only
@pytest.mark.parametrize("call", ["client.list_downloaded_models()", "client.llm.connect()", "client.api_host"])
def test_ctrl_c_ends_the_wait_for_a_connection(call: str) -> None:
    code = f"""
        import lmstudio._discovery as discovery
        discovery.API_SERVER_PORTS = (int(HOST.rpartition(":")[2]),)
        discovery.PROBE_SECONDS = 60.0
        client = lms.Client({"None" if call == "client.api_host" else "HOST"})
        say("ready")
        try:
            {call}
        except KeyboardInterrupt:
            say("interrupted")
        client.close()
        say("closed")
    """
    with mute_server() as mute, script(code, mute.api_host) as running, mute.wait_for_client():
        assert running.line() == "ready"
        running.process.send_signal(signal.SIGINT)
        assert running.line() == "interrupted"
        ending = running.end()
    assert (ending.code, ending.output, ending.errors) == (0, "closed\n", "")


@posix_only
def test_uncaught_ctrl_c_ends_the_program_at_once(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    code = """
        lms.configure_default_client(HOST)
        lms.llm("scripted-chat").respond("Hi", on_prediction_fragment=lambda fragment: say(fragment.content))
    """
    with script(code, proxy.api_host) as running:
        assert [running.line(), running.line()] == ["one", " two"]
        assert gate.reached()
        running.process.send_signal(signal.SIGINT)
        ending = running.end()
    assert ending.errors.startswith("Traceback")
    assert ending.errors.endswith("\nKeyboardInterrupt\n")
    assert ending.errors.count("Traceback") == 1
    assert (ending.code, ending.output) == (-signal.SIGINT, "")
    assert ending.seconds < 2.0
    assert engine.wait_for_cancel()


# Forks ---------------------------------------------------------------------------------------------------------------


@posix_only
def test_client_works_in_parent_and_child_after_a_fork(proxy: FaultProxy) -> None:
    code = (
        FORK
        + """
    client = lms.Client(HOST)
    model = client.llm.model("scripted-chat")
    model.count_tokens("a")
    def work():
        assert model.respond("Hi from the child").content == "You said: Hi from the child"
        assert len(client.list_downloaded_models()) == 2
        client.close()
    children = [in_child(work) for _ in range(2)]
    say(model.respond("Hi from the parent").content)
    say([joined(child) for child in children])
    say(model.count_tokens("a b"))
    client.close()
    """
    )
    ending = run_script(code, proxy.api_host)
    assert (ending.code, ending.errors) == (0, "")
    assert ending.output == "You said: Hi from the parent\n[0, 0]\n2\n"
    assert sorted(proxy.accepted) == ["llm", "llm", "llm", "system", "system"]


@posix_only
def test_fork_leaves_calls_of_the_parent_alone(proxy: FaultProxy, gate: Gate) -> None:
    code = (
        FORK
        + """
    import gc
    client = lms.Client(HOST)
    model = client.llm.model("scripted-chat")
    streams = [model.respond_stream("Hi")]
    fragments = iter(streams[0])
    say(next(fragments).content)
    later = model.respond_stream("Hi")
    def work():
        global fragments
        try:
            later.start()
        except lms.LMStudioRuntimeError as error:
            say("before a fork" in str(error))
        streams.clear()
        del fragments
        gc.collect()
        say(model.count_tokens("a b"))
        client.close()
    say(joined(in_child(work)))
    input()
    say([fragment.content for fragment in fragments])
    """
    )
    with script(code, proxy.api_host) as running:
        assert [running.line() for _ in range(4)] == ["one", "True", "2", "0"]
        assert proxy.count_packets("cancel") == 0
        gate.open()
        running.tell()
        ending = running.end()
    assert (ending.code, ending.output, ending.errors) == (0, "[' two', ' three']\n", "")


@posix_only
def test_fork_during_a_call_of_another_thread_is_safe(proxy: FaultProxy, gate: Gate) -> None:
    code = (
        FORK
        + """
    import threading
    client = lms.Client(HOST)
    model = client.llm.model("scripted-chat")
    thread = threading.Thread(target=lambda: say(model.respond("Hi").content))
    thread.start()
    input()
    def work():
        say(model.count_tokens("a b"))
    say(joined(in_child(work)))
    input()
    thread.join()
    """
    )
    with script(code, proxy.api_host) as running:
        assert gate.reached()
        running.tell()
        assert [running.line(), running.line()] == ["2", "0"]
        gate.open()
        running.tell()
        ending = running.end()
    assert (ending.code, ending.output, ending.errors) == (0, "one two three\n", "")


@posix_only
def test_worker_processes_may_use_the_default_client(server: Server) -> None:
    code = (
        FORK
        + """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    lms.configure_default_client(HOST)
    lms.llm("scripted-chat")
    def work(number):
        return lms.llm().count_tokens(" x" * number)
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        say(list(pool.map(work, range(6))))
    say(work(6))
    """
    )
    ending = run_script(code, server.api_host)
    assert (ending.code, ending.output, ending.errors) == (0, "[0, 1, 2, 3, 4, 5]\n6\n", "")


# The end of the interpreter ------------------------------------------------------------------------------------------

ENDINGS: dict[str, str] = {
    "open client": "say(model.count_tokens('a b'))",
    "half-read stream": "fragments = iter(model.respond_stream('Hi')); say(next(fragments).content)",
    "started stream": "stream = model.respond_stream('Hi'); stream.start(); say('started')",
    "sys.exit in a with block": """
        with client:
            for fragment in model.respond_stream('Hi'):
                say(fragment.content)
                sys.exit()
    """,
    "default client": "lms.configure_default_client(HOST); say(len(lms.list_loaded_models()))",
    "thread that waits": """
        import threading
        threading.Thread(target=lambda: model.respond('Hi'), daemon=True).start()
        say(input())
    """,
    "several clients": """
        clients = [lms.Client(HOST) for _ in range(10)]
        say([len(each.list_downloaded_models()) for each in clients])
    """,
    "cycle": "client.me = client; client.model = model; say('cycle')",
    "atexit": "import atexit; atexit.register(lambda: say(model.count_tokens('a b')))",
}


@pytest.mark.parametrize("ending", list(ENDINGS))
def test_program_ends_soon_and_silently(proxy: FaultProxy, gate: Gate, ending: str) -> None:
    code = 'client = lms.Client(HOST)\nmodel = client.llm.model("scripted-chat")\n' + dedent(ENDINGS[ending])
    with script(code, proxy.api_host) as running:
        if ending == "thread that waits":
            assert gate.reached()
            running.tell("reached")
        assert running.line()
        ended = running.end()
    assert (ended.code, ended.output, ended.errors) == (0, "", "")
    assert ended.seconds < 2.0
    assert proxy.wait_until_closed()


def test_program_ends_soon_although_the_server_does_not_answer(proxy: FaultProxy) -> None:
    code = """
        client = lms.Client(HOST)
        say(client.llm.model("scripted-chat").identifier)
        input()
    """
    with script(code, proxy.api_host) as running:
        assert running.line() == "scripted-chat"
        proxy.go_silent()
        running.tell()
        ended = running.end()
    assert (ended.code, ended.errors) == (0, "")
    assert ended.seconds < 2.0


# Resources -----------------------------------------------------------------------------------------------------------


def test_forgotten_client_ends_its_connections_and_its_thread(proxy: FaultProxy) -> None:
    before = threading.active_count()
    lms.Client(proxy.api_host).list_downloaded_models()
    gc.collect()
    assert proxy.wait_until_closed()
    with Background() as background:
        background.until(lambda: threading.active_count() == before)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted there")
def test_no_file_stays_open(server: Server) -> None:
    def use(how: Callable[[lms.Client], object]) -> None:
        client = lms.Client(server.api_host)
        client.list_loaded_models()
        how(client)

    use(lms.Client.close)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        use(lms.Client.close)
        use(lms.Client.__enter__)
    gc.collect()
    with Background() as background:
        # The server, in the same process, may have been about to close one more when they were counted.
        background.until(lambda: len(os.listdir("/proc/self/fd")) <= before)


# Predictions ----------------------------------------------------------------------------------------------------


def test_the_result_of_a_stream_that_was_not_started_runs_it(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        stream = client.llm.model("scripted-chat").respond_stream("Hi")
        assert stream.result().content == "You said: Hi"


def test_coroutine_functions_are_refused_as_callbacks(server: Server, engine: ScriptedEngine) -> None:
    async def callback(*_: object) -> None:
        raise AssertionError

    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioValueError, match=r"on_message is a coroutine function.*AsyncClient"):
            model.respond("Hi", on_message=callback)
        with pytest.raises(lms.LMStudioValueError, match="guard_tool_call is a coroutine function"):
            model.act("Hi", [], guard_tool_call=callback)
    assert engine.requests == []


@posix_only
def test_ctrl_c_ends_act_and_its_coroutine_tools(server: Server, engine: ScriptedEngine) -> None:
    seen: list[str] = []

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    engine.reply = Reply([ToolCall("hang", {})])
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with pytest.raises(KeyboardInterrupt):
            model.act("Hi", [interrupted(interrupt, seen)])
        assert seen == ["cancelled"]
        engine.reply = None
        assert model.respond("Again").content == "You said: Again"
