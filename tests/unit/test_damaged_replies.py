"""Recorded packets with members dropped, added, or changed: no operation fails unless what it is for is missing.

Servers are newer or older than this package. Each single change is tried; Hypothesis tries several at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_packets import (
    EMBEDDING_INFO,
    EMBEDDING_INSTANCE,
    GET_OR_LOAD,
    LLM_INFO,
    LLM_INSTANCE,
    LOAD_MODEL,
    PREDICTION,
)
from scripted_runtime import ScriptedRuntime, close, packet, result, run

from lmstudio._endpoints.embedding import MODELS as EMBEDDING_MODELS
from lmstudio._endpoints.llm import MODELS
from lmstudio._kv_config import override_stack
from lmstudio._ops.loading import LoadRequest, LoadWatch, get_or_load, load_model
from lmstudio._ops.models import get_info, identifier_target, list_loaded
from lmstudio._ops.prediction import respond
from lmstudio._ops.prediction_options import PredictionOptions
from lmstudio._ops.system import list_downloaded_models
from lmstudio._sdk_models import KvConfig
from lmstudio.errors import LMStudioServerError
from lmstudio.history import read_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.unmeasured

Path: TypeAlias = "tuple[str | int, ...]"
Mutation: TypeAlias = "Callable[[Any], Any]"

OTHER_TYPES: list[Any] = [None, True, 0, -1, 2.5, "", "somethingNew", [], [None], {}, {"new": {"form": 1}}]
REQUEST = LoadRequest("qwen", override_stack(KvConfig(fields=[])))
TARGET = identifier_target("qwen")


def paths(value: Any, prefix: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value, the root included."""
    yield prefix
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*prefix, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*prefix, index))


def dropped(value: Any, path: Path) -> Any:
    changed = json.loads(json.dumps(value))
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return changed


def replaced(value: Any, path: Path, other: Any) -> Any:
    if not path:
        return json.loads(json.dumps(other))
    changed = json.loads(json.dumps(value))
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = json.loads(json.dumps(other))
    return changed


def single_changes(value: Any) -> Iterator[tuple[Path, Any]]:
    """Each way to change one thing, with the place of the change."""
    for path in paths(value):
        if path:
            yield path, dropped(value, path)
        for other in OTHER_TYPES:
            yield path, replaced(value, path, other)
        at_path = value
        for step in path:
            at_path = at_path[step]
        if isinstance(at_path, dict):
            yield path, replaced(value, path, {**at_path, "brandNew": {"a": [1]}})


@st.composite
def several_changes(draw: st.DrawFn, value: Any) -> tuple[list[Path], Any]:
    """Up to five changes, one after the other."""
    places: list[Path] = []
    for _ in range(draw(st.integers(1, 5))):
        path: Path = draw(st.sampled_from(list(paths(value))))
        places.append(path)
        is_dropped: bool = draw(st.booleans())
        if path and is_dropped:
            value = dropped(value, path)
        else:
            value = replaced(value, path, draw(st.sampled_from(OTHER_TYPES)))
    return places, value


def channel_steps(packets: Any) -> list[dict[str, Any]]:
    return [*(packet(item) for item in packets), close()] if isinstance(packets, list) else [close()]


def few(examples: int) -> Callable[[Any], Any]:
    return settings(max_examples=examples, derandomize=True, deadline=None)


# predict -------------------------------------------------------------------------------------------------------------


def check_prediction(packets: Any) -> None:
    progress: list[float] = []
    options = PredictionOptions[Any](on_prompt_processing_progress=progress.append)
    runtime = ScriptedRuntime(*channel_steps(packets))
    prediction = respond(runtime.llm(), TARGET, read_history("Hi"), options)
    try:
        reply = run(prediction.run())
    except LMStudioServerError:
        # The one thing a prediction needs is its last packet.
        items = packets if isinstance(packets, list) else []
        assert not any(item.get("type") == "success" for item in items if isinstance(item, dict))
        return
    assert progress == sorted(progress)
    assert isinstance(reply.stop_reason, str)
    assert isinstance(reply.model_info.identifier, str)
    assert str(reply) == reply.parsed == reply.content
    reply.load_config.to_dict()
    reply.prediction_config.to_dict()


def test_a_prediction_survives_any_single_change() -> None:
    for _, packets in single_changes(PREDICTION):
        check_prediction(packets)


@given(changes=several_changes(PREDICTION))
@few(300)
def test_a_prediction_survives_several_changes(changes: tuple[list[Path], Any]) -> None:
    check_prediction(changes[1])


def test_no_text_is_lost_by_a_change_of_other_members() -> None:
    for path, packets in single_changes(PREDICTION):
        member = path[-1] if path else None
        if member in ("type", "content", "fragment", "isStructural") or len(path) < 2:
            continue
        runtime = ScriptedRuntime(*channel_steps(packets))
        reply = run(respond(runtime.llm(), TARGET, read_history("Hi"), PredictionOptions[Any]()).run())
        assert reply.content == "Hello world", path
        if packets[1]["fragment"].get("reasoningType") not in ("", "somethingNew"):
            assert "Hello" in reply.non_reasoning_content, path


