"""Regenerates `src/lmstudio/_sdk_models` from the Zod schemas of the pinned @lmstudio/sdk.

    python sdk-schema/sync.py             export from npm (needs node and npm) and generate
    python sdk-schema/sync.py --cached    generate from the cached JSON schema; needs neither
    python sdk-schema/sync.py --check     change nothing; print a diff and fail if something would change

README.md beside this file explains the steps.
"""

from __future__ import annotations

import argparse
import difflib
import json
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import config_docs
import config_keys
import official_constructors
import package_init
import struct_schema
import summaries
import typed_dict_schema

if TYPE_CHECKING:
    from wire_schema import ModelSchema

HERE = Path(__file__).resolve().parent
CACHE = HERE / "lmstudio-sdk.schema.json"
PACKAGE = HERE.parent / "src" / "lmstudio" / "_sdk_models"
GENERATOR = "datamodel-code-generator"
GENERATOR_VERSION = "0.89.0"

_COMMON_OPTIONS = [
    "--ignore-pyproject",
    "--input-file-type=jsonschema",
    "--target-python-version=3.10",
    "--formatters=builtin",
    "--disable-timestamp",
    "--use-double-quotes",
    "--use-union-operator",
    "--use-standard-collections",
    "--use-exact-imports",
    "--use-type-alias",
    "--use-tuple-for-closed-arrays",
    "--enum-field-as-literal=all",
    "--special-field-name-prefix=",
    "--remove-special-field-name-prefix",
    "--skip-root-model",
]
_STRUCT_OPTIONS = [
    "--output-model-type=msgspec.Struct",
    "--base-class=lmstudio._struct.LMStudioStruct",
    "--additional-imports=typing.ClassVar,typing.Literal",
    f"--custom-template-dir={HERE / 'templates'}",
    "--keyword-only",
    "--snake-case-field",
    "--strict-nullable",
    "--use-annotated",
    "--use-msgspec-tagged-unions",
]
_TYPED_DICT_OPTIONS = [
    "--output-model-type=typing.TypedDict",
    "--use-schema-description",
    "--use-single-line-docstring",
]


def export(cache: Path) -> None:
    """Write the JSON schema of the pinned npm package to `cache`."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise SystemExit(
            "Cannot export the schemas: node and npm are needed and not on PATH. Install Node.js 20 or later, or use "
            f"--cached to generate from {CACHE.name} alone."
        )
    subprocess.run([npm, "ci", "--ignore-scripts"], cwd=HERE, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([node, "export.mjs", str(cache)], cwd=HERE, check=True)


def require_generator() -> None:
    """Fail unless exactly the pinned generator is installed: every release writes something different."""
    try:
        found = metadata.version(GENERATOR)
    except metadata.PackageNotFoundError:
        found = "none"
    if found != GENERATOR_VERSION:
        raise SystemExit(
            f"{GENERATOR} {GENERATOR_VERSION} is needed, found: {found}. "
            f"Run `tox -e sync-sdk-schema`, or install {GENERATOR}=={GENERATOR_VERSION}."
        )


def run_generator(schema: ModelSchema, output: Path, options: list[str], header: str) -> None:
    """Let datamodel-code-generator write `output` from the schema."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "schema.json")
        source.write_text(json.dumps(schema.document()), encoding="utf-8")
        extra = Path(scratch, "template-data.json")
        extra.write_text(json.dumps(schema.template_data), encoding="utf-8")
        arguments = [f"--input={source}", f"--output={output}", f"--custom-file-header={header}"]
        if schema.template_data:
            arguments.append(f"--extra-template-data={extra}")
        command = [sys.executable, "-m", "datamodel_code_generator", *arguments, *_COMMON_OPTIONS, *options]
        subprocess.run(command, check=True)


def generate(cache: Path, package: Path) -> None:
    """Write the Python package that the cached schema describes."""
    document = json.loads(cache.read_text(encoding="utf-8"))
    settings = json.loads((HERE / "generator.json").read_text(encoding="utf-8"))
    version = document["packages"]["@lmstudio/sdk"]
    header = (
        f"# Generated from sdk-schema/{CACHE.name} (@lmstudio/sdk {version}) by `tox -e sync-sdk-schema`. Never edit."
    )

    config_docs.check_texts(document["definitions"])
    official_constructors.check_names(document["definitions"])
    official_constructors.add_official_members(document["definitions"])
    struct_schema.merge_boolean_unions(document["definitions"])
    structs = struct_schema.struct_schema(document, summaries.summaries(document), settings["nullIsAbsent"])
    run_generator(structs, package, _STRUCT_OPTIONS, header)
    dicts = typed_dict_schema.typed_dict_schema(document, settings["typedDicts"])
    run_generator(dicts, package / "dicts.py", _TYPED_DICT_OPTIONS, header)
    keys = config_keys.render(document["kvConfig"]["fields"], header)
    (package / "config_keys.py").write_text(keys, encoding="utf-8")
    (package / "__init__.py").write_text(package_init.render(structs.modules | dicts.modules, header), encoding="utf-8")


def files(package: Path) -> dict[str, str]:
    """Text of every generated file by its name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(package.glob("*.py"))}


def compare(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Unified diff between two sets of files; empty when they are the same."""
    difference: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, ""), new.get(name, "")
        difference += difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            f"checked in: {name}",
            f"generated: {name}",
        )
    return difference


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cached", action="store_true", help="do not export; generate from the cached JSON schema")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if regenerating changes a file")
    options = parser.parse_args()
    require_generator()
    with tempfile.TemporaryDirectory() as scratch:
        cache, package = Path(scratch, CACHE.name), Path(scratch, PACKAGE.name)
        if options.cached:
            shutil.copy(CACHE, cache)
        else:
            export(cache)
        generate(cache, package)
        if options.check:
            return report(CACHE, cache, package)
        shutil.copy(cache, CACHE)
        install(files(package))
    return 0


def install(new: dict[str, str]) -> None:
    """Make the checked-in package consist of exactly these files, touching none that stays the same."""
    PACKAGE.mkdir(exist_ok=True)
    old = files(PACKAGE)
    for name in old.keys() - new.keys():
        (PACKAGE / name).unlink()
    changed = [name for name, text in new.items() if old.get(name) != text]
    for name in changed:
        (PACKAGE / name).write_text(new[name], encoding="utf-8", newline="\n")
    print(f"{PACKAGE.name}: {len(changed)} of {len(new)} files changed")


def report(old_cache: Path, new_cache: Path, package: Path) -> int:
    """Print what regenerating would change; 1 if it would change anything."""
    old = {old_cache.name: old_cache.read_text(encoding="utf-8")} | files(PACKAGE)
    new = {new_cache.name: new_cache.read_text(encoding="utf-8")} | files(package)
    difference = compare(old, new)
    sys.stdout.writelines(difference)
    if difference:
        print("\nThe generated models are out of date. Run `tox -e sync-sdk-schema` and commit the result.")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
