"""The engines that the server runs models with, in the asynchronous surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lmstudio._async_io import AsyncBase
from lmstudio._ops import runtime as runtime_ops
from lmstudio._ops.downloads import DownloadWatch
from lmstudio._surface.async_sessions import _AsyncSession

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._ops.downloads import DownloadFinalizedCallback, DownloadProgressCallback
    from lmstudio._ops.runtime import EngineSpecifierInput, HardwareSurveyScopeInput
    from lmstudio._sdk_models import (
        DownloadableRuntimeExtensionInfo,
        ModelFormatName,
        RuntimeEngineInfo,
        RuntimeEngineSpecifier,
        RuntimeHardwareSurveyResult,
    )
    from lmstudio._timeouts import TimeoutInput


class _AsyncRuntimeEngines(AsyncBase):
    """The engines that are installed: `client.runtime.engine`."""

    def __init__(self, session: _AsyncSessionRuntime) -> None:
        self._session = session

    async def list(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> list[RuntimeEngineInfo]:
        """The engines that are installed, of each every version."""
        return await self._run(runtime_ops.list_engines(self._session._within(timeout, signal)))

    async def get_selections(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> dict[ModelFormatName, RuntimeEngineSpecifier]:
        """The engine that runs models of each format, e.g. of "GGUF". A format that no engine runs is not there."""
        return await self._run(runtime_ops.get_selections(self._session._within(timeout, signal)))

    async def select(
        self,
        engine: EngineSpecifierInput,
        model_format_name: ModelFormatName,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Let an engine run models of a format from now on.

        Args:
            engine: One of `list()`, a `RuntimeEngineSpecifier`, or a dict with the keys "name" and "version".
            model_format_name: E.g. "GGUF".
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.

        Raises:
            LMStudioValueError: there is no such format, or the engine has no name or no version.
            LMStudioServerError: it is not installed, or cannot run models of this format.
        """
        specifier, name = runtime_ops.read_engine(engine), runtime_ops.read_format(model_format_name)
        await self._run(runtime_ops.select_engine(self._session._within(timeout, signal), specifier, name))

    async def remove(
        self, engine: EngineSpecifierInput, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Remove an engine from the server's disk. *engine* as in `select`.

        Raises:
            LMStudioServerError: it is not installed, or cannot be removed.
        """
        specifier = runtime_ops.read_engine(engine)
        await self._run(runtime_ops.remove_engine(self._session._within(timeout, signal), specifier))

    def __repr__(self) -> str:
        return f"{self._session!r}.engine"


class _AsyncRuntimeExtensions(AsyncBase):
    """Engines, and the frameworks that they need, to download: `client.runtime.extensions`."""

    def __init__(self, session: _AsyncSessionRuntime) -> None:
        self._session = session

    async def search(
        self,
        query: str,
        *,
        channel: str | None = None,
        include_incompatible: bool = False,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> list[DownloadableRuntimeExtensionInfo]:
        """Extensions that the server can download.

        Args:
            query: A name with restrictions, each of which may be left out: "llama.cpp", "llama.cpp:cuda", ":linux",
                "llama.cpp@1.2.3".
            channel: The release channel, such as "beta"; by default that of the application.
            include_incompatible: Also those that the server's machine cannot run.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.

        Raises:
            LMStudioValueError: an argument that no server could accept.
            LMStudioServerError: the server cannot search; says why.
        """
        parameter = runtime_ops.search_parameter(query, channel, include_incompatible)
        return await self._run(runtime_ops.search_extensions(self._session._within(timeout, signal), parameter))

    async def download(
        self,
        specifier: EngineSpecifierInput,
        *,
        update_selections: bool = False,
        on_progress: DownloadProgressCallback | None = None,
        on_start_finalizing: DownloadFinalizedCallback | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Download an extension, and install it on the server.

        Args:
            specifier: One that `search` has found, or another with a name and a version, as in `engine.select`.
            update_selections: Whether formats that another version of it runs are run by this one from now on.
            on_progress: Called with bytes so far, bytes in all and the speed in bytes per second. What it raises is
                logged and does not stop the download.
            on_start_finalizing: Called once, when everything has arrived and the server begins to install it.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. Progress counts as a sign of life.
            signal: Cancels the download when it is aborted.

        Leaving the call early, by cancellation or any exception, cancels the download.

        Raises:
            LMStudioValueError: it has no name or no version.
            LMStudioServerError: it cannot be downloaded; says why.
            LMStudioCancelledError: *signal* was aborted.
        """
        port, extension = self._session._within(timeout), runtime_ops.read_engine(specifier)
        watch = DownloadWatch(on_progress, on_start_finalizing, signal)
        await self._run(runtime_ops.download_extension(port, extension, update_selections, watch))

    def __repr__(self) -> str:
        return f"{self._session!r}.extensions"


class _AsyncSessionRuntime(_AsyncSession):
    """What the server runs models with."""

    API_NAMESPACE: ClassVar[str] = "runtime"

    @property
    def engine(self) -> _AsyncRuntimeEngines:
        """The engines that are installed, and which of them runs what."""
        return _AsyncRuntimeEngines(self)

    @property
    def extensions(self) -> _AsyncRuntimeExtensions:
        """Engines and frameworks to download."""
        return _AsyncRuntimeExtensions(self)

    async def survey_hardware(
        self,
        scope: HardwareSurveyScopeInput | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> RuntimeHardwareSurveyResult:
        """What engines find in the server's machine: processor, graphics cards and memory, one view for each engine.

        Args:
            scope: The engines: "selected", "all", or a list of some, each as in `engine.select`. By default the server
                decides; the embedded one takes those that are selected.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.

        Raises:
            LMStudioValueError: an argument that no server could accept.
            LMStudioServerError: an engine of the list is not installed, or cannot be asked.
        """
        wanted = runtime_ops.read_scope(scope)
        return await self._run(runtime_ops.survey_hardware(self._within(timeout, signal), wanted))
