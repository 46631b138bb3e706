"""What LM Studio's hub has beside models: artifacts, plugins, the account, and LM Link between one's own machines."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from lmstudio._abort import check_signal, on_abort
from lmstudio._callbacks import check_callbacks, tell
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
from lmstudio._ops.downloads import DownloadWatch, follow_download
from lmstudio._ops.planner import artifact_target
from lmstudio._sdk_models import (
    ChannelPacketCancel,
    ChannelPacketSuccess,
    RepositoryChannelDownloadArtifactCreationParameter,
    RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticated,
    RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticationCode,
    RepositoryChannelPushArtifactCreationParameter,
    RepositoryRpcGetLocalArtifactFilesParameter,
    RepositoryRpcInstallLocalPluginParameter,
    RepositoryRpcInstallPluginDependenciesParameter,
    RepositoryRpcLmLinkSetDisabledParameter,
    RepositoryRpcLmLinkSetPreferredDeviceParameter,
    RepositoryRpcLmLinkUpdateDeviceNameParameter,
    RepositoryRpcLoginAsComputeDeviceParameter,
    RepositoryRpcLoginWithPreAuthenticatedKeysParameter,
)
from lmstudio._struct import LMStudioStruct
from lmstudio.errors import LMStudioCancelledError, LMStudioChannelClosedError, LMStudioValueError

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._port import Port
    from lmstudio._sdk_models import (
        AuthenticationStatus,
        ComputeDeviceAuthenticationStatus,
        LmLinkStatusResult,
        LocalArtifactFileList,
        RepositoryRpcLoginWithPreAuthenticatedKeysReturns,
    )
    from lmstudio.json_api import Channel

ServerPath: TypeAlias = "str | os.PathLike[str]"
"""A path on the server's machine, which is sent as it is."""
PushMessageCallback: TypeAlias = Callable[[str], object]

_LONGEST_DESCRIPTION: Final = 1000


class AuthenticationCode(LMStudioStruct):
    """What a person needs to log in at LM Studio's hub with a browser."""

    code: str
    """To be entered at `manual_url`."""
    manual_url: str
    """Where to enter the code."""
    filled_url: str
    """The same with the code filled in."""


AuthenticationCodeCallback: TypeAlias = Callable[[AuthenticationCode], object]


# Arguments ------------------------------------------------------------------------------------------------------------


def _path(given: ServerPath, name: str) -> str:
    if not isinstance(given, (str, os.PathLike)):
        raise LMStudioValueError(f"{name} must be a path on the server's machine, got {type(given).__name__}.")
    path = os.fspath(given)
    if not isinstance(path, str) or not path or "\0" in path:
        raise LMStudioValueError(f"{name} must be a path on the server's machine, got {path!r:.80}.")
    return path


def _flag(given: bool | None, name: str) -> bool | None:
    if given is not None and not isinstance(given, bool):
        raise LMStudioValueError(f"{name} must be True or False, got {type(given).__name__}.")
    return given


def _check_text(given: object, name: str) -> None:
    """Refuse what is not text with something in it. Shows nothing of it, because it may be a secret."""
    if not isinstance(given, str) or not given:
        found = "an empty string" if given == "" else type(given).__name__
        raise LMStudioValueError(f"{name} must be a string that is not empty, got {found}.")


# Artifacts and plugins ------------------------------------------------------------------------------------------------


async def download_artifact(
    port: Port, owner: str, name: str, revision_number: int | None, path: ServerPath, watch: DownloadWatch
) -> None:
    """Download one artifact, without what it depends on, into a folder of the server's machine.

    Leaving early in any way cancels the download. Protocol: channel repository/downloadArtifact.
    """
    target = artifact_target(owner, name)
    is_number = isinstance(revision_number, int) and not isinstance(revision_number, bool) and revision_number >= 0
    if revision_number is not None and not is_number:
        raise LMStudioValueError(f"revision_number must be a whole number, or None; got {revision_number!r}.")
    parameter = RepositoryChannelDownloadArtifactCreationParameter(
        artifact_owner=target.owner,
        artifact_name=target.name,
        revision_number=revision_number,
        path=_path(path, "path"),
    )
    watch.check(port.runtime, "on_start_finalizing")
    channel = port.channel(DOWNLOAD_ARTIFACT, parameter, f"download the artifact {owner}/{name}")
    await follow_download(port.runtime, channel, channel.open, ChannelPacketCancel(), ChannelPacketSuccess, watch)


