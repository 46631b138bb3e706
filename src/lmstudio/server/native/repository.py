"""The namespace repository: models to download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lmstudio._endpoints.repository import DOWNLOAD_MODEL, GET_MODEL_DOWNLOAD_OPTIONS, SEARCH_MODELS
from lmstudio._sdk_models import (
    ModelSearchResultDownloadOptionData,
    ModelSearchResultEntryData,
    ModelSearchResultIdentifierCatalog,
    RepositoryChannelDownloadModelToClientPacketSuccess,
    RepositoryRpcGetModelDownloadOptionsReturns,
    RepositoryRpcSearchModelsReturns,
)
from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._sdk_models import (
        ChannelPacketCancel,
        RepositoryChannelDownloadModelCreationParameter,
        RepositoryChannelDownloadModelToClientPacket,
        RepositoryRpcGetModelDownloadOptionsParameter,
        RepositoryRpcSearchModelsParameter,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore
    from lmstudio.server.repository.listing import DownloadOption, ListedModel

_MAX_RESULTS: Final = 25
_PREFERRED_QUANTIZATION: Final = "Q4_K_M"
_MEMORY_FACTOR: Final = 1.2
"""About what a loaded model takes of the memory, by the size of its files: the weights, and a context of some size."""


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve what there is of the namespace."""
    RepositoryHandlers(core).bind(handlers)


class RepositoryHandlers:
    """The handlers of the namespace. Accounts, artifacts and LM Link are LM Studio's own."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def bind(self, handlers: Handlers) -> None:
        """Serve searching and downloading."""
        handlers.rpc(SEARCH_MODELS, self._search)
        handlers.rpc(GET_MODEL_DOWNLOAD_OPTIONS, self._get_options)
        handlers.channel(DOWNLOAD_MODEL, self._download)

    async def _search(
        self, _: ClientContext, parameter: RepositoryRpcSearchModelsParameter
    ) -> RepositoryRpcSearchModelsReturns:
        opts = parameter.opts
        if opts.compatibility_types is not None and "gguf" not in opts.compatibility_types:
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


def _entry(model: ListedModel, term: str) -> ModelSearchResultEntryData:
    return ModelSearchResultEntryData(
        name=model.repository,
        identifier=ModelSearchResultIdentifierCatalog(identifier=model.repository),
        exact=True if model.is_called(term) else None,
        staff_pick=True if model.is_staff_pick else None,
    )


def fitting_options(options: Sequence[DownloadOption], free_memory: int | None) -> list[DownloadOption]:
    """Those that fit into the memory; all of them, if the system does not say how much there is."""
    return [each for each in options if free_memory is None or each.size_bytes * _MEMORY_FACTOR <= free_memory]


def recommended_option(options: Sequence[DownloadOption]) -> DownloadOption | None:
    """The usual compromise between size and quality, if there is one; else the best that fits."""
    usual = [option for option in options if option.quantization == _PREFERRED_QUANTIZATION]
    return max(usual or options, key=lambda option: option.size_bytes, default=None)
