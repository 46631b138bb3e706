"""The files of examples/deploy/gateway: what their programs expect, with no setting that the gateway has not."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from deploy_files import DEPLOY, assert_accepted_by_systemd, assert_lints, instructions, tool, unit_settings
from openai import OpenAI
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.gateway import Gateway, GatewaySettings, resolve_gateway_settings
from lmstudio.gateway.settings import CONFIG_VARIABLE, GATEWAY_TABLE
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.background import CORE_END_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = DEPLOY / "gateway"
SETTINGS = GATEWAY_TABLE.settings
VARIABLES = {CONFIG_VARIABLE, *(variable for setting in SETTINGS.values() for variable in setting.variables)}
END_SECONDS = GatewaySettings().grace_seconds + CORE_END_SECONDS
INSTRUCTIONS = instructions(FOLDER / "Dockerfile")
UNIT = FOLDER / "lmstudio-gateway.service"


# The settings --------------------------------------------------------------------------------------------------------


def test_settings_of_the_example_are_valid() -> None:
    values = resolve_gateway_settings({}, {}, FOLDER / "gateway.yaml").values
    assert (values.base_url, values.port, values.log_format) == ("http://localhost:1234", 3000, "json")


def with_one_more(lines: list[str]) -> Iterator[str]:
    """The example with one setting more each time: the line of one that begins with # as a comment."""
    for number, line in enumerate(lines):
        if re.match(r" *#\w+: ", line):
            yield "\n".join([*lines[:number], line.replace("#", "", 1), *lines[number + 1 :]])


def test_settings_that_the_example_leaves_out_are_valid_too(tmp_path: Path) -> None:
    example, file = FOLDER / "gateway.yaml", tmp_path / "gateway.yaml"
    before = list(resolve_gateway_settings({}, {}, example).sources.values()).count(str(example))
    texts = list(with_one_more(example.read_text().splitlines()))
    assert len(texts) > 10
    for text in texts:
        file.write_text(text)
        effective = resolve_gateway_settings({}, {"LM_API_TOKEN": "sk-lm-abcdefgh:ABCDEFGHIJ0123456789"}, file)
        assert list(effective.sources.values()).count(str(file)) == before + 1, text


def test_settings_are_all_in_the_example_but_for_secrets() -> None:
    text = (FOLDER / "gateway.yaml").read_text()
    left_out = {"api_token", "api_tokens", "insecure", "verify_tls", "metrics"}
    wanted = [setting.path[-1] for name, setting in SETTINGS.items() if name not in left_out]
    assert [key for key in wanted if not re.search(rf"^ *#?{key}: ", text, re.MULTILINE)] == []


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_variables_are_those_of_settings(file: Path) -> None:
    assert set(re.findall(r"(?:LMSTUDIO_GATEWAY|INFERENCE_INFERENCE)_\w+", file.read_text())) <= VARIABLES


# The image -----------------------------------------------------------------------------------------------------------


def last(word: str) -> str:
    return [rest for name, rest in INSTRUCTIONS if name == word][-1]


def test_image_is_accepted_by_the_linter() -> None:
    assert_lints(FOLDER / "Dockerfile")


def test_image_is_not_run_by_root_and_has_what_it_is_built_of() -> None:
    names = [name for name, _ in INSTRUCTIONS]
    assert last("USER") == "10001"
    assert names.index("USER") < names.index("ENTRYPOINT")
    allowed = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    copied = [rest.split()[:-1] for name, rest in INSTRUCTIONS if name == "COPY" and "--from" not in rest]
    assert {f"!{source}" for sources in copied for source in sources} <= set(allowed)


def test_process_of_the_image_gets_the_signals() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["python", "-m", "lmstudio", "gateway"]
    assert last("STOPSIGNAL") == "SIGTERM"


def test_health_check_of_the_image_finds_a_gateway_without_lm_studio_and_notices_when_it_is_gone() -> None:
    command = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    with Gateway(base_url="http://127.0.0.1:1", port=0) as gateway:
        environment = {**os.environ, "LMSTUDIO_GATEWAY_PORT": str(gateway.port)}
        check = [sys.executable, *command[1:]]
        assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0
        gateway.stop()
        assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("name", ["compose.yaml", "compose.balanced.yaml"])
