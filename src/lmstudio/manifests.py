"""The file `manifest.json` that every artifact of LM Studio's hub has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from lmstudio._sdk_models import PluginManifest as WirePluginManifest
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from typing_extensions import Self

    from lmstudio._sdk_models import ArtifactDependency

__all__ = ["ArtifactManifestBase", "PluginManifest"]


@runtime_checkable
class ArtifactManifestBase(Protocol):
    """What the manifests of all artifacts have."""

    @property
    def owner(self) -> str:
        """Who publishes it: words in lower case, joined by hyphens."""
        ...

    @property
    def name(self) -> str:
        """Its name: at most 100 characters, words in lower case, joined by hyphens and dots."""
        ...

    @property
    def revision(self) -> int | None:
        """The number of its last revision; None before there is one."""
        ...

    @property
    def dependencies(self) -> list[ArtifactDependency] | None:
        """The models and artifacts that it needs."""
        ...

    @property
    def tags(self) -> list[str] | None:
        """Words to find it by."""
        ...


class PluginManifest(WirePluginManifest, tag_field="type", tag="plugin", kw_only=True):
    """The manifest of a plugin.

    ::

        manifest = lms.PluginManifest.from_dict(json.loads(Path("manifest.json").read_text("utf-8")))
        manifest = lms.PluginManifest(runner="node", owner="me", name="dice").check()
    """

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read and check the content of a `manifest.json`.

        Raises:
            LMStudioValueError: it is no manifest of a plugin; says where and why.
        """
        if not isinstance(data, Mapping):
            raise LMStudioValueError(
                f"Cannot read the manifest of a plugin: it is a {type(data).__name__}, not a dict."
            )
        if "type" not in data:
            raise LMStudioValueError('Cannot read the manifest of a plugin: it does not say "type": "plugin".')
        try:
            manifest = super().from_dict(data)
        except msgspec.ValidationError as error:
            raise LMStudioValueError(f"Cannot read the manifest of a plugin: {error}") from error
        manifest._check_sandbox()
        return manifest

    def check(self) -> Self:
        """This manifest, if LM Studio could accept it.

        Raises:
            LMStudioValueError: it could not; says why.
        """
        type(self).from_dict(self.to_dict())
        return self

    def _check_sandbox(self) -> None:
        sandbox = self.sandbox
        if sandbox is None:
            return
        if not sandbox.enabled and sandbox.reason is None:
            raise LMStudioValueError(
                "Cannot read the manifest of a plugin: a sandbox that is not enabled needs a reason."
            )
        if sandbox.enabled and self.runner != "deno":
            raise LMStudioValueError(
                f"Cannot read the manifest of a plugin: only the runner 'deno' has a sandbox, but this is for "
                f"{self.runner!r}. Disable the sandbox, or choose 'deno'."
            )
