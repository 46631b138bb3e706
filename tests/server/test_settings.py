"""The settings of `serve`: one name for a flag, an environment variable and a key of a file."""

from __future__ import annotations

import argparse
import inspect
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from transport_stub import OTHER_TOKEN, TOKEN

from lmstudio.errors import LMStudioValueError
from lmstudio.server import ConnectionLimits, Server, serve
from lmstudio.server.embedded import CoreSettings
from lmstudio.server.files.store import FileLimits
from lmstudio.server.http.settings import HttpSettings
from lmstudio.server.settings import SETTINGS, ServerSettings, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio._setting_table import EffectiveSettings

# One setting of every kind, in three spellings, and what it means.
SPELLINGS: dict[str, tuple[list[str], str, str, Any]] = {
    "host": (["--host", "::1"], "::1", '"::1"', "::1"),
    "port": (["--port", "8080"], "8080", "8080", 8080),
    "models": (
        ["--model", "/a.gguf", "--model", "/b c.gguf"],
        os.pathsep.join(["/a.gguf", "/b c.gguf"]),
        '["/a.gguf", "/b c.gguf"]',
        (Path("/a.gguf"), Path("/b c.gguf")),
    ),
    "models_folder": (["--models-folder", "/m"], "/m", '"/m"', Path("/m")),
    "catalog": (["--catalog", "http://a/b.json"], "http://a/b.json", '"http://a/b.json"', "http://a/b.json"),
    "engine": (["--engine", "scripted"], "scripted", '"scripted"', "scripted"),
    "jit_ttl_seconds": (["--jit-ttl-seconds", "1.5"], "1.5", "1.5", 1.5),
    "evict_jit": (["--evict-jit"], "true", "true", True),
    "prediction_defaults": (
        ["--prediction-defaults", '{"llm.prediction.temperature": 0}'],
        '{"llm.prediction.temperature": 0}',
        '{"llm.prediction.temperature" = 0}',
        {"llm.prediction.temperature": 0},
    ),
    "api_tokens": (
        ["--api-token", TOKEN, "--api-token", OTHER_TOKEN],
        f" {TOKEN} {OTHER_TOKEN}",
        f'["{TOKEN}", "{OTHER_TOKEN}"]',
        (TOKEN, OTHER_TOKEN),
    ),
    "allowed_origins": (["--allow-origin", "*"], "*", '["*"]', ("*",)),
    "max_message_bytes": (["--max-message-bytes", "2M"], "2 MiB", '"2M"', 2 << 20),
    "max_strangers": (["--max-strangers", "7"], "7", "7", 7),
    "max_file_bytes": (["--max-file-bytes", "100"], "100", "100", 100),
    "grace_seconds": (["--grace-seconds", "0"], "0", "0", 0),
    "log_format": (["--log-format", "json"], "JSON", '"json"', "json"),
}


def resolve(*arguments: str, **environment: str) -> EffectiveSettings[ServerSettings]:
    parser = argparse.ArgumentParser("lmstudio serve")
    serve.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    return resolve_settings(vars(parsed), environment, parsed.config)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_file(text: str) -> Path:
        file = tmp_path / "server.toml"
        file.write_text(text)
        file.chmod(0o600)
        return file

    return write_file


@pytest.mark.parametrize("name", SPELLINGS)
def test_flag_variable_and_key_mean_the_same(name: str, write: Callable[[str], Path]) -> None:
    flags, variable, toml, expected = SPELLINGS[name]
    file = write(f"{name} = {toml}\n")
    found = {
        SETTINGS[name].flag: resolve(*flags),
        f"LMSTUDIO_SERVER_{name.upper()}": resolve(**{f"LMSTUDIO_SERVER_{name.upper()}": variable}),
        str(file): resolve("--config", str(file)),
    }
    assert getattr(resolve().values, name) != expected
    for source, effective in found.items():
        assert (getattr(effective.values, name), effective.sources[name]) == (expected, source)
        others = {other: where for other, where in effective.sources.items() if other != name}
        assert set(others.values()) == {"default"}


def test_flag_wins_over_environment_over_file_over_default(write: Callable[[str], Path]) -> None:
    file = str(write('host = "file"\nmax_strangers = 1\nbusy_bytes = 1\n'))
    variables = {"LMSTUDIO_SERVER_HOST": "variable", "LMSTUDIO_SERVER_MAX_STRANGERS": "2"}
    effective = resolve("--config", file, "--host", "flag", **variables)
    values = effective.values
    assert (values.host, values.max_strangers, values.busy_bytes) == ("flag", 2, 1)
    assert values.stall_seconds == ConnectionLimits.stall_seconds


def test_switch_of_a_file_can_be_turned_off(write: Callable[[str], Path]) -> None:
    file = str(write("insecure = true\n"))
    assert resolve("--config", file).values.insecure
    assert not resolve("--config", file, "--no-insecure").values.insecure
    assert not resolve("--config", file, LMSTUDIO_SERVER_INSECURE="off").values.insecure


