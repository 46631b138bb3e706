"""`lmstudio chat`: one answer for a program, and conversations without a terminal."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost
from patience import PATIENCE_SECONDS
from programs import uncovered
from sample_files import PNG

import lmstudio as lms
from cli.keyboard import typing
from lmstudio.__main__ import main
from lmstudio.cli.chat import converse
from lmstudio.cli.chat_screen import Screen
from lmstudio.cli.chat_session import SYSTEM_PROMPT, ChatSession
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.engine.scripted import Reasoning, scripted_model
from lmstudio.server.models import EMBEDDING_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


ENGINE = ScriptedEngine()
MODELS = [
    scripted_model("acme/heron-7b"),
    scripted_model("acme/heron-1b", vision=True),
    scripted_model("acme/tern-embed", "embedding"),
]

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """A server for all tests."""
    with Server(MODELS, engine=ENGINE) as server:
        yield server


@pytest.fixture
def client(running: Server) -> Iterator[lms.Client]:
    """A client of that server, which has only heron-7b loaded at first, and repeats what it is told."""
    ENGINE.reply = None
    ENGINE.chats.clear()
    with lms.Client(running.api_host) as client:
        for model in client.list_loaded_models():
            if model.identifier != "acme/heron-7b":
                model.unload()
        client.llm.model("acme/heron-7b")
        yield client


class OneShot:
    """Runs the command, with what is piped in."""

    def __init__(self, server: Server, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._port = str(server.port)
        self._capsys = capsys
        self._patch = patch
        self.err = ""

    def __call__(self, *arguments: str, piped: str | io.TextIOBase = "", code: int = 0) -> str:
        self._patch.setattr(sys, "stdin", io.StringIO(piped) if isinstance(piped, str) else piped)
        assert main(["chat", *arguments, "--port", self._port]) == code
        out, self.err = self._capsys.readouterr()
        return out


@pytest.fixture
def chat(
    client: lms.Client, running: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> OneShot:
    """The command."""
    return OneShot(running, capsys, monkeypatch)


class Watched(Screen):
    """A screen that announces when " two" is on it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_two = threading.Event()

    def text(self, piece: str) -> None:
        super().text(piece)
        if piece == " two":
            self.has_two.set()


class Talk:
    """A conversation: lines in, text out."""

    def __init__(self, client: lms.Client, capsys: pytest.CaptureFixture[str]) -> None:
        self.screen = Watched()
        self.session = ChatSession(client, self.screen, client.llm.model("acme/heron-7b"), ttl=60)
        self._capsys = capsys
        self.err = ""

    def __call__(self, *lines: str | BaseException) -> str:
        left = list(lines)

        def read() -> str:
            if not left:
                raise EOFError
            line = left.pop(0)
            if isinstance(line, BaseException):
                raise line
            return line

        self.session.is_over = False
        converse(self.session, read)
        assert self.session.is_over
        out, self.err = self._capsys.readouterr()
        return out

    def seen(self) -> list[tuple[str, str]]:
        """What the model was given last."""
        return [(message["role"], message["content"]) for message in ENGINE.chats[-1].messages]


@pytest.fixture
def talk(client: lms.Client, capsys: pytest.CaptureFixture[str]) -> Talk:
    """A conversation with heron-7b."""
    return Talk(client, capsys)


def press_ctrl_c(moment: Callable[[float], bool]) -> threading.Thread:
    """Interrupt this process at *moment*, which is waited for."""

    def work() -> None:
        if moment(PATIENCE_SECONDS):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@contextmanager
