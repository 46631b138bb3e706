# Generated from async_repository.py by tools/make_sync.py. Edit that file instead.
"""Models to download and plans for that, in the synchronous surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._ops import planner as planner_ops
from lmstudio._ops import repository as repository_ops
from lmstudio._surface.sync_hub import _Hub
from lmstudio._surface.sync_planner import ArtifactDownloadPlanner
from lmstudio._sync_io import SyncBase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._abort import AbortSignal
    from lmstudio._ops.downloads import DownloadFinalizedCallback, DownloadProgressCallback
    from lmstudio._ops.planner import ModelDownloadSourceInput, PlanUpdatedCallback, ResolutionPreferenceInput
    from lmstudio._sdk_models import (
        FuzzyFindStaffPickResult,
        HubModel,
        ModelCompatibilityType,
        ModelSearchResultDownloadOptionData,
        ModelSearchResultDownloadOptionFitEstimation,
        ModelSearchResultEntryData,
        RepositoryDownloadPlannerOpts,
        RepositoryDownloadPlannerTarget,
    )
    from lmstudio._timeouts import TimeoutInput


class ModelDownloadOption(SyncBase):
    """One way to download a model: a file, or a set of files, of some quantization."""

    def __init__(self, info: ModelSearchResultDownloadOptionData, session: _SessionRepository) -> None:
        self._info = info
        self._session = session

    @property
    def info(self) -> ModelSearchResultDownloadOptionData:
        """What the server knows about the option."""
        return self._info

    @property
    def name(self) -> str:
        """Name of the model in this option."""
        return self._info.name

    @property
    def quantization(self) -> str | None:
        """Name of the quantization, such as "Q4_K_M"; None where that is unknown."""
        return self._info.quantization

    @property
    def size_bytes(self) -> int:
        """How much there is to download."""
        return self._info.size_bytes

    @property
    def fit_estimation(self) -> ModelSearchResultDownloadOptionFitEstimation:
        """How the server could run it: "fullGPUOffload", "partialGPUOffload", "fitWithoutGPU" or "willNotFit"."""
        return self._info.fit_estimation

    @property
    def indexed_model_identifier(self) -> str:
        """The `indexed_model_identifier` that the model has once it is downloaded."""
        return self._info.indexed_model_identifier

    @property
    def compatibility_type(self) -> ModelCompatibilityType:
        """The format of the files, such as "gguf"."""
        return self._info.compatibility_type

    def is_recommended(self) -> bool:
        """Whether the server recommends this option for its machine."""
        return bool(self._info.recommended)

    def download(
        self,
        on_progress: DownloadProgressCallback | None = None,
        on_finalize: DownloadFinalizedCallback | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> str:
        """Download to the server's disk, and return the model key to load the model with.

        An option may be downloaded again; the server does not fetch what it has.

        Args:
            on_progress: Called with bytes so far, bytes in all and the speed in bytes per second. What it raises is
                logged and does not stop the download.
            on_finalize: Called once, when everything has arrived and the server begins to check and to install it.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. Progress counts as a sign of life.
            signal: Cancels the download when it is aborted.

        Leaving the call early, by Ctrl-C or any exception, cancels the download.

        Raises:
            LMStudioServerError: it cannot be downloaded; says why.
            LMStudioCancelledError: *signal* was aborted.
        """
        port = self._session._within(timeout)
        return self._run(repository_ops.download(port, self._info, on_progress, on_finalize, signal))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._info == other._info and self._session is other._session

    def __hash__(self) -> int:
        return hash((type(self), self._info.download_identifier))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, quantization={self.quantization!r})"


class AvailableModel(SyncBase):
    """A model that the server can download."""

    def __init__(self, search_result: ModelSearchResultEntryData, session: _SessionRepository) -> None:
        self._search_result = search_result
        self._session = session

    @property
    def search_result(self) -> ModelSearchResultEntryData:
        """What the server said about the model."""
        return self._search_result

    @property
    def name(self) -> str:
        """The model's name."""
        return self._search_result.name

    def is_exact_match(self) -> bool:
        """Whether the search term is this model's name."""
        return bool(self._search_result.exact)

    def is_staff_pick(self) -> bool:
        """Whether whoever runs the catalogue recommends the model."""
        return bool(self._search_result.staff_pick)

    def get_download_options(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[ModelDownloadOption]:
        """What there is to download of this model.

        Raises:
            LMStudioServerError: the catalogue does not have the model any more, or cannot be reached.
        """
        session = self._session
        port = session._within(timeout, signal)
        options = self._run(repository_ops.get_download_options(port, self._search_result))
        return [ModelDownloadOption(option, session) for option in options]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._search_result == other._search_result and self._session is other._session

    def __hash__(self) -> int:
        return hash((type(self), self._search_result.identifier.identifier))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class _SessionRepository(_Hub):
    """Models to download, and LM Studio's hub."""

    def search_models(
        self,
        search_term: str | None = None,
        limit: int | None = None,
        compatibility_types: Sequence[ModelCompatibilityType] | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> list[AvailableModel]:
        """Models that the server can download, the best match first.

        Args:
            search_term: Words of the model's name; without them, what the server recommends.
            limit: The most results, from 1 to 25; by default the server decides.
            compatibility_types: Formats, such as ["gguf"]; by default all that the server can run.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.

        Raises:
            LMStudioValueError: an argument that no server could accept.
            LMStudioServerError: the server cannot search; says why.
        """
        opts = repository_ops.search_options(search_term, limit, compatibility_types)
        results = self._run(repository_ops.search_models(self._within(timeout, signal), opts))
        return [AvailableModel(result, self) for result in results]

    def get_model_catalog(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> list[HubModel]:
        """All models of the catalogue, and what there is to know about them.

        Raises:
            LMStudioServerError: the catalogue cannot be reached.
        """
        return self._run(repository_ops.get_model_catalog(self._within(timeout, signal)))

    def fuzzy_find_staff_picks(
        self,
        search_term: str | None = None,
        limit: int | None = None,
        compatibility_types: Sequence[ModelCompatibilityType] | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> list[FuzzyFindStaffPickResult]:
        """Recommended models whose names are like *search_term*, the best match first.

        What is found can be downloaded with `create_artifact_download_planner(pick.owner, pick.name)`.

        Args:
            search_term: What to look for; without it, all of them.
            limit: The most results, from 1 on; by default the server decides.
            compatibility_types: Formats, such as ["gguf"]; by default all that the server can run.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.
        """
        parameter = repository_ops.staff_pick_options(search_term, limit, compatibility_types)
        return self._run(repository_ops.fuzzy_find_staff_picks(self._within(timeout, signal), parameter))

    # Plans -----------------------------------------------------------------------------------------------------------

    def create_artifact_download_planner(
        self,
        owner: str,
        name: str,
        *,
        resolution_preference: Sequence[ResolutionPreferenceInput] | None = None,
        compatibility_types: Sequence[ModelCompatibilityType] | None = None,
        on_plan_updated: PlanUpdatedCallback | None = None,
        signal: AbortSignal | None = None,
    ) -> ArtifactDownloadPlanner:
        """Plan the download of an artifact of the hub with all that it depends on. Use it in a `with` block.

        Args:
            owner: Who has published it.
            name: Its name.
            resolution_preference: Which files of models to prefer, the best first: dicts such as
                {"type": "quantName", "quantName": "Q4_K_M"} or {"type": "fileName", "fileName": "heron-q4.gguf"}.
            compatibility_types: Formats of models, such as ["gguf"]; by default all that the server can run.
            on_plan_updated: Called with each plan of the server, by the methods of the planner that wait. What it
                raises is logged.
            signal: When it is aborted, the plan is discarded and the download is cancelled.

        Raises:
            LMStudioValueError: an argument that no server could accept.
        """
        target = planner_ops.artifact_target(owner, name)
        opts = planner_ops.planner_options(resolution_preference, compatibility_types)
        return self._planner(target, opts, on_plan_updated, signal)

    def create_model_download_planner(
        self,
        source: ModelDownloadSourceInput,
        *,
        resolution_preference: Sequence[ResolutionPreferenceInput] | None = None,
        compatibility_types: Sequence[ModelCompatibilityType] | None = None,
        on_plan_updated: PlanUpdatedCallback | None = None,
        signal: AbortSignal | None = None,
    ) -> ArtifactDownloadPlanner:
        """Plan the download of a model. Use it in a `with` block.

        Args:
            source: Where the model is: {"type": "huggingface", "user": "maker", "repo": "heron-GGUF"}, or a
                `HuggingFaceModelDownloadSource`.
            resolution_preference: As in `create_artifact_download_planner`.
            compatibility_types: As there.
            on_plan_updated: As there.
            signal: As there.

        Raises:
            LMStudioValueError: an argument that no server could accept.
        """
        target = planner_ops.model_target(source)
        opts = planner_ops.planner_options(resolution_preference, compatibility_types)
        return self._planner(target, opts, on_plan_updated, signal)

    def _planner(
        self,
        target: RepositoryDownloadPlannerTarget,
        opts: RepositoryDownloadPlannerOpts,
        on_plan_updated: PlanUpdatedCallback | None,
        signal: AbortSignal | None,
    ) -> ArtifactDownloadPlanner:
        planner = planner_ops.DownloadPlanner(self._port, target, opts, on_plan_updated, signal)
        planner.open()
        return ArtifactDownloadPlanner(planner, self)
