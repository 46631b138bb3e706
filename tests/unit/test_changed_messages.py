"""Every recorded message of a server with anything in it dropped, added or changed: no call of the client fails, unless
what it is for is gone.

The calls are those of the public client (`server_calls.py`). Each single change is tried at each path; Hypothesis tries
several at once.
"""

from __future__ import annotations

import json
import pickle
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replayed_client import ReplayedClient
from scripted_runtime import WaitsForeverError
from server_calls import CALLS, examine
from server_messages import Messages, Place, changes_at, paths, recorded

import lmstudio as lms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[[lms.Client], Any]

RECORDED = {endpoint: items for endpoint, items in recorded().items() if endpoint in CALLS}

# What a call cannot do without -------------------------------------------------------------------------------------

NEEDED_BY_RESULT = "Nothing of the result is left."
LAST_PACKET = "It ends the channel, and has what the call returns."
LAST_PACKETS = {
    "predict": ("success",),
    "loadModel": ("success",),
    "getOrLoad": ("alreadyLoaded", "loadSuccess"),
    "downloadModel": ("success",),
    "parseDocument": ("result",),
    "retrieve": ("result",),
}
_IDENTIFIER = "All that one can do with a loaded model needs it."
_ARGUMENTS = "A tool must not run with other arguments than those that the model gave."
_TOOL_CALL = "What `act` is to do; a later round would be about something else."
ESSENTIAL: dict[str, dict[str, str]] = {
    "tokenize": {
        "rpcResult.result.tokens": "They are the result.",
        "rpcResult.result.tokens[]": "Without one of them it is another text.",
    },
    "embedString": {
        "rpcResult.result.embedding": "It is the result.",
        "rpcResult.result.embedding[]": "Without one of its numbers it is another vector.",
    },
    "countTokens": {"rpcResult.result.tokenCount": "It is the result."},
    "applyPromptTemplate": {"rpcResult.result.formatted": "It is the result."},
    "getLoadConfig": {"rpcResult.result.fields": "They are the result; no configuration is not an empty one."},
    "llm/getBasePredictionConfig": {"rpcResult.result.fields": "As of getLoadConfig."},
    "estimateModelUsage": {
        "rpcResult.result.memory": "It is the result.",
        "rpcResult.result.memory.totalBytes": "Who reads 0 loads a model that does not fit.",
    },
    "uploadFileBase64": {"rpcResult.result.identifier": "A handle of nothing would fail later, and elsewhere."},
    "getLocalFileAbsolutePath": {"rpcResult.result.path": "It is the result."},
    "getDocumentParsingLibrary": {"rpcResult.result.library": "It names the parser."},
    "parseDocument": {"channelSend:result.message.content": "No text is not an empty document."},
    "retrieve": {
        "channelSend:result.message.result": "It is the result.",
        "channelSend:result.message.result.entries": "Nothing found is something else.",
        "channelSend:result.message.result.entries[].sourceIndex": "A file that was not searched cannot be its source.",
    },
    "searchModels": {"rpcResult.result.results": "They are the result."},
    "getModelDownloadOptions": {"rpcResult.result.results": "They are the result."},
    "downloadModel": {"channelSend:success.message.defaultIdentifier": "It is the result."},
    "loadModel": {
        "channelSend:success.message.info": _IDENTIFIER,
        "channelSend:success.message.info.identifier": _IDENTIFIER,
    },
    "getOrLoad": {
        "channelSend:alreadyLoaded.message.info": _IDENTIFIER,
        "channelSend:alreadyLoaded.message.info.identifier": _IDENTIFIER,
        "channelSend:loadSuccess.message.info": _IDENTIFIER,
        "channelSend:loadSuccess.message.info.identifier": _IDENTIFIER,
    },
    "predict": {
        "channelSend:toolCallGenerationEnd": _TOOL_CALL,
        "channelSend:toolCallGenerationEnd.message": _TOOL_CALL,
        "channelSend:toolCallGenerationEnd.message.type": _TOOL_CALL,
        "channelSend:toolCallGenerationEnd.message.toolCallRequest": _TOOL_CALL,
        "channelSend:toolCallGenerationEnd.message.toolCallRequest.name": "Without arguments nothing else is in it.",
        "channelSend:toolCallGenerationEnd.message.toolCallRequest.arguments": _ARGUMENTS,
    },
}
"""By endpoint: paths where a change may make a call fail, and why."""

