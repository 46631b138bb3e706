"""The namespace repository: models to download, and what this server can say about LM Studio's hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias

from lmstudio._endpoints.repository import (
    CREATE_DOWNLOAD_PLAN,
    DOWNLOAD_MODEL,
    FUZZY_FIND_STAFF_PICKS,
    GET_MODEL_CATALOG,
    GET_MODEL_DOWNLOAD_OPTIONS,
    SEARCH_MODELS,
)
from lmstudio._near import near_matches
from lmstudio._sdk_models import (
    ChannelPacketSuccess,
    FuzzyFindStaffPickResult,
    ModelSearchResultDownloadOptionData,
    ModelSearchResultEntryData,
    ModelSearchResultIdentifierCatalog,
    RepositoryChannelCreateDownloadPlanToClientPacketPlanReady,
    RepositoryChannelCreateDownloadPlanToClientPacketPlanUpdated,
    RepositoryChannelCreateDownloadPlanToServerPacketCancelDownload,
    RepositoryChannelCreateDownloadPlanToServerPacketCancelPlan,
    RepositoryChannelCreateDownloadPlanToServerPacketCommit,
    RepositoryChannelCreateDownloadPlanToServerPacketSetSelectedDownloadOptionIndex,
    RepositoryChannelDownloadModelToClientPacketSuccess,
    RepositoryDownloadPlannerOpts,
    RepositoryDownloadPlannerTargetArtifact,
    RepositoryRpcFuzzyFindStaffPicksReturns,
    RepositoryRpcGetModelCatalogReturns,
    RepositoryRpcGetModelDownloadOptionsReturns,
    RepositoryRpcSearchModelsReturns,
)
from lmstudio.server.errors import RequestError
from lmstudio.server.native.account import AccountHandlers
from lmstudio.server.repository.metadata import hub_model
from lmstudio.server.repository.plans import (
    Plan,
    fitting_options,
    hub_name,
    label_of,
    placeholder,
    recommended_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._sdk_models import (
        ChannelPacketCancel,
        ModelCompatibilityType,
        RepositoryChannelCreateDownloadPlanCreationParameter,
        RepositoryChannelCreateDownloadPlanToClientPacket,
        RepositoryChannelCreateDownloadPlanToServerPacket,
        RepositoryChannelDownloadModelCreationParameter,
        RepositoryChannelDownloadModelToClientPacket,
        RepositoryDownloadPlannerTarget,
        RepositoryRpcFuzzyFindStaffPicksParameter,
        RepositoryRpcGetModelDownloadOptionsParameter,
        RepositoryRpcSearchModelsParameter,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore
    from lmstudio.server.repository.listing import ListedModel

    PlanChannel: TypeAlias = ServerChannel[
        RepositoryChannelCreateDownloadPlanToClientPacket, RepositoryChannelCreateDownloadPlanToServerPacket
    ]

_MAX_RESULTS: Final = 25
_LONGEST_MISSPELT: Final = 200
"""Looking for similar names takes time by the square of their length."""


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve the namespace."""
    RepositoryHandlers(core).bind(handlers)
    AccountHandlers().bind(handlers)