def started(
    command: list[str], variables: dict[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that does not outlive a test that fails."""
    environment = {**uncovered(), "PYTHONFAULTHANDLER": "1", **(variables or {})}
    with subprocess.Popen(command, env=environment, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What it says until it ends. If it does not, the errors have what its threads do."""
    try:
        return process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        return process.communicate(timeout=PATIENCE_SECONDS)


# One answer ----------------------------------------------------------------------------------------------------------


def test_the_answer_goes_to_stdout_with_one_line_end(chat: OneShot) -> None:
    ENGINE.reply = Reply(["\n\n", "It is\n", "\nfour.", "\n", "\n"])
    assert chat("-p", "2 + 2?") == "It is\n\nfour.\n"
    assert chat.err == ""
    ENGINE.reply = Reply([])
    assert chat("-p", "Say nothing.") == "\n"


def test_the_prompt_is_that_of_the_command_line_then_what_is_piped_in(chat: OneShot) -> None:
    for arguments, piped in ((["-p", "Sum up:"], "a\nb\n"), ([], "Sum up:\n\na\nb")):
        chat(*arguments, piped=piped)
        messages = [(message["role"], message["content"]) for message in ENGINE.chats[-1].messages]
        assert messages == [("system", SYSTEM_PROMPT), ("user", "Sum up:\n\na\nb")]


def test_without_a_prompt_and_a_terminal_there_is_no_chat(chat: OneShot) -> None:
    assert chat(piped=" \n", code=1) == ""
    assert chat.err == ("error: There is no prompt: give it with -p, or pipe it in. A conversation needs a terminal.\n")
    chat(piped=io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"), code=1)
    assert "What is piped in is not text" in chat.err


def test_options_reach_the_model(chat: OneShot, client: lms.Client) -> None:
    chat("heron-1b", "-p", "Hi", "-s", "Be brief.", "--ttl", "90", "--reasoning", "off")
    assert chat.err == "Loading acme/heron-1b ...\n"
    rendered = ENGINE.chats[-1]
    assert (rendered.model_key, rendered.messages[0]["content"], rendered.enable_thinking) == (
        "acme/heron-1b",
        "Be brief.",
        False,
    )
    assert client.llm.model("acme/heron-1b").get_info().ttl_ms == 90_000
    chat("acme/heron-7b", "-p", "Hi", "-s", "", "--reasoning", "on")
    assert ENGINE.chats[-1].messages[0]["role"] == "user"
    assert ENGINE.chats[-1].enable_thinking is True


def test_stats_go_to_stderr(chat: OneShot) -> None:
    assert chat("-p", "Hello", "--stats", "--quiet") == "You said: Hello\n"
    lines = chat.err.splitlines()
    assert lines[:4] == ["", "Prediction Stats:", "  Stop Reason: eosFound", "  Tokens/Second: 1000.00"]
    assert [line.split(":")[0] for line in lines[4:]] == [
        "  Time to First Token",
        "  Prompt Tokens",
        "  Predicted Tokens",
        "  Total Tokens",
    ]


def test_json_has_the_answer_what_was_thought_and_the_stats(chat: OneShot) -> None:
    ENGINE.reply = Reply([Reasoning("A sum."), "Four."])
    found = json.loads(chat("-p", "2 + 2?", "--json", "--stats"))
    assert (found["model"], found["content"], found["reasoningContent"]) == ("acme/heron-7b", "Four.", "A sum.")
    assert found["stats"]["stopReason"] == "eosFound"
    assert chat.err == ""


def test_programs_do_not_see_what_is_thought(chat: OneShot) -> None:
    ENGINE.reply = Reply([Reasoning("A sum."), "\n\nFour."])
    assert chat("-p", "2 + 2?") == "Four.\n"
    assert chat.err == ""


def test_a_model_that_is_not_clear_is_asked_for_only_on_a_terminal(chat: OneShot, client: lms.Client) -> None:
    chat("HERON", "-p", "Hi", code=1)
    assert "'HERON' may be any of acme/heron-1b, acme/heron-7b" in chat.err
    chat("HERON", "-p", "Hi", "--yes")
    assert ENGINE.chats[-1].model_key == "acme/heron-1b"
    chat("tern", "-p", "Hi", code=1)
    assert "No downloaded model matches 'tern'" in chat.err
    for model in client.list_loaded_models():
        model.unload()
    chat("-p", "Hi", code=1)
    assert "Name the model" in chat.err


def test_the_only_model_need_not_be_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Server([MODELS[0], MODELS[2]], engine=ScriptedEngine()) as server:
        chat = OneShot(server, capsys, monkeypatch)
        assert chat("-p", "Hi") == "You said: Hi\n"
    assert chat.err == "Loading acme/heron-7b ...\n"


def test_the_settings_may_name_the_model(chat: OneShot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_DEFAULT_MODEL", "acme/heron-1b")
    chat("-p", "Hi")
    assert ENGINE.chats[-1].model_key == "acme/heron-1b"


def test_images(chat: OneShot, tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    file.write_bytes(PNG)
    chat("heron-1b", "-p", "What?", "--image", str(file), "--image", str(file))
    assert [image.content for image in ENGINE.chats[-1].images] == [PNG, PNG]
    chat("-p", "What?", "--image", str(file), "acme/heron-7b", code=2)
    assert "acme/heron-7b does not understand images" in chat.err
    chat("heron-1b", "-p", "What?", "--image", str(tmp_path / "none.png"), code=1)
    assert "There is no file" in chat.err


@needs_signals
def test_ctrl_c_ends_the_program_and_the_server_stops(running: Server, client: lms.Client) -> None:
    gate = Gate()
    ENGINE.reply = Reply(["One,", " two", gate, " three"])
    before = ENGINE.cancelled
    command = [sys.executable, "-m", "lmstudio", "chat", "-p", "Count", "--port", str(running.port)]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, **pipes) as process:
        assert gate.reached(PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        out, err = ended(process)
    assert (process.returncode, err) == (130, b"\ninterrupted\n"), err.decode()
    assert b"One, two".startswith(out.rstrip(b"\n"))
    assert ENGINE.wait_for_cancel(PATIENCE_SECONDS, count=before + 1)


# Conversations -------------------------------------------------------------------------------------------------------


def test_a_conversation_remembers_what_was_said(talk: Talk) -> None:
    assert talk("Hello", "  ", "Again\nand again") == "You said: Hello\nYou said: Again\nand again\n"
    assert talk.seen() == [
        ("system", SYSTEM_PROMPT),
        ("user", "Hello"),
        ("assistant", "You said: Hello"),
        ("user", "Again\nand again"),
    ]


def test_what_was_thought_is_not_remembered(talk: Talk) -> None:
    ENGINE.reply = Reply([Reasoning("A sum."), "Four."])
    talk("2 + 2?", "Sure?")
    assert talk.seen()[2] == ("assistant", "Four.")


def test_a_terminal_shows_what_is_thought_dimmed_and_apart(
    client: lms.Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if somebody looked
    monkeypatch.delenv("NO_COLOR", raising=False)
    ENGINE.reply = Reply([Reasoning("\nA sum.\n"), "\n\nFour\x1b[31m :smile:\n\tor [b]five[/b]"])
    talk = Talk(client, capsys)
    assert talk("2 + 2?") == "Four[31m :smile:\n\tor [b]five[/b]\n"
    assert "\x1b[2mThinking:" in talk.err
    assert "\x1b[2mA\x1b[0m\x1b[2m sum.\x1b[0m\n\n" in talk.err


@needs_signals
def test_ctrl_c_stops_the_answer_and_keeps_what_there_is(talk: Talk) -> None:
    gate = Gate()
    ENGINE.reply = Reply(["One,", " two", gate, " three"])
    before = ENGINE.cancelled
    stopper = press_ctrl_c(talk.screen.has_two.wait)
    assert talk("Count", "/stats") == "One, two\n"
    stopper.join(PATIENCE_SECONDS)
    assert "[stopped]" in talk.err
    assert ENGINE.wait_for_cancel(PATIENCE_SECONDS, count=before + 1)
    ENGINE.reply = None
    talk("Go on")
    assert talk.seen()[1:] == [("user", "Count"), ("assistant", "One, two"), ("user", "Go on")]


@needs_signals
def test_what_has_no_answer_is_not_remembered(talk: Talk) -> None:
    gate = Gate()
    ENGINE.reply = Reply([gate, "One"])
    stopper = press_ctrl_c(gate.reached)
    assert talk("Count") == ""
    stopper.join(PATIENCE_SECONDS)
    ENGINE.reply = Reply(["One", " two"], error="The scripted engine fails.", error_after=1)
    assert talk("Count again") == "One\n"
    assert "error: " in talk.err
    assert "The scripted engine fails." in talk.err
    assert talk.session.turns == []


def test_ctrl_c_and_the_end_of_the_input_at_the_prompt(talk: Talk) -> None:
    talk(KeyboardInterrupt(), KeyboardInterrupt())
    assert talk.err == "Ctrl-D or /exit ends the chat.\n" * 2


def test_a_model_that_was_unloaded_is_loaded_again(talk: Talk, client: lms.Client) -> None:
    talk("Hello")
    client.llm.unload("acme/heron-7b")
    assert talk("Still there?") == "You said: Still there?\n"
    assert talk.err == "acme/heron-7b is not loaded any more.\nLoading acme/heron-7b ...\n"
    assert talk.seen()[1] == ("user", "Hello")


@needs_signals
def test_ctrl_c_cancels_that_load(talk: Talk, client: lms.Client) -> None:
    client.llm.unload("acme/heron-7b")
    gate = ENGINE.load_gate = Gate()
    before = ENGINE.cancelled
    stopper = press_ctrl_c(gate.reached)
    try:
        assert talk("Still there?") == ""
        assert ENGINE.wait_for_cancel(PATIENCE_SECONDS, count=before + 1)
    finally:
        ENGINE.load_gate = None
        gate.open()
    stopper.join(PATIENCE_SECONDS)
    assert talk.err.endswith("Loading acme/heron-7b ...\nCancelled.\n")


def test_a_full_context_is_explained(talk: Talk, client: lms.Client) -> None:
    talk.session.use(client.llm.load_new_instance("acme/heron-7b", config={"contextLength": 40}))
    talk("word " * 60)
    assert "/clear forgets what was said before." in talk.err
    talk("/clear", "/system-prompt Hm.", "word " * 20)
    assert "the context is full" in talk.err


def test_a_chat_outlives_its_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    file.write_bytes(PNG)
    engine = ScriptedEngine()
    models = [scripted_model("acme/heron-7b", vision=True)]
    with Server(models, engine=engine) as server:
        port = server.port
        client = lms.Client(server.api_host, retry=lms.RetryConfig(max_retries=0))
        talk = Talk(client, capsys)
        talk(f"/image {file}", "Look")
    talk("Hello?")
    assert "error: " in talk.err
    assert "The chat is kept: send the message again" in talk.err
    with Server(models, engine=engine, port=port):
        assert talk("Hello?") == "You said: Hello?\n"
        client.close()
    assert [message["content"] for message in engine.chats[-1].messages][1:] == ["Look", "You said: Look", "Hello?"]
    assert len(engine.chats[-1].images) == 1


# Commands ------------------------------------------------------------------------------------------------------------


def test_commands_that_show_or_change_the_chat(talk: Talk, tmp_path: Path) -> None:
    said = talk("/help", "Hello", "/system-prompt Be brief.", "/system-prompt", "/clear", "/reasoning off", "Hm")
    assert said == "You said: Hello\nYou said: Hm\n"
    assert "/system-prompt [TEXT]" in talk.err
    assert "\nBe brief.\n" in talk.err
    assert talk.seen() == [("system", "Be brief."), ("user", "Hm")]
    assert ENGINE.chats[-1].enable_thinking is False
    assert talk("/stats on", "Hm", "/exit", "not said") == "You said: Hm\n"
    assert "  Stop Reason: eosFound" in talk.err


def test_commands_that_cannot_be_done(talk: Talk, tmp_path: Path) -> None:
    talk("/clera", "/clear all", "/reasoning perhaps", "/image", "/download", "/save", "/model nobody", "/model")
    errors = [line for line in talk.err.splitlines() if line.startswith("error: ")]
    assert [error.removeprefix("error: ")[:24] for error in errors] == [
        "There is no command /cle",
        "/clear takes nothing aft",
        "/reasoning takes auto or",
        "/image needs the path of",
        "/download needs the name",
        "/save needs the path of ",
        "No downloaded model matc",
        "Name the model, by its k",
    ]
    assert "Did you mean /clear?" in errors[0]
    assert talk("/usr/bin/env is what?") == "You said: /usr/bin/env is what?\n"


def test_another_model_and_images_for_it(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    file.write_bytes(PNG)
    talk("Hello", f"/image {file}", "/model 1b", f"/image {file}", "What?", "And now?")
    assert "error: acme/heron-7b does not understand images" in talk.err
    assert "You chat with acme/heron-1b now." in talk.err
    assert ENGINE.chats[-1].model_key == "acme/heron-1b"
    assert len(ENGINE.chats[-1].images) == 1
    assert [role for role, _ in talk.seen()] == ["system", "user", "assistant", "user", "assistant", "user"]


def test_a_chat_is_saved_once(talk: Talk, tmp_path: Path) -> None:
    files = ("/chat.md", "/chat.json", "/chat.md", "")
    talk("Hello", *(f"/save {tmp_path}{file}" for file in files))
    assert (tmp_path / "chat.md").read_text().endswith("## User\n\nHello\n\n## Assistant\n\nYou said: Hello\n")
    saved = lms.Chat.from_history(json.loads((tmp_path / "chat.json").read_text()))
    assert [message.role for message in saved] == ["system", "user", "assistant"]
    assert talk.err.count("is there already, and is not overwritten") == 2


def test_models_are_downloaded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    content = EMBEDDING_MODEL_FILE.read_bytes()
    with FileHost(model=content) as host:
        files = [{"url": f"{host.url}/model", "name": "pebble-embed-0.8m-q8_0.gguf", "size": len(content)}]
        models = [{"owner": "maker", "name": f"pebble-{name}", "files": files} for name in ("one", "two")]
        catalog = tmp_path / "catalog.json"
        catalog.write_text(json.dumps({"models": models}))
        models_folder = tmp_path / "models"
        with (
            Server([MODELS[0]], engine=ScriptedEngine(), catalog=catalog, models_folder=models_folder) as server,
            lms.Client(server.api_host) as client,
        ):
            talk = Talk(client, capsys)
            talk("/download pebble", "/download nothing-like-it", "/download maker/pebble-one")
    assert "error: 'pebble' may be any of maker/pebble-one, maker/pebble-two" in talk.err
    assert "error: The server finds no models like 'nothing-like-it' to download." in talk.err
    assert "Downloaded maker/pebble-one" in talk.err
    assert "/model text-embedding-pebble-one chats with it." in talk.err
    assert list(models_folder.glob("*/*/*.gguf"))


# On a terminal -------------------------------------------------------------------------------------------------------


class Keyboard(io.StringIO):
    """An input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_conversation_on_a_terminal(chat: OneShot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with typing("Hello\r\x03Again\r\x04"):
        assert chat("1b", piped=Keyboard()) == "You said: Hello\nYou said: Again\n"
    assert [message["content"] for message in ENGINE.chats[-1].messages][1:] == ["Hello", "You said: Hello", "Again"]
    loaded, begun, hint = chat.err.splitlines()
    assert loaded == "Loading acme/heron-1b ..."
    assert begun == "You chat with acme/heron-1b. /help lists the commands. Ctrl-D or /exit ends the chat."
    assert hint == "Ctrl-D or /exit ends the chat."
    chat("--json", piped=Keyboard(), code=2)
    assert "--json is for one answer" in chat.err


ON_TERMINAL = """
import fcntl, os, sys, termios
terminal = os.open(sys.argv[1], os.O_RDWR)
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
for stream in range(3):
    os.dup2(terminal, stream)
from lmstudio.__main__ import main
sys.exit(main(["chat", "--port", sys.argv[2]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
def test_keys_during_an_answer_do_not_show_in_it(running: Server, client: lms.Client) -> None:
    import pty

    first, second = Gate(), Gate()
    ENGINE.reply = [Reply(["One,", " two", first, " three"]), Reply(["Four,", " five", second, " six"]), "Seven"]
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", ON_TERMINAL, os.ttyname(theirs), str(running.port)]
    with started(command, variables, start_new_session=True) as process:
        read_until(ours, b"ends the chat.")
        os.close(theirs)
        os.write(ours, b"Count\r")
        read_until(ours, b" two")
        os.write(ours, b"\x03")
        stopped = read_until(ours, b"[stopped]")
        os.write(ours, b"Go on\r")
        read_until(ours, b" five")
        os.write(ours, b"Again\r")
        second.open()
        answered = read_until(ours, b"Seven")
        os.write(ours, b"/exit\r")
        read_until(ours, None)
        assert process.wait(PATIENCE_SECONDS) == 0
    os.close(ours)
    assert b"^C" not in stopped
    assert b" three" not in stopped
    assert answered.index(b" six") < answered.index(b"Again")


def read_until(terminal: int, text: bytes | None) -> bytes:
    """What is shown until *text* is, or to the end."""
    shown = b""
    while text is None or text not in shown:
        assert select.select([terminal], [], [], PATIENCE_SECONDS)[0], shown
        try:
            part = os.read(terminal, 4096)
        except OSError:  # as Linux says that nobody is there any more
            part = b""
        if not part:
            break
        shown += part
    assert text is None or text in shown
    return shown


def test_without_a_line_editor_the_extra_is_named(chat: OneShot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delitem(sys.modules, "lmstudio.cli.chat_editor")
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    chat(piped=Keyboard(), code=1)
    assert chat.err == "error: prompt_toolkit is not installed. Run: pip install 'lmstudio[cli]'\n"
    assert chat("-p", "Hi") == "You said: Hi\n"