# load ----------------------------------------------------------------------------------------------------------------

LOADS = [(get_or_load, GET_OR_LOAD), (load_model, LOAD_MODEL)]


def check_load(operation: Any, packets: Any, intact: bool) -> None:
    progress: list[float] = []
    runtime = ScriptedRuntime(*channel_steps(packets))
    try:
        info = run(operation(runtime.llm(), MODELS, REQUEST, LoadWatch(progress.append)))
    except LMStudioServerError:
        assert not intact, packets
        return
    assert isinstance(info.identifier, str)
    assert info.identifier
    assert progress == sorted(progress)
    assert progress[0] == 0.0
    assert progress[-1] == 1.0


def spares_the_instance(path: Path, packets: list[Any]) -> bool:
    """The last packet still says which instance was loaded."""
    last = len(packets) - 1
    return path not in ((), (last,), (last, "type"), (last, "info"), (last, "info", "identifier"))


@pytest.mark.parametrize(("operation", "recorded"), LOADS)
def test_a_load_survives_any_single_change(operation: Any, recorded: list[Any]) -> None:
    for path, packets in single_changes(recorded):
        check_load(operation, packets, spares_the_instance(path, recorded))


@pytest.mark.parametrize(("operation", "recorded"), LOADS)
def test_a_load_survives_several_changes(operation: Any, recorded: list[Any]) -> None:
    @given(changes=several_changes(recorded))
    @few(200)
    def check(changes: tuple[list[Path], Any]) -> None:
        check_load(operation, changes[1], False)

    check()


def test_already_loaded_survives_any_single_change() -> None:
    recorded = [{"type": "alreadyLoaded", "info": LLM_INSTANCE}]
    for path, packets in single_changes(recorded):
        runtime = ScriptedRuntime(*channel_steps(packets))
        try:
            info = run(get_or_load(runtime.llm(), MODELS, REQUEST, LoadWatch()))
        except LMStudioServerError:
            assert not spares_the_instance(path, recorded)
        else:
            assert info.identifier


# Lists and information -----------------------------------------------------------------------------------------------


def reply_of(operation: Callable[[Any], Any], namespace: str, value: Any) -> Any:
    return run(operation(ScriptedRuntime(result(value)).port(namespace)))


INSTANCES = [
    (lambda port: list_loaded(port, MODELS), "llm", [LLM_INSTANCE, {**LLM_INSTANCE, "identifier": "second"}]),
    (lambda port: list_loaded(port, EMBEDDING_MODELS), "embedding", [EMBEDDING_INSTANCE, EMBEDDING_INSTANCE]),
]


@pytest.mark.parametrize(("operation", "namespace", "recorded"), INSTANCES)
def test_a_list_of_loaded_models_survives_any_single_change(operation: Any, namespace: str, recorded: Any) -> None:
    for path, value in single_changes(recorded):
        if not isinstance(value, list):
            with pytest.raises(LMStudioServerError):
                reply_of(operation, namespace, value)
            continue
        infos = reply_of(operation, namespace, value)
        assert all(isinstance(info.identifier, str) and info.identifier for info in infos), path
        lost = path == () or len(path) == 1 or path[-1] == "identifier"
        assert len(infos) == len(recorded) or lost, path


DOWNLOADED = [LLM_INFO, EMBEDDING_INFO]


def test_a_list_of_downloaded_models_survives_any_single_change() -> None:
    for path, value in single_changes(DOWNLOADED):
        if not isinstance(value, list):
            with pytest.raises(LMStudioServerError):
                reply_of(list_downloaded_models, "system", value)
            continue
        infos = reply_of(list_downloaded_models, "system", value)
        assert all(info.type in ("llm", "embedding") for info in infos)
        lost = path == () or len(path) == 1 or path[1:] == ("type",)
        assert len(infos) == len(DOWNLOADED) or lost, path


@given(changes=several_changes(DOWNLOADED))
@few(200)
def test_a_list_of_downloaded_models_survives_several_changes(changes: tuple[list[Path], Any]) -> None:
    if isinstance(changes[1], list):
        reply_of(list_downloaded_models, "system", changes[1])


def test_model_information_survives_any_single_change() -> None:
    for path, value in single_changes(LLM_INSTANCE):
        if path:
            info = reply_of(lambda port: get_info(port, MODELS, TARGET), "llm", value)
            assert info.model_key == LLM_INSTANCE["modelKey"] or path == ("modelKey",)
        elif value != {**LLM_INSTANCE, "brandNew": {"a": [1]}}:
            with pytest.raises(LMStudioServerError):
                reply_of(lambda port: get_info(port, MODELS, TARGET), "llm", value)


@given(changes=several_changes(LLM_INSTANCE))
@few(200)
def test_model_information_survives_several_changes(changes: tuple[list[Path], Any]) -> None:
    places, value = changes
    if () not in places:
        info = reply_of(lambda port: get_info(port, MODELS, TARGET), "llm", value)
        json.dumps(info.to_dict())