def test_variable_names_the_file_unless_a_flag_does(write: Callable[[str], Path], tmp_path: Path) -> None:
    file = str(write("port = 1\n"))
    other = tmp_path / "other.toml"
    other.write_text("port = 2\n")
    assert resolve(LMSTUDIO_SERVER_CONFIG=file).values.port == 1
    assert resolve("--config", str(other), LMSTUDIO_SERVER_CONFIG=file).values.port == 2


def test_paths_in_a_file_are_relative_to_it(write: Callable[[str], Path], tmp_path: Path) -> None:
    file = write('models = ["a.gguf", "/b.gguf", "~/c.gguf"]\ncatalog = "models"\n')
    values = resolve("--config", str(file)).values
    assert values.models == (tmp_path / "a.gguf", Path("/b.gguf"), Path.home() / "c.gguf")
    assert values.catalog == tmp_path / "models"
    assert resolve("--catalog", "models").values.catalog == Path("models")


def test_word_stands_for_no_limit() -> None:
    assert resolve("--jit-ttl-seconds", "never").values.jit_ttl_seconds is None


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("jit_ttl_second = 1", "In {file}: there is no setting 'jit_ttl_second'. Did you mean jit_ttl_seconds?"),
        ("jit-ttl-seconds = 1", "In {file}: there is no setting 'jit-ttl-seconds'. Did you mean jit_ttl_seconds?"),
        ("zzzz = 1", "In {file}: there is no setting 'zzzz'. There are host, port, models,"),
        ("[limits]\nmax_strangers = 1", "In {file}: there is no setting 'limits'"),
        ("port = 70000", "In {file}, port: 70000 is not a port: 1 to 65535, or 0 for any free one"),
        ("port = true", "In {file}, port: True is not a port"),
        ('engine = "lama"', "In {file}, engine: 'lama' is not one of llama_cpp, scripted"),
        ("evict_jit = 1", "In {file}, evict_jit: 1 is neither true nor false"),
        ("grace_seconds = -1", "In {file}, grace_seconds: -1 is not a number from 0 on"),
        ("grace_seconds = nan", "In {file}, grace_seconds: nan is not a number from 0 on"),
        ("jit_ttl_seconds = inf", "In {file}, jit_ttl_seconds: inf is not a number from 0.001 on, or 'never'"),
        ("max_strangers = 1.5", "In {file}, max_strangers: 1.5 is not a whole number from 1 on"),
        ('busy_bytes = "2T"', "In {file}, busy_bytes: '2T' is not a whole number of bytes, such as 1048576 or 1M,"),
        ('models = "a.gguf"', "In {file}, models: 'a.gguf' is one value, and a list is wanted: write it in [ ]"),
        ("host = 1", "In {file}, host: 1 is not a text"),
        ("log_file = 1", "In {file}, log_file: 1 is not a path"),
        ("prediction_defaults = 1", "In {file}, prediction_defaults: 1 is not a table of names and values"),
        ('prediction_defaults = "{"', "In {file}, prediction_defaults: '{{' is not a JSON object: "),
        ('models = ["~nobody-of-this-name/a"]', "In {file}, models: '~nobody-of-this-name/a' begins with the home of"),
        ("host 1", "Cannot read the settings in {file}: it is not TOML: "),
    ],
)
def test_mistake_in_a_file_is_named_with_its_place(toml: str, words: str, write: Callable[[str], Path]) -> None:
    file = write(toml)
    with pytest.raises(LMStudioValueError) as refused:
        resolve("--config", str(file))
    assert str(refused.value).startswith(words.format(file=file))


@pytest.mark.parametrize("toml", ['api_tokens = ["sk-secret"]', 'api_tokens = "sk-secret"'])
def test_mistaken_token_is_not_repeated(toml: str, write: Callable[[str], Path]) -> None:
    with pytest.raises(LMStudioValueError, match=r"In .*, api_tokens: ") as refused:
        resolve("--config", str(write(toml)))
    assert "sk-secret" not in str(refused.value)