HAVE_RESULTS = tuple(
    endpoint
    for endpoint in CALLS
    if endpoint.partition("/")[2] in ESSENTIAL
    or endpoint.partition("/")[2] in ("listLoaded", "getModelInfo", "getInstanceProcessingState")
    or endpoint in ("system/listDownloadedModels", "llm/getBasePredictionConfig")
)
_ENVELOPE = ("type", "callId", "channelId")


def is_of_envelope(place: Place) -> bool:
    """Whose message it is, and of what kind, cannot be known any more."""
    return not place or place[0] in _ENVELOPE


def reason_to_fail(endpoint: str, path: str, place: Place) -> str | None:
    """Why a change at *path* may make the call fail; None if it may not."""
    name = endpoint.partition("/")[2]
    if path == "rpcResult.result" and endpoint in HAVE_RESULTS:
        return NEEDED_BY_RESULT
    for packet in LAST_PACKETS.get(name, ()):
        last = f"channelSend:{packet}"
        if path in (f"{last}.message", f"{last}.message.type") or (is_of_envelope(place) and path.startswith(last)):
            return LAST_PACKET
    kind = path.partition(".")[0]
    return essentials_of(endpoint).get(kind if is_of_envelope(place) else path)


def essentials_of(endpoint: str) -> dict[str, str]:
    return ESSENTIAL.get(endpoint, ESSENTIAL.get(endpoint.partition("/")[2], {}))


# Running -------------------------------------------------------------------------------------------------------------


def encoded(messages: Messages) -> list[bytes]:
    return [json.dumps(message).encode() for message in messages]


def is_failure(messages: Messages) -> bool:
    return messages[-1]["type"] in ("rpcError", "channelError")


ENCODED = {endpoint: [encoded(item) for item in items] for endpoint, items in RECORDED.items()}
GOOD = {
    endpoint: [encoded(item) for item in items if not is_failure(item)] or [encoded(items[0])]
    for endpoint, items in RECORDED.items()
}


