"""Clients in programs with several processes, interpreters, and ends."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from programs import uncovered

import lmstudio as lms

from .scripts import FORK, Ending, run_script, script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server import Gate, Server

    from .fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")
posix_only = pytest.mark.skipif(os.name != "posix", reason="no other system has forks")

EXIT_SECONDS = 1.0
ATTEMPTS = 3
"""The machine may be busy with other things."""


@pytest.fixture
def no_default_client() -> Iterator[None]:
    lms.close_default_client()
    yield
    lms.close_default_client()


def count(text: str) -> int:
    """What a worker process does."""
    return lms.llm("scripted-chat").count_tokens(text)


# Processes -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_default_client")
@pytest.mark.parametrize(
    "method", sorted({"spawn", "forkserver"}.intersection(multiprocessing.get_all_start_methods()))
)
def test_worker_processes_that_begin_anew_have_clients_of_their_own(proxy: FaultProxy, method: str) -> None:
    lms.configure_default_client(proxy.api_host)
    assert count("parent") == 1
    context = multiprocessing.get_context(method)
    start = lms.configure_default_client
    with ProcessPoolExecutor(2, mp_context=context, initializer=start, initargs=(proxy.api_host,)) as pool:
        assert list(pool.map(count, ["a", "a b", "a b c", ""])) == [1, 2, 3, 0]
    assert count("parent again") == 2
    assert 2 <= len(proxy.accepted) <= 3  # one worker may have done it all


@posix_only
def test_client_of_a_server_that_forks_its_workers_works_in_all_of_them(server: Server) -> None:
    code = f"""{FORK}
    import threading, time
    client = lms.Client(HOST)
    model = client.llm.model("scripted-chat")
    say(model.count_tokens("before"))
    def work():
        began = time.monotonic()
        for number in range(10):
            assert model.respond(f"text {{number}}").content == f"You said: text {{number}}"
            assert len(client.list_downloaded_models()) == 2
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(model.count_tokens("a b"))) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert answers == [2] * 4
        say(time.monotonic() - began < 2.0)
    children = [in_child(work) for _ in range(4)]
    say(model.respond("Hi").content)
    say([joined(child) for child in children])
    say(model.count_tokens("after all"))
    """
    ending = run_script(code, server.api_host)
    for _ in range(ATTEMPTS - 1):
        if "False" in ending.output:
            ending = run_script(code, server.api_host)
    assert (ending.code, ending.errors) == (0, "")
    assert sorted(ending.output.splitlines()) == sorted(["1", "You said: Hi", "[0, 0, 0, 0]", "2", *["True"] * 4])


@posix_only
def test_forks_while_the_background_thread_reads_lose_nothing(server: Server) -> None:
    code = f"""{FORK}
    import threading
    client = lms.Client(HOST)
    model = client.llm.model("scripted-chat", config={{"contextLength": 100_000}})
    text = " ".join(map(str, range(20_000)))
    answers = []
    def read():
        answers.append("".join(fragment.content for fragment in model.respond_stream(text)))
    reader = threading.Thread(target=read)
    reader.start()
    def work():
        assert model.count_tokens("a b") == 2
    children = []
    while reader.is_alive() and len(children) < 10:
        children.append(in_child(work))
        children[-1] = joined(children[-1])
    reader.join()
    say(len(children) > 0, set(children), answers == ["You said: " + text])
    """
    ending = run_script(code, server.api_host)
    assert (ending.code, ending.output, ending.errors) == (0, "True {0} True\n", "")


@posix_only
@pytest.mark.parametrize("moment", ["while the loop runs", "between two loops"])
def test_async_client_works_in_parent_and_child_after_a_fork(server: Server, moment: str) -> None:
    code = f"""{FORK}
    import gc
    client = lms.AsyncClient(HOST)
    async def ask():
        model = await client.llm.model("scripted-chat")
        return (await model.respond("Hi")).content
    def work():
        for _ in range(2):
            assert asyncio.run(ask()) == "You said: Hi"
        gc.collect()
    async def main():
        say(await ask())
        if {moment == "while the loop runs"}:
            child = in_child(work)
            say(await ask())
            say(joined(child))
        say(await ask())
    asyncio.run(main())
    if {moment != "while the loop runs"}:
        say(joined(in_child(work)))
        asyncio.run(main())
    asyncio.run(client.aclose())
    """
    ending = run_script(code, server.api_host)
    assert (ending.code, ending.errors) == (0, "")
    answers = ending.output.splitlines()
    assert answers.count("0") == 1
    assert set(answers) == {"0", "You said: Hi"}


@posix_only
def test_default_client_works_in_a_child_although_another_thread_was_just_making_it(server: Server) -> None:
    code = f"""{FORK}
    import signal, threading
    import lmstudio.sync_api as sync_api
    entered, leave = threading.Event(), threading.Event()
    class SlowClient(sync_api.Client):
        def __init__(self, *arguments, **keywords):
            entered.set()
            leave.wait()
            super().__init__(*arguments, **keywords)
    fast, sync_api.Client = sync_api.Client, SlowClient
    thread = threading.Thread(target=lms.get_default_client, args=(HOST,))
    thread.start()
    entered.wait()
    def work():
        signal.alarm(5)
        sync_api.Client = fast
        say(len(lms.list_downloaded_models()))
    say(joined(in_child(work)))
    leave.set()
    thread.join()
    say(len(lms.list_downloaded_models()))
    """
    ending = run_script(code, server.api_host)
    assert (ending.code, ending.output, ending.errors) == (0, "2\n0\n2\n", "")


# Threads that cannot begin -------------------------------------------------------------------------------------------


def test_call_that_cannot_have_its_thread_says_so_and_the_next_one_works(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with lms.Client(server.api_host) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(2):
                with pytest.raises(lms.LMStudioRuntimeError, match=r"background thread.*: can't start new thread"):
                    client.list_downloaded_models()
        assert len(client.list_downloaded_models()) == 2


# Interpreters --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the interpreters of older versions have other functions")
@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_subinterpreter_works_or_is_refused_with_a_reason(
    server: Server, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ.keys() - uncovered().keys():
        monkeypatch.delenv(name)  # coverage would start in the subinterpreter, too, and cannot
    code = f"""
        import _interpreters
        interpreter = _interpreters.create({kind!r})
        failed = _interpreters.exec(interpreter, '''if True:
            import sys
            sys.path[:] = {sys.path!r}
            import lmstudio as lms
            with lms.Client({server.api_host!r}) as client:
                print(len(client.list_downloaded_models()))
        ''')
        _interpreters.destroy(interpreter)
        print(failed and failed.formatted)
    """
    ending = run_script(code, server.api_host)
    assert (ending.code, ending.errors) == (0, "")
    if kind == "isolated":
        assert ending.output.startswith("ImportError: lmstudio does not work in a subinterpreter that has a GIL of its")
    else:
        assert ending.output == "2\nNone\n"


# Ends ----------------------------------------------------------------------------------------------------------------

STREAM = "fragments = iter(model.respond_stream('Hi')); say(next(fragments).content)"
ENDINGS: dict[str, str] = {
    "sync, end of main": "say('open')",
    "sync, running stream": STREAM,
    "sync, unstarted stream": "stream = model.respond_stream('Hi'); say('unstarted')",
    "sync, sys.exit": f"{STREAM}; sys.exit(0)",
    "sync, os._exit": f"{STREAM}; import os; os._exit(0)",
    "sync, first use in an atexit hook": """
        import atexit
        @atexit.register
        def late():
            try:
                say(len(lms.Client(HOST).list_downloaded_models()))
            except lms.LMStudioRuntimeError as error:
                say(error)
    """,
    "sync, daemon threads": """
        import threading
        for _ in range(4):
            threading.Thread(target=lambda: list(model.respond_stream("Hi")), daemon=True).start()
        say(model.count_tokens("a b"))
    """,
    "sync, thread that goes on": """
        import threading
        def work():
            threading.main_thread().join()
            say(model.count_tokens("a b"))
        threading.Thread(target=work).start()
    """,
    "async, end of main": """
        other = lms.AsyncClient(HOST)
        async def main():
            say(len(await other.list_downloaded_models()))
        asyncio.run(main())
    """,
    "async, running and unstarted streams": """
        other = lms.AsyncClient(HOST)
        async def main():
            handle = await other.llm.model("scripted-chat")
            fragments = aiter(handle.respond_stream("Hi"))
            say((await anext(fragments)).content)
            return fragments, handle.respond_stream("Hi"), asyncio.ensure_future(handle.respond("Hi"))
        kept = asyncio.run(main())
    """,
    "async, sys.exit": """
        other = lms.AsyncClient(HOST)
        async def main():
            handle = await other.llm.model("scripted-chat")
            async for fragment in handle.respond_stream("Hi"):
                say(fragment.content)
                sys.exit()
        asyncio.run(main())
    """,
    "async, os._exit": """
        import os
        other = lms.AsyncClient(HOST)
        async def main():
            say(len(await other.list_downloaded_models()))
            os._exit(0)
        asyncio.run(main())
    """,
}


def end_of(code: str, proxy: FaultProxy) -> Ending:
    with script(code, proxy.api_host) as running:
        assert running.line()
        return running.end()


@pytest.mark.parametrize("way", list(ENDINGS))
def test_program_ends_within_a_second_and_silently(proxy: FaultProxy, gate: Gate, way: str) -> None:
    code = 'client = lms.Client(HOST)\nmodel = client.llm.model("scripted-chat")\n' + dedent(ENDINGS[way])
    endings: list[Ending] = []
    while len(endings) < ATTEMPTS and not any(ending.seconds < EXIT_SECONDS for ending in endings):
        endings.append(end_of(code, proxy))
        assert (endings[-1].code, endings[-1].output, endings[-1].errors) == (0, "", "")
    assert min(ending.seconds for ending in endings) < EXIT_SECONDS
    assert proxy.wait_until_closed()


def test_calls_after_the_end_print_nothing_in_daemon_threads_and_fail_in_the_main_thread(proxy: FaultProxy) -> None:
    code = """
        import atexit, threading
        late, threads = threading.Event(), []
        def let_go():
            late.set()
            for thread in threads:
                thread.join(0.1)  # one that fails ends, and prints why
            say([thread.is_alive() for thread in threads])
            for call in calls:
                try:
                    call()
                except lms.LMStudioRuntimeError as error:
                    say(error)
        atexit.register(let_go)  # before the package does, so that it is called afterwards
        client = lms.Client(HOST)
        model = client.llm.model("scripted-chat")
        calls = [client.list_downloaded_models, lambda: model.respond("Hi"), lambda: list(model.respond_stream("Hi"))]
        for call in calls:
            threads.append(threading.Thread(target=lambda call=call: (late.wait(), call()), daemon=True))
            threads[-1].start()
    """
    ending = run_script(code, proxy.api_host)
    assert (ending.code, ending.errors) == (0, "")
    assert ending.output.splitlines() == ["[True, True, True]", *["The client is closed: the interpreter ends."] * 3]
