"""Callbacks of users: what is refused before an operation begins, and what their failures do to it."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

import pytest
from scripted_runtime import ScriptedRuntime, run

import lmstudio as lms
from lmstudio._callbacks import check_callbacks, is_coroutine_function, notify, tell


class Blocking(ScriptedRuntime):
    suspends = False


class Suspending(ScriptedRuntime):
    suspends = True


async def coroutine_function(*_: object) -> None:
    await asyncio.sleep(0)


class CallableObject:
    async def __call__(self) -> None: ...

    async def method(self) -> None: ...


@pytest.mark.parametrize(
    "function",
    [coroutine_function, functools.partial(coroutine_function, 1), CallableObject(), CallableObject().method],
)
def test_coroutine_functions_are_known_without_calling_them(function: Any) -> None:
    assert is_coroutine_function(function)
    check_callbacks(Suspending(), on_event=function)
    with pytest.raises(
        lms.LMStudioValueError, match=r"^on_event is a coroutine function, which the synchronous client"
    ):
        check_callbacks(Blocking(), on_event=function)


@pytest.mark.parametrize("function", [print, len, CallableObject, lambda: None, functools.partial(print, 1), [].append])
def test_plain_functions_are_accepted(function: Any) -> None:
    assert not is_coroutine_function(function)
    check_callbacks(Blocking(), on_event=function, on_other=None)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"^on_event must be a function, got str\.$"):
        check_callbacks(Suspending(), on_event="print")


def test_plain_callback_costs_no_wait() -> None:
    called: list[object] = []

    assert notify(Suspending(), called.append, 1) is None
    assert notify(Suspending(), None, 1) is None
    assert called == [1]


def test_coroutine_callback_is_awaited() -> None:
    called: list[object] = []

    async def callback(value: object) -> None:
        await asyncio.sleep(0)
        called.append(value)

    asyncio.run(tell(Suspending(), callback, 1))
    assert called == [1]


def fail(*_: object) -> None:
    raise RuntimeError("on purpose")


async def fail_later(*_: object) -> None:
    await asyncio.sleep(0)
    raise RuntimeError("on purpose")


@pytest.mark.parametrize("callback", [fail, fail_later])
def test_failing_callback_is_logged_and_the_operation_goes_on(callback: Any, caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(tell(Suspending(), callback, 1))

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("lmstudio.callbacks", logging.ERROR)
    assert "fail" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "on purpose"


def test_coroutine_that_comes_unexpected_in_the_synchronous_client_is_closed_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(tell(Blocking(), lambda: coroutine_function(1)))

    (record,) = caplog.records
    assert record.exc_info is not None
    assert "It returned coroutine, which the synchronous client cannot await" in str(record.exc_info[1])


def test_interruption_of_a_callback_is_not_swallowed() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tell(Blocking(), interrupt))
