"""Time limits of calls, by a clock that the test sets."""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET
from scripted_runtime import ScriptedRuntime, packet, result, run

import lmstudio as lms
from lmstudio import _port as port_module
from lmstudio import _timeouts as timeouts_module
from lmstudio import json_api as json_api_module
from lmstudio._endpoints import Rpc
from lmstudio._ops.models import identifier_target
from lmstudio._ops.prediction import Prediction, respond
from lmstudio._ops.prediction_options import PredictionOptions
from lmstudio._retries import RetryConfig
from lmstudio._sdk_models import ChatHistoryData
from lmstudio._timeouts import DEFAULT_TIMEOUT, INHERITED, read_timeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.errors import TimeoutLimit

ASK: Rpc[None, Any] = Rpc("ask", None, Any)
READ: Rpc[None, Any] = Rpc("read", None, Any, is_read=True)


class Clock:
    """The time, which passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def passes(self, seconds: float) -> Callable[[], None]:
        """A step of a script: nothing happens for so long."""

        def step() -> None:
            self.now += seconds

        return step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (timeouts_module, json_api_module, port_module):
        monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    return clock


class Runtime(ScriptedRuntime):
    """A scripted runtime with the limits of a client; `connects` says whether a connection is there at once."""

    def __init__(self, timeout: lms.Timeout, *steps: Any, connects: bool = True) -> None:
        super().__init__(*steps)
        self._timeout, self._connects = timeout, connects

    @property
    def timeout(self) -> lms.Timeout:
        return self._timeout

    def connect(self, namespace: str, multiplexer: json_api_module.Multiplexer) -> None:
        super().connect(namespace, multiplexer)
        if not self._connects:
            multiplexer.end_attempt(is_ready=False)
            multiplexer.begin_attempt()


def prediction(runtime: ScriptedRuntime, timeout: lms.TimeoutInput = None) -> Prediction[Any]:
    port = runtime.llm().within(timeout)
    return respond(port, identifier_target("qwen"), ChatHistoryData(messages=[]), PredictionOptions())


def progress(value: float) -> dict[str, Any]:
    return packet({"type": "promptProcessingProgress", "progress": value})


def fragment(text: str) -> dict[str, Any]:
    return packet({"type": "fragment", "fragment": {"content": text, "tokensCount": 1}})


SUCCESS = packet({"type": "success", "stats": {"stopReason": "eosFound"}, "modelInfo": {}})


# What users write ----------------------------------------------------------------------------------------------------


def test_what_a_call_does_not_set_is_as_the_client_says() -> None:
    client = lms.Timeout(connect=3, idle=None).over(DEFAULT_TIMEOUT)
    assert client == lms.Timeout(connect=3, idle=None, total=None)
    assert lms.Timeout(idle=5, total=60).over(client) == lms.Timeout(connect=3, idle=5, total=60)
    assert lms.Timeout(connect=None).over(client).connect is None
    assert INHERITED.over(client) is client


def test_a_number_is_the_total() -> None:
    assert read_timeout(5) == lms.Timeout(total=5)
    assert read_timeout(0.5) == lms.Timeout(total=0.5)
    assert read_timeout(None) == lms.Timeout()
    assert read_timeout(lms.Timeout(idle=1)) == lms.Timeout(idle=1)


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, 2**40, True, "5", (1, 2)])
def test_what_is_no_time_is_refused(value: Any) -> None:
    for name in ("connect", "first_token", "idle", "total"):
        with pytest.raises(lms.LMStudioValueError, match=f"{name} must be a number of seconds"):
            lms.Timeout(**{name: value})
    with pytest.raises(lms.LMStudioValueError, match="must be a number of seconds"):
        read_timeout(value)


def test_a_timeout_shows_what_is_set() -> None:
    assert repr(lms.Timeout(first_token=30, total=None)) == "Timeout(first_token=30, total=None)"
    assert lms.Timeout().idle is UNSET


# Predictions ---------------------------------------------------------------------------------------------------------


def expires(runtime: ScriptedRuntime, limit: TimeoutLimit, seconds: float, timeout: lms.TimeoutInput = None) -> str:
    """Predict, with that outcome; what the error says."""
    with pytest.raises(lms.LMStudioTimeoutError) as error:
        run(prediction(runtime, timeout).run())
    assert (error.value.limit, error.value.seconds) == (limit, seconds)
    assert isinstance(error.value, TimeoutError)
    assert runtime.sent_packets() == [{"type": "cancel"}]
    return str(error.value)


def test_silence_between_fragments_expires_and_cancels(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(idle=10), fragment("one"), clock.passes(9), fragment("two"), clock.passes(10))
    message = expires(runtime, "idle", 10)
    assert message == (
        "Could not predict with model 'qwen': no message from the server within 10 seconds (timeout 'idle')."
    )


def test_progress_of_the_prompt_counts_as_life(clock: Clock) -> None:
    steps: list[Any] = []
    for step in range(10):
        steps += [clock.passes(9), progress(step / 10)]
    runtime = Runtime(lms.Timeout(first_token=10, idle=10), *steps, clock.passes(9), fragment("one"), SUCCESS)
    assert run(prediction(runtime).run()).content == "one"


def test_the_first_token_has_a_limit_of_its_own(clock: Clock) -> None:
    timeout = lms.Timeout(first_token=100, idle=10)
    early = Runtime(timeout, clock.passes(99), progress(0.5), clock.passes(99), fragment("one"), clock.passes(10))
    expires(early, "idle", 10)
    late = Runtime(timeout, clock.passes(50), progress(0.5), clock.passes(100))
    assert "no token and no progress" in expires(late, "first_token", 100)


def test_without_a_limit_for_the_first_token_idle_counts(clock: Clock) -> None:
    expires(Runtime(lms.Timeout(idle=10), clock.passes(10)), "idle", 10)


def test_the_first_token_may_take_any_time(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(first_token=None, idle=10), clock.passes(1e6), fragment("one"), clock.passes(10))
    expires(runtime, "idle", 10)


def test_the_total_expires_although_the_server_is_alive(clock: Clock) -> None:
    steps: list[Any] = [fragment("word"), clock.passes(4)] * 10
    expires(Runtime(lms.Timeout(idle=10), *steps), "total", 30, timeout=30)


def test_limits_of_a_call_go_before_those_of_the_client(clock: Clock) -> None:
    expires(Runtime(lms.Timeout(idle=10), clock.passes(10), clock.passes(10)), "idle", 20, lms.Timeout(idle=20))
    expires(Runtime(lms.Timeout(idle=10), clock.passes(5)), "idle", 5, lms.Timeout(idle=5))


def test_a_slow_consumer_is_not_a_silent_server(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(idle=10), fragment("one"), clock.passes(9), fragment("two"), SUCCESS)
    running = prediction(runtime)
    assert run(running.next_fragment()) is not None
    clock.now += 1000
    assert run(running.run()).content == "onetwo"


def test_the_total_begins_with_the_request(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(), fragment("one"), SUCCESS)
    waiting = prediction(runtime, timeout=5)
    clock.now += 1000
    assert run(waiting.run()).content == "one"


# Calls ---------------------------------------------------------------------------------------------------------------


def test_a_silent_call_expires_and_its_late_reply_is_ignored(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(idle=10), clock.passes(10))
    with pytest.raises(lms.LMStudioTimeoutError, match="Could not ask: no message") as error:
        run(runtime.llm().call(ASK, None, "ask"))
    assert error.value.limit == "idle"
    runtime.arrive(result("late"))
    assert runtime.multiplexers[0].is_idle


def test_a_large_message_on_its_way_is_life(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(idle=10))

    def writes() -> None:
        clock.now += 9
        runtime.multiplexers[0].sent_at = clock.now

    runtime.script(writes, writes, writes, clock.passes(9), result("there"))
    assert run(runtime.llm().call(ASK, None, "ask")) == "there"


def test_the_calls_of_one_operation_share_its_total(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(), clock.passes(6), result("one"), clock.passes(6))
    port = runtime.llm().within(10)
    assert run(port.call(ASK, None, "ask")) == "one"
    with pytest.raises(lms.LMStudioTimeoutError, match="it was not done within 10 seconds"):
        run(port.call(ASK, None, "ask"))
    # The next operation has a clock of its own, and so has every call without one.
    runtime.script(clock.passes(6), result("three", 3))
    assert run(runtime.llm().within(10).call(ASK, None, "ask")) == "three"


def test_an_operation_in_two_namespaces_has_one_clock(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(), clock.passes(6), result("one"), clock.passes(6))
    port = runtime.llm().within(10)
    run(port.call(ASK, None, "ask"))
    with pytest.raises(lms.LMStudioTimeoutError):
        run(runtime.port("files").like(port).call(ASK, None, "ask"))


def test_limits_count_before_the_request_is_on_its_way(clock: Clock) -> None:
    """The synchronous surface sends in another thread, which may come later than the wait for the reply."""
    runtime = Runtime(lms.Timeout(connect=99, idle=10), result("there"))
    run(runtime.llm().call(ASK, None, "ask"))
    runtime.hold_posts = True
    for start in (lambda: runtime.llm().call(ASK, None, "ask"), prediction(runtime).run):
        runtime.script(clock.passes(10))
        with pytest.raises(lms.LMStudioTimeoutError) as error:
            run(start())
        assert error.value.limit == "idle"


def test_far_limits_need_no_timer_where_waits_are_woken_now_and_then(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(idle=10))

    def passes(seconds: float) -> None:
        clock.now += seconds
        runtime.multiplexers[0].tick()

    def begins() -> None:
        runtime.multiplexers[0].tick_seconds = 2.5

    runtime.script(begins, *[lambda: passes(2.5)] * 4)
    with pytest.raises(lms.LMStudioTimeoutError) as error:
        run(runtime.llm().call(ASK, None, "ask"))
    assert error.value.limit == "idle"
    assert runtime.timeouts == [10, None, None, 5, 2.5]
    assert runtime.inboxes[0].wakes == 1 + 4


def test_a_wait_that_no_connection_knows_of_has_a_timer(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(), result("there"))
    run(runtime.llm().call(ASK, None, "ask"))
    runtime.multiplexers[0].tick_seconds = 2.5
    assert runtime.llm().within(100).new_limits("wait", is_patient=True).left() == 100


def test_whoever_waits_looks_again_when_the_connection_is_another_one(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(connect=99, idle=10))
    runtime.hold_posts = True
    runtime.script(runtime.run_posts, clock.passes(10))
    with pytest.raises(lms.LMStudioTimeoutError) as error:
        run(runtime.llm().call(ASK, None, "ask"))
    assert error.value.limit == "idle"
    assert runtime.inboxes[0].wakes == 1


# Connecting ----------------------------------------------------------------------------------------------------------


def test_connecting_has_its_own_limit(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(connect=3, idle=1), clock.passes(2), clock.passes(1), connects=False)
    with pytest.raises(lms.LMStudioConnectTimeoutError) as error:
        run(runtime.llm().call(ASK, None, "ask"))
    assert error.value.limit == "connect"
    assert isinstance(error.value, lms.LMStudioWebsocketError)


def test_connecting_says_how_far_it_came(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(connect=3), connects=False)

    def knock() -> None:
        runtime.multiplexers[0].connecting = "authentication", "ws://host/llm"
        clock.now += 3

    runtime.script(knock)
    with pytest.raises(
        lms.LMStudioConnectTimeoutError, match=r"to ws://host/llm within 3 seconds .*phase 'authentication'"
    ):
        run(runtime.llm().call(ASK, None, "ask"))


def test_between_two_attempts_to_connect_only_the_total_counts(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(connect=3, idle=1, total=20), connects=False)

    def fail() -> None:
        clock.now += 2
        runtime.multiplexers[0].end_attempt(is_ready=False)

    def begin() -> None:
        clock.now += 10
        runtime.multiplexers[0].begin_attempt()

    runtime.script(fail, begin, clock.passes(3))
    with pytest.raises(lms.LMStudioConnectTimeoutError):
        run(runtime.llm().call(ASK, None, "ask"))
    runtime.script(fail, clock.passes(18))
    with pytest.raises(lms.LMStudioTimeoutError) as error:
        run(runtime.llm().call(ASK, None, "ask"))
    assert error.value.limit == "total"


def test_idle_begins_when_there_is_a_connection(clock: Clock) -> None:
    runtime = Runtime(lms.Timeout(connect=30, idle=5), connects=False)

    def ready() -> None:
        clock.now += 20
        runtime.multiplexers[0].end_attempt(is_ready=True)

    runtime.script(ready, clock.passes(4), result("there"))
    assert run(runtime.llm().call(ASK, None, "ask")) == "there"


def test_a_patient_call_lets_the_connection_take_longer() -> None:
    runtime = Runtime(lms.Timeout(), result("there"), result("there", 2), result("there", 3))
    run(runtime.llm().call(ASK, None, "ask"))
    runtime.multiplexers[0].patience = 10
    run(runtime.llm().within(lms.Timeout(connect=60)).call(ASK, None, "ask"))
    assert runtime.multiplexers[0].patience == 60
    run(runtime.llm().within(lms.Timeout(connect=5)).call(ASK, None, "ask"))
    assert runtime.multiplexers[0].patience == 60


# Retries -------------------------------------------------------------------------------------------------------------


class Retrying(Runtime):
    """Its connections can be lost."""

    def __init__(self, *steps: Any, timeout: lms.Timeout = INHERITED) -> None:
        super().__init__(timeout, *steps)

    @property
    def retry(self) -> RetryConfig:
        return RetryConfig(max_retries=2, backoff_factor=0.0)

    def lose(self) -> None:
        self.multiplexers[-1].fail(lms.LMStudioWebsocketError("lost"), was_lost=True)


def test_a_read_whose_connection_is_lost_is_sent_again() -> None:
    runtime = Retrying()
    runtime.script(runtime.lose, runtime.lose, result("there"))
    assert run(runtime.llm().call(READ, None, "read")) == "there"
    assert [message["type"] for message in runtime.sent] == ["rpcCall"] * 3


def test_the_last_loss_is_raised() -> None:
    runtime = Retrying()
    runtime.script(*[runtime.lose] * 3)
    with pytest.raises(lms.LMStudioWebsocketError, match=r"^lost$"):
        run(runtime.llm().call(READ, None, "read"))
    assert len(runtime.sent) == 3


def test_what_is_no_read_is_never_sent_again() -> None:
    runtime = Retrying()
    runtime.script(runtime.lose)
    with pytest.raises(lms.LMStudioWebsocketError, match=r"^lost$"):
        run(runtime.llm().call(ASK, None, "ask"))
    runtime.script(runtime.lose)
    with pytest.raises(lms.LMStudioWebsocketError, match=r"^lost$"):
        run(prediction(runtime).run())
    assert [message["type"] for message in runtime.sent] == ["rpcCall", "channelCreate"]


def test_a_closed_client_is_no_loss() -> None:
    runtime = Retrying()
    runtime.script(lambda: runtime.multiplexers[-1].fail(lms.LMStudioWebsocketError("closed")))
    with pytest.raises(lms.LMStudioWebsocketError, match=r"^closed$"):
        run(runtime.llm().call(READ, None, "read"))
    assert len(runtime.sent) == 1


def test_the_total_covers_the_retries(clock: Clock) -> None:
    runtime = Retrying(timeout=lms.Timeout(total=10))

    def lose() -> None:
        clock.now += 6
        runtime.lose()

    runtime.script(lose, lose)
    with pytest.raises(lms.LMStudioWebsocketError, match=r"^lost$"):
        run(runtime.llm().call(READ, None, "read"))
    assert len(runtime.sent) == 2


def test_a_signal_ends_the_retries() -> None:
    runtime = Retrying()
    signal = lms.AbortSignal()

    def lose() -> None:
        runtime.lose()
        signal.abort("enough")

    runtime.script(lose)
    with pytest.raises(lms.LMStudioCancelledError, match="Could not read: Aborted: enough"):
        run(runtime.llm().within(None, signal).call(READ, None, "read"))
    assert len(runtime.sent) == 1


def test_the_pause_grows_to_its_limit_and_leaves_something_to_chance() -> None:
    config = lms.RetryConfig(max_retries=5, backoff_factor=0.5, max_backoff=3.0)
    assert [config.delay(retry, lambda: 0.0) for retry in range(6)] == [0.5, 1.0, 2.0, 3.0, 3.0, None]
    assert [config.delay(retry, lambda: 1.0) for retry in range(6)] == [0.25, 0.5, 1.0, 1.5, 1.5, None]
    assert lms.RetryConfig(max_retries=2000).delay(1999, lambda: 0.0) == 60.0
    delays = {config.delay(0) for _ in range(20)}
    assert len(delays) > 1
    assert all(delay is not None and 0.25 <= delay <= 0.5 for delay in delays)


@pytest.mark.parametrize(
    "setting",
    [
        {"retry_on_status": 503},
        {"retry_on_status": ("503",)},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"backoff_factor": -1},
        {"max_backoff": "long"},
    ],
)
def test_a_retry_config_is_checked(setting: Any) -> None:
    with pytest.raises(lms.LMStudioValueError, match=next(iter(setting))):
        lms.RetryConfig(**setting)


@pytest.mark.parametrize("value", [False, 3, 0, "never"])
def test_a_client_takes_a_retry_config_only(value: Any) -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"retry must be a lmstudio\.RetryConfig"):
        lms.Client(retry=value)


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [lms.LMStudioTimeoutError, lms.LMStudioConnectTimeoutError])
def test_the_error_of_a_limit_can_be_pickled(cls: type[lms.LMStudioTimeoutError]) -> None:
    error = pickle.loads(pickle.dumps(cls.of_limit("idle", 5, "too late")))
    assert (type(error), error.limit, error.seconds, str(error)) == (cls, "idle", 5, "too late")
