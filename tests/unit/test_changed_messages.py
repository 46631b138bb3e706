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
from server_calls import CALLS, FILE, OTHER_FILE, examine, examine_error
from server_messages import Messages, Place, changes_at, dropped, paths, recorded, replaced

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
    "getModelCatalog": {"rpcResult.result.models": "They are the result."},
    "fuzzyFindStaffPicks": {"rpcResult.result.results": "They are the result."},
    "getLocalArtifactFiles": {
        "rpcResult.result.fileList": "It is the result.",
        "rpcResult.result.fileList.files": "No file is not the same as files that were not understood.",
    },
    "getWritableArtifactOwners": {"rpcResult.result.owners": "They are the result."},
    "isAuthenticated": {"rpcResult.result.authenticated": "It is the result."},
    "getAuthenticationStatus": {
        "rpcResult.result.authenticationStatus": "It is the result.",
        "rpcResult.result.authenticationStatus.type": "It is the answer; of one that is not known nothing can be said.",
    },
    "lmLinkStatus": {"rpcResult.result.status": "It is the result."},
    "getEngineSelections": {"rpcResult.result.json": "They are the result."},
    "surveyHardware": {"rpcResult.result.engines": "They are the result."},
    "searchRuntimeExtensions": {"rpcResult.result.extensions": "They are the result."},
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
    or endpoint in ("system/listDownloadedModels", "llm/getBasePredictionConfig", "runtime/listEngines")
    or endpoint in ("system/version", "system/info", "system/getExperimentFlags")
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


class Conversation:
    """A recorded conversation, with the places whose like is in none of those before it."""

    def __init__(self, endpoint: str, index: int, seen: set[str]) -> None:
        self.endpoint, self.messages, self.raw = endpoint, RECORDED[endpoint][index], ENCODED[endpoint][index]
        self.places: list[tuple[int, Place, str]] = []
        for number, message in enumerate(self.messages):
            for place, path, _ in paths(message):
                if path in seen or (endpoint == "llm/predict" and configured(path) in SETTINGS):
                    continue
                seen.add(path)
                self.places.append((number, place, path))

    @property
    def id(self) -> str:
        """For pytest."""
        return f"{self.endpoint}-{RECORDED[self.endpoint].index(self.messages)}"

    def changes(self) -> Iterator[tuple[Place, str, list[bytes]]]:
        """Each single change: where, and the conversation with it."""
        for number, place, path in self.places:
            for changed in changes_at(self.messages[number], place):
                yield place, path, [*self.raw[:number], *encoded([changed]), *self.raw[number + 1 :]]

    def essentials(self) -> set[str]:
        """The paths here that the table has."""
        found = {path.partition(".")[0] if is_of_envelope(place) else path for _, place, path in self.places}
        return found & essentials_of(self.endpoint).keys()


def conversations() -> Iterator[Conversation]:
    for endpoint, items in RECORDED.items():
        seen: set[str] = set()
        yield from (Conversation(endpoint, index, seen) for index in range(len(items)))


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
        examine_error(error)
        return None
    if reason_to_fail(endpoint, path, place) is None:
        return f"fails: {error!r:.300}"
    try:
        check_error(error, endpoint, place)
    except AssertionError:
        return f"fails with a bad error: {error!r:.300}"
    return None


@pytest.mark.parametrize("conversation", list(conversations()), ids=lambda conversation: conversation.id)
def test_no_single_change_makes_a_call_fail_but_of_what_is_essential(conversation: Conversation) -> None:
    endpoint, messages = conversation.endpoint, conversation.messages
    # Where the model has called a tool that cannot be understood, `act` fails anyway.
    failing = {
        call for call in CALLS[endpoint] if outcome(endpoint, call, conversation.raw) and not is_failure(messages)
    }
    problems = []
    superfluous = conversation.essentials()
    for place, path, raw in conversation.changes():
        for call in calls_for(endpoint, path):
            if call in failing:
                continue
            error = outcome(endpoint, call, raw)
            problem = problem_of(endpoint, messages, place, path, error)
            if problem is not None:
                problems.append(f"{path}: {problem}")
            if error is not None:
                superfluous -= {path.partition(".")[0] if is_of_envelope(place) else path}
    assert problems == []
    assert superfluous == set()


def test_the_table_has_only_what_is_recorded() -> None:
    found = {(each.endpoint, path) for each in conversations() for path in each.essentials()}
    assert {path for table in ESSENTIAL.values() for path in table} == {path for _, path in found}