def outcome(endpoint: str, call: Call, messages: list[bytes]) -> Exception | None:
    """Make *call*, whose first request to *endpoint* is answered with *messages*; what it raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lms.LMStudioUnknownMessageWarning)
        try:
            examine(call(ReplayedClient({**GOOD, endpoint: [messages, *GOOD[endpoint]]})))
        except (Exception, WaitsForeverError) as error:
            return error
    return None


def check_error(error: Exception, endpoint: str, place: Place) -> None:
    """It says what was attempted, and which member of which answer is to blame."""
    assert isinstance(error, lms.LMStudioServerError), repr(error)
    assert "Could not" in str(error) or "server" in str(error) or "tool call" in str(error)
    if not is_of_envelope(place) and not isinstance(error, lms.ToolCallRequestError):
        assert repr(endpoint.partition("/")[2]) in str(error)
        assert "`$" in str(error)


def configured(path: str) -> str | None:
    """Which setting of a configuration a path leads to, and what of it."""
    return path.partition("fields[][")[2] or None


SETTINGS = {
    setting
    for endpoint in ("llm/getLoadConfig", "llm/getBasePredictionConfig")
    for messages in RECORDED[endpoint]
    for message in messages
    for _, path, _ in paths(message)
    if (setting := configured(path)) is not None
}
"""Those that endpoints of their own return; predictions repeat them, and read them with the same functions."""


def changed_conversations(endpoint: str) -> Iterator[tuple[int, Place, str, list[bytes]]]:
    """Each single change of each message: the number of the conversation, where it was changed, and what it is now.

    What is alike in several messages is changed in one of them.
    """
    seen: set[str] = set()
    for index, raw in enumerate(ENCODED[endpoint]):
        for number, message in enumerate(RECORDED[endpoint][index]):
            for place, path, _ in paths(message):
                if path in seen or (endpoint == "llm/predict" and configured(path) in SETTINGS):
                    continue
                seen.add(path)
                for changed in changes_at(message, place):
                    yield index, place, path, [*raw[:number], *encoded([changed]), *raw[number + 1 :]]


def calls_for(endpoint: str, path: str) -> list[Call]:
    """The calls that read what is at *path*: errors, and what predictions only pass on, are read alike by all."""
    is_shared = any(part in path for part in ("[key=", "Error.error.", "success.message.modelInfo.", ".details."))
    if is_shared:
        return CALLS[endpoint][:1]
    is_without_tools = "success.message.stats" in path or "Progress" in path or "Error" in path
    return CALLS[endpoint][:2] if is_without_tools else CALLS[endpoint]


def problem_of(endpoint: str, messages: Messages, place: Place, path: str, error: Exception | None) -> str | None:
    """What is wrong with the *error* of a call after a change; None if it may be so."""
    if error is None:
        return None
    if isinstance(error, WaitsForeverError):
        ends = path.partition(".")[0] in ("rpcResult", "rpcError", "channelError", "channelClose")
        return None if ends and is_of_envelope(place) else "waits for ever"
    if is_failure(messages) and isinstance(error, lms.LMStudioServerError):
        return None
    if reason_to_fail(endpoint, path, place) is None:
        return f"fails: {error!r:.300}"
    try:
        check_error(error, endpoint, place)
    except AssertionError:
        return f"fails with a bad error: {error!r:.300}"
    return None


@pytest.mark.parametrize("endpoint", RECORDED)
def test_no_single_change_makes_a_call_fail_but_of_what_is_essential(endpoint: str) -> None:
    # The model called tools that it was not offered, or not correctly: `act` fails with or without a change.
    failing = {
        (index, call)
        for index, raw in enumerate(ENCODED[endpoint])
        for call in CALLS[endpoint]
        if outcome(endpoint, call, raw) and not is_failure(RECORDED[endpoint][index])
    }
    problems = []
    superfluous = set(essentials_of(endpoint))
    for index, place, path, raw in changed_conversations(endpoint):
        for call in calls_for(endpoint, path):
            if (index, call) in failing:
                continue
            error = outcome(endpoint, call, raw)
            problem = problem_of(endpoint, RECORDED[endpoint][index], place, path, error)
            if problem is not None:
                problems.append(f"{path}: {problem}")
            if error is not None:
                superfluous -= {path, path.partition(".")[0] if is_of_envelope(place) else path}
    assert problems == []
    assert superfluous == set()


# Several changes at once ---------------------------------------------------------------------------------------------


@st.composite
def changed_several_times(draw: st.DrawFn) -> tuple[str, Messages, list[Any], bool]:
    """An endpoint, a conversation, the same after two to four changes, and whether some envelope was changed."""
    endpoint: str = draw(st.sampled_from(sorted(RECORDED)))
    messages: Messages = draw(st.sampled_from(RECORDED[endpoint]))
    changed: list[Any] = list(messages)
    is_envelope_changed = False
    for _ in range(draw(st.integers(2, 4))):
        number: int = draw(st.integers(0, len(changed) - 1))
        place: Place = draw(st.sampled_from([each for each, _, _ in paths(messages[number])]))
        is_envelope_changed = is_envelope_changed or is_of_envelope(place)
        with suppress(LookupError, TypeError):  # an earlier change may have removed this place
            changed[number] = draw(st.sampled_from(list(changes_at(changed[number], place))))
    return endpoint, messages, changed, is_envelope_changed


@given(changed_several_times())
@settings(max_examples=400, derandomize=True, deadline=None)
def test_several_changes_never_lead_to_anything_but_a_clean_error(
    changed: tuple[str, Messages, list[Any], bool],
) -> None:
    endpoint, _, messages, is_envelope_changed = changed
    for call in CALLS[endpoint]:
        error = outcome(endpoint, call, encoded(messages))
        is_clean = error is None or isinstance(error, lms.LMStudioServerError)
        assert is_clean or (is_envelope_changed and isinstance(error, WaitsForeverError)), repr(error)


# Values that are new -------------------------------------------------------------------------------------------------


def test_a_new_value_of_an_enumeration_is_kept_and_behaves_like_any_other() -> None:
    messages = next(item for item in RECORDED["llm/predict"] if not is_failure(item))
    text = json.dumps(messages).replace('"eosFound"', '"newReason"').replace('"gguf"', '"newFormat"')

    def predict() -> lms.PredictionResult[Any]:
        client = ReplayedClient({**GOOD, "llm/predict": [encoded(json.loads(text))]})
        return client.llm.create_dynamic_handle("some-model").respond("Hi")

    result, again = predict(), predict()
    assert (result.stats.stop_reason, result.stop_reason, result.model_info.format) == (*["newReason"] * 2, "newFormat")
    assert result == again
    assert "newReason" in repr(result.stats)
    for value in (result, result.stats, result.model_info):
        assert pickle.loads(pickle.dumps(value)) == value
    assert result.stats.to_dict()["stopReason"] == "newReason"
