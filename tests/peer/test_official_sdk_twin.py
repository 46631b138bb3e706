"""The same calls, made with the official package and with this one, have the same effects and results.

The scripts in `twin` make the calls and note what they see; here both notes are compared, and what the servers were
asked. This package may say more: further members, further base classes of an error. Everything else that differs is in
`DIFFERENCES`, with its reason.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sample_files import PNG

from lmstudio.server import BrokenToolCall, Gate, Reasoning, Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import scripted_models

from .official_sdk import require_official_python, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.engine.base import GenerationRequest

CALLS = Path(__file__).parent / "twin" / "twin_calls.py"
MARK = "case: "
TOOLS = "<|tools|>\n"
SURFACES = ("async", "sync", "convenience")
VOLATILE = {"timeToFirstTokenSec", "tokensPerSecond", "instanceReference"}
"""Members that are different in each run."""
ALL_TOLD = {"promptTokensCount", "totalTokensCount"}
"""Members that count the tokens of tools, too, whose schemas say more here."""

# Names of cases, or paths within them; without a slash, the whole case is different.
DIFFERENCES = {
    # Richer or shorter values
    "*/model_info/type": "results know the instance that predicted, not only the model",
    "streams/after/1/type": "results know the instance that predicted, not only the model",
    "act_*/events/*/1/0": "the repr of a result is short",
    "values/round": "the repr of a result is short",
    "values/config/0": "a configuration has more settings",
    "sessions/2": "the class of a session is private",
    "models_in_memory/configs/*/disabledGpus": "an empty list of GPUs says nothing",
    # Structured output
    "structured_instance": "`parsed` is an instance of the class that was asked for",
    "structured_response_that_is_none*": "`parsed` raises if the reply does not match, instead of being text",
    "structured_responses/schema of class/$defs": "a schema has no empty `$defs`",
    # What is refused, and what is not
    "a_misspelt_setting*": "a misspelt setting is refused instead of ignored",
    "configurations/wrong type": "bad input is an LMStudioValueError everywhere",
    "configurations/no config": "bad input is an LMStudioValueError everywhere",
    "values/validation*": "a setting of the wrong type is refused when it is read",
    "failures/embed": "bad input is an LMStudioValueError everywhere",
    "act_with_bad_tools/number": "bad input is an LMStudioValueError everywhere",
    "act_with_bad_tools/bad dict": "bad input is an LMStudioValueError everywhere",
    "act_without_tools": "without tools, `act` is one prediction, as in lmstudio.js",
    "tools_that_are_coroutines_*": "coroutine functions are tools in both surfaces",
    "the_same_role_twice*": "messages of the same role may follow each other, as in lmstudio.js",
    "the_assistant_twice*": "messages of the same role may follow each other, as in lmstudio.js",
    "a_list_of_messages*": "a list of messages is a chat",
    # act
    "act_gives_structs_to_tools*": "a tool gets instances of the classes of its parameters",
    "act_tells_what_is_wrong_with_arguments*": "the model is told where the value is",
    "act_tells_of_a_tool_that_is_not_there*": "the model is told which tools there are",
    "act_with_invalid_requests/*/refused/*": "`on_message` gets a request before its tool has ended, as in lmstudio.js",
    # The rest
    "progress_of_a_model_that_is_loaded_already*": "where nothing is loaded there is no progress",
    "images/handles/5/0": "a file is called by its name, not by its whole path",
}

ASKED_DIFFERENTLY = {
    "act_goes_on_after_invalid_requests": "the model is told more about what is wrong",
    "stream_left_unread": "the server is told to stop before it has begun",
}
"""Cases in which callers see the same, but servers do not."""


# The servers ---------------------------------------------------------------------------------------------------------

ADD = [Reply(["Let me see.", ToolCall("add", {"a": 1, "b": 2}, id="7")]), Reply("3.")]
ADD_TWICE = Reply([ToolCall("add", {"a": 1, "b": 2}, id="7"), ToolCall("add", {"a": 2, "b": 1}, id="8")])


def called(name: str, arguments: dict[str, Any]) -> list[Reply]:
    return [Reply([ToolCall(name, arguments, id="7")]), Reply("Done.")]


MUCH: dict[str, Any] = {  # in the order in which the official package passes it on
    "choice": "a",
    "counts": {"b": 1},
    "flag": True,
    "maybe": None,
    "point": {"x": 1},
    "real": 2,
    "whole": 1,
    "words": ["a"],
}
SCRIPT = {
    "say nothing": [Reply([])],
    "think": [Reply([Reasoning("Hm."), "Yes."])],
    "book": [Reply('{"title": "Dune", "year": 1965}')],
    "grammar": [Reply("yes")],
    "no json": [Reply("no json at all")],
    "fail": [Reply(error="It failed.")],
    "fail later": [Reply("one two three", error="It failed.", error_after=2)],
    "hang": [Reply([Gate()])],
    "add 1 and 2": ADD,
    "add 1": called("add", {"a": 1}),
    "greet": called("greet", {"name": "Zoë"}),
    "add twice": [ADD_TWICE, Reply("Done.")],
    "call nobody": called("nobody", {}),
    "add badly": called("add", {"a": "x"}),
    "fail at once": called("fail_at_once", {}),
    "be odd": called("odd", {}),
    "show a point": called("show_point", {"point": {"x": 1, "y": 2}}),
    "take much": called("take_much", MUCH),
    "break": [Reply([BrokenToolCall("{oops")]), Reply("Done.")],
}
"""What the model says to a text of the user, turn by turn."""


def answer(request: GenerationRequest) -> Reply:
    """As the script says; otherwise the user's words."""
    last = request.prompt.rpartition("<|user|>\n")[2]
    text = last.partition("\n<|")[0]
    replies = SCRIPT.get(text, [Reply(f"You said: {text}")])
    return replies[min(last.count("<|assistant|>\n") - 1, len(replies) - 1)]


