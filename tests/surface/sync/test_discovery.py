# Generated from ../async/test_discovery.py by tools/make_sync.py. Edit that file instead.
"""Finding the server: argument, environment, LM Studio's discovery file, its ports; what is said if there is none."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio import _discovery as discovery_module
from lmstudio._remedies import Surroundings
from lmstudio.server import ScriptedEngine, Server
from surface.odd_servers import dripping_server, free_port, mute_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quiet")

INFO = ".internal/http-server.json"


@pytest.fixture
def other() -> Iterator[Server]:
    """A second server."""
    with Server(engine=ScriptedEngine()) as other:
        yield other


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, empty; and nothing listens on LM Studio's ports."""
    monkeypatch.setattr(discovery_module, "user_home", lambda: tmp_path)
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (free_port(), free_port()))
    return tmp_path


def write(path: Path, content: object) -> Path:
    """A discovery file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def found() -> str:
    """Where a client without an address connects to."""
    with lms.Client() as client:
        assert len(client.list_downloaded_models()) == 2
        return client.api_host


def failure() -> str:
    """What a client without an address says."""
    started = time.monotonic()
    with lms.Client() as client:
        with pytest.raises(lms.LMStudioWebsocketError, match="LM Studio is not reachable") as error:
            client.list_downloaded_models()
    assert time.monotonic() - started < 1.5
    assert error.value.phase == "greeting"
    return str(error.value)


# The environment -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["127.0.0.1:{}", " http://localhost:{}/v1 ", "ws://127.0.0.1:{}/llm"])
def test_the_environment_may_hold_the_address(server: Server, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", spelling.format(server.port))
    with lms.Client() as client:
        assert len(client.list_downloaded_models()) == 2
        assert str(server.port) in client.api_host


def test_the_environment_counts_when_the_client_is_made(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", server.api_host)
    client = lms.Client()
    monkeypatch.setenv("LM_STUDIO_BASE_URL", f"127.0.0.1:{free_port()}")
    with client:
        assert len(client.list_downloaded_models()) == 2


def test_an_argument_counts_before_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (f"127.0.0.1:{free_port()}", "garbage://"):
        monkeypatch.setenv("LM_STUDIO_BASE_URL", value)
        with lms.Client(server.api_host) as client:
            assert len(client.list_downloaded_models()) == 2


def test_the_environment_counts_before_the_file_and_the_ports(
    server: Server, other: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".lmstudio" / INFO, {"port": other.port})
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (other.port,))
    monkeypatch.setenv("LM_STUDIO_BASE_URL", server.api_host)
    assert found() == server.api_host
    monkeypatch.setenv("LM_STUDIO_BASE_URL", " ")
    assert found() == other.api_host


def test_an_error_names_the_variable_with_the_bad_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", "localhost:99999")
    with pytest.raises(lms.LMStudioValueError, match=r"LM_STUDIO_BASE_URL: Invalid server address.*Port out of range"):
        lms.Client()


# The discovery file --------------------------------------------------------------------------------------------------


def test_the_file_names_the_port(server: Server, home: Path) -> None:
    write(home / ".lmstudio" / INFO, {"port": server.port, "more": None})
    assert found() == server.api_host
    assert lms.Client.find_default_local_api_host() == server.api_host
    assert os.listdir(home) == [".lmstudio"]  # the pointer is LM Studio's to write


def test_the_older_folder_counts_if_it_exists(server: Server, other: Server, home: Path) -> None:
    write(home / ".lmstudio" / INFO, {"port": other.port})
    write(home / ".cache" / "lm-studio" / INFO, {"port": server.port})
    assert found() == server.api_host


def test_the_pointer_names_the_folder(server: Server, other: Server, home: Path) -> None:
    write(home / ".cache" / "lm-studio" / INFO, {"port": other.port})
    write(home / "elsewhere" / INFO, {"port": server.port})
    write(home / ".lmstudio-home-pointer", f"{home / 'elsewhere'}\n")
    assert found() == server.api_host


def test_the_file_counts_before_the_known_ports(
    server: Server, other: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (other.port, server.port))
    assert found() == other.api_host
    write(home / ".lmstudio" / INFO, {"port": server.port})
    assert found() == server.api_host


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "1", '"port"', "null", "{}", "[" * 100_000),
        *(f'{{"port": {port}}}' for port in ("0", "-1", "65536", "1.5", "true", "null", '"1234"')),
    ],
)
def test_a_file_without_a_port_does_not_matter(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    write(home / ".lmstudio" / INFO, content)
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (server.port,))
    assert found() == server.api_host


def test_a_file_that_is_no_text_does_not_matter(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".lmstudio" / INFO, "").write_bytes(b"\xff\xfe\x00")
    write(home / ".lmstudio-home-pointer", "").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (server.port,))
    assert found() == server.api_host


def test_a_file_that_is_out_of_date_does_not_matter(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".lmstudio" / INFO, {"port": free_port()})
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (server.port,))
    assert found() == server.api_host


def test_the_file_is_read_again_after_a_loss(home: Path) -> None:
    with lms.Client(retry=lms.RetryConfig(max_retries=0)) as client:
        for _ in range(2):
            with Server(engine=ScriptedEngine()) as server:
                write(home / ".lmstudio" / INFO, {"port": server.port})
                assert len(client.list_downloaded_models()) == 2
                client.system.disconnect()
            with pytest.raises(lms.LMStudioWebsocketError):
                client.list_downloaded_models()


def test_a_user_without_a_home_has_no_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (server.port,))
    monkeypatch.setattr(discovery_module, "user_home", no_home)
    assert found() == server.api_host


def no_home() -> Path:
    """As `Path.home` where there is none."""
    raise RuntimeError


# LMS_API_SERVER_INFO_PATH --------------------------------------------------------------------------------------------


def test_another_path_may_be_given(server: Server, other: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".lmstudio" / INFO, {"port": other.port})
    monkeypatch.setenv("LMS_API_SERVER_INFO_PATH", os.fspath(write(home / "mine.json", {"port": server.port})))
    assert found() == server.api_host
    assert lms.Client.find_default_local_api_host() == server.api_host


@pytest.mark.parametrize("content", [None, "{}", "dead"])
def test_nothing_else_is_tried_when_a_path_is_given(
    other: Server, home: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (other.port,))
    write(home / ".lmstudio" / INFO, {"port": other.port})
    path, dead = home / "mine.json", free_port()
    if content is not None:
        write(path, {"port": dead} if content == "dead" else content)
    monkeypatch.setenv("LMS_API_SERVER_INFO_PATH", os.fspath(path))
    reason = (
        f"names port {dead}, where no LM Studio answers" if content == "dead" else "cannot be read, or names no port"
    )
    text = failure()
    assert f"{path} {reason}" in text
    assert "The environment variable LMS_API_SERVER_INFO_PATH says that only this file counts." in text
    assert lms.Client.find_default_local_api_host() is None


# Nobody is there -----------------------------------------------------------------------------------------------------


def test_nobody_is_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmstudio._remedies.look_around", Surroundings)
    hint, other = free_port(), free_port()
    write(home / ".lmstudio" / INFO, {"port": hint})
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (other, hint))
    text = failure()
    assert f"no server answered on any of its local ports (127.0.0.1, ports {hint}, {other})." in text
    assert "Is LM Studio running?" in text
    assert "pass its address" in text
    assert not [word for word in ("container", "docker", "WSL", "Serve on Local Network") if word in text]


@pytest.mark.parametrize(
    ("surroundings", "hint"),
    [
        (Surroundings(is_container=True), "LM Studio on the machine around it is at host.docker.internal:1234"),
        (Surroundings(is_wsl=True), "This program runs in WSL, where this machine is the Linux side."),
    ],
    ids=["container", "wsl"],
)
def test_nobody_is_there_but_may_be_around(
    monkeypatch: pytest.MonkeyPatch, surroundings: Surroundings, hint: str
) -> None:
    monkeypatch.setattr("lmstudio._remedies.look_around", lambda: surroundings)
    assert hint in failure()


def test_ports_that_never_answer_cost_a_second_at_most(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mute_server() as first, mute_server() as second, dripping_server() as third:
        ports = [int(host.rpartition(":")[2]) for host in (first.api_host, second.api_host, third)]
        write(home / ".lmstudio" / INFO, {"port": ports[0]})
        monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", tuple(ports))
        failure()


def test_an_answer_that_never_ends_is_not_one_of_lm_studio() -> None:
    started = time.monotonic()
    with dripping_server() as api_host:
        assert not lms.Client.is_valid_api_host(api_host)
    assert time.monotonic() - started < 1.5
