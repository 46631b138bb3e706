"""The settings of the gateway: a file with sections, the environment, options, and how they go together."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio.errors import LMStudioValueError
from lmstudio.gateway import Gateway, GatewaySettings, command
from lmstudio.gateway.settings import GATEWAY_TABLE, GatewayArguments, resolve_gateway_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio._setting_table import EffectiveSettings

TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJ0123456789"
OTHER_TOKEN = "sk-lm-ijklmnop:ABCDEFGHIJ0123456789"
MISTRAL = "TheBloke/Mistral-7B-Instruct-v0.2-GGUF"

MINIMAL = """
inference:
  provider: lmstudio
  base_url: "http://localhost:1234"
  default_model: "local-model"
"""
FULL = f"""
inference:
  provider: lmstudio
  base_url: "http://localhost:1234"
  default_model: "{MISTRAL}"
  allowed_models:
    - "{MISTRAL}"
    - "qwen2.5-7b-instruct"
  http:
    timeout_secs: 120
    connect_timeout_secs: 15
    keep_alive_secs: 45
    max_idle_connections: 20
"""
OWN = """
gateway:
  host: 0.0.0.0
  port: 8000
  api_token_files: [tokens.txt]
  preload:
    - qwen
  jit_loading: on
  max_tokens: 500
  temperature: 0
  max_body_bytes: 2M
  log_format: json
