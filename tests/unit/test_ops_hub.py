"""Artifacts, plugins, the account and LM Link, with a scripted server."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from scripted_runtime import ScriptedRuntime, channel_error, close, packet, result, run, void

from lmstudio import logs
from lmstudio._abort import AbortSignal
from lmstudio._ops import hub
from lmstudio._ops.downloads import DownloadWatch
from lmstudio._ops.repository import fuzzy_find_staff_picks, get_model_catalog, staff_pick_options
from lmstudio._timeouts import Timeout, unhurried
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioServerError,
    LMStudioValueError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lmstudio._port import Port

PICK = {
    "owner": "maker",
    "name": "heron",
    "revisionNumber": 2,
    "createdAtTimestamp": 5,
    "description": "A bird.",
    "exact": True,
}
CODE = {"code": "AB-CD", "manualUrl": "http://hub/enter", "filledUrl": "http://hub/enter?code=AB-CD"}
COMPUTER = {"type": "computeDevice", "ownerUsername": "ann", "ownerIsOrganization": False}
LINK = {"status": "online", "issues": [], "peers": [], "deviceIdentifier": "d1", "deviceName": "desk"}
FILES = {"files": [{"relativePath": "manifest.json", "sizeBytes": 5}], "usedIgnoreFile": None}
HERON = {
    "type": "model",
    "owner": "maker",
    "name": "heron",
    "description": "",
    "downloads": 3,
    "likeCount": 1,
    "metadata": {
        "type": "embedding",
        "architectures": ["bert"],
        "compatibilityTypes": ["gguf"],
        "paramsStrings": ["1B"],
        "minMemoryUsageBytes": 5,
        "contextLengths": [512],
    },
}
FOLDER = PurePosixPath("/plugin")
ANY: Any = hub
"""For what a type checker would refuse."""
KEYS = ("key-1", "public", "private")

# The operation, what the server returns, the endpoint, the parameter, and what of the result shows that it was read.
CALLS: list[tuple[Callable[[Port], Coroutine[Any, Any, Any]], Any, str, Any, Callable[[Any], Any], Any]] = [
    (get_model_catalog, {"models": [HERON]}, "getModelCatalog", None, lambda it: it[0].metadata.type, "embedding"),
    (
        lambda port: fuzzy_find_staff_picks(port, staff_pick_options("hern", 30, ("gguf",))),
        {"results": [PICK]},
        "fuzzyFindStaffPicks",
        {"searchTerm": "hern", "limit": 30, "compatibilityTypes": ["gguf"]},
        lambda it: it[0].revision_number,
        2,
    ),
    (
        lambda port: hub.get_local_artifact_files(port, FOLDER),
        {"fileList": FILES},
        "getLocalArtifactFiles",
        {"path": "/plugin"},
        lambda it: (it.files[0].relative_path, it.used_ignore_file),
        ("manifest.json", None),
    ),
    (hub.get_writable_artifact_owners, {"owners": ["ann"]}, "getWritableArtifactOwners", None, list, ["ann"]),
    (hub.is_authenticated, {"authenticated": True}, "isAuthenticated", None, bool, True),
    (
        hub.get_authentication_status,
        {"authenticationStatus": {"type": "loggedInUser", "userName": "ann"}},
        "getAuthenticationStatus",
        None,
        lambda it: (it.type, it.user_name),
        ("loggedInUser", "ann"),
    ),
    (
        lambda port: hub.login_with_keys(port, hub.key_parameter(*KEYS)),
        {"userName": "ann"},
        "loginWithPreAuthenticatedKeys",
        {"keyId": "key-1", "publicKey": "public", "privateKey": "private"},
        lambda it: it.user_name,
        "ann",
    ),
    (
        lambda port: hub.login_as_compute_device(port, "token"),
        COMPUTER,
        "loginAsComputeDevice",
        {"token": "token"},
        lambda it: it.owner_username,
        "ann",
    ),
    (hub.link_status, LINK, "lmLinkStatus", None, lambda it: (it.status, it.device_name), ("online", "desk")),
]
VOID_CALLS: list[tuple[Callable[[Port], Coroutine[Any, Any, None]], str, Any]] = [
    (hub.deauthenticate, "deauthenticate", None),
    (
        lambda port: hub.install_plugin_dependencies(port, FOLDER),
        "installPluginDependencies",
        {"pluginFolder": "/plugin"},
    ),
    (lambda port: hub.install_local_plugin(port, "/plugin"), "installLocalPlugin", {"pluginPath": "/plugin"}),
    (lambda port: hub.link_set_disabled(port, True), "lmLinkSetDisabled", {"disabled": True}),
    (lambda port: hub.link_update_device_name(port, "desk"), "lmLinkUpdateDeviceName", {"deviceName": "desk"}),
    (
        lambda port: hub.link_set_preferred_device(port, "d1"),
        "lmLinkSetPreferredDevice",
        {"deviceIdentifier": "d1"},
    ),
]


def _call(endpoint: str, parameter: Any) -> dict[str, Any]:
    call = {"type": "rpcCall", "endpoint": endpoint, "callId": 1}
    return call if parameter is None else {**call, "parameter": parameter}


@pytest.mark.parametrize(("call", "reply", "endpoint", "parameter", "read", "expected"), CALLS)
def test_a_question_is_asked_as_the_wire_has_it(
    call: Callable[[Port], Coroutine[Any, Any, Any]],
    reply: Any,
    endpoint: str,
    parameter: Any,
    read: Callable[[Any], Any],
    expected: Any,
) -> None:
    runtime = ScriptedRuntime(result(reply))
    assert read(run(call(runtime.port("repository")))) == expected
    assert runtime.sent == [_call(endpoint, parameter)]


@pytest.mark.parametrize(("call", "endpoint", "parameter"), VOID_CALLS)
def test_an_order_is_given_as_the_wire_has_it(
    call: Callable[[Port], Coroutine[Any, Any, None]], endpoint: str, parameter: Any
) -> None:
    runtime = ScriptedRuntime(void())
    run(call(runtime.port("repository")))
    assert runtime.sent == [_call(endpoint, parameter)]


# Artifacts -----------------------------------------------------------------------------------------------------------


def download(
    runtime: ScriptedRuntime, revision: Any = 3, owner: str = "maker", path: Any = FOLDER, **watch: Any
) -> None:
    port = runtime.port("repository")
    run(hub.download_artifact(port, owner, "heron", revision, path, DownloadWatch(**watch)))


@pytest.mark.parametrize("revision", [3, None])
def test_an_artifact_is_downloaded(revision: int | None) -> None:
    update = {"downloadedBytes": 5, "totalBytes": 5, "speedBytesPerSecond": 1.0}
    progress = packet({"type": "downloadProgress", "update": update})
    runtime = ScriptedRuntime(progress, packet({"type": "startFinalizing"}), packet({"type": "success"}))
    events: list[object] = []
    download(
        runtime,
        revision,
        on_progress=lambda update: events.append(update.total_bytes),
        on_finalize=lambda: events.append("end"),
    )
    assert events == [5, "end"]
    assert runtime.sent[0]["creationParameter"] == {
        "artifactOwner": "maker",
        "artifactName": "heron",
        "revisionNumber": revision,
        "path": "/plugin",
    }


def test_leaving_the_download_of_an_artifact_cancels_it() -> None:
    runtime = ScriptedRuntime(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        download(runtime)
    assert runtime.sent_packets() == [{"type": "cancel"}]


def test_publishing_ends_well_when_the_server_closes() -> None:
    runtime = ScriptedRuntime(packet({"type": "message", "message": "Uploading"}), close())
    told: list[str] = []
    parameter = hub.push_parameter(FOLDER, "A bird.", True, False, {"name": "crane"})
    run(hub.push_artifact(runtime.port("repository"), parameter, told.append))
    assert told == ["Uploading"]
    assert runtime.sent[0]["creationParameter"] == {
        "path": "/plugin",
        "description": "A bird.",
        "makePrivate": True,
        "writeRevision": False,
        "overrides": {"name": "crane"},
    }


def test_what_is_not_said_about_an_artifact_is_not_sent() -> None:
    runtime = ScriptedRuntime(close())
    run(hub.push_artifact(runtime.port("repository"), hub.push_parameter("/plugin")))
    assert runtime.sent[0]["creationParameter"] == {"path": "/plugin"}


def test_a_refused_artifact_says_why() -> None:
    runtime = ScriptedRuntime(channel_error({"title": "Not yours"}))
    with pytest.raises(LMStudioServerError, match=r"^Could not publish the artifact in '/plugin': Not yours"):
        run(hub.push_artifact(runtime.port("repository"), hub.push_parameter("/plugin")))


# The account ---------------------------------------------------------------------------------------------------------


def test_who_logs_in_gets_the_code() -> None:
    runtime = ScriptedRuntime(packet({"type": "authenticationCode", **CODE}), packet({"type": "authenticated"}))
    codes: list[hub.AuthenticationCode] = []
    run(hub.ensure_authenticated(runtime.port("repository"), codes.append))
    assert [code.to_dict() for code in codes] == [CODE]
    assert runtime.multiplexers[0].is_idle


def test_a_login_that_the_server_gives_up_is_an_error() -> None:
    runtime = ScriptedRuntime(packet({"type": "authenticationCode", **CODE}), close())
    with pytest.raises(LMStudioChannelClosedError, match="log in to LM Studio's hub"):
        run(hub.ensure_authenticated(runtime.port("repository"), lambda _: None))


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("what", ["login", "push"])
def test_a_signal_ends_the_wait_for_what_cannot_be_cancelled(what: str, when: str) -> None:
    signal = AbortSignal()
    runtime = ScriptedRuntime(lambda: signal.abort("no time"))
    if when == "before":
        signal.abort("no time")
    port = runtime.port("repository")
    calls = {
        "login": hub.ensure_authenticated(port, lambda _: None, signal),
        "push": hub.push_artifact(port, hub.push_parameter("/plugin"), None, signal),
    }
    for name, call in calls.items():
        if name != what:
            call.close()
    with pytest.raises(LMStudioCancelledError, match="no time"):
        run(calls[what])
    assert len(runtime.sent) == (0 if when == "before" else 1)


def test_secrets_of_a_login_are_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logs.SEND, "lmstudio")
    runtime = ScriptedRuntime(result({"userName": "ann"}), result(COMPUTER, 2), result({"authenticated": True}, 3))
    port = runtime.port("repository")
    run(hub.login_with_keys(port, hub.key_parameter("key-1", "public", "s3cret")))
    run(hub.login_as_compute_device(port, "s3cret"))
    run(hub.is_authenticated(port))
    sent = [record.getMessage() for record in caplog.records if record.levelno == logs.SEND]
    assert len(sent) == 3
    assert "isAuthenticated" in sent[2]
    assert "s3cret" not in "".join(sent)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda runtime: download(runtime, owner="Maker!"), "as an artifact"),
        (lambda runtime: download(runtime, -1), "revision_number must be a whole number, or None; got -1."),
        (lambda runtime: download(runtime, True), "revision_number must be a whole number"),
        (lambda runtime: download(runtime, path=5), "path must be a path on the server's machine, got int."),
        (lambda runtime: download(runtime, path=""), "path must be a path on the server's machine, got ''."),
        (lambda runtime: download(runtime, on_finalize=5), "on_start_finalizing must be a function"),
        (lambda _: hub.push_parameter("/p", "x" * 1001), "description has 1001 characters, but may have 1000"),
        (lambda _: ANY.push_parameter("/p", 5), "description must be a string, got int."),
        (lambda _: ANY.push_parameter("/p", make_private=1), "make_private must be True or False, got int."),
        (lambda _: hub.push_parameter("/p", overrides=object()), "overrides cannot be written as JSON"),
        (
            lambda _: hub.key_parameter("a", "", "c"),
            "public_key must be a string that is not empty, got an empty string",
        ),
        (lambda _: staff_pick_options("x", 0, None), "limit must be a whole number from 1 on, got 0."),
        (
            lambda runtime: run(ANY.ensure_authenticated(runtime.port("repository"), None)),
            "on_authentication_code must",
        ),
        (
            lambda runtime: run(ANY.push_artifact(runtime.port("repository"), hub.push_parameter("/p"), 5)),
            "on_message must be a function",
        ),
        (
            lambda runtime: run(ANY.login_as_compute_device(runtime.port("repository"), 5)),
            "token must be a string that is not empty, got int.",
        ),
        (
            lambda runtime: run(ANY.link_set_disabled(runtime.port("repository"), 1)),
            "disabled must be True or False, got int.",
        ),
    ],
)
def test_what_no_server_could_accept_is_refused(call: Callable[[Any], object], problem: str) -> None:
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioValueError, match=re.escape(problem)):
        call(runtime)
    assert runtime.sent == []


def test_silence_counts_only_where_it_is_asked_for() -> None:
    assert unhurried(None) == Timeout(idle=None)
    assert unhurried(5) == Timeout(idle=None, total=5)
    assert unhurried(Timeout(idle=3)) == Timeout(idle=3)
