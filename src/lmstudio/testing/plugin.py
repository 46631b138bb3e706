"""The fixtures of `lmstudio.testing` for pytest, which finds this module by itself.

Nothing is imported before a fixture is used, so the plugin is harmless where the extra packages are missing.

The next word keeps pytest from rewriting assertions, of which there are none, and from warning where it cannot, because
the module was found and named (`-p lmstudio.testing.plugin`): PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio import AsyncClient, Client
    from lmstudio.testing import AsyncFakeSdk, FakeSdk
    from lmstudio.testing.recorder import Recorder
    from lmstudio.testing.replayer import Replayer
    from lmstudio.testing.server import ScriptedServer

_RECORDINGS = "recordings"
_SERVERS = ("lmstudio_recording", "lmstudio_server", "lmstudio_session_server")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the options."""
    group = parser.getgroup("lmstudio", "LM Studio")
    group.addoption(
        "--lmstudio-record",
        metavar="URL",
        default=None,
        help="Record the tests that replay sessions again, with the LM Studio at this address.",
    )
    parser.addini("lmstudio_models", "Keys of the models that lmstudio_server offers.", type="args")
    parser.addini(
        "lmstudio_strict", "Each prediction needs a scripted reply, and each reply a prediction.", type="bool"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "lmstudio(models=None, strict=False): what lmstudio_server offers in this test, and whether everything that is "
        "scripted must be used",
    )


def _chosen(config: pytest.Config, marker: pytest.Mark | None) -> dict[str, Any]:
    """What the test, or else the configuration of pytest, says about models and strictness."""
    chosen = {"models": config.getini("lmstudio_models") or None, "strict": config.getini("lmstudio_strict")}
    if marker is not None:
        unknown = marker.kwargs.keys() - chosen.keys()
        if marker.args or unknown:
            raise pytest.UsageError("The marker lmstudio takes models=[...] and strict=True or False, nothing else.")
        chosen |= marker.kwargs
    return chosen


def _new_server(config: pytest.Config, marker: pytest.Mark | None) -> ScriptedServer:
    from lmstudio.testing.server import ScriptedServer

    return ScriptedServer(**_chosen(config, marker))


@contextlib.contextmanager
def _found_by_default(api_host: str, *, with_token: bool = False) -> Iterator[None]:
    """Clients without an address connect to *api_host*, those of the module-level functions too.

    Without the other settings of the environment, which are for another server; unless they need its API token.
    """
    from lmstudio.convenience import default_client_set_aside
    from lmstudio.settings import FILE_VARIABLE, SETTINGS

    with pytest.MonkeyPatch.context() as patch, default_client_set_aside():
        patch.delenv(FILE_VARIABLE, raising=False)
        for setting in SETTINGS.values():
            for variable in setting.variables:
                if not (with_token and setting.name == "api_token"):
                    patch.delenv(variable, raising=False)
        patch.setenv(SETTINGS["api_host"].variables[0], api_host)
        yield


@contextlib.contextmanager
def _running(server: ScriptedServer) -> Iterator[ScriptedServer]:
    with server, _found_by_default(server.api_host):
        yield server


@pytest.fixture
def lmstudio_server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    """A server of this test alone, whose models say what the test tells them to. `lms.llm()` finds it."""
    with _running(_new_server(request.config, request.node.get_closest_marker("lmstudio"))) as server:
        yield server
        server.check()


@pytest.fixture(scope="session")
def lmstudio_session_server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    """One server for all tests, e.g. for a program that is started once; `reset()` makes it as new."""
    with _running(_new_server(request.config, None)) as server:
        yield server


@pytest.fixture
def lmstudio_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server that the test uses besides: a recording, the one of the session, or `lmstudio_server`."""
    from lmstudio import Client

    with Client(_server_of(request).api_host) as client:
        yield client


@pytest.fixture
def lmstudio_async_client(request: pytest.FixtureRequest) -> AsyncClient:
    """As `lmstudio_client`, for tests that are coroutines, with any plugin that runs them.

    It connects on first use, and its connections end with the event loop. Under trio use it with `async with`.
    """
    from lmstudio import AsyncClient

    return AsyncClient(_server_of(request).api_host)


def _server_of(request: pytest.FixtureRequest) -> ScriptedServer | Recorder | Replayer:
    used = [name for name in _SERVERS if name in request.fixturenames]
    server: ScriptedServer | Recorder | Replayer = request.getfixturevalue(used[0] if used else "lmstudio_server")
    return server


@pytest.fixture
def lmstudio_fake_sdk(request: pytest.FixtureRequest) -> Iterator[FakeSdk]:
    """A double of the contract of this test alone, in memory: for code that takes an `SdkContract`."""
    from lmstudio.testing import FakeSdk

    sdk = FakeSdk(**_chosen(request.config, request.node.get_closest_marker("lmstudio")))
    yield sdk
    sdk.check()


@pytest.fixture
def lmstudio_async_fake_sdk(request: pytest.FixtureRequest) -> Iterator[AsyncFakeSdk]:
    """As `lmstudio_fake_sdk`, for code that takes an `AsyncSdkContract`."""
    from lmstudio.testing import AsyncFakeSdk

    sdk = AsyncFakeSdk(**_chosen(request.config, request.node.get_closest_marker("lmstudio")))
    yield sdk
    sdk.check()


# Recordings ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lmstudio_replay(request: pytest.FixtureRequest) -> Iterator[Callable[[str | Path], Recorder | Replayer]]:
    """A function that replays a recording, by its path from the test's file, until the test ends.

    With `--lmstudio-record=URL` it records the session with the LM Studio at that address instead.
    """
    with contextlib.ExitStack() as stack:

        def replay(path: str | Path) -> Recorder | Replayer:
            file = request.path.parent / path
            address = request.config.getoption("--lmstudio-record")
            server: Recorder | Replayer
            if address is not None:
                from lmstudio.testing.recorder import Recorder

                server = stack.enter_context(Recorder(address, file))
            else:
                from lmstudio.testing.replayer import Replayer

                server = stack.enter_context(Replayer(file))
                stack.callback(server.check)
            stack.enter_context(_found_by_default(server.api_host, with_token=address is not None))
            return server

        yield replay


@pytest.fixture
def lmstudio_recording(
    request: pytest.FixtureRequest, lmstudio_replay: Callable[[str | Path], Recorder | Replayer]
) -> Recorder | Replayer:
    """The session of this test, replayed from `recordings/<file>/<test>.jsonl` beside it; see `lmstudio_replay`."""
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    return lmstudio_replay(Path(_RECORDINGS) / request.path.stem / f"{name}.jsonl")
