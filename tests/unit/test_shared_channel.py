"""Several callers with one request, with a scripted server."""

from __future__ import annotations

from typing import Any

import pytest
from recorded_packets import LLM_INSTANCE
from scripted_runtime import ScriptedRuntime, channel_error, close, packet, run

from lmstudio._endpoints.llm import MODELS
from lmstudio._sdk_models import (
    KvConfigStack,
    ModelChannelGetOrLoadCreationParameter,
    ModelChannelGetOrLoadToServerPacketCancel,
)
from lmstudio._shared_channel import SharedChannel
from lmstudio.errors import LMStudioCancelledError, LMStudioServerError, LMStudioWebsocketError

CANCEL = {"type": "cancel"}


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


def join(runtime: ScriptedRuntime, key: str = "qwen") -> SharedChannel[Any, Any]:
    parameter = ModelChannelGetOrLoadCreationParameter(identifier=key, load_config_stack=KvConfigStack(layers=[]))
    return SharedChannel(runtime.llm(), MODELS.get_or_load, parameter, f"load {key}").open()


def leave(channel: SharedChannel[Any, Any]) -> None:
    channel.send(ModelChannelGetOrLoadToServerPacketCancel())
    channel.close()


def progress(value: float, channel_id: int = 1) -> dict[str, Any]:
    return packet({"type": "loadProgress", "progress": value}, channel_id)


LOADED = packet({"type": "loadSuccess", "info": LLM_INSTANCE})


def opened(runtime: ScriptedRuntime) -> list[str]:
    return [
        message["creationParameter"]["identifier"] for message in runtime.sent if message["type"] == "channelCreate"
    ]


def test_the_same_request_is_sent_once_and_everyone_gets_its_packets(runtime: ScriptedRuntime) -> None:
    channels = [join(runtime) for _ in range(3)]
    runtime.arrive(progress(0.5), LOADED)
    for channel in channels:
        assert run(channel.receive()).progress == 0.5
        assert run(channel.receive()).info.identifier == "qwen"
    assert opened(runtime) == ["qwen"]


def test_who_comes_late_gets_what_has_come_so_far(runtime: ScriptedRuntime) -> None:
    join(runtime)
    runtime.arrive(progress(0.25), progress(0.5))
    late = join(runtime)
    runtime.arrive(progress(0.75))
    assert [run(late.receive()).progress for _ in range(3)] == [0.25, 0.5, 0.75]


def test_another_request_is_sent_of_its_own(runtime: ScriptedRuntime) -> None:
    one, other = join(runtime), join(runtime, "other")
    runtime.arrive(progress(0.5, channel_id=2))
    assert run(other.receive()).progress == 0.5
    assert opened(runtime) == ["qwen", "other"]
    assert not one.finished


def test_who_leaves_ends_it_for_nobody_else(runtime: ScriptedRuntime) -> None:
    first, second = join(runtime), join(runtime)
    leave(first)
    with pytest.raises(LMStudioCancelledError, match="Could not load qwen"):
        run(first.receive())
    runtime.arrive(progress(0.5))
    assert run(second.receive()).progress == 0.5
    assert runtime.sent_packets() == []


def test_the_last_one_who_leaves_ends_the_request(runtime: ScriptedRuntime) -> None:
    first, second = join(runtime), join(runtime)
    leave(first)
    leave(second)
    leave(second)
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


def test_leaving_at_the_same_moment_ends_the_request_too(runtime: ScriptedRuntime) -> None:
    first, second = join(runtime), join(runtime)
    runtime.hold_posts = True
    first.send(ModelChannelGetOrLoadToServerPacketCancel())
    leave(second)
    first.close()
    runtime.run_posts()
    assert runtime.sent_packets() == [CANCEL]


def test_a_request_that_was_ended_is_not_joined(runtime: ScriptedRuntime) -> None:
    leave(join(runtime))
    again = join(runtime)
    runtime.arrive(progress(0.5, channel_id=2))
    assert run(again.receive()).progress == 0.5
    assert opened(runtime) == ["qwen", "qwen"]


def test_a_request_whose_result_somebody_has_is_not_joined(runtime: ScriptedRuntime) -> None:
    first, second = join(runtime), join(runtime)
    runtime.arrive(LOADED)
    first.close()
    join(runtime)
    assert opened(runtime) == ["qwen", "qwen"]
    assert run(second.receive()).info.identifier == "qwen"
    leave(second)
    assert runtime.sent_packets() == []  # what has a result needs no cancelling


@pytest.mark.parametrize("end", [channel_error({"title": "Out of memory"}), close()])
def test_a_request_that_failed_fails_for_all_and_is_not_joined(runtime: ScriptedRuntime, end: dict[str, Any]) -> None:
    channels = [join(runtime), join(runtime)]
    runtime.arrive(end)
    for channel in channels:
        with pytest.raises(LMStudioServerError):
            run(channel.receive())
    join(runtime)
    assert opened(runtime) == ["qwen", "qwen"]


def test_a_lost_connection_ends_it_for_all_and_the_next_request_uses_a_new_one(runtime: ScriptedRuntime) -> None:
    channels = [join(runtime), join(runtime)]
    runtime.multiplexers[0].fail(LMStudioWebsocketError("lost"))
    for channel in channels:
        with pytest.raises(LMStudioWebsocketError, match="lost"):
            run(channel.receive())
    join(runtime)
    assert len(runtime.multiplexers) == 2


def test_all_who_wait_are_woken_once_for_each_batch(runtime: ScriptedRuntime) -> None:
    join(runtime)
    join(runtime)
    before = [inbox.wakes for inbox in runtime.inboxes]
    runtime.arrive(progress(0.25), progress(0.5))
    assert [inbox.wakes for inbox in runtime.inboxes] == [count + 1 for count in before]


def test_a_channel_that_was_closed_before_it_was_opened_changes_nothing(runtime: ScriptedRuntime) -> None:
    parameter = ModelChannelGetOrLoadCreationParameter(identifier="qwen", load_config_stack=KvConfigStack(layers=[]))
    channel: SharedChannel[Any, Any] = SharedChannel(runtime.llm(), MODELS.get_or_load, parameter, "load")
    leave(channel)
    assert runtime.sent == []