def push_parameter(
    path: ServerPath,
    description: str | None = None,
    make_private: bool | None = None,
    write_revision: bool | None = None,
    overrides: Any | UnsetType = UNSET,
) -> RepositoryChannelPushArtifactCreationParameter:
    """What to publish, as the wire has it.

    Raises:
        LMStudioValueError: the server could not accept it.
    """
    if description is not None and not isinstance(description, str):
        raise LMStudioValueError(f"description must be a string, got {type(description).__name__}.")
    if description is not None and len(description) > _LONGEST_DESCRIPTION:
        raise LMStudioValueError(
            f"description has {len(description)} characters, but may have {_LONGEST_DESCRIPTION} at most."
        )
    if overrides is not UNSET:
        try:
            msgspec.json.encode(overrides)
        except (TypeError, ValueError, RecursionError) as error:
            raise LMStudioValueError(f"overrides cannot be written as JSON: {error}") from error
    return RepositoryChannelPushArtifactCreationParameter(
        path=_path(path, "path"),
        description=description,
        make_private=_flag(make_private, "make_private"),
        write_revision=_flag(write_revision, "write_revision"),
        overrides=overrides,
    )


async def push_artifact(
    port: Port,
    parameter: RepositoryChannelPushArtifactCreationParameter,
    on_message: PushMessageCallback | None = None,
    signal: AbortSignal | None = None,
) -> None:
    """Publish an artifact. Nothing can stop the server once it has begun: *signal* ends the wait.

    Protocol: channel repository/pushArtifact, which ends well by being closed.
    """
    check_callbacks(port.runtime, on_message=on_message)
    channel = port.channel(PUSH_ARTIFACT, parameter, f"publish the artifact in {parameter.path!r}")

    async def follow() -> None:
        while True:
            await tell(port.runtime, on_message, (await channel.receive()).message)

    try:
        await _listen(channel, follow, signal)
    except LMStudioChannelClosedError:
        return


async def _listen(channel: Channel[Any, None], follow: Callable[[], Any], signal: AbortSignal | None) -> None:
    """Open *channel* and *follow* it. The server cannot be told to stop, so that leaving early only ends the wait."""
    check_signal(signal)
    if signal is not None:
        signal.throw_if_aborted()
    try:
        channel.open()
        with on_abort(signal, channel.close):
            await follow()
    except LMStudioCancelledError:
        if signal is not None and signal.aborted:
            raise signal.error() from None
        raise
    finally:
        channel.close()


async def get_local_artifact_files(port: Port, path: ServerPath) -> LocalArtifactFileList:
    """The files that publishing a folder would upload. Protocol: rpc repository/getLocalArtifactFiles."""
    parameter = RepositoryRpcGetLocalArtifactFilesParameter(path=_path(path, "path"))
    return (await port.call(GET_LOCAL_ARTIFACT_FILES, parameter, f"list the files of {parameter.path!r}")).file_list


async def install_plugin_dependencies(port: Port, plugin_folder: ServerPath) -> None:
    """Install what a plugin needs. Protocol: rpc repository/installPluginDependencies."""
    parameter = RepositoryRpcInstallPluginDependenciesParameter(plugin_folder=_path(plugin_folder, "plugin_folder"))
    attempted = f"install what the plugin in {parameter.plugin_folder!r} needs"
    await port.call(INSTALL_PLUGIN_DEPENDENCIES, parameter, attempted)


async def install_local_plugin(port: Port, path: ServerPath) -> None:
    """Install the plugin in a folder. Protocol: rpc repository/installLocalPlugin."""
    parameter = RepositoryRpcInstallLocalPluginParameter(plugin_path=_path(path, "path"))
    await port.call(INSTALL_LOCAL_PLUGIN, parameter, f"install the plugin in {parameter.plugin_path!r}")


async def get_writable_artifact_owners(port: Port) -> list[str]:
    """Under which names one may publish. Protocol: rpc repository/getWritableArtifactOwners."""
    return (await port.call(GET_WRITABLE_ARTIFACT_OWNERS, None, "get the owners one may publish for")).owners


# The account ----------------------------------------------------------------------------------------------------------


