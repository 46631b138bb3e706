"""What settings, wherever they are written, do to the clients of the HTTP port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from both_clients import KINDS, run

import lmstudio as lms
from lmstudio.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from lmstudio.http import AsyncHttpClient

TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"
LIST = {"object": "list", "data": []}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which client, in which kind of event loop."""
    name: str = request.param
    return name


class Recorder:
    """A server that keeps what it was asked."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[httpx.Request] = []
        self._statuses = [*statuses]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status = self._statuses.pop(0) if self._statuses else 200
        return httpx.Response(status, json=LIST if status == 200 else {"error": {"message": "not now"}})

    def ask(self, kind: str, *arguments: Any, **keywords: Any) -> httpx.Request:
        """The request of a client with these arguments."""
        run(kind, list_models, *arguments, transport=httpx.MockTransport(self), **keywords)
        return self.requests[-1]


async def list_models(client: AsyncHttpClient) -> None:
    await client.list_models()


@pytest.mark.parametrize("variable", SETTINGS["api_token"].variables)
def test_every_variable_of_the_token_is_sent(kind: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, f" {TOKEN}\n")
    assert Recorder().ask(kind).headers["Authorization"] == f"Bearer {TOKEN}"
    assert "Authorization" not in Recorder().ask(kind, api_key="").headers


def test_the_key_of_another_system_is_sent(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_API_KEY", "sk-of-another-system")
    assert Recorder().ask(kind).headers["Authorization"] == "Bearer sk-of-another-system"


def test_address_token_and_limits_may_come_from_the_environment(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", "http://lm.test:5000/v1")
    monkeypatch.setenv("LM_STUDIO_TIMEOUT", "7")
    monkeypatch.setenv("LM_STUDIO_CONNECT_TIMEOUT", "3")
    request = Recorder().ask(kind)
    assert str(request.url) == "http://lm.test:5000/v1/models"
    limits = request.extensions["timeout"]
    assert limits["connect"] <= 3 < limits["read"] <= 7


def test_without_settings_the_defaults_count(kind: str) -> None:
    request = Recorder().ask(kind)
    assert str(request.url) == "http://localhost:1234/v1/models"
    limits = request.extensions["timeout"]
    assert 3 < limits["connect"] <= 10 < limits["read"] <= 30


def test_the_number_of_retries_may_come_from_the_environment(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_MAX_RETRIES", "0")
    recorder = Recorder(503, 200)
    with pytest.raises(lms.LMStudioServerError, match="not now"):
        recorder.ask(kind)
    assert len(recorder.requests) == 1


def test_a_file_is_as_good(kind: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"LM_STUDIO_BASE_URL=https://lm.test/lm\nLM_STUDIO_API_KEY={TOKEN}")
    file.chmod(0o600)
    request = Recorder().ask(kind, settings=Settings.load(file, {}))
    assert (str(request.url), request.headers["Authorization"]) == ("https://lm.test/lm/v1/models", f"Bearer {TOKEN}")


def test_arguments_count_before_settings_and_these_instead_of_the_environment(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", "http://environment.test")
    monkeypatch.setenv("LM_API_TOKEN", TOKEN)
    settings = Settings(base_url="http://settings.test", timeout=7)
    request = Recorder().ask(kind, settings=settings)
    assert (request.url.host, "Authorization" in request.headers) == ("settings.test", False)
    request = Recorder().ask(kind, "http://argument.test", "key", settings=settings)
    assert (request.url.host, request.headers["Authorization"]) == ("argument.test", "Bearer key")


def test_a_wrong_setting_is_refused_when_the_client_is_made(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_TIMEOUT", "soon")
    recorder = Recorder()
    with pytest.raises(lms.LMStudioValueError, match="variable LM_STUDIO_TIMEOUT: 'soon' is not a number"):
        recorder.ask(kind)
    assert recorder.requests == []


def test_another_machine_without_a_token_is_refused_on_request(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_REQUIRE_TOKEN_FOR_REMOTE", "true")
    recorder = Recorder()
    with pytest.raises(lms.LMStudioValueError, match="another machine, there is no API token"):
        recorder.ask(kind, "http://lm.test")
    assert recorder.requests == []
    assert recorder.ask(kind, "http://lm.test", "key").url.host == "lm.test"
    assert recorder.ask(kind, "http://127.0.0.1:5000").url.host == "127.0.0.1"
    assert recorder.ask(kind).url.host == "localhost"
