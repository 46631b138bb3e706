"""Manifests of plugins."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import lmstudio as lms

MANIFEST: dict[str, Any] = {"type": "plugin", "runner": "node", "owner": "ann", "name": "dice-1.0"}
DEPENDENCIES: list[dict[str, Any]] = [
    {"type": "artifact", "purpose": "custom", "owner": "ann", "name": "cards"},
    {
        "type": "model",
        "purpose": "baseModel",
        "modelKeys": ["heron"],
        "sources": [{"type": "huggingface", "user": "maker", "repo": "heron"}],
    },
]
SANDBOX = {
    "enabled": True,
    "fileSystem": {"type": "none", "reason": "No need."},
    "network": {"hosts": "*", "reason": "?"},
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"revision": 3, "tags": ["games"], "dependencies": DEPENDENCIES},
        {"sandbox": {"enabled": False, "reason": "It reads files."}},
        {"runner": "deno", "sandbox": SANDBOX},
        {"runner": "deno", "sandbox": {"enabled": True}},
    ],
)
def test_a_manifest_is_read_and_written(more: dict[str, Any]) -> None:
    manifest = lms.PluginManifest.from_dict({**MANIFEST, **more})
    assert manifest.to_dict() == {**MANIFEST, **more}
    assert manifest.check() is manifest
    assert isinstance(manifest, lms.ArtifactManifestBase)
    assert pickle.loads(pickle.dumps(manifest)) == manifest


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"owner": "Ann"}, r"at `\$.owner`"),
        ({"name": "a" * 101}, r"at `\$.name`"),
        ({"name": ""}, r"at `\$.name`"),
        ({"runner": "python"}, "'python'"),
        ({"type": "model"}, "'model'"),
        ({"dependencies": [{**DEPENDENCIES[1], "modelKeys": [""]}]}, r"dependencies\[0\].modelKeys"),
        ({"sandbox": {"enabled": True}}, "only the runner 'deno' has a sandbox, but this is for 'node'"),
        ({"sandbox": {"enabled": False}}, "a sandbox that is not enabled needs a reason"),
    ],
)
def test_what_is_no_manifest_is_refused(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=f"Cannot read the manifest of a plugin: .*{problem}"):
        lms.PluginManifest.from_dict({**MANIFEST, **more})


@pytest.mark.parametrize(("data", "problem"), [([], "it is a list"), ({"owner": "ann"}, 'say "type": "plugin"')])
def test_what_is_nothing_like_a_manifest_is_refused(data: Any, problem: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=problem):
        lms.PluginManifest.from_dict(data)


def test_a_manifest_made_in_python_can_be_checked() -> None:
    assert lms.PluginManifest(runner="node", owner="ann", name="dice").check().to_dict()["type"] == "plugin"
    with pytest.raises(lms.LMStudioValueError, match="owner"):
        lms.PluginManifest(runner="node", owner="Ann", name="dice").check()
