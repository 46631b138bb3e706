"""A plan for a download, in the asynchronous surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._async_io import AsyncBase
from lmstudio._ops.downloads import DownloadWatch
from lmstudio._surface.base import LeftWhenForgotten

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio._abort import AbortSignal
    from lmstudio._ops.downloads import DownloadFinalizedCallback, DownloadProgressCallback
    from lmstudio._ops.planner import DownloadPlanner
    from lmstudio._sdk_models import ArtifactDownloadPlan
    from lmstudio._surface.async_hub import _AsyncHub
    from lmstudio._timeouts import TimeoutInput

__all__ = ["AsyncArtifactDownloadPlanner"]


class AsyncArtifactDownloadPlanner(AsyncBase, LeftWhenForgotten):
    """What a download would fetch: look at it, choose, and then download or leave it.

    ::

        source = {"user": "lmstudio-community", "repo": "Qwen2.5-7B-Instruct-GGUF"}
        async with client.repository.create_model_download_planner(source) as planner:
            await planner.until_ready()
            print(planner.get_plan().download_size_bytes)
            await planner.download()

    Leaving the `with` block discards the plan, if `download` has not begun.
    Several tasks may wait at the same time.
    """

    def __init__(self, planner: DownloadPlanner, session: _AsyncHub) -> None:
        self._planner = planner
        self._session = session

    def is_ready(self) -> bool:
        """Whether everything is resolved, so that one can choose. Does not wait.

        Raises:
            LMStudioError: what the plan has failed with.
        """
        return self._planner.is_ready()

    async def until_ready(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Wait until everything is resolved.

        Args:
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. The plan goes on when it expires.
            signal: Ends the wait with LMStudioCancelledError, and not the plan.

        Raises:
            LMStudioServerError: there is no such artifact or model, or nothing that this server could run.
            LMStudioRuntimeError: the planner is closed.
        """
        await self._run(self._planner.until_ready(self._session._within(timeout), signal))

    def get_plan(self) -> ArtifactDownloadPlan:
        """The plan as it is known now. Does not wait: before `is_ready` it says little, and at first nothing.

        `nodes[0]` is what was asked for, the others are what it depends on.
        """
        return self._planner.look()

    async def select_model_download_option(
        self,
        node_index: int,
        download_option_index: int,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Choose what to download for a model, and wait until the plan has it.

        Args:
            node_index: Where the model is in the `nodes` of the plan.
            download_option_index: Where the option is in the `download_options` of that node.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the wait with LMStudioCancelledError.

        Raises:
            LMStudioValueError: there is no such model, or no such option.
            LMStudioRuntimeError: the plan is not ready, is being carried out, or was discarded.
        """
        port = self._session._within(timeout)
        await self._run(self._planner.select_option(port, node_index, download_option_index, signal))

    async def select_already_owned_model(
        self, node_index: int, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Choose the model that is on the server's disk already, and wait until the plan has it.

        Arguments and errors as in `select_model_download_option`.
        """
        await self._run(self._planner.select_owned(self._session._within(timeout), node_index, signal))

    async def download(
        self,
        on_progress: DownloadProgressCallback | None = None,
        on_start_finalizing: DownloadFinalizedCallback | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Carry the plan out, once it is ready. A planner does that once.

        Args:
            on_progress: Called with bytes so far, bytes in all and the speed in bytes per second. What it raises is
                logged and does not stop the download.
            on_start_finalizing: Called once, when everything has arrived and the server begins to install it.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. Progress counts as a sign of life.
            signal: Cancels the download when it is aborted.

        Leaving the call early, by cancellation or any exception, cancels the download.

        Raises:
            LMStudioServerError: it cannot be downloaded; says why.
            LMStudioCancelledError: *signal* was aborted.
            LMStudioRuntimeError: it was called before, or the planner is closed.
        """
        watch = DownloadWatch(on_progress, on_start_finalizing, signal)
        await self._run(self._planner.download(self._session._within(timeout), watch))

    async def aclose(self) -> None:
        """Discard the plan. A download that has begun goes on."""
        self._planner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._planner.close()

    def _leave(self) -> None:
        self._planner.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._planner.label!r} {self._planner.state}>"
