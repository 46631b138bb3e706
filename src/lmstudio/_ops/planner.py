"""A plan for a download, which one may look at and change before it is carried out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from lmstudio._abort import check_signal, on_abort
from lmstudio._callbacks import check_callbacks, tell
from lmstudio._endpoints.repository import CREATE_DOWNLOAD_PLAN
from lmstudio._ops.downloads import DownloadWatch, follow_download
from lmstudio._ops.repository import read_compatibility_types
from lmstudio._sdk_models import (
    ArtifactDownloadPlan,
    ArtifactDownloadPlanNodeArtifact,
    ArtifactDownloadPlanNodeModel,
    ChannelPacketSuccess,
    HuggingFaceModelDownloadSource,
    RepositoryChannelCreateDownloadPlanCreationParameter,
    RepositoryChannelCreateDownloadPlanToClientPacketPlanReady,
    RepositoryChannelCreateDownloadPlanToClientPacketPlanUpdated,
    RepositoryChannelCreateDownloadPlanToServerPacketCancelDownload,
    RepositoryChannelCreateDownloadPlanToServerPacketCancelPlan,
    RepositoryChannelCreateDownloadPlanToServerPacketCommit,
    RepositoryChannelCreateDownloadPlanToServerPacketSetSelectedDownloadOptionIndex,
    RepositoryDownloadPlannerOpts,
    RepositoryDownloadPlannerTargetArtifact,
    RepositoryDownloadPlannerTargetModel,
)
from lmstudio._struct import LMStudioStruct
from lmstudio.errors import LMStudioError, LMStudioRuntimeError, LMStudioValueError
from lmstudio.json_api import fresh_copy

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._port import Port
    from lmstudio._sdk_models import (
        ModelCompatibilityType,
        ModelDownloadSource,
        RepositoryDownloadPlannerResolutionPreference,
        RepositoryDownloadPlannerTarget,
    )

PlanUpdatedCallback: TypeAlias = Callable[[ArtifactDownloadPlan], object]
ModelDownloadSourceInput: TypeAlias = "ModelDownloadSource | Mapping[str, Any]"
ResolutionPreferenceInput: TypeAlias = "RepositoryDownloadPlannerResolutionPreference | Mapping[str, Any]"

StructT = TypeVar("StructT", bound=LMStudioStruct)

_PLANS = (
    RepositoryChannelCreateDownloadPlanToClientPacketPlanReady,
    RepositoryChannelCreateDownloadPlanToClientPacketPlanUpdated,
)


# What to plan ---------------------------------------------------------------------------------------------------------


def artifact_target(owner: str, name: str) -> RepositoryDownloadPlannerTargetArtifact:
    """An artifact of the hub, as the wire has it.

    Raises:
        LMStudioValueError: the hub cannot have one with these names.
    """
    return _read(RepositoryDownloadPlannerTargetArtifact, {"owner": owner, "name": name}, "an artifact")


def model_target(source: ModelDownloadSourceInput) -> RepositoryDownloadPlannerTargetModel:
    """The place of a model, as the wire has it.

    Raises:
        LMStudioValueError: that is no place.
    """
    read = _read(HuggingFaceModelDownloadSource, source, "the source of a model")
    for name, value in (("user", read.user), ("repo", read.repo)):
        if not value or "/" in value:
            raise LMStudioValueError(f"The source of a model has {value!r} as {name}: it needs a name without slashes.")
    return RepositoryDownloadPlannerTargetModel(source=read)


def planner_options(
    resolution_preference: Sequence[ResolutionPreferenceInput] | None,
    compatibility_types: Sequence[ModelCompatibilityType] | None,
) -> RepositoryDownloadPlannerOpts:
    """What to prefer, as the wire has it.

    Raises:
        LMStudioValueError: the server could not accept it.
    """
    types = None if compatibility_types is None else read_compatibility_types(compatibility_types)
    if resolution_preference is None:
        return RepositoryDownloadPlannerOpts(compatibility_types=types)
    if isinstance(resolution_preference, (str, Mapping)) or not isinstance(resolution_preference, Sequence):
        raise LMStudioValueError(
            'resolution_preference must be a list such as [{"type": "quantName", "quantName": "Q4_K_M"}], '
            f"got {type(resolution_preference).__name__}."
        )
    preferences = [each.to_dict() if isinstance(each, LMStudioStruct) else each for each in resolution_preference]
    given = {"resolution_preference": preferences, "compatibility_types": types}
    return _read(RepositoryDownloadPlannerOpts, given, "preferences for a download")


def _read(struct: type[StructT], given: object, what: str) -> StructT:
    if isinstance(given, struct):
        given = given.to_dict()
    if not isinstance(given, Mapping):
        raise LMStudioValueError(f"Cannot read {given!r:.80} as {what}: it must be a {struct.__name__} or a dict.")
    try:
        return struct.from_dict(given)
    except msgspec.ValidationError as error:
        raise LMStudioValueError(f"Cannot read {dict(given)!r:.200} as {what}: {error}") from error


def _label(target: RepositoryDownloadPlannerTarget) -> str:
    if isinstance(target, RepositoryDownloadPlannerTargetArtifact):
        return f"{target.owner}/{target.name}"
    return f"{target.source.user}/{target.source.repo}"


def _placeholder(target: RepositoryDownloadPlannerTarget) -> ArtifactDownloadPlan:
    """The plan before the server has said anything about it."""
    node: ArtifactDownloadPlanNodeArtifact | ArtifactDownloadPlanNodeModel
    if isinstance(target, RepositoryDownloadPlannerTargetArtifact):
        node = ArtifactDownloadPlanNodeArtifact(
            owner=target.owner, name=target.name, state="pending", dependency_nodes=[]
        )
    else:
        node = ArtifactDownloadPlanNodeModel(state="pending", dependency_label=_label(target))
    return ArtifactDownloadPlan(nodes=[node], download_size_bytes=0, download_action="none", version=0)


# The planner ----------------------------------------------------------------------------------------------------------


class DownloadPlanner:
    """One plan, from its request to the end of the download.

    Nobody reads the channel in the background: whoever waits takes what arrives, and so does whoever only looks while
    nobody waits. Protocol: channel repository/createDownloadPlan.
    """

    def __init__(
        self,
        port: Port,
        target: RepositoryDownloadPlannerTarget,
        opts: RepositoryDownloadPlannerOpts,
        on_plan_updated: PlanUpdatedCallback | None = None,
        signal: AbortSignal | None = None,
    ) -> None:
        check_callbacks(port.runtime, on_plan_updated=on_plan_updated)
        check_signal(signal)
        self.label: str = _label(target)
        """owner/name of what is planned."""
        self._runtime = port.runtime
        self._on_plan_updated, self._signal = on_plan_updated, signal
        self._ignore_signal: Callable[[], None] | None = None
        self._plan = _placeholder(target)
        self._untold: deque[ArtifactDownloadPlan] = deque()
        self._is_ready = self._download_began = self._is_committed = False
        self._next_version = 1
        self._requested: dict[int, tuple[int | None, int]] = {}
        """What was selected last for each node, and the version of the plan that will have it."""
        self._waiting = 0
        self._error: LMStudioError | None = None
        parameter = RepositoryChannelCreateDownloadPlanCreationParameter(target=target, opts=opts)
        self._channel = port.channel(CREATE_DOWNLOAD_PLAN, parameter, f"download {self.label!r}")

    def open(self) -> None:
        """Ask the server for the plan. Nothing is awaited."""
        if self._signal is not None:
            self._signal.throw_if_aborted()
        try:
            self._channel.open()
            if self._signal is not None:
                self._ignore_signal = self._signal.add_listener(self._abort)
        except BaseException:
            self.close()
            raise

    @property
    def state(self) -> str:
        """How far it has come, for people."""
        if self._error is not None:
            return "closed"
        if self._is_committed:
            return "over" if self._channel.finished else "downloading"
        return "ready" if self._is_ready else "not ready"

    # Looking at it ---------------------------------------------------------------------------------------------------

    def look(self) -> ArtifactDownloadPlan:
        """The plan as it is known now."""
        # While somebody waits, that is who takes what comes.
        if not self._is_awaited() and not self._is_committed:
            has_come = self._take_arrived()
            if has_come and self._is_awaited():  # another thread has begun to, and may have looked too early
                self._channel.nudge()
        return self._plan

    def _is_awaited(self) -> bool:
        return self._waiting > 0

    def is_ready(self) -> bool:
        """Whether everything is resolved. Raises what the plan has failed with: it never will be, then."""
        self.look()
        if not self._is_ready:
            self._check_usable()
        return self._is_ready

    def _take_arrived(self) -> bool:
        """Take in what has come; whether anything has."""
        has_come = False
        try:
            while (packet := self._channel.take()) is not None:
                has_come = True
                self._take(packet)
        except LMStudioError as error:
            has_come = True
            self._fail(error)
        return has_come

    def _take(self, packet: object) -> None:
        if isinstance(packet, _PLANS):
            plan = self._plan = packet.plan
            self._next_version = max(self._next_version, plan.version + 1)
            self._is_ready = self._is_ready or isinstance(packet, _PLANS[0])
            if self._on_plan_updated is not None:
                self._untold.append(plan)

    async def _take_and_tell(self, packet: object) -> None:
        self._take(packet)
        await self._tell()

    async def _tell(self) -> None:
        while self._untold:
            await tell(self._runtime, self._on_plan_updated, self._untold.popleft())

    # Waiting for it --------------------------------------------------------------------------------------------------

    async def until_ready(self, port: Port, signal: AbortSignal | None = None) -> None:
        """Return when everything is resolved. *signal* ends the wait, not the plan."""
        await self._wait(port, signal, lambda: self._is_ready)

    async def _wait(self, port: Port, signal: AbortSignal | None, is_done: Callable[[], bool]) -> None:
        check_signal(signal)
        if signal is not None:
            signal.throw_if_aborted()
        limits = port.new_limits(f"plan the download of {self.label!r}")
        limits.begin_wait()
        self._waiting += 1
        try:
            with on_abort(signal, self._channel.nudge):
                while True:
                    if self._take_arrived():
                        limits.begin_wait()
                    await self._tell()
                    if is_done():
                        return
                    self._check_usable()
                    if signal is not None:
                        signal.throw_if_aborted()
                    await self._channel.arrival(limits)
        finally:
            self._waiting -= 1

    # Changing it -----------------------------------------------------------------------------------------------------

    async def select_option(
        self, port: Port, node_index: int, option_index: int, signal: AbortSignal | None = None
    ) -> None:
        """Choose what to download for a model; return when the plan has it."""
        options = self._model_node(node_index).download_options
        if options is None:
            raise LMStudioValueError(f"Node {node_index} of the plan has no download options to choose from.")
        _check_index("download_option_index", option_index, len(options), "download options")
        await self._select(port, node_index, option_index, signal)

    async def select_owned(self, port: Port, node_index: int, signal: AbortSignal | None = None) -> None:
        """Choose the model that is there already; return when the plan has it."""
        if self._model_node(node_index).already_owned is None:
            raise LMStudioValueError(
                f"Node {node_index} of the plan has no model that is there already. "
                "Choose one to download with select_model_download_option()."
            )
        await self._select(port, node_index, None, signal)

    def _model_node(self, node_index: int) -> ArtifactDownloadPlanNodeModel:
        """The node, if something can be selected for it now."""
        plan = self.look()
        self._check_usable()
        if self._download_began:
            raise LMStudioRuntimeError(
                f"The download of {self.label!r} has begun: its plan cannot be changed any more."
            )
        if not self._is_ready:
            raise LMStudioRuntimeError(
                f"The plan for the download of {self.label!r} is not ready: wait for it with until_ready()."
            )
        _check_index("node_index", node_index, len(plan.nodes), "nodes")
        node = plan.nodes[node_index]
        if not isinstance(node, ArtifactDownloadPlanNodeModel):
            models = [index for index, each in enumerate(plan.nodes) if isinstance(each, ArtifactDownloadPlanNodeModel)]
            raise LMStudioValueError(f"Node {node_index} of the plan is no model. Models: {models}.")
        return node

    async def _select(self, port: Port, node_index: int, option: int | None, signal: AbortSignal | None) -> None:
        check_signal(signal)
        requested, version = self._requested.get(node_index, (None, 0))
        # The plan counts, unless a selection is on its way to the server.
        is_settled = self._plan.version >= version
        selected = self._model_node(node_index).selected_download_option_index if is_settled else requested
        if selected != option:
            version, self._next_version = self._next_version, self._next_version + 1
            self._requested[node_index] = (option, version)
            self._channel.send(
                RepositoryChannelCreateDownloadPlanToServerPacketSetSelectedDownloadOptionIndex(
                    node_index=node_index, selected_download_option_index=option, requested_plan_version=version
                )
            )
        await self._wait(port, signal, lambda: self._plan.version >= version)

    # Carrying it out -------------------------------------------------------------------------------------------------

    async def download(self, port: Port, watch: DownloadWatch) -> None:
        """Wait until the plan is ready, and download. Leaving early cancels what has begun."""
        watch.check(port.runtime, "on_start_finalizing")
        if self._download_began:
            raise LMStudioRuntimeError(
                f"The download of {self.label!r} has been started already: a planner downloads once. Make a new one."
            )
        self._check_usable()
        self._download_began = True
        try:
            await self.until_ready(port, watch.signal)
        except BaseException:
            self._download_began = False
            raise
        await self._commit(port, watch)

    async def _commit(self, port: Port, watch: DownloadWatch) -> None:
        channel = self._channel
        channel.limits = port.new_limits(f"download {self.label!r}")
        channel.limits.begin_wait()
        self._is_committed = True
        commit = partial(channel.send, RepositoryChannelCreateDownloadPlanToServerPacketCommit())
        cancel_packet = RepositoryChannelCreateDownloadPlanToServerPacketCancelDownload()
        try:
            await follow_download(
                port.runtime, channel, commit, cancel_packet, ChannelPacketSuccess, watch, self._take_and_tell
            )
        except LMStudioError as error:
            if self._error is not None:  # the planner's own signal has ended it
                raise fresh_copy(self._error) from None
            self._fail(error)
            raise
        finally:
            self._end()

    # Its end ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Discard the plan, unless it is being carried out. Once is enough."""
        if not self._is_committed and self._error is None:
            self._give_up(LMStudioRuntimeError(f"The planner for the download of {self.label!r} is closed."))

    def _abort(self) -> None:
        if self._signal is not None:
            self._give_up(self._signal.error())

    def _give_up(self, error: LMStudioError) -> None:
        if self._error is not None or self._channel.finished:
            return
        self._fail(error)
        if self._is_committed:
            self._channel.send_last(RepositoryChannelCreateDownloadPlanToServerPacketCancelDownload())
        else:
            self._channel.send_last(RepositoryChannelCreateDownloadPlanToServerPacketCancelPlan())

    def _fail(self, error: LMStudioError) -> None:
        if self._error is None:  # the first one is the reason
            self._error = fresh_copy(error)  # without the traceback, whose frames hold this planner
        self._end()

    def _end(self) -> None:
        if self._ignore_signal is not None:
            self._ignore_signal()
            self._ignore_signal = None

    def _check_usable(self) -> None:
        if self._error is not None:
            raise fresh_copy(self._error)


def _check_index(name: str, index: int, count: int, what: str) -> None:
    if not isinstance(index, int) or isinstance(index, bool):
        raise LMStudioValueError(f"{name} must be a whole number, got {type(index).__name__}.")
    if not 0 <= index < count:
        raise LMStudioValueError(f"{name} is {index}, but there are {count} {what}, from 0.")
