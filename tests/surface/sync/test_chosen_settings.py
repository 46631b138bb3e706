# Generated from ../async/test_chosen_settings.py by tools/make_sync.py. Edit that file instead.
"""What `settings=` and the environment do to a client: precedence, limits, models, machines without a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server
from lmstudio.settings import Settings
from surface.odd_servers import free_port, mute_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quiet")

TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"


@pytest.fixture
def guarded() -> Iterator[Server]:
    """A server that wants the token."""
    with Server(engine=ScriptedEngine(), api_tokens=[TOKEN]) as server:
        yield server


def nowhere() -> str:
    """An address that nobody listens at."""
    return f"127.0.0.1:{free_port()}"


# Precedence ----------------------------------------------------------------------------------------------------------


def test_settings_have_address_and_token(guarded: Server) -> None:
    settings = Settings(base_url=f"http://{guarded.api_host}/v1", api_key=TOKEN)
    with lms.Client(settings=settings) as client:
        assert len(client.list_downloaded_models()) == 2
        assert client.client_identifier == "AbCd1234"


def test_a_file_has_address_and_token(guarded: Server, tmp_path: Path) -> None:
    file = tmp_path / "lmstudio.toml"
    file.write_text(f"api_host = '{guarded.api_host}'\napi_token = '{TOKEN}'")
    file.chmod(0o600)
    with lms.Client(settings=Settings.load(file, {})) as client:
        assert len(client.list_downloaded_models()) == 2


def test_a_variable_may_name_the_file(guarded: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text(f"LM_STUDIO_BASE_URL={guarded.api_host}\nLM_API_TOKEN={TOKEN}")
    file.chmod(0o600)
    monkeypatch.setenv("LM_STUDIO_SETTINGS_FILE", str(file))
    with lms.Client() as client:
        assert len(client.list_downloaded_models()) == 2


def test_arguments_of_the_client_count_before_its_settings(guarded: Server) -> None:
    settings = Settings(api_host=nowhere(), api_token="nonsense")
    with lms.Client(guarded.api_host, TOKEN, settings=settings) as client:
        assert len(client.list_downloaded_models()) == 2


def test_settings_count_instead_of_the_environment(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", nowhere())
    monkeypatch.setenv("LM_API_TOKEN", "nonsense")
    monkeypatch.setenv("LM_STUDIO_TIMEOUT", "nonsense")
    settings = Settings(api_host=guarded.api_host, api_token=TOKEN)
    with lms.Client(settings=settings) as client:
        assert len(client.list_downloaded_models()) == 2


def test_what_is_no_settings_is_refused() -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"settings must be a lmstudio.Settings, got dict. Settings.load"):
        lms.Client(settings={"timeout": 1})  # type: ignore[arg-type]


# Tokens --------------------------------------------------------------------------------------------------------------


def test_a_key_of_another_system_is_not_for_the_native_protocol(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LM_STUDIO_API_KEY", "sk-of-another-system")
    with lms.Client(server.api_host) as client:
        assert len(client.list_downloaded_models()) == 2
        assert client.client_identifier.startswith("guest:")
    with lms.Client(server.api_host, settings=Settings(api_key="sk-of-another-system")) as client:
        assert client.client_identifier.startswith("guest:")


def test_a_token_of_another_form_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "lmstudio.json"
    file.write_text('{"api_token": "nonsense"}')
    file.chmod(0o600)
    for settings, place in ((Settings(api_token="nonsense"), "api_token"), (Settings.load(file, {}), str(file))):
        with pytest.raises(lms.LMStudioValueError, match=r"The API token given by .* is not valid") as caught:
            lms.Client(settings=settings)
        assert f"given by {place} is" in str(caught.value)
        assert "nonsense" not in str(caught.value).replace(str(file), "")


@pytest.mark.parametrize("api_host", ["example.com", "192.168.0.10:1234", "https://example.com/lm"])
def test_another_machine_without_a_token_is_refused_on_request(api_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_REQUIRE_TOKEN_FOR_REMOTE", "true")
    refused = "another machine, there is no API token, and require_token_for_remote is on"
    clients: list[Callable[[], object]] = [
        lambda: lms.Client(api_host),
        lambda: lms.Client(api_host, ""),
        lambda: lms.Client(api_host, client_identifier="me", client_passkey="hush"),
        lambda: lms.Client(api_host, settings=Settings(api_key="foreign", require_token_for_remote=True)),
    ]
    for make in clients:
        with pytest.raises(lms.LMStudioValueError, match=refused):
            make()
    assert lms.Client(api_host, TOKEN).client_identifier == "AbCd1234"
    assert lms.Client(api_host, settings=Settings()).client_identifier.startswith("guest:")


def test_this_machine_needs_no_token(server: Server) -> None:
    settings = Settings(api_host=server.api_host, require_token_for_remote=True)
    with lms.Client(settings=settings) as client:
        assert len(client.list_downloaded_models()) == 2


# Time and retries ----------------------------------------------------------------------------------------------------


def test_the_timeout_is_for_the_silence_of_the_server(server: Server, engine: ScriptedEngine) -> None:
    from lmstudio.server import Gate, Reply

    gate = Gate()
    engine.reply = Reply([gate])
    with lms.Client(settings=Settings(api_host=server.api_host, timeout=0.2)) as client:
        model = client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioTimeoutError) as caught:
            model.respond("Hi")
        assert (caught.value.limit, caught.value.seconds) == ("idle", 0.2)
        with pytest.raises(lms.LMStudioTimeoutError) as caught:
            model.respond("Hi", timeout=lms.Timeout(idle=0.1))
        assert caught.value.seconds == 0.1
        gate.open()


def test_the_timeout_of_the_client_counts_before_that_of_its_settings(server: Server) -> None:
    settings = Settings(api_host=server.api_host, timeout=0.001, connect_timeout=0.001)
    with lms.Client(settings=settings, timeout=lms.Timeout(connect=10, idle=60)) as client:
        assert len(client.list_downloaded_models()) == 2


def test_the_time_to_connect_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_CONNECT_TIMEOUT", "0.2")
    with mute_server() as mute:
        with lms.Client(mute.api_host, retry=lms.RetryConfig(max_retries=0)) as client:
            with pytest.raises(lms.LMStudioTimeoutError) as caught:
                client.list_downloaded_models()
    assert (caught.value.limit, caught.value.seconds) == ("connect", 0.2)


# Models --------------------------------------------------------------------------------------------------------------


def test_the_default_model_is_loaded_where_a_call_names_none(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_DEFAULT_MODEL", "scripted-chat")
    with lms.Client(server.api_host) as client:
        model = client.llm.model(config={"contextLength": 99})
        assert (model.identifier, model.get_context_length()) == ("scripted-chat", 99)
        other = client.llm.load_new_instance("scripted-chat", "other")
        assert client.llm.model() == model
        assert client.llm.model("other") == other


def test_the_default_model_counts_before_those_that_are_loaded(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        for name in ("one", "two", "three"):
            client.llm.load_new_instance("scripted-chat", name)
    with lms.Client(server.api_host, settings=Settings(default_model="two")) as client:
        assert (client.llm.model()).identifier == "two"


def test_the_default_model_is_no_embedding_model(server: Server) -> None:
    with lms.Client(settings=Settings(api_host=server.api_host, default_model="scripted-chat")) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError, match="No embedding model is loaded"):
            client.embedding.model()


def test_a_default_model_that_is_missing_is_an_error(server: Server) -> None:
    with lms.Client(settings=Settings(api_host=server.api_host, default_model="nonsense")) as client:
        client.llm.load_new_instance("scripted-chat")
        with pytest.raises(lms.LMStudioModelNotFoundError, match="nonsense"):
            client.llm.model()


def test_only_allowed_models_can_be_named(server: Server) -> None:
    settings = Settings(api_host=server.api_host, allowed_models=["scripted-embed", "mine*"])
    with lms.Client(settings=settings) as client:
        assert (client.embedding.model("scripted-embed")).identifier == "scripted-embed"
        refused = r"The model 'scripted-chat' is not one of allowed_models \(argument\): scripted-embed, mine\*"
        for call in (client.llm.model, client.llm.load_new_instance, client.llm.estimate_resources_usage):
            with pytest.raises(lms.LMStudioValueError, match=refused):
                call("scripted-chat")
        with pytest.raises(lms.LMStudioValueError, match=refused):
            client.llm.create_dynamic_handle("scripted-chat")
        assert client.llm.create_dynamic_handle("mine-1").identifier == "mine-1"
        with pytest.raises(lms.LMStudioValueError, match=refused):
            client.llm.create_dynamic_handle("mine-1").preload_draft_model("scripted-chat")
        assert client.llm.list_loaded() == []


def test_any_model_is_one_of_those_that_are_allowed(server: Server) -> None:
    with lms.Client(server.api_host) as others:
        others.llm.load_new_instance("scripted-chat", "theirs")
        settings = Settings(api_host=server.api_host, allowed_models=["mine"])
        with lms.Client(settings=settings) as client:
            expected = "No model is loaded that allowed_models has, so there is none to choose. Loaded: theirs"
            with pytest.raises(lms.LMStudioModelNotFoundError, match=expected):
                client.llm.model()
            others.llm.load_new_instance("scripted-chat", "mine")
            assert (client.llm.model()).identifier == "mine"
