# Generated from async_system.py by tools/make_sync.py. Edit that file instead.
"""The machine that the server runs on, in the synchronous surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lmstudio._ops import system as system_ops
from lmstudio._sdk_models import LlmInfo
from lmstudio._surface.sync_sessions import DownloadedEmbeddingModel, DownloadedLlm, _Session

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._ops.system import LMStudioVersion, ServiceInfo
    from lmstudio._sdk_models import ModelInfo
    from lmstudio._surface.sync_sessions import AnyDownloadedModel
    from lmstudio._timeouts import TimeoutInput


class _SessionSystem(_Session):
    """The machine that the server runs on."""

    API_NAMESPACE: ClassVar[str] = "system"

    def list_downloaded_models(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[AnyDownloadedModel]:
        """All models on the server's disk."""
        return self._downloaded(self._run(system_ops.list_downloaded_models(self._within(timeout, signal))))

    def list_downloaded_model_variants(
        self, model_key: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[AnyDownloadedModel]:
        """The variants of a downloaded model, e.g. its quantizations.

        Raises:
            LMStudioServerError: there is no such model, or it has no variants (`info.variants` is None).
        """
        port = self._within(timeout, signal)
        return self._downloaded(self._run(system_ops.list_downloaded_model_variants(port, model_key)))

    def when_disconnected(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Wait until the connection to the server has ended: it went away, was lost, or `disconnect` was called.

        Connects first, if there is no connection.

        Args:
            timeout: As elsewhere, but silence is what one waits for here: there is no `idle`.
            signal: Ends the wait with LMStudioCancelledError.

        Raises:
            LMStudioWebsocketError: it cannot connect.
            LMStudioTimeoutError: *timeout* has expired, and the connection is still there.
        """
        port = self._within(timeout)
        self.connect()
        self._run(system_ops.when_disconnected(port, signal))

    def _downloaded(self, infos: list[ModelInfo]) -> list[AnyDownloadedModel]:
        llm, embedding = self._client.llm, self._client.embedding
        return [
            DownloadedLlm(info, llm) if isinstance(info, LlmInfo) else DownloadedEmbeddingModel(info, embedding)
            for info in infos
        ]

    # The server itself -----------------------------------------------------------------------------------------------

    def get_lm_studio_version(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> LMStudioVersion:
        """The server's `version`, as in "0.4.5", and the number of its `build`."""
        return self._run(system_ops.get_version(self._within(timeout, signal)))

    def get_info(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> ServiceInfo:
        """The server's process: its `pid` there, its `version`, and whether it `is_daemon`, without an application."""
        return self._run(system_ops.get_info(self._within(timeout, signal)))

    def request_shutdown(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Ask the server to end. Who waits for `when_disconnected` meanwhile learns when it has.

        Raises:
            LMStudioServerError: it does not let this client do so; LM Studio allows it to few, such as `lms`.
            LMStudioWebsocketError: it cannot connect, or the connection ended before there was an answer.
        """
        self._run(system_ops.request_shutdown(self._within(timeout, signal)))

    def start_http_server(
        self,
        *,
        port: int | None = None,
        cors: bool | None = None,
        network_interface: str | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Let the server answer HTTP: those who use OpenAI's API, for example, or `lmstudio.http`.

        Args:
            port: Where, from 1 to 65535; by default the server decides.
            cors: Whether web pages of other origins may use it.
            network_interface: The address to listen at: "127.0.0.1", which is the default, for this machine only, or
                "0.0.0.0" for all of its networks.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.

        Raises:
            LMStudioValueError: an argument that no server could accept.
            LMStudioServerError: the port is taken, or the server does not let this client do so.
        """
        opts = system_ops.http_server_options(port, cors, network_interface)
        self._run(system_ops.start_http_server(self._within(timeout, signal), opts))

    def stop_http_server(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Let the server answer HTTP no longer.

        Raises:
            LMStudioServerError: it was not started, or the server does not let this client do so.
        """
        self._run(system_ops.stop_http_server(self._within(timeout, signal)))

    def notify(
        self,
        title: str,
        description: str | None = None,
        *,
        no_auto_dismiss: bool | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Show a notification in LM Studio's window. A server without one may log it.

        Args:
            title: Its first line.
            description: What is below it.
            no_auto_dismiss: Whether it stays until somebody closes it.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Ends the call with LMStudioCancelledError.
        """
        notification = system_ops.notification(title, description, no_auto_dismiss)
        self._run(system_ops.notify(self._within(timeout, signal), notification))

    def set_experiment_flag(
        self, code: str, value: bool, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Switch something on or off that LM Studio is trying out."""
        self._run(system_ops.set_experiment_flag(self._within(timeout, signal), code, value))

    def get_experiment_flags(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> list[str]:
        """The codes of the experiments that are switched on."""
        return self._run(system_ops.get_experiment_flags(self._within(timeout, signal)))
