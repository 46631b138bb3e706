"""What an exception says, what class it has, and that it survives pickling."""

from __future__ import annotations

import copy
import pickle
import traceback
import types
from typing import Any

import pytest

from lmstudio import errors
from lmstudio._sdk_models import (
    ErrorDisplayDataGenericDomainMismatch,
    ErrorDisplayDataGenericEngineDoesNotSupportFeature,
    ErrorDisplayDataGenericIdentifierNotFound,
    ErrorDisplayDataGenericMissingRuntimeExtension,
    ErrorDisplayDataGenericNoModelMatchingQuery,
    ErrorDisplayDataGenericPathNotFound,
    ErrorDisplayDataGenericPresetNotFound,
    ErrorDisplayDataGenericSpecificModelUnloaded,
)
from lmstudio.errors import (
    LMStudioError,
    LMStudioModelNotFoundError,
    LMStudioPredictionError,
    LMStudioPresetNotFoundError,
    LMStudioServerError,
    LMStudioStructuredOutputError,
    from_wire,
    without_own_frames,
)

CLASSES = [getattr(errors, name) for name in errors.__all__ if name != "ErrorType"]


def message(error: object) -> str:
    return str(from_wire(error, "try"))


# Classes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_can_be_caught_as_the_packages_own(cls: type[Exception]) -> None:
    assert issubclass(cls, LMStudioError)


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("LMStudioServerError", (LMStudioError,)),
        ("LMStudioAuthenticationError", (LMStudioServerError,)),
        ("LMStudioModelNotFoundError", (LMStudioServerError,)),
        ("LMStudioPresetNotFoundError", (LMStudioServerError,)),
        ("LMStudioChannelClosedError", (LMStudioServerError,)),
        ("LMStudioPredictionError", (LMStudioServerError,)),
        ("LMStudioCancelledError", (errors.LMStudioClientError,)),
        ("LMStudioWebsocketError", (errors.LMStudioClientError,)),
        ("LMStudioUnknownMessageWarning", (errors.LMStudioClientError, UserWarning)),
        ("LMStudioTimeoutError", (TimeoutError,)),
        ("LMStudioValueError", (ValueError,)),
        ("LMStudioStructuredOutputError", (ValueError,)),
        ("LMStudioRuntimeError", (RuntimeError,)),
        ("LMStudioOSError", (OSError,)),
        ("LMStudioFileNotFoundError", (errors.LMStudioOSError, FileNotFoundError)),
    ],
)
def test_errors_are_the_built_in_ones_that_people_catch(name: str, bases: tuple[type, ...]) -> None:
    cls = getattr(errors, name)
    assert all(issubclass(cls, base) for base in bases)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_errors_of_connecting_keep_what_failed_where(protocol: int) -> None:
    lost = errors.LMStudioWebsocketError("no", phase="tls", url="wss://h:1/llm")
    for copied in (pickle.loads(pickle.dumps(lost, protocol)), copy.copy(lost)):
        assert (str(copied), copied.phase, copied.url) == ("no", "tls", "wss://h:1/llm")
    denied = errors.LMStudioAuthenticationError("no", {"title": "why"}, url="ws://h:1/llm")
    for copied in (pickle.loads(pickle.dumps(denied, protocol)), copy.copy(denied)):
        assert (str(copied), copied.phase, copied.url) == ("no", "authentication", "ws://h:1/llm")
        assert copied.server_error is not None
        assert copied.server_error.title == "why"
    assert errors.LMStudioWebsocketError("lost").phase is None


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_every_error_can_be_pickled_and_copied(cls: type[Exception], protocol: int) -> None:
    original = cls("what happened")
    for copied in (pickle.loads(pickle.dumps(original, protocol)), copy.copy(original)):
        assert type(copied) is cls
        assert str(copied) == str(original) == "what happened"


def test_the_details_of_an_error_survive_pickling() -> None:
    original = from_wire({"title": "x", "displayData": {"code": "generic.specificModelUnloaded"}}, "try")
    copied = pickle.loads(pickle.dumps(original))
    assert isinstance(copied, LMStudioModelNotFoundError)
    assert copied.server_error == original.server_error
    assert copied.code == "generic.specificModelUnloaded"


def test_a_structured_output_error_keeps_the_text_and_the_reason() -> None:
    copied = pickle.loads(pickle.dumps(LMStudioStructuredOutputError("no match", '{"a"', "contextLengthReached")))
    assert (str(copied), copied.content, copied.stop_reason) == ("no match", '{"a"', "contextLengthReached")


