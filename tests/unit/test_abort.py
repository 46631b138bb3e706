"""AbortSignal: listeners, once each, from any thread."""

from __future__ import annotations

import threading

import pytest
from patience import PATIENCE_SECONDS

from lmstudio import AbortSignal, LMStudioCancelledError
from lmstudio._abort import on_abort


def test_abort_calls_every_listener_once() -> None:
    signal, seen = AbortSignal(), list[int]()
    for number in range(3):
        signal.add_listener(lambda number=number: seen.append(number))  # type: ignore[misc]  # the usual default
    signal.abort()
    signal.abort()
    assert sorted(seen) == [0, 1, 2]


def test_a_listener_that_fails_does_not_keep_the_others_from_stopping() -> None:
    signal, seen = AbortSignal(), list[int]()
    signal.add_listener(lambda: seen.append(1))
    signal.add_listener(lambda: 1 // 0)
    signal.add_listener(lambda: seen.append(2))
    with pytest.raises(ZeroDivisionError):
        signal.abort()
    assert sorted(seen) == [1, 2]


def test_a_listener_that_was_removed_is_not_called() -> None:
    signal, seen = AbortSignal(), list[str]()
    remove = signal.add_listener(lambda: seen.append("called"))
    remove()
    remove()
    signal.abort()
    assert seen == []


def test_a_listener_that_comes_late_is_called_at_once() -> None:
    signal, seen = AbortSignal(), list[str]()
    signal.abort()
    signal.add_listener(lambda: seen.append("called"))
    assert seen == ["called"]


def test_the_reason_is_kept_and_told() -> None:
    signal = AbortSignal()
    assert (signal.aborted, signal.reason, repr(signal)) == (False, None, "AbortSignal()")
    signal.throw_if_aborted()
    signal.abort("too slow")
    signal.abort("later")
    assert (signal.aborted, signal.reason, repr(signal)) == (True, "too slow", "AbortSignal(aborted)")
    with pytest.raises(LMStudioCancelledError, match="Aborted: too slow"):
        signal.throw_if_aborted()


def test_nothing_listens_after_the_block() -> None:
    signal, seen = AbortSignal(), list[str]()
    with on_abort(signal, lambda: seen.append("called")):
        pass
    with on_abort(None, lambda: seen.append("never")):
        pass
    signal.abort()
    assert seen == []


def test_each_listener_is_called_once_while_threads_come_and_abort() -> None:
    signal, calls = AbortSignal(), list[int]()
    start = threading.Barrier(9)

    def listen(number: int) -> None:
        start.wait(PATIENCE_SECONDS)
        for step in range(200):
            signal.add_listener(lambda: calls.append(number * 1000 + step))  # noqa: B023 - called within the step or by abort

    def abort() -> None:
        start.wait(PATIENCE_SECONDS)
        signal.abort()

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(8)]
    threads.append(threading.Thread(target=abort))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(calls) == 8 * 200
