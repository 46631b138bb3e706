"""What programs read from an exception: its kind, its context, its parts; and that all of it travels."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from scripted_runtime import ScriptedRuntime, result, rpc_error, run

import lmstudio as lms
from lmstudio import errors
from lmstudio._endpoints import Rpc
from lmstudio.errors import ErrorType, LMStudioError, LMStudioServerError, from_wire
from lmstudio.json_api import fresh_copy

CLASSES: list[type[LMStudioError]] = [getattr(errors, name) for name in errors.__all__ if name != "ErrorType"]
ECHO: Rpc[Any, str] = Rpc("echo", dict, str)

TOO_LONG: dict[str, Any] = {
    "title": "The prompt has 50 tokens, the model was loaded with a context of 30.",
    "errorData": {"n_prompt_tokens": 50, "n_ctx": 30},
}


def sample(cls: type[LMStudioError]) -> LMStudioError:
    """An error with all that one can have."""
    details = (
        ({"title": "t", "cause": "c", "displayData": {"code": "x"}},) if issubclass(cls, LMStudioServerError) else ()
    )
    error = cls("what happened", *details).with_context(attempted="try", namespace="llm", numbers=[1, 2])
    if sys.version_info >= (3, 11):
        error.add_note("a note")
    return error


def parts(error: LMStudioError) -> tuple[object, ...]:
    return type(error), error.args, str(error), repr(error), error.error_type, dict(error.context), vars(error)


# The kind ------------------------------------------------------------------------------------------------------------

KINDS = {
    "LMStudioError": ErrorType.UNKNOWN_ERROR,
    "LMStudioServerError": ErrorType.API_ERROR,
    "LMStudioModelNotFoundError": ErrorType.API_ERROR,
    "LMStudioContextOverflowError": ErrorType.API_ERROR,
    "LMStudioPredictionError": ErrorType.API_ERROR,
    "LMStudioStructuredOutputError": ErrorType.API_ERROR,
    "ToolCallRequestInvalidNameError": ErrorType.API_ERROR,
    "LMStudioProtocolError": ErrorType.SERVER_ERROR,
    "LMStudioChannelClosedError": ErrorType.SERVER_ERROR,
    "LMStudioAuthenticationError": ErrorType.AUTHENTICATION_ERROR,
    "LMStudioValidationError": ErrorType.CLIENT_ERROR,
    "LMStudioRateLimitError": ErrorType.RATE_LIMIT_ERROR,
    "LMStudioConnectionError": ErrorType.NETWORK_ERROR,
    "LMStudioWebsocketError": ErrorType.NETWORK_ERROR,
    "LMStudioClientError": ErrorType.NETWORK_ERROR,
    "LMStudioTimeoutError": ErrorType.TIMEOUT_ERROR,
    "LMStudioConnectTimeoutError": ErrorType.TIMEOUT_ERROR,
    "LMStudioCancelledError": ErrorType.CLIENT_ERROR,
    "LMStudioValueError": ErrorType.CLIENT_ERROR,
    "LMStudioRuntimeError": ErrorType.CLIENT_ERROR,
    "LMStudioFileNotFoundError": ErrorType.CLIENT_ERROR,
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_every_error_has_a_kind(name: str, kind: ErrorType) -> None:
    assert getattr(lms, name)("x").error_type is kind


def test_a_kind_is_its_own_name() -> None:
    assert [kind.value for kind in ErrorType] == [kind.name.lower() for kind in ErrorType]
    assert len(ErrorType) == 8
    assert ErrorType("network_error") is ErrorType.NETWORK_ERROR


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_a_message_and_outside_http_no_status(cls: type[LMStudioError]) -> None:
    error = cls("It failed.")
    assert (error.message, str(error), error.status_code) == ("It failed.", "It failed.", None)


# The context ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_that_was_made_of_a_message_only_has_no_context(cls: type[LMStudioError]) -> None:
    assert dict(cls("x").context) == {}


def test_context_is_added_once_and_cannot_be_written() -> None:
    error = LMStudioError("x").with_context(model="a", url=None).with_context(model="b", endpoint="e")
    assert error.context == {"model": "a", "endpoint": "e"}
    with pytest.raises(TypeError):
        error.context["model"] = "c"  # type: ignore[index]


def test_a_copy_has_a_context_of_its_own() -> None:
    error = LMStudioError("x").with_context(model="a")
    fresh_copy(error).with_context(endpoint="e")
    assert error.context == {"model": "a"}


@pytest.mark.parametrize(
    ("reply", "cls"),
    [
        (rpc_error({"title": "no"}), lms.LMStudioServerError),
        (result({"a": "damaged"}), lms.LMStudioProtocolError),
        (lms.LMStudioWebsocketError("gone"), lms.LMStudioWebsocketError),
    ],
    ids=["refused", "damaged", "lost"],
)
def test_the_context_of_a_call_says_what_was_attempted_where(reply: Any, cls: type[LMStudioError]) -> None:
    class Parameter(dict[str, Any]):
        specifier = lms.ModelSpecifierQuery(query=lms.ModelQuery(identifier="tiny"))

    with pytest.raises(cls) as caught:
        run(ScriptedRuntime(reply).llm().call(ECHO, Parameter(), "echo it"))
    assert caught.value.context == {"attempted": "echo it", "endpoint": "echo", "namespace": "llm", "model": "tiny"}


# Travelling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_part_survives_pickling(cls: type[LMStudioError], protocol: int) -> None:
    original = sample(cls)
    assert parts(pickle.loads(pickle.dumps(original, protocol))) == parts(original)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_part_survives_copying(cls: type[LMStudioError]) -> None:
    original = sample(cls)
    for copied in (copy.copy(original), copy.deepcopy(original), fresh_copy(original)):
        assert parts(copied) == parts(original)


def raise_sample(name: str) -> None:
    raise sample(getattr(errors, name))


def test_every_error_crosses_processes() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        running = {cls: pool.submit(raise_sample, cls.__name__) for cls in CLASSES}
        arrived = {cls: future.exception() for cls, future in running.items()}
    for cls, error in arrived.items():
        assert isinstance(error, LMStudioError)
        assert parts(error) == parts(sample(cls))


if sys.version_info >= (3, 11):

    def test_a_note_for_one_caller_is_not_for_the_others() -> None:
        original = sample(LMStudioError)
        fresh_copy(original).add_note("mine")
        assert vars(original)["__notes__"] == ["a note"]


def test_a_fresh_copy_keeps_the_cause_and_has_no_traceback() -> None:
    original = LMStudioError("x")
    original.__cause__ = cause = OSError("y")
    assert fresh_copy(original).__cause__ is cause
    with pytest.raises(LMStudioError) as caught:
        raise original
    assert fresh_copy(caught.value).__traceback__ is None


def test_a_fresh_copy_does_not_hide_what_the_caller_was_handling() -> None:
    with pytest.raises(LMStudioError) as caught:
        try:
            raise KeyError("mine")
        except KeyError:
            raise fresh_copy(LMStudioError("x"))  # noqa: B904  # as an operation would
    assert isinstance(caught.value.__context__, KeyError)
    assert not caught.value.__suppress_context__


# What the server said ------------------------------------------------------------------------------------------------


def test_the_parts_of_a_server_error_are_attributes() -> None:
    error = from_wire(
        {
            "rootTitle": "r",
            "title": "t",
            "cause": "c",
            "suggestion": "s",
            "errorData": {"a": 1},
            "displayData": {"code": "x"},
        },
        "try",
    )
    assert (error.title, error.cause, error.suggestion, error.data, error.code) == ("t", "c", "s", {"a": 1}, "x")
    assert error.context == {"code": "x"}


@pytest.mark.parametrize("details", [{"title": 5, "cause": [], "suggestion": "", "errorData": "x"}, {}, None])
def test_parts_that_are_missing_or_odd_are_none(details: Any) -> None:
    error = LMStudioServerError("x", details)
    assert (error.title, error.cause, error.suggestion, error.data, error.code) == (None,) * 5


def not_found(wanted: str, *available: str, **more: object) -> lms.LMStudioModelNotFoundError:
    data = {"code": "generic.pathNotFound", "path": wanted, "availablePathsSample": available, "totalModels": 9}
    error = from_wire(json.loads(json.dumps({"title": "No", "displayData": data, **more})), "load")
    assert isinstance(error, lms.LMStudioModelNotFoundError)
    return error


def test_a_missing_model_comes_with_those_that_may_be_meant() -> None:
    error = not_found("Quen2.5-7b", "llama-3.2-1b", "qwen2.5-7b", "lmstudio-community/Qwen2.5-7B")
    assert error.available == ("llama-3.2-1b", "qwen2.5-7b", "lmstudio-community/Qwen2.5-7B")
    assert error.near_matches[0] == "qwen2.5-7b"
    assert "llama-3.2-1b" not in error.near_matches
    assert error.context["model"] == "Quen2.5-7b"
    assert "\nDid you mean 'qwen2.5-7b'" in str(error)


def test_a_hint_of_the_server_is_not_repeated() -> None:
    error = not_found("quen", "qwen", suggestion="Did you mean qwen?")
    assert error.near_matches == ("qwen",)
    assert str(error).count("Did you mean") == 1


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    error = not_found("x", "llama-3.2-1b")
    assert error.near_matches == ()
    assert "Did you mean" not in str(error)
    assert (lms.LMStudioModelNotFoundError("x").available, lms.LMStudioModelNotFoundError("x").near_matches) == ((), ())


def test_presets_may_be_meant_too() -> None:
    data = {
        "code": "generic.presetNotFound",
        "specifiedFuzzyPresetIdentifier": "pirate",
        "availablePresetsSample": [{"identifier": "@local:pirates", "name": "P"}],
        "totalAvailablePresets": 1,
    }
    error = from_wire({"title": "No", "displayData": data}, "try")
    assert isinstance(error, lms.LMStudioPresetNotFoundError)
    assert error.near_matches == ("@local:pirates",)


@pytest.mark.parametrize(
    ("details", "numbers"),
    [
        (TOO_LONG, (50, 30)),
        (
            {
                "title": "Trying to keep the first 5339 tokens when context the overflows. However, the model is "
                "loaded with context length of only 4096 tokens, which is not enough."
            },
            (5339, 4096),
        ),
        (
            {
                "cause": "The number of tokens to keep from the initial prompt is greater than the context length. "
                "Try to load the model with a larger context length, or provide a shorter input"
            },
            (None, None),
        ),
        (
            {
                "title": "The number of tokens to keep from the initial prompt is greater than the context length "
                "(n_keep: 6027>= n_ctx: 4096). Try to load the model with a larger context length."
            },
            (6027, 4096),
        ),
        ({"cause": "Cannot truncate prompt with n_keep (700) >= n_ctx (512)"}, (700, 512)),
        (
            {"title": "Error", "cause": "request (700 tokens) exceeds the available context size (512 tokens)"},
            (700, 512),
        ),
        ({"title": "Reached context length of 4096 tokens with model (arch: x)"}, (None, 4096)),
    ],
)
def test_a_prompt_that_is_too_long_has_a_class_with_the_numbers(
    details: dict[str, Any], numbers: tuple[int | None, int | None]
) -> None:
    error = from_wire(details, "predict")
    assert isinstance(error, lms.LMStudioContextOverflowError)
    assert (error.prompt_tokens, error.context_length) == numbers


@pytest.mark.parametrize(
    "details",
    [
        {"title": "The context length 9999 is larger than the model supports."},
        {"title": "Failed to load: not enough memory for a context length of 4096 tokens"},
        {"title": "x", "errorData": {"n_ctx": 5}},
        {"title": "x", "errorData": {"n_ctx": "5", "n_prompt_tokens": 7}},
    ],
)
def test_other_errors_about_the_context_are_not_mistaken_for_it(details: dict[str, Any]) -> None:
    assert type(from_wire(details, "load")) is LMStudioServerError


def test_the_numbers_are_not_repeated_as_data() -> None:
    assert "Data:" not in str(from_wire(TOO_LONG, "predict"))
