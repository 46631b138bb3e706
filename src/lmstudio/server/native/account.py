"""The part of the namespace repository that belongs to LM Studio's hub: the account, artifacts, plugins, LM Link.

This server has no account and never will. What can be said without one is said; what would need one is refused, with
the reason.
"""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING, Final, NoReturn

from lmstudio._endpoints.repository import (
    DEAUTHENTICATE,
    DOWNLOAD_ARTIFACT,
    ENSURE_AUTHENTICATED,
    GET_AUTHENTICATION_STATUS,
    GET_LOCAL_ARTIFACT_FILES,
    GET_WRITABLE_ARTIFACT_OWNERS,
    INSTALL_LOCAL_PLUGIN,
    INSTALL_PLUGIN_DEPENDENCIES,
    IS_AUTHENTICATED,
    LM_LINK_SET_DISABLED,
    LM_LINK_SET_PREFERRED_DEVICE,
    LM_LINK_STATUS,
    LM_LINK_UPDATE_DEVICE_NAME,
    LOGIN_AS_COMPUTE_DEVICE,
    LOGIN_WITH_PRE_AUTHENTICATED_KEYS,
    PUSH_ARTIFACT,
)
from lmstudio._sdk_models import (
    LmLinkStatusResult,
    NoAuthenticationStatus,
    RepositoryRpcGetAuthenticationStatusReturns,
    RepositoryRpcGetLocalArtifactFilesReturns,
    RepositoryRpcGetWritableArtifactOwnersReturns,
    RepositoryRpcIsAuthenticatedReturns,
)
from lmstudio.server.errors import RequestError
from lmstudio.server.repository.artifacts import local_files

