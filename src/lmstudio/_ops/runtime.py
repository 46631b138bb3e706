"""The engines that the server runs models with, what there is to add, and the hardware they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, cast, get_args

from lmstudio._endpoints.runtime import (
    DOWNLOAD_RUNTIME_EXTENSION,
    GET_ENGINE_SELECTIONS,
    LIST_ENGINES,
    REMOVE_ENGINE,
    SEARCH_RUNTIME_EXTENSIONS,
    SELECT_ENGINE,
    SURVEY_HARDWARE,
)
from lmstudio._ops.downloads import DownloadWatch, follow_download
from lmstudio._ops.models import check_key
from lmstudio._ops.system import check_flag
from lmstudio._sdk_models import (
    ChannelPacketSuccess,
    ModelFormatName,
    RuntimeChannelDownloadRuntimeExtensionCreationParameter,
    RuntimeChannelDownloadRuntimeExtensionToServerPacketCancel,
    RuntimeEngineSpecifier,
    RuntimeHardwareSurveyScope,
    RuntimeHardwareSurveyScopeAll,
    RuntimeHardwareSurveyScopeCustom,
    RuntimeHardwareSurveyScopeSelected,
    RuntimeRpcSearchRuntimeExtensionsParameter,
    RuntimeRpcSelectEngineParameter,
)
from lmstudio._superjson import superjson_undefined
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from lmstudio._port import Port
    from lmstudio._sdk_models import DownloadableRuntimeExtensionInfo, RuntimeEngineInfo, RuntimeHardwareSurveyResult


class NamesEngine(Protocol):
    """What has the name and the version of an engine: those of the lists here do."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...


EngineSpecifierInput: TypeAlias = NamesEngine | Mapping[str, str]
"""An engine or an extension of a list, a `RuntimeEngineSpecifier`, or a dict with the keys "name" and "version"."""
HardwareSurveyScopeInput: TypeAlias = (
    Literal["selected", "all"] | RuntimeHardwareSurveyScope | Sequence[EngineSpecifierInput]
)
"""The engines whose view of the hardware is wanted: those that are selected, all that are installed, or a few."""

MAX_CHANNEL_LENGTH: Final = 30
"""Characters that the protocol allows in the name of a release channel."""

_SCOPES: Final = (
    RuntimeHardwareSurveyScopeSelected,
    RuntimeHardwareSurveyScopeAll,
    RuntimeHardwareSurveyScopeCustom,
)


# What users say -------------------------------------------------------------------------------------------------------


def read_engine(given: EngineSpecifierInput) -> RuntimeEngineSpecifier:
    """Which engine, as the wire has it.

    Raises:
        LMStudioValueError: *given* has not both a name and a version.
    """
    members: Any = given if isinstance(given, Mapping) else {name: getattr(given, name, None) for name in _MEMBERS}
    missing = [name for name in _MEMBERS if members.get(name) is None]
    if missing:
        raise LMStudioValueError(
            f"An engine is given by its name and its version, and {given!r:.200} has no {' and no '.join(missing)}. "
            "Pass one of `client.runtime.engine.list()`, a RuntimeEngineSpecifier, or a dict."
        )
    name, version = (check_key(members[name], f"engine's {name}") for name in _MEMBERS)
    return RuntimeEngineSpecifier(name=name, version=version)


_MEMBERS: Final = ("name", "version")


def read_format(given: object) -> ModelFormatName:
    """The name of a model format.

    Raises:
        LMStudioValueError: there is no such format.
    """
    known: tuple[str, ...] = get_args(ModelFormatName)
    if given not in known:
        raise LMStudioValueError(f"{given!r:.80} is not the name of a model format; there are {', '.join(known)}.")
    return cast("ModelFormatName", given)


def read_scope(given: HardwareSurveyScopeInput | None) -> RuntimeHardwareSurveyScope | None:
    """Which engines to survey the hardware with, as the wire has it; None leaves it to the server.

    Raises:
        LMStudioValueError: it is nothing of the kind.
    """
    if given is None or isinstance(given, _SCOPES):
        return given
    if given == "selected":
        return RuntimeHardwareSurveyScopeSelected()
    if given == "all":
        return RuntimeHardwareSurveyScopeAll()
    engines: object = given
    if isinstance(engines, str) or not isinstance(engines, Sequence):
        raise LMStudioValueError(f'scope must be "selected", "all" or a list of engines, got {given!r:.80}.')
    return RuntimeHardwareSurveyScopeCustom(engines=[read_engine(engine) for engine in engines])


