"""Who this client is, and that its token stays secret."""

from __future__ import annotations

import traceback

import pytest

from lmstudio._auth import Credentials, Secret
from lmstudio._settings import connection_settings
from lmstudio.errors import LMStudioValueError

TOKEN_VARIABLES = ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN", "LM_STUDIO_API_KEY")
TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"
OTHER = "sk-lm-ZyXw9876:zyxwvutsrq9876543210"
MEMBER = Credentials("AbCd1234", "abcdefghij0123456789")


def resolve_credentials(api_token: str | None, name: str | None = None, passkey: str | None = None) -> Credentials:
    """As for a client with these arguments."""
    secrets = Secret(api_token), Secret(passkey)
    del api_token, passkey  # as clients do: here, too, a traceback may show the variables
    settings = connection_settings(
        settings=None,
        api_host=None,
        api_token=secrets[0],
        client_identifier=name,
        client_passkey=secrets[1],
        logger=None,
        ssl_context=None,
        proxy=Secret(None),
        timeout=None,
        retry=None,
        on_unknown=None,
    )
    return settings.credentials


@pytest.fixture(autouse=True)
def _no_token_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TOKEN_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_token_is_an_identifier_and_a_passkey() -> None:
    assert resolve_credentials(TOKEN) == MEMBER
    assert resolve_credentials(f" {TOKEN}\n") == MEMBER
    packet = resolve_credentials(TOKEN).packet()
    assert (packet.client_identifier, packet.client_passkey) == ("AbCd1234", "abcdefghij0123456789")


def test_without_a_token_every_client_is_a_guest_of_its_own() -> None:
    first, second = resolve_credentials(None), resolve_credentials(None)
    assert first.identifier.startswith("guest:")
    assert first.identifier != second.identifier
    assert first.passkey != second.passkey
    assert len(first.identifier) <= 256
    assert 20 <= len(first.passkey) <= 256


@pytest.mark.parametrize("name", TOKEN_VARIABLES)
def test_the_environment_may_hold_the_token(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f" {TOKEN} ")
    assert resolve_credentials(None) == MEMBER


def test_the_variable_of_lmstudio_js_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMSTUDIO_API_TOKEN", OTHER)
    assert resolve_credentials(None).identifier == "ZyXw9876"
    monkeypatch.setenv("LM_API_TOKEN", TOKEN)
    assert resolve_credentials(None) == MEMBER
    monkeypatch.setenv("LM_API_TOKEN", "  ")
    assert resolve_credentials(None).identifier == "ZyXw9876"


def test_an_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_API_TOKEN", OTHER)
    assert resolve_credentials(TOKEN) == MEMBER


@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_argument_means_a_guest_whatever_the_environment(
    nothing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LM_API_TOKEN", TOKEN)
    assert resolve_credentials(nothing).identifier.startswith("guest:")


BAD_TOKENS = [
    "hush",
    "sk-lm-AbCd1234",
    "sk-lm-AbCd123:abcdefghij0123456789",
    "sk-lm-AbCd1234:abcdefghij012345678",
    "sk-lm-AbCd1234:abcdefghij01234567890",
    "sk-lm-AbCd1234:abcdefghij012345678!",
    "Bearer " + TOKEN,
    "sk-lm-ÄbCd1234:abcdefghij0123456789",
]


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_a_token_of_another_form_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(
        LMStudioValueError, match=f"given by api_token is not valid: it has {len(token)} char"
    ) as caught:
        resolve_credentials(token)
    text = "".join(traceback.format_exception_only(caught.value))
    assert token not in text
    assert "abcdefghij" not in text


def test_the_error_names_the_variable_that_holds_a_bad_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMSTUDIO_API_TOKEN", "hush")
    with pytest.raises(LMStudioValueError, match="the environment variable LMSTUDIO_API_TOKEN"):
        resolve_credentials(None)


def test_the_passkey_is_in_no_repr() -> None:
    credentials = resolve_credentials(TOKEN)
    for value in (credentials, credentials.packet()):
        # rich asks msgspec structs for their members in a way of its own.
        for text in (repr(value), str(value), f"{[value]}", str([*value.__rich_repr__()])):
            assert credentials.passkey not in text
            assert "AbCd1234" in text


def test_a_client_may_choose_its_own_name() -> None:
    assert resolve_credentials(None, "tester", "secret") == Credentials("tester", "secret")
    named = resolve_credentials(None, "tester")
    assert (named.identifier, bool(named.passkey)) == ("tester", True)
    assert resolve_credentials(None, None, "secret").identifier.startswith("guest:")


def test_a_chosen_name_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLES[0], TOKEN)
    assert resolve_credentials(None, "tester", "secret") == Credentials("tester", "secret")


@pytest.mark.parametrize(
    ("identifier", "passkey"),
    [("", None), ("x" * 257, None), (None, ""), (7, None)],
    ids=["empty", "long", "key", "int"],
)
def test_a_name_that_the_protocol_does_not_allow_is_refused(identifier: object, passkey: object) -> None:
    with pytest.raises(LMStudioValueError, match="1 to 256"):
        resolve_credentials(None, identifier, passkey)  # type: ignore[arg-type]


def test_a_token_and_a_name_exclude_each_other() -> None:
    with pytest.raises(LMStudioValueError, match="not both") as caught:
        resolve_credentials(TOKEN, "tester")
    assert TOKEN not in str(caught.value)
