"""The files of examples/deploy: they are what their programs expect, and have no setting that the server has not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from deploy_files import DEPLOY, assert_accepted_by_systemd, assert_lints, instructions, unit_settings

from lmstudio.server import Server
from lmstudio.server.background import CORE_END_SECONDS
from lmstudio.server.settings import CONFIG_VARIABLE, HTTP, MODELS, SETTINGS, ServerSettings, resolve_settings

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = {CONFIG_VARIABLE, *(setting.variable for setting in SETTINGS.values())}
END_SECONDS = ServerSettings().grace_seconds + CORE_END_SECONDS


# The settings --------------------------------------------------------------------------------------------------------


def test_settings_of_the_example_are_valid() -> None:
    effective = resolve_settings({}, {}, DEPLOY / "server.toml")
    assert (effective.values.port, effective.values.log_format) == (41343, "json")


def test_settings_that_the_example_leaves_out_are_valid_too(tmp_path: Path) -> None:
    lines = (DEPLOY / "server.toml").read_text().splitlines()
    spare = [line.removeprefix("#") for line in lines if re.match(r"#\w+ = ", line)]
    assert len(spare) > 10
    for line in spare:
        file = tmp_path / "server.toml"
        file.write_text(line)
        name = line.split(" = ")[0]
        effective = resolve_settings({}, {}, file)
        assert effective.sources[name] == str(file)


def test_settings_of_models_and_http_are_all_in_the_example() -> None:
    text = (DEPLOY / "server.toml").read_text()
    wanted = [setting.name for setting in SETTINGS.values() if setting.section in (MODELS, HTTP)]
    assert [name for name in wanted if not re.search(rf"^#?{name} = ", text, re.MULTILINE)] == []


@pytest.mark.parametrize(
    "file", sorted(file for file in DEPLOY.iterdir() if file.is_file()), ids=lambda file: file.name
)
def test_variables_are_those_of_settings(file: Path) -> None:
    assert set(re.findall(r"LMSTUDIO_SERVER_\w+", file.read_text())) <= VARIABLES


# The image -----------------------------------------------------------------------------------------------------------


INSTRUCTIONS = instructions(DEPLOY / "Dockerfile")


def last(word: str) -> str:
    return [rest for name, rest in INSTRUCTIONS if name == word][-1]


def test_image_is_accepted_by_the_linter() -> None:
    assert_lints(DEPLOY / "Dockerfile")


def test_image_is_small_and_not_run_by_root() -> None:
    names = [name for name, _ in INSTRUCTIONS]
    assert last("USER") == "10001"
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert {rest.split()[0] for name, rest in INSTRUCTIONS if name == "FROM"} == {"python:3.13-slim"}
    assert all("--no-cache-dir" in rest for _, rest in INSTRUCTIONS if "pip install" in rest)
    assert all("rm -rf /var/lib/apt/lists" in rest for _, rest in INSTRUCTIONS if "apt-get" in rest)


def test_image_has_all_that_the_package_is_built_of() -> None:
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    sources = [
        source for name, rest in INSTRUCTIONS if name == "COPY" and "--from" not in rest for source in rest.split()[:-1]
    ]
    assert sources
    assert {f"!{source}" for source in sources} <= set(allowed)
    assert all((DEPLOY.parents[1] / source).exists() for source in sources)


def test_process_of_the_image_gets_the_signals() -> None:
    command = json.loads(last("ENTRYPOINT"))  # not the form that a shell runs
    assert command == ["python", "-m", "lmstudio", "serve"]
    assert last("STOPSIGNAL") == "SIGTERM"


def test_health_check_of_the_image_finds_a_server_and_notices_that_there_is_none() -> None:
    command = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert command[0] == "python"
    with Server(engine="scripted") as server:
        environment = {**os.environ, "LMSTUDIO_SERVER_PORT": str(server.port)}
        check = [sys.executable, *command[1:]]
        assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0
        server.stop()
        assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode != 0


def test_composition_uses_the_image_safely() -> None:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = document["services"]["lmstudio"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert int(service["stop_grace_period"].removesuffix("s")) > END_SECONDS
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert [volume.split(":")[1] for volume in service["volumes"]] == [last("VOLUME")]
    assert set(service["secrets"]) == set(document["secrets"])
    (secret,) = service["secrets"]
    assert service["environment"]["LMSTUDIO_SERVER_API_TOKEN_FILES"] == f"/run/secrets/{secret}"
    assert service["cap_drop"] == ["ALL"]


# systemd -------------------------------------------------------------------------------------------------------------


UNIT = DEPLOY / "lmstudio-server.service"


def test_unit_lets_the_server_end_its_work() -> None:
    settings = unit_settings(UNIT)
    assert settings["KillMode"] == ["mixed"]
    assert int(settings["TimeoutStopSec"][0]) > END_SECONDS
    assert settings["Type"] == ["notify"]
    assert settings["RestartPreventExitStatus"] == ["2"]


@pytest.mark.parametrize("command", [["verify"], ["security", "--offline=true", "--threshold=20"]], ids=" ".join)
def test_unit_is_accepted_by_systemd(command: list[str], tmp_path: Path) -> None:
    assert_accepted_by_systemd(UNIT, command, tmp_path)
