"""The steps of sdk-schema/: what they refuse, and that the checked-in result is theirs."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

SDK_SCHEMA = Path(__file__).parents[2] / "sdk-schema"
GENERATOR = "datamodel-code-generator"
GENERATOR_VERSION = "0.89.0"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; the exporter runs on it")


def _generator_version() -> str | None:
    try:
        return metadata.version(GENERATOR)
    except metadata.PackageNotFoundError:
        return None


def _run_node(script: str) -> subprocess.CompletedProcess[str]:
    command = ["node", "--input-type=module", "--eval", script]
    return subprocess.run(command, cwd=SDK_SCHEMA, capture_output=True, text=True, check=False)


def _merge(definitions: dict[str, Any], anonymous: list[str], identical: dict[str, list[str]], coincidence: Any) -> Any:
    arguments = json.dumps([definitions, anonymous, {"identical": identical, "coincidence": coincidence}])
    run = _run_node(
        f"import {{ mergeIdentical }} from './sharing.mjs'; const [definitions, anonymous, lists] = {arguments};"
        "console.log(JSON.stringify(mergeIdentical(definitions, new Set(anonymous), lists)));"
    )
    return json.loads(run.stdout) if run.returncode == 0 else run.stderr


def _cancel() -> dict[str, Any]:
    return {"type": "object", "properties": {"type": {"const": "cancel"}}}


@pytest.fixture
def struct_schema(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SDK_SCHEMA))
    return importlib.import_module("struct_schema")


@pytest.mark.skipif(
    _generator_version() != GENERATOR_VERSION,
    reason=f"{GENERATOR} {GENERATOR_VERSION} is not installed; `tox -e generated` runs this check with it",
)
def test_checked_in_models_are_what_the_cached_schema_gives() -> None:
    command = [sys.executable, str(SDK_SCHEMA / "sync.py"), "--cached", "--check"]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_schema_is_of_the_pinned_packages() -> None:
    cached = json.loads((SDK_SCHEMA / "lmstudio-sdk.schema.json").read_text(encoding="utf-8"))
    locked = json.loads((SDK_SCHEMA / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    for package, version in cached["packages"].items():
        assert locked[f"node_modules/{package}"]["version"] == version
    assert cached["packages"]["@lmstudio/sdk"] == "2.0.0"


def test_lock_file_names_no_registry() -> None:
    locked = json.loads((SDK_SCHEMA / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    assert not [name for name, package in locked.items() if "resolved" in package]


@needs_node
def test_same_shape_of_llm_and_embedding_becomes_one_model_shape() -> None:
    merged = _merge({"LlmRpcX": _cancel(), "EmbeddingRpcX": _cancel()}, ["LlmRpcX", "EmbeddingRpcX"], {}, [])

    reference = {"$ref": "#/definitions/ModelRpcX"}
    assert merged == {"LlmRpcX": reference, "EmbeddingRpcX": reference, "ModelRpcX": _cancel()}


@needs_node
def test_same_shape_of_other_endpoints_needs_a_name() -> None:
    names = ["FilesChannelXCancel", "PluginsChannelXCancel"]
    definitions = {name: _cancel() for name in names}

    assert "FilesChannelXCancel and PluginsChannelXCancel have the same shape" in _merge(definitions, names, {}, [])
    assert _merge(definitions, names, {"Cancel": names}, [])["Cancel"] == _cancel()
    assert _merge(definitions, names, {}, [names]) == definitions


@needs_node
@pytest.mark.parametrize(
    ("identical", "coincidence", "complaint"),
    [
        ({"Cancel": ["FilesChannelXCancel", "NoSuchShape"]}, [], "NoSuchShape under Cancel, but no such shape exists"),
        ({"Cancel": ["FilesChannelXCancel", "Other"]}, [], "Other no longer has the shape of FilesChannelXCancel"),
        ({}, [["FilesChannelXCancel", "Other"]], "lists shapes that are not alike"),
    ],
)
def test_name_map_entry_that_fits_nothing_is_an_error(
    identical: dict[str, list[str]], coincidence: Any, complaint: str
) -> None:
    definitions = {"FilesChannelXCancel": _cancel(), "Other": {"type": "object", "properties": {}}}

    assert complaint in _merge(definitions, list(definitions), identical, coincidence)


@needs_node
def test_rename_of_a_shape_that_does_not_exist_is_an_error() -> None:
    run = _run_node("import { Namer } from './naming.mjs'; new Namer({}, { Gone: 'New' }).checkAllRenamesUsed();")

    assert "renames shapes that do not exist: Gone" in run.stderr


@needs_node
@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"Gone": {}}, "there is no object Gone"),
        ({"Thing": {"replace": {"absent": {}}}}, "Thing.absent does not exist"),
        ({"Thing": {"add": {"present": {}}}}, "Thing.present exists already"),
        ({"Thing": {"replace": {"present": {"type": "string"}}}}, "Thing.present is the same without the entry"),
    ],
)
def test_supplement_that_is_wrong_or_needless_is_an_error(entry: dict[str, Any], complaint: str) -> None:
    run = _run_node(
        "import { applySupplement } from './sharing.mjs';"
        f"applySupplement({{ Thing: {{ properties: {{ present: {{ type: 'string' }} }} }} }}, {json.dumps(entry)});"
    )

    assert complaint in run.stderr


def test_null_exception_for_a_member_that_does_not_exist_is_an_error(struct_schema: Any) -> None:
    document: dict[str, Any] = {"endpoints": {}, "extra": {}, "definitions": {}}

    with pytest.raises(SystemExit, match=r"nullIsAbsent .*Thing\.gone"):
        struct_schema.struct_schema(document, {}, ["Thing.gone"])


def test_union_told_apart_by_a_boolean_becomes_one_object(struct_schema: Any) -> None:
    def variant(value: bool, member: str) -> dict[str, Any]:
        return {
            "properties": {"on": {"type": "boolean", "const": value}, member: {"type": "string"}},
            "required": ["on", member],
        }

    union = {
        "anyOf": [{"$ref": "#/definitions/Off"}, {"$ref": "#/definitions/On"}],
        "discriminator": {"propertyName": "on"},
    }
    definitions = {"Switch": union, "Off": variant(value=False, member="why"), "On": variant(value=True, member="how")}

    struct_schema.merge_boolean_unions(definitions)

    properties = {"on": {"type": "boolean"}, "why": {"type": "string"}, "how": {"type": "string"}}
    assert definitions == {"Switch": {"type": "object", "properties": properties, "required": ["on"]}}


def test_every_reference_of_the_cached_schema_leads_to_a_definition() -> None:
    text = (SDK_SCHEMA / "lmstudio-sdk.schema.json").read_text(encoding="utf-8")
    definitions = json.loads(text)["definitions"]

    assert set(re.findall(r'"\$ref": "#/definitions/(\w+)"', text)) <= definitions.keys()
    assert text.count('"$ref"') == len(re.findall(r'"\$ref": "#/definitions/\w+"', text))


@pytest.fixture
def sync(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The script, with a checked-in package of two small files."""
    monkeypatch.syspath_prepend(str(SDK_SCHEMA))
    module = importlib.import_module("sync")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "_sdk_models")
    module.PACKAGE.mkdir()
    (module.PACKAGE / "kept.py").write_text("same = 1\n", encoding="utf-8")
    (module.PACKAGE / "old.py").write_text("gone = 1\n", encoding="utf-8")
    return module