@dataclass(frozen=True)
class Observed:
    """What one package has seen, and what its server was asked."""

    seen: dict[str, Any]
    asked: dict[str, list[Any]]


def observe(python: Path, folder: Path, *, official: bool) -> Observed:
    """Make all calls with the package of *python*."""
    folder.mkdir()
    image = folder / "cat.png"
    image.write_bytes(PNG)
    engine = ScriptedEngine(answer)
    chat, embed = scripted_models()
    presets = {"two-tokens": {"llm.prediction.maxPredictedTokens": {"checked": True, "value": 2}}}
    models = [replace(chat, vision=True), embed]
    with Server(models, engine=engine, models_folder=folder / "models", presets=presets) as server:
        output = run_script(python, CALLS, server.api_host, str(image), official=official)
        output = output.replace(server.api_host, "HOST").replace(json.dumps(str(folder))[1:-1], "FOLDER")
    return Observed(json.loads(output), asked(engine.requests))


def asked(requests: list[GenerationRequest]) -> dict[str, list[Any]]:
    """The requests of each case, in the order of the surfaces."""
    found: dict[str, list[Any]] = {}
    case = ""
    for request in requests:
        if request.prompt.startswith(MARK):
            case = request.prompt.removeprefix(MARK)
            continue
        tools, prompt = "[]", request.prompt
        if prompt.startswith(TOOLS):
            tools, _, prompt = prompt.removeprefix(TOOLS).partition("\n")
        schema = {name: part for name, part in (request.json_schema or {}).items() if part != {} or name != "$defs"}
        found.setdefault(case, []).append([json.loads(tools), prompt, replace(request, prompt="", json_schema=schema)])
    return found


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """What the official package has seen."""
    return observe(require_official_python(), tmp_path_factory.mktemp("official") / "run", official=True)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """What this package has seen."""
    return observe(Path(sys.executable), tmp_path_factory.mktemp("ours") / "run", official=False)


# The comparison ------------------------------------------------------------------------------------------------------


def differences(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where *other* lacks something of *one*, or has something else."""
    if isinstance(one, dict) and isinstance(other, dict):
        if "$error" in one and "$error" in other:
            if not set(one["$error"]) <= set(other["$error"]):
                yield path, one, other
            return
        for name, value in one.items():
            if name in VOLATILE or (name in ALL_TOLD and path.startswith("act_")):
                continue
            if name in other:
                yield from differences(value, other[name], f"{path}/{name}" if path else name)
            else:
                yield f"{path}/{name}", value, "nothing"
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{path}/{number}")
    elif one != other:
        yield path, one, other


def is_expected(path: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in DIFFERENCES)


@pytest.mark.parametrize("surface", SURFACES)
def test_every_case_ran(surface: str, official: Observed, ours: Observed) -> None:
    for observed in (official, ours):
        cases = observed.seen[surface].items()
        assert {name: seen for name, seen in cases if isinstance(seen, dict) and "$raised" in seen} == {}
    assert list(official.seen[surface]) == list(ours.seen[surface])


@pytest.mark.parametrize("surface", SURFACES)
def test_callers_see_the_same(surface: str, official: Observed, ours: Observed) -> None:
    found = differences(official.seen[surface], ours.seen[surface])
    assert [difference for difference in found if not is_expected(difference[0])] == []


def test_every_listed_difference_exists(official: Observed, ours: Observed) -> None:
    found = [path for surface in SURFACES for path, _, _ in differences(official.seen[surface], ours.seen[surface])]
    unused = [pattern for pattern in DIFFERENCES if not any(fnmatch(path, pattern) for path in found)]
    assert unused == []


def test_servers_are_asked_the_same(official: Observed, ours: Observed) -> None:
    """Prompts, settings, schemas and tools arrive as they did; a tool may say more about itself."""
    found: dict[str, Any] = {}
    for case, requests in official.asked.items():
        differs = any(fnmatch(case, pattern) for pattern in DIFFERENCES if "/" not in pattern)
        if not differs and case not in ASKED_DIFFERENTLY:
            found[case] = list(differences(requests, ours.asked[case], case))
    assert {case: each for case, each in found.items() if each} == {}
