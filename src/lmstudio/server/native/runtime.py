"""The namespace runtime: the engine, and the hardware that it finds. There is nothing to choose and nothing to add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from lmstudio._endpoints.runtime import (
    DOWNLOAD_RUNTIME_EXTENSION,
    GET_ENGINE_SELECTIONS,
    LIST_ENGINES,
    REMOVE_ENGINE,
    SEARCH_RUNTIME_EXTENSIONS,
    SELECT_ENGINE,
    SURVEY_HARDWARE,
)
from lmstudio._sdk_models import (
    RuntimeHardwareSurveyResult,
    RuntimeHardwareSurveyScopeCustom,
    RuntimeRpcSearchRuntimeExtensionsReturns,
)
from lmstudio._superjson import superjson_map
from lmstudio.server.errors import RequestError
from lmstudio.server.runtime.engines import MODEL_FORMATS

if TYPE_CHECKING:
    from lmstudio._sdk_models import (
        ModelFormatName,
        RuntimeChannelDownloadRuntimeExtensionCreationParameter,
        RuntimeChannelDownloadRuntimeExtensionToClientPacket,
        RuntimeChannelDownloadRuntimeExtensionToServerPacket,
        RuntimeEngineInfo,
        RuntimeEngineSpecifier,
        RuntimeHardwareSurveyScope,
        RuntimeRpcSearchRuntimeExtensionsParameter,
        RuntimeRpcSelectEngineParameter,
    )
    from lmstudio._superjson import SuperJson
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore
    from lmstudio.server.runtime.engines import InstalledEngine

_HOW_TO_CHANGE: Final = "The engine is the Python package xllamacpp: change it with pip, where the server is installed."


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve the namespace."""
    RuntimeHandlers(core.installed_engine).bind(handlers)


class RuntimeHandlers:
    """The handlers of the namespace."""

    def __init__(self, installed: InstalledEngine) -> None:
        self._installed = installed

    def bind(self, handlers: Handlers) -> None:
        """Serve all endpoints."""
        handlers.rpc(LIST_ENGINES, self._list_engines)
        handlers.rpc(GET_ENGINE_SELECTIONS, self._get_selections)
        handlers.rpc(SELECT_ENGINE, self._select)
        handlers.rpc(REMOVE_ENGINE, self._remove)
        handlers.rpc(SURVEY_HARDWARE, self._survey)
        handlers.rpc(SEARCH_RUNTIME_EXTENSIONS, self._search_extensions)
        handlers.channel(DOWNLOAD_RUNTIME_EXTENSION, self._download_extension)

    async def _list_engines(self, _: ClientContext, __: None) -> list[RuntimeEngineInfo]:
        return [await self._installed.info()]

    async def _get_selections(
        self, _: ClientContext, __: SuperJson[None] | None
    ) -> SuperJson[list[tuple[ModelFormatName, RuntimeEngineSpecifier]]]:
        return superjson_map((name, self._installed.specifier) for name in MODEL_FORMATS)

    async def _select(self, _: ClientContext, parameter: RuntimeRpcSelectEngineParameter) -> None:
        """The one engine is selected already; anything else cannot be."""
        self._installed.require(parameter.engine, "select")
        if parameter.model_format_name not in MODEL_FORMATS:
            raise RequestError(
                f"The engine {self._installed.name!r} cannot run models in the format {parameter.model_format_name}.",
                suggestion=f"It runs {', '.join(MODEL_FORMATS)}.",
            )

    async def _remove(self, _: ClientContext, parameter: RuntimeEngineSpecifier) -> NoReturn:
        self._installed.require(parameter, "remove")
        raise RequestError(
            f"Cannot remove the engine {parameter.name!r}: it is the only one, and part of this installation.",
            suggestion=_HOW_TO_CHANGE,
        )

    async def _survey(self, _: ClientContext, scope: RuntimeHardwareSurveyScope | None) -> RuntimeHardwareSurveyResult:
        # The one engine is all there are, and the selected one, too. Nothing at all means the selected ones.
        if isinstance(scope, RuntimeHardwareSurveyScopeCustom):
            for engine in scope.engines:
                self._installed.require(engine, "survey the hardware with")
            if not scope.engines:
                return RuntimeHardwareSurveyResult(status="noCompatibleBackends", engines=[])
        survey = await self._installed.survey()
        is_usable = survey.compatibility.status == "compatible"
        return RuntimeHardwareSurveyResult(status="ok" if is_usable else "noCompatibleBackends", engines=[survey])

    async def _search_extensions(
        self, _: ClientContext, __: RuntimeRpcSearchRuntimeExtensionsParameter
    ) -> RuntimeRpcSearchRuntimeExtensionsReturns:
        """None: LM Studio's extensions are libraries for its own application."""
        return RuntimeRpcSearchRuntimeExtensionsReturns(extensions=[])

    async def _download_extension(
        self,
        _: ClientContext,
        parameter: RuntimeChannelDownloadRuntimeExtensionCreationParameter,
        __: ServerChannel[
            RuntimeChannelDownloadRuntimeExtensionToClientPacket, RuntimeChannelDownloadRuntimeExtensionToServerPacket
        ],
    ) -> NoReturn:
        raise RequestError(
            f"Cannot download the runtime extension {parameter.name!r} {parameter.version}: this server has none to "
            "offer, because LM Studio's are libraries for its own application.",
            suggestion=_HOW_TO_CHANGE,
        )