class RepositoryHandlers:
    """The handlers of what has to do with models."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def bind(self, handlers: Handlers) -> None:
        """Serve searching and downloading."""
        handlers.rpc(SEARCH_MODELS, self._search)
        handlers.rpc(GET_MODEL_DOWNLOAD_OPTIONS, self._get_options)
        handlers.channel(DOWNLOAD_MODEL, self._download)
        handlers.rpc(GET_MODEL_CATALOG, self._get_catalog)
        handlers.rpc(FUZZY_FIND_STAFF_PICKS, self._find_staff_picks)
        handlers.channel(CREATE_DOWNLOAD_PLAN, self._plan)

    async def _search(
        self, _: ClientContext, parameter: RepositoryRpcSearchModelsParameter
    ) -> RepositoryRpcSearchModelsReturns:
        opts = parameter.opts
        if not _can_run(opts.compatibility_types):
            return RepositoryRpcSearchModelsReturns(results=[])
        term = opts.search_term or ""
        found = await self._core.download_catalog.search(term, opts.limit or _MAX_RESULTS)
        return RepositoryRpcSearchModelsReturns(results=[_entry(model, term) for model in found])

    async def _get_options(
        self, _: ClientContext, parameter: RepositoryRpcGetModelDownloadOptionsParameter
    ) -> RepositoryRpcGetModelDownloadOptionsReturns:
        # One catalogue for both kinds of identifiers: a repository of Hugging Face is called owner/name as well.
        model = await self._core.download_catalog.model(parameter.model_search_result_identifier.identifier)
        fitting = fitting_options(model.options, self._core.free_memory())
        recommended = recommended_option(fitting)
        return RepositoryRpcGetModelDownloadOptionsReturns(
            results=[
                ModelSearchResultDownloadOptionData(
                    name=model.repository.partition("/")[2],
                    size_bytes=option.size_bytes,
                    # What a graphics card could take over is the engine's decision when it loads.
                    fit_estimation="fitWithoutGPU" if option in fitting else "willNotFit",
                    download_identifier=option.identifier,
                    indexed_model_identifier=option.identifier,
                    compatibility_type="gguf",
                    quantization=option.quantization,
                    recommended=True if option is recommended else None,
                )
                for option in model.options
            ]
        )

    async def _download(
        self,
        _: ClientContext,
        parameter: RepositoryChannelDownloadModelCreationParameter,
        channel: ServerChannel[RepositoryChannelDownloadModelToClientPacket, ChannelPacketCancel],
    ) -> None:
        option = await self._core.download_catalog.option(parameter.download_identifier)
        ticket = self._core.downloads.start(option).join(channel.send)
        channel.listen(lambda _: ticket.cancel())
        model = await ticket.result()
        if model is None:
            raise RequestError(f"The download of {option.identifier!r} was cancelled.")
        channel.send(RepositoryChannelDownloadModelToClientPacketSuccess(default_identifier=model.model_key))

    # The catalogue as a whole ----------------------------------------------------------------------------------------

    async def _get_catalog(self, _: ClientContext, __: None) -> RepositoryRpcGetModelCatalogReturns:
        models = await self._core.download_catalog.models()
        described = await asyncio.to_thread(lambda: [hub_model(model) for model in models])
        return RepositoryRpcGetModelCatalogReturns(models=described)

    async def _find_staff_picks(
        self, _: ClientContext, parameter: RepositoryRpcFuzzyFindStaffPicksParameter
    ) -> RepositoryRpcFuzzyFindStaffPicksReturns:
        if not _can_run(parameter.compatibility_types):
            return RepositoryRpcFuzzyFindStaffPicksReturns(results=[])
        term = parameter.search_term or ""
        picks = {model.repository: model for model in await self._core.download_catalog.models() if model.is_staff_pick}
        found = sorted(
            (model for model in picks.values() if model.matches(term)), key=lambda model: not model.is_called(term)
        )
        if picks and not found and len(term) <= _LONGEST_MISSPELT:
            found = [picks[name] for name in near_matches(term, picks, limit=len(picks))]
        return RepositoryRpcFuzzyFindStaffPicksReturns(
            results=[_staff_pick(model, term) for model in found[: parameter.limit]]
        )

    # Plans -----------------------------------------------------------------------------------------------------------

    async def _plan(
        self,
        _: ClientContext,
        parameter: RepositoryChannelCreateDownloadPlanCreationParameter,
        channel: PlanChannel,
    ) -> None:
        packets: asyncio.Queue[RepositoryChannelCreateDownloadPlanToServerPacket] = asyncio.Queue()
        channel.listen(packets.put_nowait)
        target, opts = parameter.target, parameter.opts or RepositoryDownloadPlannerOpts()
        channel.send(RepositoryChannelCreateDownloadPlanToClientPacketPlanUpdated(plan=placeholder(target)))
        if not _can_run(opts.compatibility_types):
            raise RequestError(
                f"Cannot plan a download of {label_of(target)!r}: this server runs GGUF models only.",
                suggestion="Leave the compatibility types out, or have gguf among them.",
            )
        model = await self._planned_model(target)
        core = self._core
        plan = Plan(target, model, core.downloads, core.free_memory, opts.resolution_preference or ())
        channel.send(RepositoryChannelCreateDownloadPlanToClientPacketPlanReady(plan=plan.describe()))
        if await _decided(plan, packets, channel):
            await self._commit(plan, packets, channel)

    async def _planned_model(self, target: RepositoryDownloadPlannerTarget) -> ListedModel:
        if not isinstance(target, RepositoryDownloadPlannerTargetArtifact):
            return await self._core.download_catalog.model(label_of(target))
        for model in await self._core.download_catalog.models():
            if _hub_names(model) == (target.owner, target.name):
                return model
        raise RequestError(
            f"Cannot plan a download of {label_of(target)!r}: this server's catalogue has no such model, and it has no "
            "part in LM Studio's hub, where other artifacts are.",
            suggestion="Search for models: whatever is found can be downloaded.",
        )

    async def _commit(
        self,
        plan: Plan,
        packets: asyncio.Queue[RepositoryChannelCreateDownloadPlanToServerPacket],
        channel: PlanChannel,
    ) -> None:
        option = plan.selected
        ticket = self._core.downloads.start(option).join(channel.send)

        def hear(packet: RepositoryChannelCreateDownloadPlanToServerPacket) -> None:
            if isinstance(packet, RepositoryChannelCreateDownloadPlanToServerPacketCancelDownload):
                ticket.cancel()

        channel.listen(hear)
        while not packets.empty():  # what came with the commit
            hear(packets.get_nowait())
        if await ticket.result() is None:
            raise RequestError(f"The download of {option.identifier!r} was cancelled.")
        channel.send(ChannelPacketSuccess())


async def _decided(
    plan: Plan, packets: asyncio.Queue[RepositoryChannelCreateDownloadPlanToServerPacket], channel: PlanChannel
) -> bool:
    """Follow the client's choices until it commits; False if it discards the plan instead."""
    while True:
        match await packets.get():
            case RepositoryChannelCreateDownloadPlanToServerPacketCommit():
                return True
            case RepositoryChannelCreateDownloadPlanToServerPacketCancelPlan():
                return False
            case RepositoryChannelCreateDownloadPlanToServerPacketSetSelectedDownloadOptionIndex(
                node_index=node, selected_download_option_index=index, requested_plan_version=version
            ):
                plan.select(node, index, version)
                channel.send(RepositoryChannelCreateDownloadPlanToClientPacketPlanUpdated(plan=plan.describe()))
            case _:
                pass  # there is no download yet to cancel


def _can_run(wanted: Sequence[ModelCompatibilityType] | None) -> bool:
    """Whether what this server can run is among *wanted*; None stands for just that."""
    return wanted is None or "gguf" in wanted


def _entry(model: ListedModel, term: str) -> ModelSearchResultEntryData:
    return ModelSearchResultEntryData(
        name=model.repository,
        identifier=ModelSearchResultIdentifierCatalog(identifier=model.repository),
        exact=True if model.is_called(term) else None,
        staff_pick=True if model.is_staff_pick else None,
    )


def _hub_names(model: ListedModel) -> tuple[str, str]:
    """Owner and name of the artifact that stands for *model*."""
    owner, _, name = model.repository.partition("/")
    return hub_name(owner).replace(".", "-"), hub_name(name)


def _staff_pick(model: ListedModel, term: str) -> FuzzyFindStaffPickResult:
    owner, name = _hub_names(model)
    return FuzzyFindStaffPickResult(
        owner=owner,
        name=name,
        revision_number=1,  # a catalogue has no others
        created_at_timestamp=0,
        description="",
        exact=model.is_called(term) or term.lower() in (name, f"{owner}/{name}"),
    )