def test_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LMStudioValueError, match=r"Cannot read the settings in .*: No such file"):
        resolve("--config", str(tmp_path / "absent.toml"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff")
    with pytest.raises(LMStudioValueError, match="it is not text in UTF-8"):
        resolve("--config", str(binary))


def test_mistake_in_the_environment_is_named() -> None:
    with pytest.raises(LMStudioValueError) as refused:
        resolve(LMSTUDIO_SERVER_PORT="tcp://10.0.0.1:80")
    assert str(refused.value).startswith(
        "In the environment variable LMSTUDIO_SERVER_PORT: 'tcp://10.0.0.1:80' is not a port"
    )


def test_unknown_variables_are_warned_about_with_the_nearest_name() -> None:
    effective = resolve(LMSTUDIO_SERVER_GRACE_SECOND="1", LMSTUDIO_SERVER_CONFIG="", LMSTUDIO_SERVER_HOST="")
    (warning,) = effective.warnings
    assert warning.startswith("the environment variable LMSTUDIO_SERVER_GRACE_SECOND is no setting")
    assert warning.endswith("did you mean LMSTUDIO_SERVER_GRACE_SECONDS?")
    assert set(effective.sources.values()) == {"default"}


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_file_with_tokens_that_others_can_read_is_warned_about(write: Callable[[str], Path]) -> None:
    file = write(f'api_tokens = ["{TOKEN}"]')
    assert resolve("--config", str(file)).warnings == ()
    file.chmod(0o644)
    assert resolve("--config", str(file)).warnings == (
        f"other users of this machine may read {file}; run: chmod 600 {file}",
    )


def test_shown_settings_are_a_file_that_means_the_same(
    capsys: pytest.CaptureFixture[str], write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = argparse.ArgumentParser("lmstudio serve")
    serve.add_arguments(parser)
    flags = [flag for name, spelling in SPELLINGS.items() if name not in ("api_tokens", "port") for flag in spelling[0]]
    monkeypatch.setenv("LMSTUDIO_SERVER_PORT", "1234")
    monkeypatch.setenv("LMSTUDIO_SERVER_API_TOKENS", TOKEN)
    assert serve.run(parser.parse_args([*flags, "--show-settings"])) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "port = 1234  # LMSTUDIO_SERVER_PORT\n" in out
    assert "jit_ttl_seconds = 1.5  # --jit-ttl-seconds\n" in out
    assert "stall_seconds = 60  # default\n" in out
    assert "# api_tokens: 1, not shown here  # LMSTUDIO_SERVER_API_TOKENS\n" in out
    assert "# presets is not set  # default\n" in out
    assert TOKEN not in out
    monkeypatch.delenv("LMSTUDIO_SERVER_PORT")
    monkeypatch.delenv("LMSTUDIO_SERVER_API_TOKENS")
    assert resolve("--config", str(write(out))).values == resolve(*flags, LMSTUDIO_SERVER_PORT="1234").values


def test_wrong_settings_end_with_two_before_anything_starts(
    capsys: pytest.CaptureFixture[str], write: Callable[[str], Path]
) -> None:
    parser = argparse.ArgumentParser("lmstudio serve")
    serve.add_arguments(parser)
    file = write("prot = 1")
    assert serve.run(parser.parse_args(["--config", str(file)])) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"lmstudio serve: In {file}: there is no setting 'prot'. Did you mean port?")
    assert err.count("\n") == 1


def test_everything_that_a_server_can_be_told_is_a_setting() -> None:
    arguments = set(inspect.signature(Server).parameters) | set(CoreSettings.__annotations__)
    arguments -= {"core_settings", "clock", "limits", "file_limits", "http"}
    arguments.remove("owner")  # a program's own tokens, which nobody writes down
    arguments |= {each.name for struct in (ConnectionLimits, FileLimits, HttpSettings) for each in fields(struct)}
    assert arguments <= set(SETTINGS)
    assert set(SETTINGS) - arguments == {"api_token_files", "log_format", "log_level", "log_file"}


def test_defaults_are_those_of_the_server_itself() -> None:
    given = ServerSettings().server_arguments()
    assert given["limits"] == ConnectionLimits()
    assert given["file_limits"] == FileLimits()
    assert given["http"] == HttpSettings()
    parameters = inspect.signature(Server).parameters
    same = {
        name: value for name, value in given.items() if name in parameters and name not in ("port", "limits", "http")
    }
    assert {name: parameters[name].default for name in same} == same


def test_server_gets_the_settings() -> None:
    values = resolve("--engine", "scripted", "--grace-seconds", "3", "--jit-ttl-seconds", "never").values
    with Server(**{**values.server_arguments(), "port": 0}) as server:
        assert server.engine.name == "scripted"


@pytest.mark.parametrize("text", ["12kb", "12 KiB", "12K"])
def test_sizes_may_have_a_unit(text: str) -> None:
    assert resolve("--busy-bytes", text).values.busy_bytes == 12 * 1024


def test_settings_can_be_read_where_the_packages_of_the_server_are_missing() -> None:
    code = "import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = None; import lmstudio.server.serve"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [("settings.yaml", "port: 4711\njit_loading: no\n"), ("settings.json", '{"port": 4711, "jit_loading": false}')],
)
def test_a_file_may_be_yaml_or_json(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    values = resolve_settings({}, {}, tmp_path / name).values
    assert (values.port, values.jit_loading) == (4711, False)


def test_tokens_are_not_in_the_repr() -> None:
    assert TOKEN not in repr(ServerSettings(api_tokens=(TOKEN,)))
