"""Plans for downloads, with a scripted server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from scripted_runtime import ScriptedRuntime, channel_error, close, packet, run

from lmstudio._abort import AbortSignal
from lmstudio._ops.downloads import DownloadWatch
from lmstudio._ops.planner import DownloadPlanner, artifact_target, model_target, planner_options
from lmstudio._sdk_models import HuggingFaceModelDownloadSource
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioRuntimeError,
    LMStudioServerError,
    LMStudioTimeoutError,
    LMStudioValueError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = {"user": "maker", "repo": "heron-GGUF"}
COMMIT, CANCEL_PLAN, CANCEL_DOWNLOAD = {"type": "commit"}, {"type": "cancelPlan"}, {"type": "cancelDownload"}
INFO = {"displayName": "Heron", "sizeBytes": 5, "compatibilityType": "gguf"}
OPTION = {**INFO, "fitEstimation": "fitWithoutGPU", "availability": "notDownloaded"}
SUCCESS = packet({"type": "success"})


def plan(version: int = 0, selected: int | None = 0, *, kind: str = "planUpdated", **node: Any) -> dict[str, Any]:
    model: dict[str, Any] = {
        "type": "model",
        "state": "completed",
        "dependencyLabel": "maker/heron-GGUF",
        "downloadOptions": [OPTION] * 3,
    }
    model |= {"selectedDownloadOptionIndex": selected, "alreadyOwned": INFO, **node}
    artifact: dict[str, Any] = {
        "type": "artifact",
        "owner": "maker",
        "name": "heron",
        "state": "completed",
        "dependencyNodes": [0],
    }
    members = {"downloadSizeBytes": 5, "downloadAction": "startNewDownload", "version": version}
    return packet({"type": kind, "plan": {"nodes": [model, artifact], **members}})


READY = plan(kind="planReady")


def select(option: int | None, version: int) -> dict[str, Any]:
    return {
        "type": "setSelectedDownloadOptionIndex",
        "nodeIndex": 0,
        "selectedDownloadOptionIndex": option,
        "requestedPlanVersion": version,
    }


class Stage:
    """A planner whose server says what the script has."""

    def __init__(self, *steps: Any, **options: Any) -> None:
        self.runtime = ScriptedRuntime(*steps)
        self.port = self.runtime.port("repository")
        self.planner = DownloadPlanner(self.port, model_target(SOURCE), planner_options(None, None), **options)
        self.planner.open()

    def until_ready(self, signal: AbortSignal | None = None) -> None:
        run(self.planner.until_ready(self.port, signal))

    def choose(self, option: int, node: int = 0) -> None:
        run(self.planner.select_option(self.port, node, option))

    def keep(self, node: int = 0) -> None:
        run(self.planner.select_owned(self.port, node))

    def download(self, **watch: Any) -> None:
        run(self.planner.download(self.port, DownloadWatch(**watch)))

    @property
    def sent(self) -> list[Any]:
        return self.runtime.sent_packets()


# Looking -------------------------------------------------------------------------------------------------------------


def test_the_request_says_what_is_wanted_and_preferred() -> None:
    runtime = ScriptedRuntime()
    preferences = [{"type": "quantName", "quantName": "Q4"}, {"type": "fileName", "file_name": "a.gguf"}]
    opts = planner_options(preferences, ["gguf"])
    DownloadPlanner(runtime.port("repository"), artifact_target("maker", "heron-1.5"), opts).open()
    assert runtime.sent[0]["creationParameter"] == {
        "target": {"type": "artifact", "owner": "maker", "name": "heron-1.5"},
        "opts": {
            "resolutionPreference": [
                {"type": "quantName", "quantName": "Q4"},
                {"type": "fileName", "fileName": "a.gguf"},
            ],
            "compatibilityTypes": ["gguf"],
        },
    }


def test_before_the_server_has_answered_there_is_a_placeholder() -> None:
    nothing = {"downloadSizeBytes": 0, "downloadAction": "none", "version": 0}
    node: dict[str, Any] = {"type": "model", "state": "pending", "dependencyLabel": "maker/heron-GGUF"}
    assert Stage().planner.look().to_dict() == {"nodes": [node], **nothing}
    runtime = ScriptedRuntime()
    planner = DownloadPlanner(
        runtime.port("repository"), artifact_target("maker", "heron"), planner_options(None, None)
    )
    node = {"type": "artifact", "owner": "maker", "name": "heron", "state": "pending", "dependencyNodes": []}
    assert planner.look().to_dict() == {"nodes": [node], **nothing}


def test_whoever_only_looks_sees_what_has_come() -> None:
    stage = Stage()
    assert not stage.planner.is_ready()
    stage.runtime.arrive(plan(version=2))
    assert stage.planner.look().version == 2
    assert not stage.planner.is_ready()
    stage.runtime.arrive(plan(version=3, kind="planReady"))
    assert stage.planner.is_ready()
    assert stage.planner.look().version == 3


def test_each_plan_is_told_by_whoever_waits() -> None:
    told: list[int] = []
    stage = Stage(plan(1), plan(2, kind="planReady"), on_plan_updated=lambda plan: told.append(plan.version))
    stage.runtime.arrive(plan(0))
    assert stage.planner.look().version == 0
    assert told == []
    stage.until_ready()
    assert told == [0, 1, 2]


def test_a_plan_that_fails_says_so_to_all_who_ask() -> None:
    stage = Stage(channel_error({"title": "No such model"}))
    for ask in (stage.until_ready, stage.planner.is_ready, stage.download, lambda: stage.choose(0)):
        with pytest.raises(LMStudioServerError, match=r"^Could not download 'maker/heron-GGUF': No such model"):
            ask()
    assert stage.planner.look().nodes[0].state == "pending"
    stage.planner.close()
    assert stage.sent == []


def test_a_server_that_closes_the_plan_is_an_error() -> None:
    with pytest.raises(LMStudioChannelClosedError):
        Stage(plan(), close()).until_ready()


def test_a_time_limit_ends_the_wait_and_not_the_plan() -> None:
    stage = Stage(LMStudioTimeoutError("late"), READY)
    with pytest.raises(LMStudioTimeoutError):
        stage.until_ready()
    stage.until_ready()
    assert stage.sent == []


def test_a_signal_ends_the_wait_and_not_the_plan() -> None:
    signal = AbortSignal()
    stage = Stage(lambda: signal.abort("no time"))
    with pytest.raises(LMStudioCancelledError, match="no time"):
        stage.until_ready(signal)
    stage.runtime.script(READY, SUCCESS)
    stage.until_ready()
    stage.download()
    assert stage.sent == [COMMIT]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: artifact_target("Maker", "heron"), "Cannot read .* as an artifact: .* `$.owner`"),
        (lambda: artifact_target("maker", "heron!"), "`$.name`"),
        (lambda: model_target("maker/heron"), "'maker/heron' as the source of a model: it must be a"),  # type: ignore[arg-type]
        (lambda: model_target({"user": "maker"}), "missing required field `repo`"),
        (lambda: model_target({"user": "", "repo": "heron"}), "has '' as user"),
        (lambda: model_target(HuggingFaceModelDownloadSource(user="a", repo="b/c")), "has 'b/c' as repo"),
        (lambda: planner_options([{"type": "size"}], None), "`$.resolutionPreference[0].type`"),
        (lambda: planner_options("Q4", None), "resolution_preference must be a list"),  # type: ignore[arg-type]
        (lambda: planner_options(None, ["ggfu"]), "'ggfu' is not a compatibility type"),  # type: ignore[list-item]
        (lambda: Stage(on_plan_updated=5), "on_plan_updated must be a function"),
        (lambda: Stage(signal="stop"), "signal must be an AbortSignal"),
    ],
)
def test_what_no_server_could_accept_is_refused(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(LMStudioValueError, match=problem.replace("$", r"\$").replace("[0]", r"\[0\]")):
        make()


# Choosing ------------------------------------------------------------------------------------------------------------


def test_choices_are_numbered_from_one_or_from_the_last_version_seen() -> None:
    stage = Stage(READY, plan(0), plan(1, 2), plan(7, 2), plan(8, None))
    stage.until_ready()
    stage.choose(2)
    assert stage.planner.look().version == 1
    stage.runtime.take_step()
    stage.keep()
    assert stage.sent == [select(2, 1), select(None, 8)]


def test_what_is_chosen_already_is_not_sent() -> None:
    stage = Stage(READY)
    stage.until_ready()
    stage.choose(0)
    assert stage.sent == []


def test_the_choice_on_its_way_counts_not_the_plan() -> None:
    stage = Stage(READY, LMStudioTimeoutError("late"), plan(2, 0))
    stage.until_ready()
    with pytest.raises(LMStudioTimeoutError):
        stage.choose(2)
    stage.choose(0)
    assert stage.sent == [select(2, 1), select(0, 2)]


def test_a_refused_choice_ends_the_plan() -> None:
    stage = Stage(READY, channel_error({"title": "No such option"}))
    stage.until_ready()
    for _ in range(2):
        with pytest.raises(LMStudioServerError, match="No such option"):
            stage.choose(2)


@pytest.mark.parametrize(
    ("choose", "error", "problem"),
    [
        (lambda stage: stage.choose(3), LMStudioValueError, "download_option_index is 3, but there are 3 download"),
        (lambda stage: stage.choose(-1), LMStudioValueError, "download_option_index is -1"),
        (lambda stage: stage.choose("0"), LMStudioValueError, "download_option_index must be a whole number, got str"),
        (lambda stage: stage.choose(0, 2), LMStudioValueError, "node_index is 2, but there are 2 nodes"),
        (lambda stage: stage.choose(0, True), LMStudioValueError, "node_index must be a whole number, got bool"),
        (lambda stage: stage.choose(0, 1), LMStudioValueError, "Node 1 of the plan is no model. Models: [0]."),
        (lambda stage: stage.keep(1), LMStudioValueError, "Node 1 of the plan is no model"),
    ],
)
def test_choices_that_do_not_exist_are_refused(
    choose: Callable[[Stage], None], error: type[Exception], problem: str
) -> None:
    stage = Stage(READY)
    stage.until_ready()
    with pytest.raises(error, match=re.escape(problem)):
        choose(stage)
    assert stage.sent == []


def test_a_node_may_have_nothing_to_choose_from() -> None:
    stage = Stage(plan(kind="planReady", alreadyOwned=None, downloadOptions=None))
    stage.until_ready()
    with pytest.raises(LMStudioValueError, match="no download options"):
        stage.choose(0)
    with pytest.raises(LMStudioValueError, match="no model that is there already"):
        stage.keep()


def test_nothing_can_be_chosen_before_the_plan_is_ready() -> None:
    stage = Stage()
    stage.runtime.arrive(plan())
    with pytest.raises(LMStudioRuntimeError, match=r"not ready: wait for it with until_ready\(\)"):
        stage.choose(1)


# Downloading ---------------------------------------------------------------------------------------------------------


def test_a_download_waits_for_the_plan_and_reports_its_progress() -> None:
    update = {"downloadedBytes": 5, "totalBytes": 5, "speedBytesPerSecond": 1.0}
    finalizing = packet({"type": "startFinalizing"})
    stage = Stage(plan(), READY, packet({"type": "downloadProgress", "update": update}), plan(4), finalizing, SUCCESS)
    events: list[object] = []
    stage.download(
        on_progress=lambda update: events.append(update.downloaded_bytes), on_finalize=lambda: events.append("end")
    )
    assert events == [5, "end"]
    assert stage.planner.look().version == 4
    stage.planner.close()
    assert stage.sent == [COMMIT]
    assert stage.runtime.multiplexers[0].is_idle


def test_a_planner_downloads_once_and_cannot_be_changed_then() -> None:
    stage = Stage(READY, SUCCESS)
    stage.download()
    with pytest.raises(LMStudioRuntimeError, match="a planner downloads once"):
        stage.download()
    with pytest.raises(LMStudioRuntimeError, match="cannot be changed any more"):
        stage.choose(1)
    stage.until_ready()


def test_a_failed_download_says_why() -> None:
    stage = Stage(READY, channel_error({"title": "Disk full"}))
    with pytest.raises(LMStudioServerError, match=r"^Could not download 'maker/heron-GGUF': Disk full"):
        stage.download()
    stage.planner.close()
    assert stage.sent == [COMMIT]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LMStudioTimeoutError("late")])
def test_leaving_a_download_early_cancels_it(error: BaseException) -> None:
    stage = Stage(READY, error)
    with pytest.raises(type(error)):
        stage.download()
    stage.planner.close()
    assert stage.sent == [COMMIT, CANCEL_DOWNLOAD]


def test_leaving_before_the_download_has_begun_leaves_the_plan() -> None:
    stage = Stage(KeyboardInterrupt(), READY, SUCCESS)
    with pytest.raises(KeyboardInterrupt):
        stage.download()
    stage.download()
    assert stage.sent == [COMMIT]


def test_the_signal_of_a_download_cancels_it() -> None:
    signal = AbortSignal()
    stage = Stage(READY, lambda: signal.abort("no time"))
    with pytest.raises(LMStudioCancelledError, match="no time"):
        stage.download(signal=signal)
    assert stage.sent == [COMMIT, CANCEL_DOWNLOAD]


def test_callbacks_are_checked_before_anything_is_sent() -> None:
    stage = Stage(READY)
    with pytest.raises(LMStudioValueError, match="on_start_finalizing must be a function"):
        stage.download(on_finalize=5)
    assert stage.sent == []


# The end -------------------------------------------------------------------------------------------------------------


def test_closing_discards_the_plan_once() -> None:
    stage = Stage(READY)
    stage.until_ready()
    stage.planner.close()
    stage.planner.close()
    assert stage.sent == [CANCEL_PLAN]
    assert stage.runtime.multiplexers[0].is_idle
    asks: list[Callable[[], None]] = [stage.download, lambda: stage.choose(1)]
    for ask in asks:
        with pytest.raises(LMStudioRuntimeError, match="The planner for the download of 'maker/heron-GGUF' is closed"):
            ask()


def test_closing_ends_the_wait_of_another() -> None:
    stage = Stage()
    stage.runtime.script(stage.planner.close)
    with pytest.raises(LMStudioRuntimeError, match="is closed"):
        stage.until_ready()
    with pytest.raises(LMStudioRuntimeError, match="is closed"):
        stage.planner.is_ready()


def test_ctrl_c_while_the_request_leaves_discards_the_plan() -> None:
    runtime = ScriptedRuntime()
    planner = DownloadPlanner(runtime.port("repository"), model_target(SOURCE), planner_options(None, None))
    runtime.interrupt_next_post = True
    with pytest.raises(KeyboardInterrupt):
        planner.open()
    assert runtime.sent_packets() == [CANCEL_PLAN]


def test_the_signal_of_the_planner_discards_the_plan() -> None:
    signal = AbortSignal()
    stage = Stage(lambda: signal.abort("no time"), signal=signal)
    with pytest.raises(LMStudioCancelledError, match="no time"):
        stage.until_ready()
    with pytest.raises(LMStudioCancelledError, match="no time"):
        stage.download()
    assert stage.sent == [CANCEL_PLAN]


def test_the_signal_of_the_planner_cancels_the_download_too() -> None:
    signal = AbortSignal()
    stage = Stage(READY, lambda: signal.abort("no time"), signal=signal)
    with pytest.raises(LMStudioCancelledError, match="no time"):
        stage.download()
    assert stage.sent == [COMMIT, CANCEL_DOWNLOAD]


def test_a_signal_that_is_aborted_afterwards_does_nothing() -> None:
    signal = AbortSignal()
    stage = Stage(READY, SUCCESS, signal=signal)
    stage.download()
    signal.abort()
    assert stage.sent == [COMMIT]


def test_a_signal_aborted_before_prevents_the_request() -> None:
    signal = AbortSignal()
    signal.abort()
    with pytest.raises(LMStudioCancelledError):
        Stage(signal=signal)