def test_check_prints_what_would_change_and_fails(
    sync: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, package = tmp_path / "cache.json", tmp_path / "generated"
    cache.write_text("{}\n", encoding="utf-8")
    package.mkdir()
    (package / "kept.py").write_text("same = 2\n", encoding="utf-8")

    assert sync.report(cache, cache, package) == 1
    printed = capsys.readouterr().out
    assert "-same = 1\n+same = 2\n" in printed
    assert "-gone = 1" in printed
    assert sync.report(cache, cache, sync.PACKAGE) == 0


def test_install_leaves_exactly_the_new_files(sync: Any) -> None:
    before = (sync.PACKAGE / "kept.py").stat().st_mtime_ns

    sync.install({"kept.py": "same = 1\n", "new.py": "added = 1\n"})

    assert sync.files(sync.PACKAGE) == {"kept.py": "same = 1\n", "new.py": "added = 1\n"}
    assert (sync.PACKAGE / "kept.py").stat().st_mtime_ns == before


def test_another_version_of_the_generator_is_refused(sync: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync.metadata, "version", lambda _name: "0.1.0")

    with pytest.raises(SystemExit, match=r"datamodel-code-generator 0\.89\.0 is needed, found: 0\.1\.0"):
        sync.require_generator()


# Lists beside the generator -------------------------------------------------------------------------------------------


@pytest.fixture
def definitions() -> Any:
    return json.loads((SDK_SCHEMA / "lmstudio-sdk.schema.json").read_text(encoding="utf-8"))["definitions"]


def _module(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    monkeypatch.syspath_prepend(str(SDK_SCHEMA))
    return importlib.import_module(name)


def test_official_constructor_entry_that_became_needless_is_an_error(
    monkeypatch: pytest.MonkeyPatch, definitions: Any
) -> None:
    official = _module(monkeypatch, "official_constructors")
    definitions["LlmInfo"]["required"].remove("publisher")
    with pytest.raises(SystemExit, match=r"LlmInfo does not require {'publisher'}"):
        official.sent_with_default("LlmInfo", definitions["LlmInfo"])

    official.add_official_members(definitions)
    with pytest.raises(SystemExit, match=r"has LlmToolUseSettingToolArray.*force.* too"):
        official.add_official_members(definitions)

    del definitions["ToolCallRequest"]["properties"]["type"]
    with pytest.raises(SystemExit, match=r"without a tag: {'ToolCallRequest'}"):
        official.check_names(definitions)


def test_member_of_a_configuration_without_a_text_is_an_error(
    monkeypatch: pytest.MonkeyPatch, definitions: Any
) -> None:
    docs = _module(monkeypatch, "config_docs")
    docs.check_texts(definitions)
    definitions["GpuSetting"]["properties"]["brandNew"] = {"type": "boolean"}

    with pytest.raises(SystemExit, match=r"GpuSetting has a member or a text without the other: \['brandNew'\]"):
        docs.check_texts(definitions)


def test_bounds_are_those_of_the_keys() -> None:
    from lmstudio._sdk_models.config_keys import BOUNDS, DEFAULTS

    cached = json.loads((SDK_SCHEMA / "lmstudio-sdk.schema.json").read_text(encoding="utf-8"))
    fields = {field["key"]: field for field in cached["kvConfig"]["fields"]}

    assert {key: field["default"] for key, field in fields.items()} == DEFAULTS
    for key, (lowest, highest, is_whole) in BOUNDS.items():
        schema = fields[key]["schema"]
        schema = schema["properties"]["value"] if schema["type"] == "object" else schema
        exclusive = schema.get("exclusiveMinimum")
        assert lowest == (schema.get("minimum") if exclusive is None else exclusive + 1)
        assert highest == schema.get("maximum")
        assert is_whole == (schema["type"] == "integer")
    numeric = {
        key for key, field in fields.items() if "umeric" in field["valueType"] and "Array" not in field["valueType"]
    }
    assert BOUNDS.keys() == numeric | {key for key in fields if key.endswith("load.contextLength")}


def test_submodule_is_pinned_to_the_commit_that_the_readme_names() -> None:
    project = SDK_SCHEMA.parent
    assert "path = lmstudio-js\n" in (project / ".gitmodules").read_text("utf-8")
    (commit,) = re.findall(r"`([0-9a-f]{40})`", (SDK_SCHEMA / "README.md").read_text("utf-8"))
    if not (project / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no checkout")
    # Else git refuses when tests run as somebody else than the owner of the folder, in a container for example.
    trusted = f"safe.directory={project}"
    command = ["git", "-c", trusted, "ls-files", "--stage", "lmstudio-js"]
    listed = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["160000", commit, "0", "lmstudio-js"]