async def ensure_authenticated(
    port: Port, on_authentication_code: AuthenticationCodeCallback, signal: AbortSignal | None = None
) -> None:
    """Return when somebody is logged in. Protocol: channel repository/ensureAuthenticated."""
    if on_authentication_code is None:
        raise LMStudioValueError("on_authentication_code must be a function: who logs in needs the code.")
    check_callbacks(port.runtime, on_authentication_code=on_authentication_code)
    channel = port.channel(ENSURE_AUTHENTICATED, None, "log in to LM Studio's hub")

    async def follow() -> None:
        while True:
            packet = await channel.receive()
            if isinstance(packet, RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticated):
                return
            if isinstance(packet, RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticationCode):
                code = AuthenticationCode(code=packet.code, manual_url=packet.manual_url, filled_url=packet.filled_url)
                await tell(port.runtime, on_authentication_code, code)

    await _listen(channel, follow, signal)


def key_parameter(
    key_id: str, public_key: str, private_key: str
) -> RepositoryRpcLoginWithPreAuthenticatedKeysParameter:
    """Keys to log in with, as the wire has them.

    Raises:
        LMStudioValueError: one is missing.
    """
    for name, value in (("key_id", key_id), ("public_key", public_key), ("private_key", private_key)):
        _check_text(value, name)
    return RepositoryRpcLoginWithPreAuthenticatedKeysParameter(
        key_id=key_id, public_key=public_key, private_key=private_key
    )


async def login_with_keys(
    port: Port, parameter: RepositoryRpcLoginWithPreAuthenticatedKeysParameter
) -> RepositoryRpcLoginWithPreAuthenticatedKeysReturns:
    """Log in with keys. Protocol: rpc repository/loginWithPreAuthenticatedKeys."""
    return await port.call(LOGIN_WITH_PRE_AUTHENTICATED_KEYS, parameter, "log in with keys")


async def login_as_compute_device(port: Port, token: str) -> ComputeDeviceAuthenticationStatus:
    """Log the server in as a machine that computes for others. Protocol: rpc repository/loginAsComputeDevice."""
    _check_text(token, "token")
    parameter = RepositoryRpcLoginAsComputeDeviceParameter(token=token)
    return await port.call(LOGIN_AS_COMPUTE_DEVICE, parameter, "log in as a compute device")


async def get_authentication_status(port: Port) -> AuthenticationStatus:
    """Who is logged in. Protocol: rpc repository/getAuthenticationStatus."""
    status = await port.call(GET_AUTHENTICATION_STATUS, None, "get the status of the login")
    return status.authentication_status


async def is_authenticated(port: Port) -> bool:
    """Whether somebody is logged in. Protocol: rpc repository/isAuthenticated."""
    return (await port.call(IS_AUTHENTICATED, None, "ask whether somebody is logged in")).authenticated


async def deauthenticate(port: Port) -> None:
    """Log out. Protocol: rpc repository/deauthenticate."""
    await port.call(DEAUTHENTICATE, None, "log out of LM Studio's hub")


# LM Link --------------------------------------------------------------------------------------------------------------


async def link_status(port: Port) -> LmLinkStatusResult:
    """How LM Link is. Protocol: rpc repository/lmLinkStatus."""
    return await port.call(LM_LINK_STATUS, None, "get the status of LM Link")


async def link_set_disabled(port: Port, disabled: bool) -> None:
    """Turn LM Link off, or on. Protocol: rpc repository/lmLinkSetDisabled."""
    if not isinstance(disabled, bool):
        raise LMStudioValueError(f"disabled must be True or False, got {type(disabled).__name__}.")
    parameter = RepositoryRpcLmLinkSetDisabledParameter(disabled=disabled)
    await port.call(LM_LINK_SET_DISABLED, parameter, f"{'disable' if disabled else 'enable'} LM Link")


async def link_update_device_name(port: Port, device_name: str) -> None:
    """Name the server's machine. Protocol: rpc repository/lmLinkUpdateDeviceName."""
    _check_text(device_name, "device_name")
    parameter = RepositoryRpcLmLinkUpdateDeviceNameParameter(device_name=device_name)
    await port.call(LM_LINK_UPDATE_DEVICE_NAME, parameter, f"name the device {device_name!r}")


async def link_set_preferred_device(port: Port, device_identifier: str) -> None:
    """Choose the machine to prefer. Protocol: rpc repository/lmLinkSetPreferredDevice."""
    _check_text(device_identifier, "device_identifier")
    parameter = RepositoryRpcLmLinkSetPreferredDeviceParameter(device_identifier=device_identifier)
    await port.call(LM_LINK_SET_PREFERRED_DEVICE, parameter, f"prefer the device {device_identifier!r}")