# The message ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"title": "Boom"}, "Could not try: Boom"),
        ({"rootTitle": "Boom"}, "Could not try: Boom"),
        ({"title": "Boom", "rootTitle": "Boom"}, "Could not try: Boom"),
        ({"title": "Boom", "rootTitle": "Engine"}, "Could not try: Engine: Boom"),
        ({"title": "  Boom\n"}, "Could not try: Boom"),
        ({}, "Could not try: Unknown server error"),
        (None, "Could not try: Unknown server error"),
        ({"title": " ", "rootTitle": ""}, "Could not try: Unknown server error"),
        ("Boom", "Could not try: Boom"),
        (["Boom"], "Could not try: ['Boom']"),
        (
            {"title": "Boom", "suggestion": "Retry.", "cause": "Heat"},
            "Could not try: Boom\nCause: Heat\nSuggestion: Retry.",
        ),
        ({"title": "Boom", "errorData": {"ä": [1]}}, 'Could not try: Boom\nData: {"ä": [1]}'),
        ({"title": "Boom", "stack": "at line 1"}, "Could not try: Boom"),
        (
            {"title": 5, "cause": [], "suggestion": {}, "errorData": None, "displayData": 5},
            "Could not try: Unknown server error",
        ),
    ],
)
def test_the_message_has_what_the_server_said(error: object, text: str) -> None:
    assert message(error) == text


UNKNOWN: Any = None
DISPLAY_DATA: list[tuple[dict[str, Any], type[LMStudioServerError], type[Any], str]] = [
    (
        {"code": "generic.specificModelUnloaded"},
        LMStudioModelNotFoundError,
        ErrorDisplayDataGenericSpecificModelUnloaded,
        "This instance of the model was unloaded. Get a new handle, e.g. with client.llm.model(...).",
    ),
    (
        {
            "code": "generic.noModelMatchingQuery",
            "query": {"identifier": "x"},
            "loadedModelsSample": ["a", "b"],
            "totalLoadedModels": 2,
        },
        LMStudioModelNotFoundError,
        ErrorDisplayDataGenericNoModelMatchingQuery,
        "Loaded models: a, b.",
    ),
    (
        {"code": "generic.pathNotFound", "path": "x", "availablePathsSample": ["a", "b"], "totalModels": 7},
        LMStudioModelNotFoundError,
        ErrorDisplayDataGenericPathNotFound,
        "Downloaded models: a, b and 5 more.",
    ),
    (
        {
            "code": "generic.identifierNotFound",
            "identifier": "x",
            "loadedModelsSample": [],
            "totalLoadedModels": 0,
        },
        LMStudioModelNotFoundError,
        ErrorDisplayDataGenericIdentifierNotFound,
        "Loaded models: none.",
    ),
    (
        {"code": "generic.domainMismatch", "path": "x", "actualDomain": "llm", "expectedDomain": "embedding"},
        LMStudioServerError,
        ErrorDisplayDataGenericDomainMismatch,
        "x is of type llm, not embedding.",
    ),
    (
        {
            "code": "generic.engineDoesNotSupportFeature",
            "feature": "vision",
            "engineName": "llama.cpp",
            "engineType": "cpu",
            "installedVersion": "1.0",
            "supportedVersion": "2.0",
        },
        LMStudioServerError,
        ErrorDisplayDataGenericEngineDoesNotSupportFeature,
        "llama.cpp 1.0 does not support vision; version 2.0 does.",
    ),
    (
        {
            "code": "generic.engineDoesNotSupportFeature",
            "feature": "vision",
            "engineName": "llama.cpp",
            "engineType": "cpu",
            "installedVersion": "1.0",
            "supportedVersion": None,
        },
        LMStudioServerError,
        ErrorDisplayDataGenericEngineDoesNotSupportFeature,
        "llama.cpp 1.0 does not support vision.",
    ),
    (
        {"code": "generic.missingRuntimeExtension"},
        LMStudioServerError,
        ErrorDisplayDataGenericMissingRuntimeExtension,
        "",
    ),
    (
        {
            "code": "generic.presetNotFound",
            "specifiedFuzzyPresetIdentifier": "x",
            "availablePresetsSample": [{"identifier": "@local:a", "name": "A"}],
            "totalAvailablePresets": 2,
        },
        LMStudioPresetNotFoundError,
        ErrorDisplayDataGenericPresetNotFound,
        "Presets: @local:a and 1 more.",
    ),
]


@pytest.mark.parametrize(("display_data", "cls", "struct", "text"), DISPLAY_DATA)
def test_every_code_has_its_class_its_text_and_its_data(
    display_data: dict[str, Any], cls: type[LMStudioServerError], struct: type[Any], text: str
) -> None:
    error = from_wire({"title": "Boom", "displayData": display_data}, "try")
    assert type(error) is cls
    assert str(error) == "\n".join(["Could not try: Boom", *([text] if text else [])])
    assert error.code == display_data["code"]
    assert error.server_error is not None
    assert type(error.server_error.display_data) is struct