def search_parameter(
    query: str, channel: str | None, include_incompatible: bool
) -> RuntimeRpcSearchRuntimeExtensionsParameter:
    """What extensions to look for, as the wire has it.

    Raises:
        LMStudioValueError: the server could not accept it.
    """
    if not isinstance(query, str):
        raise LMStudioValueError(f'query must be a string, such as "llama.cpp:cuda", got {type(query).__name__}.')
    if channel is not None and not (isinstance(channel, str) and 1 <= len(channel) <= MAX_CHANNEL_LENGTH):
        raise LMStudioValueError(
            f'channel must be a string of 1 to {MAX_CHANNEL_LENGTH} characters, such as "beta", got {channel!r:.80}.'
        )
    check_flag(include_incompatible, "include_incompatible")
    return RuntimeRpcSearchRuntimeExtensionsParameter(
        query=query, include_incompatible=include_incompatible, channel_override=channel
    )


# Engines --------------------------------------------------------------------------------------------------------------


async def list_engines(port: Port) -> list[RuntimeEngineInfo]:
    """The engines that are installed. Protocol: rpc runtime/listEngines."""
    return await port.call(LIST_ENGINES, None, "list the engines")


async def get_selections(port: Port) -> dict[ModelFormatName, RuntimeEngineSpecifier]:
    """Which engine runs models of which format. Protocol: rpc runtime/getEngineSelections, which has SuperJSON."""
    # What kind of value the annotation names is not looked at: entries of a Map are entries without it, too.
    return dict((await port.call(GET_ENGINE_SELECTIONS, superjson_undefined(), "get the selected engines")).json)


async def select_engine(port: Port, engine: RuntimeEngineSpecifier, model_format_name: ModelFormatName) -> None:
    """Let *engine* run models of this format from now on. Protocol: rpc runtime/selectEngine."""
    parameter = RuntimeRpcSelectEngineParameter(engine=engine, model_format_name=model_format_name)
    await port.call(SELECT_ENGINE, parameter, f"select the engine {engine.name!r} {engine.version}")


async def remove_engine(port: Port, engine: RuntimeEngineSpecifier) -> None:
    """Take it off the server's disk. Protocol: rpc runtime/removeEngine."""
    await port.call(REMOVE_ENGINE, engine, f"remove the engine {engine.name!r} {engine.version}")


async def survey_hardware(port: Port, scope: RuntimeHardwareSurveyScope | None) -> RuntimeHardwareSurveyResult:
    """What engines find in the server's machine. Protocol: rpc runtime/surveyHardware."""
    return await port.call(SURVEY_HARDWARE, scope, "survey the hardware")


# Extensions -----------------------------------------------------------------------------------------------------------


async def search_extensions(
    port: Port, parameter: RuntimeRpcSearchRuntimeExtensionsParameter
) -> list[DownloadableRuntimeExtensionInfo]:
    """What there is to download for running models. Protocol: rpc runtime/searchRuntimeExtensions."""
    return (await port.call(SEARCH_RUNTIME_EXTENSIONS, parameter, "search for runtime extensions")).extensions


async def download_extension(
    port: Port, extension: RuntimeEngineSpecifier, update_selections: bool, watch: DownloadWatch
) -> None:
    """Download and install one. Protocol: channel runtime/downloadRuntimeExtension."""
    check_flag(update_selections, "update_selections")
    watch.check(port.runtime, "on_start_finalizing")
    parameter = RuntimeChannelDownloadRuntimeExtensionCreationParameter(
        name=extension.name, version=extension.version, update_selections=update_selections
    )
    attempted = f"download the runtime extension {extension.name!r} {extension.version}"
    channel = port.channel(DOWNLOAD_RUNTIME_EXTENSION, parameter, attempted)
    cancel_packet = RuntimeChannelDownloadRuntimeExtensionToServerPacketCancel()
    await follow_download(port.runtime, channel, channel.open, cancel_packet, ChannelPacketSuccess, watch)
