# Generated from async_hub.py by tools/make_sync.py. Edit that file instead.
"""LM Studio's hub, in the synchronous surface: artifacts, plugins, the account, LM Link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import UNSET, UnsetType

from lmstudio._ops import hub as hub_ops
from lmstudio._ops.downloads import DownloadWatch
from lmstudio._surface.sync_sessions import _Session
from lmstudio._sync_io import SyncBase
from lmstudio._timeouts import unhurried

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._ops.downloads import DownloadFinalizedCallback, DownloadProgressCallback
    from lmstudio._ops.hub import AuthenticationCodeCallback, PushMessageCallback, ServerPath
    from lmstudio._sdk_models import (
        AuthenticationStatus,
        ComputeDeviceAuthenticationStatus,
        LmLinkStatusResult,
        LocalArtifactFileList,
        RepositoryRpcLoginWithPreAuthenticatedKeysReturns,
    )
    from lmstudio._timeouts import TimeoutInput


class _LmLink(SyncBase):
    """LM Link, which connects one's own machines."""

    def __init__(self, session: _Hub) -> None:
        self._session = session

    def __repr__(self) -> str:
        return f"{self._session!r}.lm_link"

    def status(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> LmLinkStatusResult:
        """How it is, what stands in its way, and which machines there are."""
        return self._run(hub_ops.link_status(self._session._within(timeout, signal)))

    def set_disabled(self, disabled: bool, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Turn it off, or on again."""
        self._run(hub_ops.link_set_disabled(self._session._within(timeout, signal), disabled))

    def update_device_name(
        self, device_name: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Give the server's machine a name for the others."""
        self._run(hub_ops.link_update_device_name(self._session._within(timeout, signal), device_name))

    def set_preferred_device(
        self, device_identifier: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Choose the machine that loads models which several have: the `device_identifier` of one in `status()`."""
        port = self._session._within(timeout, signal)
        self._run(hub_ops.link_set_preferred_device(port, device_identifier))


class _Hub(_Session):
    """The part of the namespace repository that is about LM Studio's hub."""

    API_NAMESPACE: ClassVar[str] = "repository"

    @property
    def lm_link(self) -> _LmLink:
        """LM Link, which connects one's own machines."""
        return _LmLink(self)

    # Artifacts and plugins -------------------------------------------------------------------------------------------

    def download_artifact(
        self,
        owner: str,
        name: str,
        path: ServerPath,
        revision_number: int | None = None,
        on_progress: DownloadProgressCallback | None = None,
        on_start_finalizing: DownloadFinalizedCallback | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Download one artifact of the hub, without what it depends on, into a folder of the server's machine.

        `create_artifact_download_planner` installs an artifact with all that it needs.

        Args:
            owner: Who has published it.
            name: Its name.
            path: The folder, in full, on the server's machine.
            revision_number: Which revision; by default the latest one.
            on_progress: Called with bytes so far, bytes in all and the speed in bytes per second. What it raises is
                logged and does not stop the download.
            on_start_finalizing: Called once, when everything has arrived.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. Progress counts as a sign of life.
            signal: Cancels the download when it is aborted.

        Leaving the call early, by Ctrl-C or any exception, cancels the download.

        Raises:
            LMStudioValueError: an argument that no server could accept.
            LMStudioServerError: it cannot be downloaded; says why.
            LMStudioCancelledError: *signal* was aborted.
        """
        port = self._within(timeout)
        watch = DownloadWatch(on_progress, on_start_finalizing, signal)
        self._run(hub_ops.download_artifact(port, owner, name, revision_number, path, watch))

    def push_artifact(
        self,
        path: ServerPath,
        *,
        description: str | None = None,
        make_private: bool | None = None,
        write_revision: bool | None = None,
        overrides: Any | UnsetType = UNSET,
        on_message: PushMessageCallback | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Publish the artifact in a folder of the server's machine, and wait until that is done.

        Args:
            path: The folder, in full; it has a `manifest.json`.
            description: What to say about it; at most 1000 characters.
            make_private: Whether only its owner may see it. Counts for a new artifact only.
            write_revision: Whether to write the number of the new revision into the manifest.
            overrides: Members of the manifest that are to be others than in the file, as JSON.
            on_message: Called with each thing that the server says about its progress.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. Silence counts only if `idle` is given.
            signal: Ends the wait with LMStudioCancelledError. The server goes on: it cannot be told to stop.

        Raises:
            LMStudioValueError: an argument that no server could accept.
            LMStudioServerError: it cannot be published; says why.
        """
        parameter = hub_ops.push_parameter(path, description, make_private, write_revision, overrides)
        self._run(hub_ops.push_artifact(self._within(unhurried(timeout)), parameter, on_message, signal))

    def get_local_artifact_file_list(
        self, path: ServerPath, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> LocalArtifactFileList:
        """The files that `push_artifact` would upload from this folder of the server's machine.

        Raises:
            LMStudioServerError: there is no artifact.
        """
        return self._run(hub_ops.get_local_artifact_files(self._within(timeout, signal), path))

    def get_writable_artifact_owners(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> list[str]:
        """The users and organizations of the hub for whom one may publish."""
        return self._run(hub_ops.get_writable_artifact_owners(self._within(timeout, signal)))

    def install_plugin_dependencies(
        self, plugin_folder: ServerPath, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Install the packages that the plugin in this folder of the server's machine needs.

        *timeout* as elsewhere, but silence counts only if `idle` is given.

        Raises:
            LMStudioServerError: they cannot be installed; says why.
        """
        port = self._within(unhurried(timeout), signal)
        self._run(hub_ops.install_plugin_dependencies(port, plugin_folder))

    def install_local_plugin(
        self, path: ServerPath, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Install the plugin in this folder of the server's machine as if it came from the hub.

        *timeout* as elsewhere, but silence counts only if `idle` is given.

        Raises:
            LMStudioServerError: it cannot be installed; says why.
        """
        self._run(hub_ops.install_local_plugin(self._within(unhurried(timeout), signal), path))

    # The account -----------------------------------------------------------------------------------------------------

    def ensure_authenticated(
        self,
        on_authentication_code: AuthenticationCodeCallback,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Wait until somebody is logged in at the hub; return at once if that is so.

        Args:
            on_authentication_code: Called with an `AuthenticationCode` if nobody is: show a person its `filled_url`,
                or its `manual_url` and `code`.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. Silence counts only if `idle` is given.
            signal: Ends the wait with LMStudioCancelledError.

        Raises:
            LMStudioServerError: nobody can log in.
        """
        port = self._within(unhurried(timeout))
        self._run(hub_ops.ensure_authenticated(port, on_authentication_code, signal))

    def login_with_pre_authenticated_keys(
        self,
        key_id: str,
        public_key: str,
        private_key: str,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> RepositoryRpcLoginWithPreAuthenticatedKeysReturns:
        """Log in with keys that the hub knows already. The result has a `user_name`.

        Raises:
            LMStudioServerError: the hub does not accept them.
        """
        parameter = hub_ops.key_parameter(key_id, public_key, private_key)
        return self._run(hub_ops.login_with_keys(self._within(timeout, signal), parameter))

    def login_as_compute_device(
        self, token: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> ComputeDeviceAuthenticationStatus:
        """Log the server's machine in, as one that computes for the owner of this token.

        Raises:
            LMStudioServerError: the hub does not accept it.
        """
        return self._run(hub_ops.login_as_compute_device(self._within(timeout, signal), token))

    def get_authentication_status(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> AuthenticationStatus:
        """Who is logged in; its `type` is "none", "loggedInUser" or "computeDevice"."""
        return self._run(hub_ops.get_authentication_status(self._within(timeout, signal)))

    def is_authenticated(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> bool:
        """Whether anybody is logged in."""
        return self._run(hub_ops.is_authenticated(self._within(timeout, signal)))

    def deauthenticate(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Log out. Does nothing if nobody is logged in."""
        self._run(hub_ops.deauthenticate(self._within(timeout, signal)))