"""


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser("lmstudio gateway")
    command.add_arguments(parser)
    return parser.parse_args(arguments)


def resolve(*arguments: str, **environment: str) -> EffectiveSettings[GatewaySettings]:
    parsed = parse(*arguments)
    return resolve_gateway_settings(vars(parsed), environment, parsed.config)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write_file(text: str, name: str = "gateway.yaml") -> str:
        file = tmp_path / name
        file.write_text(text)
        file.chmod(0o600)
        return str(file)

    return write_file


def test_minimal_file_is_enough(write: Callable[..., str]) -> None:
    values = resolve("--config", write(MINIMAL)).values
    assert values == GatewaySettings(default_model="local-model")
    assert (values.provider, values.base_url) == ("lmstudio", "http://localhost:1234")
    assert (values.host, values.port, values.max_tokens, values.temperature) == ("127.0.0.1", 3000, 100, 0.7)
    assert (values.timeout_seconds, values.connect_timeout_seconds) == (60, 10)
    assert (values.keep_alive_seconds, values.max_idle_connections) == (30, 10)


def test_full_file_says_everything_about_the_connection(write: Callable[..., str]) -> None:
    values = resolve("--config", write(FULL)).values
    assert values.default_model == MISTRAL
    assert values.allowed_models == (MISTRAL, "qwen2.5-7b-instruct")
    assert (values.timeout_seconds, values.connect_timeout_seconds) == (120, 15)
    assert (values.keep_alive_seconds, values.max_idle_connections) == (45, 20)


def test_gateway_has_a_section_of_its_own(write: Callable[..., str], tmp_path: Path) -> None:
    values = resolve("--config", write(MINIMAL + OWN)).values
    assert (values.host, values.port, values.log_format) == ("0.0.0.0", 8000, "json")
    assert values.api_token_files == (tmp_path / "tokens.txt",)
    assert (values.preload, values.jit_loading) == (("qwen",), True)
    assert (values.max_tokens, values.temperature, values.max_body_bytes) == (500, 0, 2 << 20)


def test_json_and_toml_mean_the_same_as_yaml(write: Callable[..., str]) -> None:
    document = {"inference": {"base_url": "http://a:1", "http": {"timeout_secs": 5}}, "gateway": {"port": 8000}}
    toml = '[inference]\nbase_url = "http://a:1"\nhttp.timeout_secs = 5\n[gateway]\nport = 8000\n'
    yaml = "inference:\n  base_url: http://a:1\n  http: {timeout_secs: 5}\ngateway:\n  port: 8000\n"
    expected = GatewaySettings(base_url="http://a:1", timeout_seconds=5, port=8000)
    for text, name in ((json.dumps(document), "g.json"), (toml, "g.toml"), (yaml, "g.yaml"), (yaml, "g.yml")):
        assert resolve("--config", write(text, name)).values == expected


def test_sections_and_values_may_be_left_open(write: Callable[..., str]) -> None:
    text = "inference:\n  default_model:\n  allowed_models: null\n  http:\ngateway:\n"
    assert resolve("--config", write(text)).values == GatewaySettings()
    assert resolve("--config", write("# nothing\n")).values == GatewaySettings()


@pytest.mark.parametrize(
    ("variable", "text", "name", "expected"),
    [
        ("INFERENCE_INFERENCE_PROVIDER", "mock", "provider", "mock"),
        ("INFERENCE_INFERENCE_BASE_URL", "http://elsewhere:1234", "base_url", "http://elsewhere:1234"),
        ("INFERENCE_INFERENCE_DEFAULT_MODEL", MISTRAL, "default_model", MISTRAL),
        ("INFERENCE_INFERENCE_ALLOWED_MODELS", "a/b, c", "allowed_models", ("a/b", "c")),
        ("INFERENCE_INFERENCE_API_TOKEN", TOKEN, "api_token", TOKEN),
        ("INFERENCE_INFERENCE_VERIFY_TLS", "false", "verify_tls", False),
        ("INFERENCE_INFERENCE_HTTP_TIMEOUT_SECS", "90", "timeout_seconds", 90),
        ("INFERENCE_INFERENCE_HTTP_CONNECT_TIMEOUT_SECS", "3", "connect_timeout_seconds", 3),
        ("INFERENCE_INFERENCE_HTTP_KEEP_ALIVE_SECS", "9", "keep_alive_seconds", 9),
        ("INFERENCE_INFERENCE_HTTP_MAX_IDLE_CONNECTIONS", "0", "max_idle_connections", 0),
        ("LMSTUDIO_GATEWAY_PORT", "0", "port", 0),
        ("LMSTUDIO_GATEWAY_API_TOKENS", f"{TOKEN} {OTHER_TOKEN}", "api_tokens", (TOKEN, OTHER_TOKEN)),
        ("LMSTUDIO_GATEWAY_PRELOAD", "a b,c", "preload", ("a b", "c")),
        ("LM_API_TOKEN", TOKEN, "api_token", TOKEN),
        ("LMSTUDIO_API_TOKEN", TOKEN, "api_token", TOKEN),
        ("LM_STUDIO_BASE_URL", "http://elsewhere:1", "base_url", "http://elsewhere:1"),
        ("LM_STUDIO_DEFAULT_MODEL", "m", "default_model", "m"),
        ("LM_STUDIO_ALLOWED_MODELS", "m,n", "allowed_models", ("m", "n")),
        ("LM_STUDIO_VERIFY_TLS", "0", "verify_tls", False),
    ],
)
def test_environment_wins_over_the_file(
    variable: str, text: str, name: str, expected: object, write: Callable[..., str]
) -> None:
    effective = resolve("--config", write(FULL + "gateway: {port: 4000, preload: [z]}\n"), **{variable: text})
    assert getattr(effective.values, name) == expected
    assert effective.sources[name] == variable
    assert effective.warnings == ()


def test_option_wins_over_the_environment() -> None:
    effective = resolve("--base-url", "http://flag:1", "--port", "1", INFERENCE_INFERENCE_BASE_URL="http://variable:1")
    assert (effective.values.base_url, effective.values.port) == ("http://flag:1", 1)
    assert effective.sources["base_url"] == "--base-url"


def test_variable_of_the_gateway_wins_over_that_of_clients() -> None:
    variables = {"INFERENCE_INFERENCE_BASE_URL": "http://gateway:1", "LM_STUDIO_BASE_URL": "http://clients:1"}
    assert resolve(**variables).values.base_url == "http://gateway:1"


def test_variable_may_name_the_file(write: Callable[..., str]) -> None:
    assert resolve(LMSTUDIO_GATEWAY_CONFIG=write("gateway: {port: 8001}")).values.port == 8001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inference: {base_ur: x}", ", inference: there is no setting 'base_ur'. Did you mean base_url?"),
        (
            "inference: {http: {timeout: 1}}",
            ", inference.http: there is no setting 'timeout'. Did you mean timeout_secs?",
        ),
        ("inferense: {}", ": there is no setting 'inferense'. Did you mean inference?"),
        ("gateway: {prot: 1}", ", gateway: there is no setting 'prot'. Did you mean port?"),
        ("base_url: x", "there is no setting 'base_url'. Did you mean inference.base_url?"),
        ("inference: {port: 1}", ", inference: there is no setting 'port'. Did you mean gateway.port?"),
        ("gateway: {1: 2}", ", gateway: there is no setting '1'. There are host, port, "),
        ("inference: [1]", ", inference: settings belong under it, not a value."),
        ("inference: {provider: openai}", ", inference.provider: 'openai' is not one of lmstudio, http, mock"),
        ("inference: {base_url: 'ftp://a'}", ", inference.base_url: Invalid server address 'ftp://a'"),
        ("inference: {http: {timeout_secs: 0}}", ", inference.http.timeout_secs: 0 is not a number from 0.001 on"),
        ("inference: {allowed_models: one}", ", inference.allowed_models: 'one' is one value, and a list is wanted"),
        ("gateway: {temperature: 2.5}", ", gateway.temperature: 2.5 is not a number from 0 to 2"),
        ("gateway: {max_tokens: 0}", ", gateway.max_tokens: 0 is not a whole number from 1 on"),
        ("gateway: {port: 70000}", ", gateway.port: 70000 is not a port"),
        ("- 1", "Cannot read the settings in {file}: it has no names with values."),
        ("a: [", "Cannot read the settings in {file}: it is not YAML: "),
    ],
)
def test_mistake_in_a_file_is_named_with_its_place(text: str, words: str, write: Callable[..., str]) -> None:
    file = write(text)
    with pytest.raises(LMStudioValueError) as refused:
        resolve("--config", file)
    assert words.format(file=file) in str(refused.value)
    assert file in str(refused.value)


@pytest.mark.parametrize("text", ["inference: {api_token: my-secret}", "gateway: {api_tokens: [my-secret]}"])
def test_mistaken_token_is_not_repeated(text: str, write: Callable[..., str]) -> None:
    with pytest.raises(LMStudioValueError, match="An API token has the form") as refused:
        resolve("--config", write(text))
    assert "my-secret" not in str(refused.value)


def test_yaml_without_its_package_says_what_to_install(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(LMStudioValueError, match="pip install pyyaml"):
        resolve("--config", write(MINIMAL))
    assert resolve("--config", write('{"gateway": {"port": 1}}', "gateway.json")).values.port == 1


def test_variables_that_are_no_settings_are_warned_about() -> None:
    effective = resolve(INFERENCE_INFERENCE_BASEURL="x", LMSTUDIO_GATEWAY_CONFIG="", LM_STUDIO_OTHER="x")
    assert effective.warnings == (
        (
            "the environment variable INFERENCE_INFERENCE_BASEURL is no setting; "
            "did you mean INFERENCE_INFERENCE_BASE_URL?"
        ),
    )


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("text", [f"inference: {{api_token: '{TOKEN}'}}", f"gateway: {{api_tokens: ['{TOKEN}']}}"])
def test_file_with_tokens_that_others_can_read_is_warned_about(text: str, write: Callable[..., str]) -> None:
    file = write(text)
    assert resolve("--config", file).warnings == ()
    Path(file).chmod(0o644)
    assert resolve("--config", file).warnings == (
        f"other users of this machine may read {file}; run: chmod 600 {file}",
    )


def test_shown_settings_are_a_file_that_means_the_same_but_for_secrets(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(FULL + OWN)
    monkeypatch.setenv("LM_API_TOKEN", TOKEN)
    monkeypatch.setenv("LMSTUDIO_GATEWAY_API_TOKENS", f"{TOKEN} {OTHER_TOKEN}")
    assert command.run(parse("--config", file, "--port", "5", "--show-settings")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "  # api_token: not shown here  # LM_API_TOKEN\n" in out
    assert "  # api_tokens: 2, not shown here  # LMSTUDIO_GATEWAY_API_TOKENS\n" in out
    assert f"  http:\n    timeout_secs: 120  # {file}\n" in out
    assert "gateway:\n" in out
    assert "  port: 5  # --port\n" in out
    assert TOKEN not in out
    expected = resolve("--config", file, "--port", "5").values
    assert resolve("--config", write(out, "shown.yaml")).values == expected


def test_secrets_are_not_in_the_repr() -> None:
    text = repr(GatewaySettings(api_token=TOKEN, api_tokens=(OTHER_TOKEN,)))
    assert "sk-lm" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"port": "x"}, "port: 'x' is not a port"),
        ({"base_url": "ftp://a"}, "base_url: Invalid server address"),
        ({"temperature": 3}, "temperature: 3 is not a number from 0 to 2"),
        ({"api_tokens": ["my-secret"]}, "api_tokens: An API token has the form"),
        ({"allowed_models": "one"}, "allowed_models: 'one' is one value"),
    ],
)
def test_programs_cannot_give_wrong_values_either(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(LMStudioValueError, match="^" + words) as refused:
        GatewaySettings(**arguments)
    assert "my-secret" not in str(refused.value)


def test_values_of_programs_are_those_of_files() -> None:
    values = GatewaySettings(allowed_models=["a"], log_file="log.txt", preload=("b",))  # type: ignore[arg-type]  # lists and texts are taken
    assert (values.allowed_models, values.log_file, values.preload) == (("a",), Path("log.txt"), ("b",))


@pytest.mark.parametrize("address", ["http://10.0.0.5:1234", "http://lmstudio.example:1234"])
def test_other_machine_without_a_token_is_refused_when_asked_to(address: str) -> None:
    with pytest.raises(LMStudioValueError, match="require_token_for_remote"):
        GatewaySettings(base_url=address, require_token_for_remote=True)
    GatewaySettings(base_url=address, require_token_for_remote=True, api_token=TOKEN)
    GatewaySettings(base_url=address)


def test_key_of_another_server_is_for_the_provider_http_only() -> None:
    assert GatewaySettings(provider="http", api_token="sk-proj-something").api_token == "sk-proj-something"
    with pytest.raises(LMStudioValueError, match="api_token: An API token has the form") as refused:
        GatewaySettings(api_token="sk-proj-something")
    assert "something" not in str(refused.value)
    with pytest.raises(LMStudioValueError, match="printable ASCII"):
        GatewaySettings(provider="http", api_token="two\nlines")


@pytest.mark.parametrize("address", ["http://localhost:1234", "127.0.0.1:1234", "http://[::1]:1"])
def test_this_machine_needs_no_token(address: str) -> None:
    GatewaySettings(base_url=address, require_token_for_remote=True)


def test_arguments_of_a_gateway_are_its_settings() -> None:
    assert (
        set(GatewayArguments.__annotations__)
        == set(GATEWAY_TABLE.settings)
        == {f.name for f in fields(GatewaySettings)}
    )


def test_unknown_argument_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match=r"there is no setting 'base_ur'\. Did you mean base_url\?"):
        Gateway(base_ur="http://localhost:1234")  # type: ignore[call-arg]  # that is the point


def test_settings_and_arguments_at_once_are_refused() -> None:
    with pytest.raises(LMStudioValueError, match="not both"):
        Gateway(GatewaySettings(), port=0)


def test_settings_can_be_read_where_the_packages_of_the_server_are_missing() -> None:
    code = (
        "import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = sys.modules['yaml'] = None; "
        "import lmstudio.gateway.command"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