def barest(endpoint: str, message: dict[str, Any]) -> dict[str, Any]:
    """*message* as it could come from a very old server: with nothing but tags and what is essential."""
    kept = {*essentials_of(endpoint), *ANY_OF.get(endpoint.partition("/")[2], ())}
    found = {place: path for place, path, _ in paths(message)}

    def strip(value: Any, place: Place) -> Any:
        if isinstance(value, list):
            return [strip(item, (*place, index)) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        inner = {name: (*place, name) for name in value}
        kept_names = [name for name in value if name == "type" or is_kept(found[inner[name]])]
        return {name: strip(value[name], inner[name]) for name in kept_names}

    def is_kept(path: str) -> bool:
        return any(each == path or each.startswith((f"{path}.", f"{path}[]")) for each in kept)

    stripped = strip(message, ())
    return {**{name: message[name] for name in _ENVELOPE if name in message}, **stripped}


ANY_OF = {
    "listLoaded": ("rpcResult.result[].identifier",),
    "getInstanceProcessingState": ("rpcResult.result.status",),
    "getModelInfo": ("rpcResult.result.type",),
    "listDownloadedModels": ("rpcResult.result[].type",),
    "listEngines": ("rpcResult.result[].name",),
    "getExperimentFlags": ("rpcResult.result[]",),
    "version": ("rpcResult.result.version",),
    "info": ("rpcResult.result.version",),
    "predict": ("channelSend:success.message.type", "channelSend:fragment.message.type"),
}
"""Of a type where nothing is essential by itself, something must be left."""


@pytest.mark.parametrize("endpoint", RECORDED)
def test_calls_need_nothing_but_what_is_essential(endpoint: str) -> None:
    for index, messages in enumerate(RECORDED[endpoint]):
        bare = encoded([barest(endpoint, message) for message in messages])
        for call in CALLS[endpoint]:
            error = outcome(endpoint, call, bare)
            if error is not None:
                assert isinstance(error, lms.LMStudioServerError)
                assert outcome(endpoint, call, ENCODED[endpoint][index]) is not None, bare


# What is left out ----------------------------------------------------------------------------------------------------


def reports(name: str) -> Call:
    """How often a search calls back."""

    def search(client: lms.Client) -> list[Any]:
        heard: list[Any] = []
        callbacks: dict[str, Any] = {name: lambda *values: heard.append(values)}
        client.files.retrieve("Oslo", [FILE, OTHER_FILE], **callbacks)
        return heard

    return search


def search_entries(client: lms.Client) -> list[Any]:
    return client.files.retrieve("Oslo", [FILE, OTHER_FILE]).entries


def downloads(client: lms.Client) -> list[Any]:
    heard: list[Any] = []
    (option,) = client.repository.search_models("pebble")[0].get_download_options()
    option.download(on_progress=heard.append)
    return heard


@pytest.mark.parametrize(
    ("endpoint", "path", "call"),
    [
        ("llm/listLoaded", "rpcResult.result[].identifier", lambda client: client.llm.list_loaded()),
        ("repository/searchModels", "rpcResult.result.results[].identifier", CALLS["repository/searchModels"][0]),
        ("repository/searchModels", "rpcResult.result.results[].identifier.type", CALLS["repository/searchModels"][0]),
        (
            "repository/getModelDownloadOptions",
            "rpcResult.result.results[].downloadIdentifier",
            lambda client: client.repository.search_models("pebble")[0].get_download_options(),
        ),
        ("repository/downloadModel", "channelSend:downloadProgress.message.update.downloadedBytes", downloads),
        *(
            (
                "files/retrieve",
                f"channelSend:result.message.result.entries[].{name}",
                search_entries,
            )
            for name in ("content", "sourceIndex")
        ),
        *(
            ("files/retrieve", f"channelSend:{packet}.message.{member}", reports(name))
            for packet, member, name in (
                ("onFileProcessList", "indices", "on_file_process_list"),
                ("onFileProcessingStart", "index", "on_file_processing_start"),
                ("onFileProcessingEnd", "index", "on_file_processing_end"),
                ("onFileProcessingStepStart", "index", "on_file_processing_step_start"),
                ("onFileProcessingStepProgress", "index", "on_file_processing_step_progress"),
                ("onFileProcessingStepEnd", "index", "on_file_processing_step_end"),
            )
        ),
    ],
)
def test_what_lacks_something_essential_is_left_out_rather_than_made_up(endpoint: str, path: str, call: Call) -> None:
    messages = next(item for item in RECORDED[endpoint] if not is_failure(item))
    number, place = next((n, place) for n, each in enumerate(messages) for place, at, _ in paths(each) if at == path)
    for changed in (dropped(messages[number], place), replaced(messages[number], place, {"new": "form"})):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lms.LMStudioUnknownMessageWarning)
            left = call(
                ReplayedClient({**GOOD, endpoint: [encoded([*messages[:number], changed, *messages[number + 1 :]])]})
            )
        assert count_of(left) == count_of(call(ReplayedClient({**GOOD, endpoint: [encoded(messages)]}))) - 1


def count_of(value: Any) -> int:
    return len(value[0]) if isinstance(value, tuple) else len(value)


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
        if isinstance(error, lms.LMStudioServerError):
            examine_error(error)
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