def test_composition_uses_the_image_safely(name: str) -> None:
    document = yaml.safe_load((FOLDER / name).read_text())
    gateways = {key: service for key, service in document["services"].items() if key.startswith("gateway")}
    assert gateways
    for service in gateways.values():
        build = service["build"]
        assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == FOLDER / "Dockerfile"
        assert int(service["stop_grace_period"].removesuffix("s")) > END_SECONDS
        (secret,) = service["secrets"]
        assert secret in document["secrets"]
        assert service["environment"]["LMSTUDIO_GATEWAY_API_TOKEN_FILES"] == f"/run/secrets/{secret}"
        assert service["cap_drop"] == ["ALL"]
        assert service["restart"] == "always"
    ports = [port for service in document["services"].values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:3000:3000"]


def test_composition_may_have_a_server_in_the_place_of_lm_studio() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    build = services["lmstudio"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert services["lmstudio"]["environment"]["LMSTUDIO_SERVER_PORT"] == "1234"
    assert services["gateway"]["depends_on"]["lmstudio"] == {"condition": "service_healthy", "required": False}


# systemd -------------------------------------------------------------------------------------------------------------


def test_unit_starts_again_and_lets_the_gateway_end_its_work() -> None:
    settings = unit_settings(UNIT)
    assert settings["Restart"] == ["always"]
    assert int(settings["TimeoutStopSec"][0]) > END_SECONDS
    assert settings["Type"] == ["notify"]
    assert settings["RestartPreventExitStatus"] == ["2"]


@pytest.mark.parametrize("command", [["verify"], ["security", "--offline=true", "--threshold=20"]], ids=" ".join)
def test_unit_is_accepted_by_systemd(command: list[str], tmp_path: Path) -> None:
    assert_accepted_by_systemd(UNIT, command, tmp_path)


# nginx ---------------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def written(folder: Path, port: int, gateways: list[int]) -> Path:
    """The example as a whole configuration, with other addresses."""
    text = (FOLDER / "nginx.conf").read_text()
    for name, gateway in zip(("gateway-a", "gateway-b"), gateways, strict=True):
        assert f"server {name}:3000 " in text
        text = text.replace(f"server {name}:3000 ", f"server 127.0.0.1:{gateway} ")
    text = text.replace("listen 3000;", f"listen 127.0.0.1:{port};")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{text}}}\n"
    )
    return file


@contextmanager
def nginx(folder: Path, gateways: list[int]) -> Iterator[str]:
    """nginx in front of *gateways*; its address."""
    program, port = tool("nginx"), free_port()
    file = written(folder, port, gateways)
    check = [program, "-t", "-p", str(folder), "-c", str(file), "-e", "stderr"]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen([program, "-p", str(folder), "-c", str(file), "-e", "stderr"]) as process:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=10), trust_env=False) as client:
                client.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_SECONDS)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


class Machine:
    """An LM Studio that stops in the middle of each answer, with a gateway."""

    def __init__(self, stack: ExitStack, answer: str) -> None:
        self.gate = Gate()
        self.engine = ScriptedEngine(Reply([answer, self.gate, " The end."]))
        self.server = stack.enter_context(Server(engine=self.engine))
        stack.enter_context(lms.Client(self.server.api_host)).llm.load_new_instance("scripted-chat")
        self.gateway = stack.enter_context(Gateway(base_url=self.server.api_host, port=0))
        stack.callback(self.gate.open)


def stream(client: OpenAI) -> Iterator[str]:
    chunks = client.chat.completions.create(
        model="scripted-chat", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tool("nginx")
    return tmp_path


def test_streams_of_a_gateway_go_on_when_another_one_is_gone(folder: Path) -> None:
    with ExitStack() as stack:
        machines = [Machine(stack, "A."), Machine(stack, "B.")]
        address = stack.enter_context(nginx(folder, [machine.gateway.port for machine in machines]))
        client = OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=PATIENCE_SECONDS)
        stack.callback(client.close)
        streams = [stream(client), stream(client)]
        begun = [next(each) for each in streams]
        assert sorted(begun) == ["A.", "B."]  # the one with fewer under way got the second, before that has ended
        machines[0].gateway.stop(0)
        surviving = streams[begun.index("B.")]
        machines[1].gate.open()
        assert "".join(surviving) == " The end."
        for _ in range(6):  # nobody notices that one is gone
            assert "".join(stream(client)) == "B. The end."


def test_gateway_whose_lm_studio_is_gone_is_passed_over(folder: Path) -> None:
    with ExitStack() as stack:
        machines = [Machine(stack, "A."), Machine(stack, "B.")]
        for machine in machines:
            machine.gate.open()
        address = stack.enter_context(nginx(folder, [machine.gateway.port for machine in machines]))
        client = OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=PATIENCE_SECONDS)
        stack.callback(client.close)
        machines[0].server.stop(0)
        assert {"".join(stream(client)) for _ in range(6)} == {"B. The end."}


def test_nginx_without_any_gateway_answers_as_a_gateway_would(folder: Path) -> None:
    with nginx(folder, [free_port(), free_port()]) as address:
        answer = httpx.post(f"{address}/v1/chat/completions", json={}, trust_env=False, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 502
    assert answer.json()["error"]["message"].startswith("No gateway to LM Studio is there now.")
