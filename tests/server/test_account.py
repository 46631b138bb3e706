"""The catalogue as a whole, and the part of the namespace repository that is LM Studio's hub, without an account."""

from __future__ import annotations

import json
import platform
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from native_client import ABSENT, Refused, Session, run, staged

from lmstudio._endpoints import ChannelSpec, repository
from lmstudio.server.models import CHAT_MODEL_FILE, EMBEDDING_MODEL_FILE
from lmstudio.server.repository.listing import DownloadCatalog
from lmstudio.server.repository.plans import hub_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def session_of(source: Path | None = None) -> AsyncIterator[Session]:
    async with staged(download_catalog=DownloadCatalog(source)) as stage:
        session = Session(stage.core, "repository")
        try:
            yield session
        finally:
            await session.hang_up()


def answer_to(endpoint: Any, parameter: Any = ABSENT, source: Path | None = None) -> Any:
    """What a client gets: a result, or the error, which is raised."""
    answers = []

    async def test() -> None:
        async with session_of(source) as session:
            is_channel = isinstance(endpoint, ChannelSpec)
            answers.append(
                await (session.open(endpoint, parameter).rest() if is_channel else session.call(endpoint, parameter))
            )

    run(test)
    return answers[0]


# The account ---------------------------------------------------------------------------------------------------------


def test_nobody_is_logged_in() -> None:
    assert answer_to(repository.IS_AUTHENTICATED) == {"authenticated": False}
    assert answer_to(repository.GET_AUTHENTICATION_STATUS) == {"authenticationStatus": {"type": "none"}}
    assert answer_to(repository.DEAUTHENTICATE) is ABSENT
    assert answer_to(repository.GET_WRITABLE_ARTIFACT_OWNERS) == {"owners": []}


KEYS = {"keyId": "a", "publicKey": "b", "privateKey": "secret"}
PUSH = {"path": "/plugins/mine"}
ARTIFACT = {"artifactOwner": "lmstudio", "artifactName": "wikipedia", "revisionNumber": None, "path": "/tmp/x"}


