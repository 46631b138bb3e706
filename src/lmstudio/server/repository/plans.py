"""A plan for a download: what there is to choose from, what is chosen, and what a commit would do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lmstudio._sdk_models import (
    ArtifactDownloadPlan,
    ArtifactDownloadPlanDownloadOptionInfo,
    ArtifactDownloadPlanModelInfo,
    ArtifactDownloadPlanNodeArtifact,
    ArtifactDownloadPlanNodeModel,
    RepositoryDownloadPlannerResolutionPreferenceFileName,
    RepositoryDownloadPlannerTargetArtifact,
)
from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lmstudio._sdk_models import (
        ArtifactDownloadPlanDownloadAction,
        ArtifactDownloadPlanDownloadOptionAvailability,
        ArtifactDownloadPlanNodeState,
        RepositoryDownloadPlannerResolutionPreference,
        RepositoryDownloadPlannerTarget,
    )
    from lmstudio.server.engine.base import ModelFile
    from lmstudio.server.repository.downloads import Downloads
    from lmstudio.server.repository.listing import DownloadOption, ListedModel

__all__ = ["Plan", "fitting_options", "hub_name", "label_of", "placeholder", "recommended_option"]

_PREFERRED_QUANTIZATION: Final = "Q4_K_M"
_MEMORY_FACTOR: Final = 1.2
"""About what a loaded model takes of the memory, by the size of its files: the weights, and a context of some size."""


def memory_bytes(option: DownloadOption) -> float:
    """About what the model takes of the memory once it is loaded."""
    return option.size_bytes * _MEMORY_FACTOR


def fitting_options(options: Sequence[DownloadOption], free_memory: int | None) -> list[DownloadOption]:
    """Those that fit into the memory; all of them, if the system does not say how much there is."""
    return [each for each in options if free_memory is None or memory_bytes(each) <= free_memory]


def recommended_option(options: Sequence[DownloadOption]) -> DownloadOption | None:
    """The usual compromise between size and quality, if there is one; else the best that fits."""
    usual = [option for option in options if option.quantization == _PREFERRED_QUANTIZATION]
    return max(usual or options, key=lambda option: option.size_bytes, default=None)


def hub_name(name: str) -> str:
    """*name* as LM Studio's hub would have it: lower case, its words joined by hyphens and dots."""
    return re.sub(r"[-.]{2,}", "-", re.sub(r"[^a-z0-9.]+", "-", name.lower())).strip("-.") or "x"


def label_of(target: RepositoryDownloadPlannerTarget) -> str:
    """owner/name of what is wanted."""
    if isinstance(target, RepositoryDownloadPlannerTargetArtifact):
        return f"{target.owner}/{target.name}"
    return f"{target.source.user}/{target.source.repo}"


def placeholder(target: RepositoryDownloadPlannerTarget) -> ArtifactDownloadPlan:
    """What is known before the catalogue has been asked."""
    node: ArtifactDownloadPlanNodeArtifact | ArtifactDownloadPlanNodeModel
    if isinstance(target, RepositoryDownloadPlannerTargetArtifact):
        node = ArtifactDownloadPlanNodeArtifact(
            owner=target.owner, name=target.name, state="fetching", dependency_nodes=[]
        )
    else:
        node = ArtifactDownloadPlanNodeModel(state="fetching", dependency_label=label_of(target))
    return ArtifactDownloadPlan(nodes=[node], download_size_bytes=0, download_action="none", version=0)


