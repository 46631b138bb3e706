"""Models that the server can download: find them, choose a file, fetch it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from lmstudio._endpoints.repository import (
    DOWNLOAD_MODEL,
    FUZZY_FIND_STAFF_PICKS,
    GET_MODEL_CATALOG,
    GET_MODEL_DOWNLOAD_OPTIONS,
    SEARCH_MODELS,
)
from lmstudio._ops.downloads import DownloadWatch, follow_download
from lmstudio._sdk_models import (
    ModelCompatibilityType,
    ModelSearchOpts,
    RepositoryChannelDownloadModelCreationParameter,
    RepositoryChannelDownloadModelToClientPacketSuccess,
    RepositoryChannelDownloadModelToServerPacketCancel,
    RepositoryRpcFuzzyFindStaffPicksParameter,
    RepositoryRpcGetModelDownloadOptionsParameter,
    RepositoryRpcSearchModelsParameter,
)
from lmstudio.errors import LMStudioProtocolError, LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._abort import AbortSignal
    from lmstudio._ops.downloads import DownloadFinalizedCallback, DownloadProgressCallback
    from lmstudio._port import Port
    from lmstudio._sdk_models import (
        FuzzyFindStaffPickResult,
        HubModel,
        ModelSearchResultDownloadOptionData,
        ModelSearchResultEntryData,
    )

MAX_SEARCH_RESULTS: Final = 25
"""The most that the protocol allows to ask for."""


def search_options(
    search_term: str | None, limit: int | None, compatibility_types: Sequence[ModelCompatibilityType] | None
) -> ModelSearchOpts:
    """What to search for, as the wire has it.

    Raises:
        LMStudioValueError: the server could not accept it.
    """
    _check_search(search_term, limit, MAX_SEARCH_RESULTS)
    return ModelSearchOpts(
        search_term=search_term,
        limit=limit,
        compatibility_types=None if compatibility_types is None else read_compatibility_types(compatibility_types),
    )


def staff_pick_options(
    search_term: str | None, limit: int | None, compatibility_types: Sequence[ModelCompatibilityType] | None
) -> RepositoryRpcFuzzyFindStaffPicksParameter:
    """What to search for among the staff picks, as the wire has it. Raises as `search_options`."""
    _check_search(search_term, limit, None)
    return RepositoryRpcFuzzyFindStaffPicksParameter(
        search_term=search_term,
        limit=limit,
        compatibility_types=None if compatibility_types is None else read_compatibility_types(compatibility_types),
    )


def _check_search(search_term: str | None, limit: int | None, most: int | None) -> None:
    if search_term is not None and not isinstance(search_term, str):
        raise LMStudioValueError(f"search_term must be a string, got {type(search_term).__name__}.")
    is_whole_number = isinstance(limit, int) and not isinstance(limit, bool)
    if limit is not None and not (is_whole_number and 1 <= limit <= (most or limit)):
        bounds = "from 1 on" if most is None else f"from 1 to {most}"
        raise LMStudioValueError(f"limit must be a whole number {bounds}, got {limit!r}.")


def read_compatibility_types(given: Sequence[ModelCompatibilityType]) -> list[ModelCompatibilityType]:
    """The formats of models that a user has named.

    Raises:
        LMStudioValueError: that is no list of them.
    """
    known: tuple[str, ...] = get_args(ModelCompatibilityType)
    if isinstance(given, str):
        raise LMStudioValueError(f"compatibility_types must be a list, got a string: pass [{given!r}].")
    try:
        names = list(given)
    except TypeError:
        raise LMStudioValueError(f"compatibility_types must be a list, got {type(given).__name__}.") from None
    for name in names:
        if name not in known:
            raise LMStudioValueError(f"{name!r} is not a compatibility type; there are {', '.join(known)}.")
    return names


async def search_models(port: Port, opts: ModelSearchOpts) -> list[ModelSearchResultEntryData]:
    """The models that match, the best first. Protocol: rpc repository/searchModels."""
    parameter = RepositoryRpcSearchModelsParameter(opts=opts)
    return (await port.call(SEARCH_MODELS, parameter, "search for models")).results


async def get_download_options(
    port: Port, entry: ModelSearchResultEntryData
) -> list[ModelSearchResultDownloadOptionData]:
    """What there is to download of a model that was found. Protocol: rpc repository/getModelDownloadOptions."""
    parameter = RepositoryRpcGetModelDownloadOptionsParameter(model_search_result_identifier=entry.identifier)
    attempted = f"get the download options of {entry.name!r}"
    return (await port.call(GET_MODEL_DOWNLOAD_OPTIONS, parameter, attempted)).results


async def get_model_catalog(port: Port) -> list[HubModel]:
    """All models of the server's catalogue. Protocol: rpc repository/getModelCatalog."""
    return (await port.call(GET_MODEL_CATALOG, None, "get the catalogue of models")).models


async def fuzzy_find_staff_picks(
    port: Port, parameter: RepositoryRpcFuzzyFindStaffPicksParameter
) -> list[FuzzyFindStaffPickResult]:
    """The recommended models that match, the best first. Protocol: rpc repository/fuzzyFindStaffPicks."""
    return (await port.call(FUZZY_FIND_STAFF_PICKS, parameter, "search for staff picks")).results


async def download(
    port: Port,
    option: ModelSearchResultDownloadOptionData,
    on_progress: DownloadProgressCallback | None = None,
    on_finalize: DownloadFinalizedCallback | None = None,
    signal: AbortSignal | None = None,
) -> str:
    """Download to the server's disk and return the key under which the model can be loaded.

    Leaving early in any way (signal, timeout, task cancellation, Ctrl-C) cancels the download. A failing callback does
    not: it is logged.

    Protocol: channel repository/downloadModel.
    """
    watch = DownloadWatch(on_progress, on_finalize, signal)
    watch.check(port.runtime)
    parameter = RepositoryChannelDownloadModelCreationParameter(download_identifier=option.download_identifier)
    channel = port.channel(DOWNLOAD_MODEL, parameter, f"download {option.name!r}")
    cancel_packet = RepositoryChannelDownloadModelToServerPacketCancel()
    success_type = RepositoryChannelDownloadModelToClientPacketSuccess
    success = await follow_download(port.runtime, channel, channel.open, cancel_packet, success_type, watch)
    if not success.default_identifier:
        raise LMStudioProtocolError(
            f"Downloaded {option.name!r}, but the server did not say under which key: the packet 'success' of "
            f"{DOWNLOAD_MODEL.name!r} has none at `$.defaultIdentifier`."
        )
    return success.default_identifier
