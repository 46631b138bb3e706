"""Settings of clients: what counts where several say something, every place they come from, and what is refused."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio import settings as settings_module
from lmstudio._auth import NO_SECRET
from lmstudio._near import near_matches
from lmstudio._settings import ConnectionSettings, connection_settings
from lmstudio.settings import FILE_VARIABLE, SETTINGS, Setting, Settings, SettingsArguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"
OTHER = "sk-lm-ZyXw9876:zyxwvutsrq9876543210"

VALUES: dict[str, tuple[str, Any]] = {
    "api_host": ("example.com:5000", "example.com:5000"),
    "api_token": (TOKEN, TOKEN),
    "timeout": ("60", 60.0),
    "connect_timeout": ("1.5", 1.5),
    "max_retries": ("0", 0),
    "verify_tls": ("off", False),
    "default_model": ("qwen", "qwen"),
    "allowed_models": ("qwen, llama*", ("qwen", "llama*")),
    "require_token_for_remote": ("yes", True),
}
"""Each setting as text, and what it means."""
NOTHING: dict[str, Any] = dict.fromkeys(VALUES)
VARIABLES = [(setting, variable) for setting in SETTINGS.values() for variable in setting.variables]


def values_of(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in SETTINGS}


@pytest.fixture(autouse=True)
def _not_warned_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "_warned", set())


# Where they come from ------------------------------------------------------------------------------------------------


def test_every_setting_is_tested_here() -> None:
    assert list(VALUES) == list(SETTINGS)


def test_the_arguments_are_the_settings() -> None:
    aliases = {setting.alias for setting in SETTINGS.values() if setting.alias}
    assert set(SettingsArguments.__annotations__) == {*SETTINGS, *aliases}


def test_without_anything_nothing_is_set() -> None:
    assert values_of(Settings()) == NOTHING
    assert values_of(Settings.load(environ={})) == NOTHING
    assert set(Settings().sources.values()) == {"default"}


@pytest.mark.parametrize(("setting", "variable"), VARIABLES, ids=[variable for _, variable in VARIABLES])
def test_every_variable_is_read(setting: Setting, variable: str) -> None:
    text, value = VALUES[setting.name]
    settings = Settings.load(environ={variable: f" {text} "})
    assert values_of(settings) == {**NOTHING, setting.name: value}
    assert settings.sources[setting.name] == f"environment variable {variable}"


def test_an_empty_variable_is_none() -> None:
    assert values_of(Settings.load(environ={variable: "  " for _, variable in VARIABLES})) == NOTHING


def test_the_variables_of_this_process_count_where_no_others_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_TIMEOUT", "7")
    assert Settings.load().timeout == 7
    assert Settings().timeout is None


def test_the_first_variable_of_several_counts() -> None:
    environ = {"LM_STUDIO_API_KEY": "key", "LMSTUDIO_API_TOKEN": OTHER}
    assert Settings.load(environ=environ).api_token == OTHER
    assert Settings.load(environ={**environ, "LM_API_TOKEN": TOKEN}).api_token == TOKEN
    assert Settings.load(environ={**environ, "LMSTUDIO_API_TOKEN": ""}).api_token == "key"


def test_an_argument_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('timeout = 1\nconnect_timeout = 2\nmax_retries = 3\ndefault_model = "of the file"')
    environ = {"LM_STUDIO_TIMEOUT": "10", "LM_STUDIO_CONNECT_TIMEOUT": "20"}
    settings = Settings.load(file, environ, timeout=100)
    assert (settings.timeout, settings.connect_timeout, settings.max_retries) == (100, 20, 3)
    sources = {name: source for name, source in settings.sources.items() if source != "default"}
    assert sources == {
        "timeout": "argument",
        "connect_timeout": "environment variable LM_STUDIO_CONNECT_TIMEOUT",
        "max_retries": str(file),
        "default_model": str(file),
    }


def test_what_an_argument_replaces_may_be_wrong() -> None:
    assert Settings.load(environ={"LM_STUDIO_TIMEOUT": "soon"}, timeout=1).timeout == 1


def test_an_empty_token_means_none_whatever_the_environment() -> None:
    assert Settings.load(environ={"LM_API_TOKEN": TOKEN}, api_token="").api_token == ""


DOCUMENT: dict[str, Any] = {
    "base_url": "http://example.com:5000/v1",
    "api_key": TOKEN,
    "timeout": 60,
    "verify_tls": False,
    "allowed_models": ["qwen", "llama"],
}
FILES = {
    "settings.toml": f"""
        base_url = "http://example.com:5000/v1"
        api_key = "{TOKEN}"
        timeout = 60
        verify_tls = false
        allowed_models = ["qwen", "llama"]""",
    "settings.json": json.dumps({**DOCUMENT, "default_model": None}),
    "settings.yaml": f"""
        base_url: http://example.com:5000/v1
        api_key: {TOKEN}
        timeout: 60
        verify_tls: no
        default_model:
        allowed_models:
        - qwen
        - llama""",
    ".env": f"""
        # of another program, too
        DATABASE_URL="postgres://me:hush@localhost"
        export LM_STUDIO_BASE_URL = http://example.com:5000/v1 # where it is
        LM_STUDIO_API_KEY='{TOKEN}'
        LM_STUDIO_TIMEOUT="60"
        LM_STUDIO_VERIFY_TLS=false
        LM_STUDIO_DEFAULT_MODEL=
        LM_STUDIO_MAX_RETRIES= # the default
        LM_STUDIO_ALLOWED_MODELS=qwen,llama
        """,
}
FILES["settings.yml"] = FILES["settings.yaml"]
FILES[".env.local"] = FILES["production.env"] = FILES[".env"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_may_have_any_of_these_forms(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("\ufeff" + FILES[name], "utf-8")  # with the mark that editors on Windows write
    expected = {
        **NOTHING,
        "api_host": "http://example.com:5000/v1",
        "api_token": TOKEN,
        "timeout": 60,
        "verify_tls": False,
        "allowed_models": ("qwen", "llama"),
    }
    assert values_of(Settings.load(file, {})) == expected
    assert values_of(Settings.load(str(file), {})) == expected
    by_variable = Settings.load(environ={FILE_VARIABLE: str(file)})
    assert values_of(by_variable) == expected
    assert by_variable.sources["timeout"] == str(file)


def test_a_mapping_is_as_good_as_a_file() -> None:
    settings = Settings.load(DOCUMENT, {})
    assert (settings.timeout, settings.allowed_models) == (60, ("qwen", "llama"))
    assert settings.sources["timeout"] == "the mapping of settings"


def test_quotes_in_an_env_file_keep_what_would_be_lost(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('LM_STUDIO_DEFAULT_MODEL="a \\"b\\" # c"\nLM_STUDIO_API_KEY=ab#cd')
    settings = Settings.load(file, {})
    assert (settings.default_model, settings.api_token) == ('a "b" # c', "ab#cd")


def test_yaml_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("timeout: 1")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(lms.LMStudioValueError, match="pip install pyyaml"):
        Settings.load(file, {})


# What is refused -----------------------------------------------------------------------------------------------------

WRONG: list[tuple[Mapping[str, Any], str]] = [
    ({"timeout": 0}, "timeout: 0 is not a number from 0.001 on"),
    ({"timeout": "soon"}, "timeout: 'soon' is not a number"),
    ({"timeout": float("nan")}, "timeout: nan is not a number"),
    ({"connect_timeout": True}, "connect_timeout: True is not a number"),
    ({"max_retries": 1.5}, "max_retries: 1.5 is not a whole number from 0 on"),
    ({"max_retries": -1}, "max_retries: -1 is not a whole number"),
    ({"verify_tls": "maybe"}, "verify_tls must be true or false, it is 'maybe'"),
    ({"verify_tls": 2}, "verify_tls must be true or false, it is 2"),
    ({"api_host": ""}, "^Invalid server address '': it is empty"),
    ({"api_host": 7}, "must be a string, got int"),
    ({"base_url": "localhost:99999"}, "base_url: Invalid server address"),
    ({"api_token": 7}, "api_token must be a text, got int"),
    ({"default_model": " "}, "default_model: ' ' is not a text"),
    ({"allowed_models": "qwen"}, "allowed_models: 'qwen' is one value, and a list is wanted"),
    ({"allowed_models": ["qwen", 7]}, "allowed_models: 7 is not a text"),
    ({"api_host": "a", "base_url": "b"}, "api_host and base_url are the same setting; give one of them"),
    ({"api_token": "a", "api_key": "b"}, "api_token and api_key are the same setting"),
    ({"default_model": "a", "allowed_models": ["b"]}, "The default_model 'a' is not one of allowed_models"),
]


@pytest.mark.parametrize(("arguments", "expected"), WRONG, ids=[str(each) for each, _ in WRONG])
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], expected: str) -> None:
    for make in (Settings, lambda **given: Settings.load(environ={}, **given), Settings().replace):
        with pytest.raises(lms.LMStudioValueError, match=expected):
            make(**arguments)
    with pytest.raises(lms.LMStudioValueError, match=expected.removeprefix("^")):
        Settings.load(arguments, {})


def test_an_unknown_argument_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match=r"'time_out'\. Did you mean timeout"):
        Settings.load(environ={}, time_out=1)  # type: ignore[call-arg]  # there is none
    with pytest.raises(TypeError, match="time_out"):
        Settings(time_out=1)  # type: ignore[call-arg]  # there is none


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("LM_STUDIO_TIMEOUT", "soon", "The environment variable LM_STUDIO_TIMEOUT: 'soon' is not a number"),
        ("LM_STUDIO_VERIFY_TLS", "maybe", "variable LM_STUDIO_VERIFY_TLS must be true or false, it is 'maybe'"),
        ("LM_STUDIO_BASE_URL", "localhost:99999", "variable LM_STUDIO_BASE_URL: Invalid server address 'localhost:9"),
    ],
)
def test_a_wrong_value_names_the_variable(variable: str, text: str, expected: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=expected):
        Settings.load(environ={variable: text})


BROKEN = [
    ("a.toml", "timeot = 1", "In {file}: there is no setting 'timeot'. Did you mean timeout?"),
    ("a.toml", "timeout = 'soon'", "In {file}, timeout: 'soon' is not a number"),
    ("a.toml", "timeout 1", "Cannot read the settings in {file}: it is not TOML"),
    ("a.json", '{"base-url": "x"}', "In {file}: there is no setting 'base-url'. Did you mean base_url?"),
    ("a.json", '{"timeout": 1,}', "Cannot read the settings in {file}: it is not JSON"),
    ("a.json", "[]", "Cannot read the settings in {file}: it has no names with values"),
    ("a.json", "[" * 100_000, "Cannot read the settings in {file}: it is not JSON"),
    ("a.yaml", "zzzz: 1", "In {file}: there is no setting 'zzzz'. There are api_host, "),
    ("a.yaml", "timeout: [", "Cannot read the settings in {file}: it is not YAML"),
    ("a.yaml", "1: 2", "Cannot read the settings in {file}: it has no names with values"),
    ("a.yaml", "api_key: !!python/name:os.system ''", "Cannot read the settings in {file}: it is not YAML"),
    (".env", "LM_STUDIO_TIMEOUT=soon", "In {file}, LM_STUDIO_TIMEOUT: 'soon' is not a number"),
    (".env", "\n\nhello", "Cannot read the settings in {file}: line 3 is not of the form NAME=value"),
    (".env", "A='b", "Cannot read the settings in {file}: line 1 is not of the form NAME=value"),
]


@pytest.mark.parametrize(("name", "text", "expected"), BROKEN, ids=[f"{name}: {text[:30]}" for name, text, _ in BROKEN])
def test_a_broken_file_is_refused_with_place_and_key(name: str, text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(lms.LMStudioValueError) as caught:
        Settings.load(file, {})
    assert str(caught.value).startswith(expected.format(file=file))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"none\.toml: No such file"):
        Settings.load(tmp_path / "none.toml", {})
    (tmp_path / "a.toml").write_bytes(b"\xff")
    with pytest.raises(lms.LMStudioValueError, match="not text in UTF-8"):
        Settings.load(tmp_path / "a.toml", {})
    with pytest.raises(lms.LMStudioValueError, match="must be a path or a mapping, got int"):
        Settings.load(7, {})  # type: ignore[arg-type]


def test_a_variable_that_looks_like_a_setting_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lmstudio.config"):
        for _ in range(2):
            Settings.load(environ={"LM_STUDIO_TIMOUT": "1", "LM_STUDIO_XYZZY": "1", "TIMEOUT": "1"})
    assert [record.getMessage() for record in caplog.records] == [
        "The variable LM_STUDIO_TIMOUT is no setting; did you mean LM_STUDIO_TIMEOUT?"
    ]
    assert near_matches("TIMOUT", ["TIMEOUT"]) == ["TIMEOUT"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
def test_a_file_with_a_token_that_others_may_read_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"api_token = '{TOKEN}'")
    with caplog.at_level(logging.WARNING, "lmstudio.config"):
        file.chmod(0o600)
        Settings.load(file, {})
        assert not caplog.records
        file.chmod(0o644)
        Settings.load(file, {})
    assert f"other users of this machine may read {file}; run: chmod 600" in caplog.text


# Secrets -------------------------------------------------------------------------------------------------------------


def test_no_representation_shows_the_token() -> None:
    settings = Settings(api_host="localhost", api_token=TOKEN)
    assert repr(settings) == "Settings(api_host='localhost', api_token=Secret(...))"
    assert repr(Settings(timeout=1)) == "Settings(timeout=1)"
    texts = [
        str(settings),
        f"{[settings]}",
        str([*settings.__rich_repr__()]),
        str(vars(settings)),
        str(settings.sources),
    ]
    assert not any("abcdefghij" in text for text in texts)


def broken_files(folder: Path) -> Iterator[Path]:
    """Files with a token and a mistake, in the form or in a value."""
    texts = {
        "a.toml": (f"api_key = '{TOKEN}'\n=", f"api_key = '{TOKEN}'\ntimeout = 0"),
        "a.json": (f'{{"api_key": "{TOKEN}"', f'["{TOKEN}"]', f'{{"api_key": "{TOKEN}", "timeout": 0}}'),
        "a.yaml": (f"api_key: [{TOKEN}", f"api_key: {TOKEN}\nzzz: 0"),
        "a.env": (f"LM_API_TOKEN={TOKEN}\nTOKEN {TOKEN}", f"LM_API_TOKEN={TOKEN}\nLM_STUDIO_TIMEOUT=0"),
    }
    for name, versions in texts.items():
        for number, text in enumerate(versions):
            (folder / str(number)).mkdir(exist_ok=True)
            (folder / str(number) / name).write_text(text)
            yield folder / str(number) / name


@pytest.mark.parametrize(
    "arguments",
    [{"api_token": TOKEN, "timeout": 0}, {"api_key": TOKEN, "timeout": 0}, {"api_key": TOKEN, "api_token": TOKEN}],
    ids=["token", "key", "both"],
)
def test_no_traceback_shows_the_token(arguments: dict[str, Any], tmp_path: Path) -> None:
    environ = {"LM_API_TOKEN": TOKEN, "LM_STUDIO_TIMEOUT": "soon"}
    calls: list[Callable[[], object]] = [
        lambda: Settings(**arguments),
        lambda: Settings.load(environ={}, **arguments),
        lambda: Settings().replace(**arguments),
        lambda: Settings.load(environ=environ),
        lambda: Settings.load(arguments, {}),
        *(partial(Settings.load, file, {}) for file in broken_files(tmp_path)),
    ]
    for call in calls:
        with pytest.raises(lms.LMStudioValueError) as caught:
            call()
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        ours = [frame for frame in frames if "lmstudio" in str(frame.f_globals.get("__name__")).split(".")]
        shown = [repr(value) for frame in ours for value in frame.f_locals.values()]
        assert ours
        assert "abcdefghij" not in "".join(shown) + str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.yaml", "api_key: [abcdefghij"), ("a.json", '{"api_key": "abcdefghij'), (".env", "API KEY abcdefghij")],
)
def test_no_error_shows_what_a_broken_file_has(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(lms.LMStudioValueError) as caught:
        Settings.load(file, {})
    assert "abcdefghij" not in str(caught.value)


# What they are good for ----------------------------------------------------------------------------------------------


def test_settings_cannot_be_changed() -> None:
    settings = Settings(timeout=1)
    with pytest.raises(AttributeError, match=r"settings.replace\(timeout=...\) makes others"):
        settings.timeout = 2
    with pytest.raises(AttributeError, match="cannot be removed"):
        del settings.timeout
    assert settings.timeout == 1


def test_replaced_settings_keep_the_others() -> None:
    settings = Settings.load(environ={"LM_STUDIO_TIMEOUT": "1", "LM_API_TOKEN": TOKEN})
    other = settings.replace(base_url="example.com", timeout=None, max_retries=4)
    assert (other.api_host, other.timeout, other.max_retries, other.api_token) == ("example.com", 1, 4, TOKEN)
    assert (other.sources["timeout"], other.sources["api_host"]) == (settings.sources["timeout"], "argument")
    assert settings.api_host is None


def test_equal_settings_are_equal_wherever_they_come_from() -> None:
    one, other = Settings(timeout=1, api_token=TOKEN), Settings.load({"timeout": 1, "api_key": TOKEN}, {})
    assert one == other
    assert hash(one) == hash(other)
    assert one != one.replace(api_token=OTHER)
    assert one != "settings"


def test_settings_can_be_copied_and_pickled() -> None:
    settings = Settings.load(environ={"LM_STUDIO_TIMEOUT": "1", "LM_STUDIO_API_KEY": "key"})
    for copied in (copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):
        assert copied == settings
        assert copied.sources == settings.sources


def test_what_is_set_becomes_limits_retries_and_an_address() -> None:
    settings = Settings(base_url="https://example.com/lm/v1", timeout=5, max_retries=1, verify_tls=False)
    assert settings.limits() == lms.Timeout(idle=5)
    assert settings.http_timeout() == lms.Timeout(connect=10.0, idle=5, total=None)
    assert settings.retry(lms.RetryConfig(max_backoff=7)) == lms.RetryConfig(max_retries=1, max_backoff=7)
    assert settings.address("localhost:1").http_url("v1/models") == "https://example.com:443/lm/v1/models"
    assert settings.tls is False


def test_what_is_not_set_leaves_the_defaults() -> None:
    settings = Settings()
    default = lms.RetryConfig(max_retries=2)
    assert settings.limits() == lms.Timeout()
    assert settings.http_timeout() == lms.Timeout(connect=10.0, idle=30.0, total=None)
    assert settings.retry(default) is default
    assert settings.address().authority == "localhost:1234"
    assert settings.address("http://localhost:9").authority == "localhost:9"
    assert settings.tls is True


@pytest.mark.parametrize(
    ("allowed", "name", "is_allowed"),
    [
        (None, "anything", True),
        (["qwen/qwen3"], "Qwen/qwen3", True),
        (["qwen/qwen3"], "qwen/qwen3@q4_k_m", True),
        (["qwen/qwen3@q8_0"], "qwen/qwen3@q4_k_m", False),
        (["qwen/qwen3"], "qwen/qwen3-4b", False),
        (["qwen/*"], "qwen/qwen3-4b", True),
        ([], "qwen", False),
    ],
)
def test_allowed_models(allowed: list[str] | None, name: str, is_allowed: bool) -> None:
    settings = Settings(allowed_models=allowed)
    assert settings.allows_model(name) is is_allowed
    if is_allowed:
        settings.check_model(name)
    else:
        with pytest.raises(lms.LMStudioValueError, match=r"is not one of allowed_models \(argument\)"):
            settings.check_model(name)


def test_a_refused_model_is_told_with_the_nearest_one() -> None:
    with pytest.raises(lms.LMStudioValueError, match=r": qwen3, llama\. Did you mean 'qwen3'\?"):
        Settings(allowed_models=["qwen3", "llama"]).check_model("qwen")


REMOTE = ["example.com", "192.168.1.5:1234", "0.0.0.0.example.com", "[2001:db8::1]:1234"]
LOCAL = ["localhost:1", "127.0.0.1", "127.5.5.5", "[::1]:1", "0.0.0.0", "my.localhost", "[::ffff:127.0.0.1]:1", None]


@pytest.mark.parametrize("api_host", REMOTE)
def test_another_machine_without_a_token_is_refused_on_request(api_host: str) -> None:
    settings = Settings.load(environ={"LM_STUDIO_REQUIRE_TOKEN_FOR_REMOTE": "1"}, api_host=api_host)
    expected = r"another machine.*require_token_for_remote is on \(environment variable LM_STUDIO_REQUIRE_TOKEN_FOR_"
    with pytest.raises(lms.LMStudioValueError, match=expected):
        settings.check_remote()
    with pytest.raises(lms.LMStudioValueError, match="another machine"):
        settings.replace(api_token="").check_remote()
    settings.replace(api_token=TOKEN).check_remote()
    settings.replace(require_token_for_remote=False).check_remote()


@pytest.mark.parametrize("api_host", LOCAL)
def test_this_machine_needs_no_token(api_host: str | None) -> None:
    Settings(api_host=api_host, require_token_for_remote=True).check_remote()


@pytest.mark.parametrize("name", ["api_key", "LM_STUDIO_API_KEY"])
def test_the_native_protocol_leaves_out_the_key_of_another_system(name: str) -> None:
    def load(key: str) -> Settings:
        return Settings.load({name: key}, {}) if name == "api_key" else Settings.load(environ={name: key})

    assert (load("foreign").api_token, load("foreign").native_token.value) == ("foreign", None)
    assert load(TOKEN).native_token.value == TOKEN
    assert Settings(api_token="foreign").native_token.value == "foreign"


def native(settings: Settings, retry: lms.RetryConfig | None = None) -> ConnectionSettings:
    """What a native client with these arguments makes of them."""
    return connection_settings(
        settings=settings,
        api_host=None,
        api_token=NO_SECRET,
        client_identifier=None,
        client_passkey=NO_SECRET,
        logger=None,
        ssl_context=None,
        proxy=NO_SECRET,
        timeout=None,
        retry=retry,
        on_unknown=None,
    )


def test_native_clients_take_retries_and_certificates_from_settings() -> None:
    settings = native(Settings(max_retries=7, verify_tls=False))
    assert (settings.own_retry, settings.tls) == (lms.RetryConfig(max_retries=7), False)
    assert native(Settings(max_retries=7), lms.RetryConfig(max_backoff=1)).retry == lms.RetryConfig(max_backoff=1)
    assert (native(Settings()).own_retry, native(Settings()).tls) == (None, True)


def test_the_readme_and_the_documentation_name_every_setting() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for setting in SETTINGS.values():
        names = [name for name in (setting.name, setting.alias) if name]
        row = f"| {', '.join(f'`{name}`' for name in names)} | {', '.join(f'`{each}`' for each in setting.variables)} |"
        assert row in readme
        assert all(text in str(Settings.__doc__) for text in (*setting.variables, *names))
