"""What is advised where, and how containers and WSL are recognised."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from lmstudio._address import parse_api_host
from lmstudio._remedies import Surroundings, look_around, not_found_remedy, remedy

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = Surroundings()
CONTAINER = Surroundings(is_container=True)
WSL = Surroundings(is_wsl=True)

LINUX = "Linux version 6.8.0-generic (builder@host) (gcc 13)"
WSL_VERSION = "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@host) (gcc)"


def file_system(root: Path, files: dict[str, str]) -> Path:
    """A root with *files*."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, PLAIN),
        ({"proc/version": LINUX, "proc/1/cgroup": "0::/init.scope\n"}, PLAIN),
        ({".dockerenv": ""}, CONTAINER),
        ({"run/.containerenv": 'engine="podman-5.0"'}, CONTAINER),
        ({"proc/1/cgroup": "12:cpu:/docker/0123456789ab\n"}, CONTAINER),
        ({"proc/1/cgroup": "0::/kubepods.slice/kubepods-burstable.slice\n"}, CONTAINER),
        ({"proc/version": WSL_VERSION}, WSL),
        ({"proc/version": "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)"}, WSL),
        # A container of Docker Desktop on Windows has WSL's kernel.
        ({"proc/version": WSL_VERSION, ".dockerenv": ""}, CONTAINER),
    ],
)
def test_containers_and_wsl_are_recognised(tmp_path: Path, files: dict[str, str], expected: Surroundings) -> None:
    assert look_around(file_system(tmp_path, files)) == expected


def test_this_machine_can_be_looked_at() -> None:
    assert isinstance(look_around(), Surroundings)


HINTS = {
    "container": "runs in a container",
    "docker": "host.docker.internal:1234",
    "add-host": "--add-host=host.docker.internal:host-gateway",
    "wsl": "runs in WSL",
    "network": "'Serve on Local Network'",
    "firewall": "firewall",
}


def hints(text: str) -> set[str]:
    """What *text* mentions."""
    return {name for name, words in HINTS.items() if words in text}


@pytest.mark.parametrize(
    ("host", "around", "expected"),
    [
        ("localhost", PLAIN, set()),
        ("127.0.0.1", PLAIN, set()),
        ("127.8.8.8", PLAIN, set()),
        ("::1", PLAIN, set()),
        ("lm.localhost", PLAIN, set()),
        ("localhost", CONTAINER, {"container", "docker", "add-host", "network"}),
        ("::1", CONTAINER, {"container", "docker", "add-host", "network"}),
        ("localhost", WSL, {"wsl", "network"}),
        ("host.docker.internal", CONTAINER, {"network"}),
        ("host.containers.internal", CONTAINER, {"network"}),
        ("192.168.0.10", PLAIN, {"network", "firewall"}),
        ("192.168.0.10", CONTAINER, {"network", "firewall"}),
        ("10.0.0.1", WSL, {"network", "firewall"}),
        ("172.17.0.1", PLAIN, {"network", "firewall"}),
        ("fe80::1%eth0", PLAIN, {"network", "firewall"}),
        ("fd00::2", PLAIN, {"network", "firewall"}),
        ("desktop", PLAIN, {"network", "firewall"}),
        ("desktop.local", PLAIN, {"network", "firewall"}),
        ("8.8.8.8", PLAIN, set()),
        ("lm.example.com", CONTAINER, set()),
    ],
)
def test_hints_are_given_only_where_they_fit(host: str, around: Surroundings, expected: set[str]) -> None:
    text = remedy("tcp", parse_api_host(host), ConnectionRefusedError(), around)
    assert hints(text) == expected
    assert text.startswith("Is it running ")


def test_the_port_to_open_is_named() -> None:
    assert "port 5000" in remedy("tcp", parse_api_host("192.168.0.10:5000"), None, PLAIN)
    assert "is port 443 open?" in remedy("tcp", parse_api_host("https://lm.example.com"), None, PLAIN)


@pytest.mark.parametrize("host", ["host.docker.internal", "host.containers.internal"])
def test_the_name_of_the_machine_around_needs_an_option(host: str) -> None:
    assert hints(remedy("dns", parse_api_host(host), None, CONTAINER)) == {"add-host"}


def test_other_names_may_be_misspelt() -> None:
    assert "spelt right" in remedy("dns", parse_api_host("lm.exmaple.com"), None, CONTAINER)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("certificate has expired", "needs a new certificate"),
        ("certificate is not yet valid", "a clock is wrong"),
        ("Hostname mismatch, certificate is not valid for 'h'.", "Use a name for which"),
        ("IP address mismatch, certificate is not valid for '::1'.", "Use a name for which"),
        ("self-signed certificate", "ssl_context=ssl.create_default_context(cafile=...)"),
        ("unable to get local issuer certificate", "LM_STUDIO_VERIFY_TLS=false"),
    ],
)
def test_advice_about_certificates_follows_the_reason(message: str, advice: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = message
    assert advice in remedy("tls", parse_api_host("https://h"), error, PLAIN)


@pytest.mark.parametrize("cause", [None, ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), EOFError()])
def test_other_failures_of_tls_may_mean_that_there_is_none(cause: BaseException | None) -> None:
    assert "write http:// or ws://" in remedy("tls", parse_api_host("https://h"), cause, PLAIN)


def test_without_a_server_on_this_machine_an_address_may_help() -> None:
    assert hints(not_found_remedy(PLAIN)) == set()
    assert "pass its address" in not_found_remedy(PLAIN)
    assert hints(not_found_remedy(CONTAINER)) == {"container", "docker", "add-host", "network"}
    assert hints(not_found_remedy(WSL)) == {"wsl", "network"}
    for around in (PLAIN, CONTAINER, WSL):
        assert "python -m lmstudio serve" in not_found_remedy(around)