def test_every_code_of_the_protocol_is_tested() -> None:
    from typing import get_args

    from lmstudio._sdk_models import ErrorDisplayData

    assert set(get_args(ErrorDisplayData)) == {struct for _, _, struct, _ in DISPLAY_DATA}


@pytest.mark.parametrize("junk", [None, 5, "x", True, [], [5], {}, {"a": 1}, [{"identifier": None}], [None]])
def test_odd_display_data_never_hides_the_error(junk: Any) -> None:
    for display_data, *_ in DISPLAY_DATA:
        for member in display_data:
            error = from_wire({"title": "Boom", "displayData": {**display_data, member: junk}}, "try")
            assert str(error).startswith("Could not try: Boom")
            assert error.server_error is not None
    assert message({"title": "Boom", "displayData": junk}) == "Could not try: Boom"


@pytest.mark.parametrize(
    "display_data",
    [
        {"code": "generic.pathNotFound"},
        {"code": "generic.pathNotFound", "totalModels": 5},
        {"code": "generic.pathNotFound", "availablePathsSample": "abc", "totalModels": 5},
        {"code": "generic.domainMismatch"},
        {"code": "generic.engineDoesNotSupportFeature"},
        {"code": "generic.newInVersion9"},
        {"code": ["generic.pathNotFound"]},
    ],
)
def test_display_data_without_its_members_says_nothing(display_data: dict[str, Any]) -> None:
    assert message({"title": "Boom", "displayData": display_data}) == "Could not try: Boom"


def test_an_unknown_code_keeps_its_class_and_code() -> None:
    error = from_wire({"title": "Boom", "displayData": {"code": "generic.new"}}, "try", LMStudioPredictionError)
    assert type(error) is LMStudioPredictionError
    assert error.code == "generic.new"


@pytest.mark.parametrize("code", [5, None, ["x"], {}])
def test_a_code_that_is_no_text_counts_as_absent(code: Any) -> None:
    error = from_wire({"title": "Boom", "displayData": {"code": code}}, "try")
    assert type(error) is LMStudioServerError
    assert error.code is None


# The parts -----------------------------------------------------------------------------------------------------------


def test_the_parts_of_an_error_are_attributes_without_the_stack() -> None:
    error = from_wire(
        {"title": "t", "cause": "c", "suggestion": "s", "errorData": {"a": 1}, "rootTitle": "r", "stack": "secret"},
        "try",
    )
    parts = error.server_error
    assert parts is not None
    assert (parts.title, parts.cause, parts.suggestion, parts.error_data, parts.root_title) == (
        "t",
        "c",
        "s",
        {"a": 1},
        "r",
    )
    assert parts.stack is None


def test_an_error_without_details_has_no_parts() -> None:
    error = LMStudioServerError("closed early")
    assert error.server_error is None
    assert error.code is None


def test_odd_parts_count_as_absent() -> None:
    error = from_wire({"title": 5, "cause": "c", "errorData": "x", "displayData": {"code": "new"}}, "try")
    assert error.server_error is not None
    assert (error.server_error.title, error.server_error.cause) == (None, "c")
    assert error.server_error.display_data is None


# Tracebacks ----------------------------------------------------------------------------------------------------------


def frames_of(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def fail(error: Exception) -> None:
    raise error


# As if it stood in a module of the package.
own_fail = types.FunctionType(fail.__code__, {"__name__": "lmstudio._ops.fake"})


def test_the_frames_of_the_package_are_left_out() -> None:
    with pytest.raises(LMStudioError) as caught:
        own_fail(LMStudioServerError("no"))
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next if caught.value.__traceback__ else None)
    assert frames_of(without_own_frames(error)) == []


def test_the_frames_of_the_user_are_kept() -> None:
    with pytest.raises(LMStudioError) as caught:
        own_fail(LMStudioServerError("no"))
    assert frames_of(without_own_frames(caught.value))[-1] == "fail"


def test_all_frames_are_kept_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_KEEP_INTERNAL_STACK", "1")
    with pytest.raises(LMStudioError) as caught:
        own_fail(LMStudioServerError("no"))
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next if caught.value.__traceback__ else None)
    assert frames_of(without_own_frames(error)) == ["fail"]


@pytest.mark.parametrize(
    ("details", "cls"),
    [
        ({"title": "Gone", "displayData": {"code": "generic.noModelMatchingQuery"}}, LMStudioModelNotFoundError),
        ({"title": "Gone"}, LMStudioServerError),
    ],
)
def test_an_error_can_be_made_of_details(details: dict[str, Any], cls: type[LMStudioServerError]) -> None:
    error = LMStudioServerError.from_details("Loading failed", details)
    assert type(error) is cls
    assert str(error).startswith("Loading failed: Gone")
    assert error.server_error is not None