class Plan:
    """What one client is about to download: one model of the catalogue, in one of several forms."""

    def __init__(
        self,
        target: RepositoryDownloadPlannerTarget,
        model: ListedModel,
        downloads: Downloads,
        free_memory: Callable[[], int | None],
        preferences: Sequence[RepositoryDownloadPlannerResolutionPreference] = (),
    ) -> None:
        self._target = target
        self._model = model
        self._downloads = downloads
        self._free_memory = free_memory
        self._version = 0
        # In the listing a model comes after the artifact that asks for it.
        self._model_node = 1 if isinstance(target, RepositoryDownloadPlannerTargetArtifact) else 0
        self._owned = next((each for each in model.options if downloads.find(each) is not None), None)
        preferred = next((each for preference in preferences for each in model.options if _is(each, preference)), None)
        recommended = recommended_option(fitting_options(model.options, free_memory())) or model.options[0]
        self._selected: int | None = None
        if preferred is not None or self._owned is None:
            self._selected = model.options.index(preferred or recommended)

    @property
    def selected(self) -> DownloadOption:
        """What is wanted; a model that is there already, if nothing is to be downloaded."""
        if self._selected is not None:
            return self._model.options[self._selected]
        return self._owned or self._model.options[0]

    def select(self, node: int, option: int | None, version: int) -> None:
        """Choose another option, or with None the model that is there already; *version* is what to call the result.

        Raises:
            RequestError: there is no such choice.
        """
        count = len(self._model.options)
        if node != self._model_node:
            raise RequestError(f"Node {node} of the plan is no model; node {self._model_node} is.")
        if option is None and self._owned is None:
            raise RequestError(f"No model of {self._model.repository!r} is there already; select a download option.")
        if option is not None and not 0 <= option < count:
            raise RequestError(f"There is no download option {option}: {self._model.repository!r} has {count}, from 0.")
        self._selected = option
        self._version = max(self._version, version)

    def describe(self) -> ArtifactDownloadPlan:
        """As it is at the moment."""
        option = self.selected
        action = self._action(option)
        size = 0 if action == "none" else option.size_bytes
        model = self._describe_model(option, "satisfied" if action == "none" else "completed")
        nodes: list[ArtifactDownloadPlanNodeArtifact | ArtifactDownloadPlanNodeModel] = [model]
        if isinstance(self._target, RepositoryDownloadPlannerTargetArtifact):
            artifact = ArtifactDownloadPlanNodeArtifact(
                owner=self._target.owner,
                name=self._target.name,
                state=model.state,
                dependency_nodes=[self._model_node],
                artifact_type="model",
                size_bytes=0,  # the model is everything that there is to it
            )
            nodes.insert(0, artifact)
        return ArtifactDownloadPlan(
            nodes=nodes,
            download_size_bytes=size,
            download_action=action,
            version=self._version,
            download_job_identifier=option.identifier if action == "attachToExistingDownload" else None,
        )

    def _action(self, option: DownloadOption) -> ArtifactDownloadPlanDownloadAction:
        if self._downloads.find(option) is not None:
            return "none"
        return "attachToExistingDownload" if self._downloads.is_running(option) else "startNewDownload"

    def _describe_model(
        self, selected: DownloadOption, state: ArtifactDownloadPlanNodeState
    ) -> ArtifactDownloadPlanNodeModel:
        options = self._model.options
        fitting = fitting_options(options, self._free_memory())
        recommended = recommended_option(fitting)
        return ArtifactDownloadPlanNodeModel(
            state=state,
            dependency_label=self._model.repository,
            resolved_sources=1,
            total_sources=1,
            already_owned=None if self._owned is None else self._model_info(self._owned),
            selected=self._model_info(selected),
            download_options=[
                ArtifactDownloadPlanDownloadOptionInfo(
                    display_name=_display_name(option),
                    size_bytes=option.size_bytes,
                    compatibility_type="gguf",
                    fit_estimation="fitWithoutGPU" if option in fitting else "willNotFit",
                    availability=self._availability(option),
                    quant_name=option.quantization,
                    recommended=True if option is recommended else None,
                )
                for option in options
            ],
            selected_download_option_index=self._selected,
            recommended_download_option_index=None if recommended is None else options.index(recommended),
        )

    def _availability(self, option: DownloadOption) -> ArtifactDownloadPlanDownloadOptionAvailability:
        if self._downloads.find(option) is not None:
            return "downloaded"
        return "downloading" if self._downloads.is_running(option) else "notDownloaded"

    def _model_info(self, option: DownloadOption) -> ArtifactDownloadPlanModelInfo:
        there: ModelFile | None = self._downloads.find(option)
        return ArtifactDownloadPlanModelInfo(
            display_name=_display_name(option),
            size_bytes=option.size_bytes,
            compatibility_type="gguf",
            quant_name=option.quantization,
            model_key=None if there is None else there.model_key,
        )


def _display_name(option: DownloadOption) -> str:
    return option.repository.partition("/")[2]


def _is(option: DownloadOption, preference: RepositoryDownloadPlannerResolutionPreference) -> bool:
    if isinstance(preference, RepositoryDownloadPlannerResolutionPreferenceFileName):
        return any(file.name.lower() == preference.file_name.lower() for file in option.files)
    return (option.quantization or "").lower() == preference.quant_name.lower()