@pytest.mark.parametrize(
    ("endpoint", "parameter", "words"),
    [
        (repository.LOGIN_AS_COMPUTE_DEVICE, {"token": "secret"}, "Cannot log in as a compute device: .* no account"),
        (repository.LOGIN_WITH_PRE_AUTHENTICATED_KEYS, KEYS, "Cannot log in with these keys: .* no account"),
        (repository.ENSURE_AUTHENTICATED, ABSENT, "Cannot log in here: .* no account"),
        (repository.DOWNLOAD_ARTIFACT, ARTIFACT, "Cannot download the artifact lmstudio/wikipedia: .* hub"),
        (repository.PUSH_ARTIFACT, PUSH, "Cannot publish '/plugins/mine': .* account"),
        (repository.INSTALL_LOCAL_PLUGIN, {"pluginPath": "/p"}, "Cannot install the plugin in '/p'"),
        (
            repository.INSTALL_PLUGIN_DEPENDENCIES,
            {"pluginFolder": "/p"},
            "Cannot install what the plugin in '/p' needs",
        ),
        (repository.LM_LINK_SET_DISABLED, {"disabled": False}, "Cannot enable LM Link: this server has no LM Link"),
        (repository.LM_LINK_UPDATE_DEVICE_NAME, {"deviceName": "x"}, "Cannot name this device"),
        (repository.LM_LINK_SET_PREFERRED_DEVICE, {"deviceIdentifier": "x"}, "Cannot prefer the device 'x'"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_needs_the_hub_is_refused_with_the_reason_and_a_way(endpoint: Any, parameter: Any, words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        answer_to(endpoint, parameter)
    assert caught.value.error["suggestion"]
    assert "secret" not in json.dumps(caught.value.error)


@pytest.mark.parametrize(
    ("endpoint", "parameter"),
    [
        (repository.LOGIN_AS_COMPUTE_DEVICE, {"token": ""}),
        (repository.PUSH_ARTIFACT, {"path": "x", "description": "x" * 1001}),
        (repository.DOWNLOAD_ARTIFACT, {**ARTIFACT, "artifactOwner": "Not Kebab"}),
        (repository.FUZZY_FIND_STAFF_PICKS, {"limit": 0}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_parameter_out_of_bounds_is_refused(endpoint: Any, parameter: Any) -> None:
    with pytest.raises(Refused, match="Invalid parameter for repository/"):
        answer_to(endpoint, parameter)


def test_lm_link_is_off() -> None:
    assert answer_to(repository.LM_LINK_STATUS) == {
        "status": "offline",
        "issues": ["deviceDisabled", "notLoggedIn"],
        "peers": [],
        "deviceIdentifier": None,
        "deviceName": platform.node(),
    }
    assert answer_to(repository.LM_LINK_SET_DISABLED, {"disabled": True}) is ABSENT


# The catalogue -------------------------------------------------------------------------------------------------------


def catalog(folder: Path, *models: dict[str, Any]) -> Path:
    (folder / "chat.gguf").write_bytes(CHAT_MODEL_FILE.read_bytes())
    (folder / "embed.gguf").write_bytes(EMBEDDING_MODEL_FILE.read_bytes())
    path = folder / "catalog.json"
    path.write_text(json.dumps({"models": models}))
    return path


def entry(name: str, *files: dict[str, Any], pick: bool = False) -> dict[str, Any]:
    return {"owner": "Maker", "name": name, "files": list(files) or [{"path": "chat.gguf"}], "staffPick": pick}


def test_catalogue_describes_what_it_has(tmp_path: Path) -> None:
    far = {"url": "https://example.com/far-q8_0.gguf", "size": 1000}
    image = {"url": "https://example.com/mmproj-far.gguf", "size": 10}
    source = catalog(
        tmp_path, entry("chat", pick=True), entry("embed", {"path": "embed.gguf"}), entry("far", far, image)
    )
    chat, embed, far_away = answer_to(repository.GET_MODEL_CATALOG, source=source)["models"]
    size = CHAT_MODEL_FILE.stat().st_size
    assert chat == {
        "type": "model",
        "owner": "Maker",
        "name": "chat",
        "description": "",
        "downloads": 0,
        "likeCount": 0,
        "staffPickedAt": 0,
        "metadata": {
            "type": "llm",
            "architectures": ["llama"],
            "compatibilityTypes": ["gguf"],
            "paramsStrings": ["2.6M"],
            "minMemoryUsageBytes": size * 1.2,
            "trainedForToolUse": True,
            "vision": False,
            "reasoning": False,
            "contextLengths": chat["metadata"]["contextLengths"],
        },
    }
    assert chat["metadata"]["contextLengths"][0] > 0
    assert embed["metadata"]["type"] == "embedding"
    assert "staffPickedAt" not in embed
    metadata = far_away["metadata"]
    assert (metadata["type"], metadata["architectures"], metadata["vision"]) == ("llm", [], True)
    assert metadata["minMemoryUsageBytes"] == 1010 * 1.2


def test_broken_file_of_the_catalogue_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"x")
    source = catalog(tmp_path, entry("broken", {"path": "broken.gguf"}), entry("chat"))
    models = answer_to(repository.GET_MODEL_CATALOG, source=source)["models"]
    assert [model["metadata"]["architectures"] for model in models] == [[], ["llama"]]


@pytest.mark.parametrize(
    ("parameter", "names"),
    [
        ({}, ["heron-1b-gguf", "heron-7b.v2"]),
        ({"limit": 1}, ["heron-1b-gguf"]),
        ({"searchTerm": "7B"}, ["heron-7b.v2"]),
        ({"searchTerm": "herom-1b"}, ["heron-1b-gguf", "heron-7b.v2"]),
        ({"searchTerm": "owl"}, []),
        ({"compatibilityTypes": ["gguf", "onnx"]}, ["heron-1b-gguf", "heron-7b.v2"]),
        ({"compatibilityTypes": ["onnx"]}, []),
    ],
)
def test_staff_picks_are_found(tmp_path: Path, parameter: dict[str, Any], names: list[str]) -> None:
    source = catalog(tmp_path, entry("Heron-1B_GGUF", pick=True), entry("owl"), entry("Heron-7B.v2", pick=True))
    found = answer_to(repository.FUZZY_FIND_STAFF_PICKS, parameter, source)["results"]
    assert [pick["name"] for pick in found] == names
    assert all(pick["owner"] == "maker" for pick in found)


@pytest.mark.parametrize("term", ["owl", "x" * 1_000_000])
def test_nothing_is_found_where_nobody_has_picked(tmp_path: Path, term: str) -> None:
    source = catalog(tmp_path, entry("owl"))
    assert answer_to(repository.FUZZY_FIND_STAFF_PICKS, {"searchTerm": term}, source) == {"results": []}


def test_staff_pick_of_that_name_is_exact_and_first(tmp_path: Path) -> None:
    source = catalog(tmp_path, entry("heron-2", pick=True), entry("heron", pick=True))
    first, second = answer_to(repository.FUZZY_FIND_STAFF_PICKS, {"searchTerm": "heron"}, source)["results"]
    assert first == {
        "owner": "maker",
        "name": "heron",
        "revisionNumber": 1,
        "createdAtTimestamp": 0,
        "description": "",
        "exact": True,
    }
    assert (second["name"], second["exact"]) == ("heron-2", False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Qwen2.5_7B-GGUF", "qwen2.5-7b-gguf"), ("a -. b", "a-b"), ("_x_", "x"), ("...", "x"), ("Übung", "bung")],
)
def test_names_of_the_hub(name: str, expected: str) -> None:
    assert hub_name(name) == expected


# Files of an artifact ------------------------------------------------------------------------------------------------


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")


def files_of(folder: Path) -> tuple[list[str], str | None]:
    listed = answer_to(repository.GET_LOCAL_ARTIFACT_FILES, {"path": str(folder)})["fileList"]
    return [file["relativePath"] for file in listed["files"]], listed["usedIgnoreFile"]


def test_files_of_an_artifact(tmp_path: Path) -> None:
    write(tmp_path, "manifest.json", "src/index.ts", ".git/config", "node_modules/a/b.js", "src/node_modules/c.js")
    reply = answer_to(repository.GET_LOCAL_ARTIFACT_FILES, {"path": str(tmp_path)})
    assert reply == {
        "fileList": {
            "files": [
                {"relativePath": "manifest.json", "sizeBytes": 5},
                {"relativePath": "src/index.ts", "sizeBytes": 5},
            ],
            "usedIgnoreFile": None,
        }
    }


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("*.log", {"a.txt", "d/a.txt", "d/e/b.txt", "[x].txt"}),
        ("*.log\n!keep.log", {"a.txt", "keep.log", "d/a.txt", "d/e/b.txt", "[x].txt"}),
        ("/a.txt", {"a.log", "keep.log", "d/a.txt", "d/e/b.txt", "d/e/c.log", "[x].txt"}),
        ("d/", {"a.txt", "a.log", "keep.log", "[x].txt"}),
        ("a.txt/", {"a.txt", "a.log", "keep.log", "d/a.txt", "d/e/b.txt", "d/e/c.log", "[x].txt"}),
        ("d/*", {"a.txt", "a.log", "keep.log", "[x].txt"}),
        ("d/*.txt", {"a.txt", "a.log", "keep.log", "d/e/b.txt", "d/e/c.log", "[x].txt"}),
        ("d/**/*.log", {"a.txt", "a.log", "keep.log", "d/a.txt", "d/e/b.txt", "[x].txt"}),
        ("**/e", {"a.txt", "a.log", "keep.log", "d/a.txt", "[x].txt"}),
        ("d/**", {"a.txt", "a.log", "keep.log", "[x].txt"}),
        ("?.[lt][!x]*", {"a.txt", "keep.log", "d/a.txt", "d/e/b.txt", "[x].txt"}),
        ("[^a]*.txt", {"a.txt", "a.log", "keep.log", "d/a.txt", "d/e/c.log"}),
        ("\\[x\\].txt\n\n# a.txt\n[z-a]", {"a.txt", "a.log", "keep.log", "d/a.txt", "d/e/b.txt", "d/e/c.log"}),
        ("a.txt  ", {"a.log", "keep.log", "d/e/b.txt", "d/e/c.log", "[x].txt"}),
    ],
)
def test_gitignore_is_followed(tmp_path: Path, rules: str, left: set[str]) -> None:
    write(tmp_path, "manifest.json", "a.txt", "a.log", "keep.log", "d/a.txt", "d/e/b.txt", "d/e/c.log", "[x].txt")
    (tmp_path / ".gitignore").write_text(rules)
    names, used = files_of(tmp_path)
    assert set(names) - {"manifest.json", ".gitignore"} == left
    assert used == ".gitignore"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_out_of_an_artifact_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(tmp_path, "mine/manifest.json", "other/secret.txt")
    (folder / "link.txt").symlink_to(tmp_path / "other" / "secret.txt")
    (folder / "linked").symlink_to(tmp_path / "other", target_is_directory=True)
    assert files_of(folder) == (["manifest.json"], None)


def test_other_folders_are_not_listed(tmp_path: Path) -> None:
    write(tmp_path, "secret.txt")
    for path in (str(tmp_path), str(tmp_path / "missing"), "relative", ""):
        with pytest.raises(Refused, match="There is no artifact in"):
            answer_to(repository.GET_LOCAL_ARTIFACT_FILES, {"path": path})