if TYPE_CHECKING:
    from lmstudio._sdk_models import (
        RepositoryChannelDownloadArtifactCreationParameter,
        RepositoryChannelDownloadArtifactToClientPacket,
        RepositoryChannelDownloadArtifactToServerPacket,
        RepositoryChannelEnsureAuthenticatedToClientPacket,
        RepositoryChannelPushArtifactCreationParameter,
        RepositoryChannelPushArtifactToClientPacket,
        RepositoryRpcGetLocalArtifactFilesParameter,
        RepositoryRpcInstallLocalPluginParameter,
        RepositoryRpcInstallPluginDependenciesParameter,
        RepositoryRpcLmLinkSetDisabledParameter,
        RepositoryRpcLmLinkSetPreferredDeviceParameter,
        RepositoryRpcLmLinkUpdateDeviceNameParameter,
        RepositoryRpcLoginAsComputeDeviceParameter,
        RepositoryRpcLoginWithPreAuthenticatedKeysParameter,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel

_USE_LM_STUDIO: Final = "Use the LM Studio application for that."


def _no_login(what: str) -> RequestError:
    return RequestError(
        f"Cannot log in {what}: this server has no part in LM Studio's hub, and so no account.",
        suggestion=_USE_LM_STUDIO,
    )


def _no_lm_link(attempted: str) -> RequestError:
    return RequestError(
        f"Cannot {attempted}: this server has no LM Link.",
        suggestion="Connect to the other server directly, by its address.",
    )


class AccountHandlers:
    """The handlers of that part."""

    def bind(self, handlers: Handlers) -> None:
        """Serve, or refuse, all of its endpoints."""
        handlers.rpc(IS_AUTHENTICATED, self._is_authenticated)
        handlers.rpc(GET_AUTHENTICATION_STATUS, self._get_status)
        handlers.rpc(DEAUTHENTICATE, self._deauthenticate)
        handlers.rpc(LOGIN_AS_COMPUTE_DEVICE, self._login_as_device)
        handlers.rpc(LOGIN_WITH_PRE_AUTHENTICATED_KEYS, self._login_with_keys)
        handlers.channel(ENSURE_AUTHENTICATED, self._ensure_authenticated)
        handlers.rpc(GET_WRITABLE_ARTIFACT_OWNERS, self._get_owners)
        handlers.rpc(GET_LOCAL_ARTIFACT_FILES, self._get_files)
        handlers.channel(DOWNLOAD_ARTIFACT, self._download_artifact)
        handlers.channel(PUSH_ARTIFACT, self._push_artifact)
        handlers.rpc(INSTALL_LOCAL_PLUGIN, self._install_plugin)
        handlers.rpc(INSTALL_PLUGIN_DEPENDENCIES, self._install_dependencies)
        handlers.rpc(LM_LINK_STATUS, self._link_status)
        handlers.rpc(LM_LINK_SET_DISABLED, self._link_set_disabled)
        handlers.rpc(LM_LINK_UPDATE_DEVICE_NAME, self._link_update_name)
        handlers.rpc(LM_LINK_SET_PREFERRED_DEVICE, self._link_set_preferred)

    # The account -----------------------------------------------------------------------------------------------------

    async def _is_authenticated(self, _: ClientContext, __: None) -> RepositoryRpcIsAuthenticatedReturns:
        return RepositoryRpcIsAuthenticatedReturns(authenticated=False)

    async def _get_status(self, _: ClientContext, __: None) -> RepositoryRpcGetAuthenticationStatusReturns:
        return RepositoryRpcGetAuthenticationStatusReturns(authentication_status=NoAuthenticationStatus())

    async def _deauthenticate(self, _: ClientContext, __: None) -> None:
        """Nobody is logged in, which is what was asked for."""

    async def _login_as_device(self, _: ClientContext, __: RepositoryRpcLoginAsComputeDeviceParameter) -> NoReturn:
        raise _no_login("as a compute device")

    async def _login_with_keys(
        self, _: ClientContext, __: RepositoryRpcLoginWithPreAuthenticatedKeysParameter
    ) -> NoReturn:
        raise _no_login("with these keys")

    async def _ensure_authenticated(
        self, _: ClientContext, __: None, ___: ServerChannel[RepositoryChannelEnsureAuthenticatedToClientPacket, None]
    ) -> NoReturn:
        raise _no_login("here")

    # Artifacts and plugins -------------------------------------------------------------------------------------------

    async def _get_owners(self, _: ClientContext, __: None) -> RepositoryRpcGetWritableArtifactOwnersReturns:
        return RepositoryRpcGetWritableArtifactOwnersReturns(owners=[])

    async def _get_files(
        self, _: ClientContext, parameter: RepositoryRpcGetLocalArtifactFilesParameter
    ) -> RepositoryRpcGetLocalArtifactFilesReturns:
        files = await asyncio.to_thread(local_files, parameter.path)
        return RepositoryRpcGetLocalArtifactFilesReturns(file_list=files)

    async def _download_artifact(
        self,
        _: ClientContext,
        parameter: RepositoryChannelDownloadArtifactCreationParameter,
        __: ServerChannel[
            RepositoryChannelDownloadArtifactToClientPacket, RepositoryChannelDownloadArtifactToServerPacket
        ],
    ) -> NoReturn:
        raise RequestError(
            f"Cannot download the artifact {parameter.artifact_owner}/{parameter.artifact_name}: artifacts are in LM "
            "Studio's hub, in which this server has no part.",
            suggestion="Models come from this server's own catalogue: search for them, or make a plan for a download.",
        )

    async def _push_artifact(
        self,
        _: ClientContext,
        parameter: RepositoryChannelPushArtifactCreationParameter,
        __: ServerChannel[RepositoryChannelPushArtifactToClientPacket, None],
    ) -> NoReturn:
        raise RequestError(
            f"Cannot publish {parameter.path!r}: that needs an account in LM Studio's hub, and this server has none.",
            suggestion=_USE_LM_STUDIO,
        )

    async def _install_plugin(self, _: ClientContext, parameter: RepositoryRpcInstallLocalPluginParameter) -> NoReturn:
        raise RequestError(
            f"Cannot install the plugin in {parameter.plugin_path!r}: this server runs no plugins by itself.",
            suggestion="Run the plugin as a program of its own that connects to this server.",
        )

    async def _install_dependencies(
        self, _: ClientContext, parameter: RepositoryRpcInstallPluginDependenciesParameter
    ) -> NoReturn:
        raise RequestError(
            f"Cannot install what the plugin in {parameter.plugin_folder!r} needs: this server has no package manager.",
            suggestion="Install it in that folder yourself, for a JavaScript plugin with: npm install",
        )

    # LM Link ---------------------------------------------------------------------------------------------------------

    async def _link_status(self, _: ClientContext, __: None) -> LmLinkStatusResult:
        return LmLinkStatusResult(
            status="offline",
            issues=["deviceDisabled", "notLoggedIn"],
            peers=[],
            device_identifier=None,
            device_name=platform.node(),
        )

    async def _link_set_disabled(self, _: ClientContext, parameter: RepositoryRpcLmLinkSetDisabledParameter) -> None:
        if not parameter.disabled:  # disabled it is
            raise _no_lm_link("enable LM Link")

    async def _link_update_name(self, _: ClientContext, __: RepositoryRpcLmLinkUpdateDeviceNameParameter) -> NoReturn:
        raise _no_lm_link("name this device")

    async def _link_set_preferred(
        self, _: ClientContext, parameter: RepositoryRpcLmLinkSetPreferredDeviceParameter
    ) -> NoReturn:
        raise _no_lm_link(f"prefer the device {parameter.device_identifier!r}")
