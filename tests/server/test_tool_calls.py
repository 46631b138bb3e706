"""Tool calls in streamed text: every format, every way to go wrong, whatever the chunks."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstudio.server.engine.base import TextChunk
from lmstudio.server.reasoning import ReasoningSplitter
from lmstudio.server.tool_calls.call_reader import CallReader, MalformedCallError
from lmstudio.server.tool_calls.formats import GENERIC, HERMES, LLAMA, LM_STUDIO, MISTRAL, ToolCallFormat, format_of
from lmstudio.server.tool_calls.naming import ToolNames, converted_name
from lmstudio.server.tool_calls.stage import ToolCallStage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmstudio._sdk_models import LlmPredictionStopReason

NAMES = ToolNames(["add", "get-time"], "removeSpecial")
ADD = '{"name": "add", "arguments": {"a": 1}}'
TIME = '{"name": "get_time", "arguments": {}}'


def play(
    chunks: Iterable[str],
    form: ToolCallFormat = HERMES,
    reason: LlmPredictionStopReason = "eosFound",
    **options: Any,
) -> list[dict[str, Any]]:
    """The packets for these chunks, ids counted from 1."""
    ids = itertools.count(1)
    splitter = ReasoningSplitter("<think>", "</think>")
    stage = ToolCallStage(splitter, form, NAMES, new_id=lambda: str(next(ids)), **options)
    packets = [packet for chunk in chunks for packet in stage.feed(TextChunk(chunk, 1))]
    return [msgspec.to_builtins(packet) for packet in (*packets, *stage.finish(reason))]


def summary(packets: Iterable[dict[str, Any]]) -> list[Any]:
    """Texts joined, by kind; of calls what they came to: ("add", {"a": 1}) or ("failed", raw content)."""
    result: list[Any] = []
    for packet in packets:
        match packet:
            case {"type": "fragment", "fragment": {"content": text, "reasoningType": kind}}:
                text = text if kind == "none" else f"({text})"
                if result and isinstance(result[-1], str):
                    result[-1] += text
                else:
                    result.append(text)
            case {"type": "toolCallGenerationEnd", "toolCallRequest": request}:
                result.append((request["name"], request.get("arguments")))
            case {"type": "toolCallGenerationFailed", "rawContent": raw}:
                result.append(("failed", raw))
    return result


def tagged(json_text: str) -> str:
    return f"<tool_call>\n{json_text}\n</tool_call>"


ADDED: Any = ("add", {"a": 1})
TOLD: Any = ("get-time", {})

# Order and content of the packets ------------------------------------------------------------------------------------


def test_packets_of_a_call_come_one_by_one_while_it_is_written() -> None:
    chunks = [
        "<tool_",
        "call>\n",
        '{"name": "get',
        '_time", "argu',
        'ments": {"zone"',
        ': "UTC"',
        "}}\n</tool",
        "_call>",
    ]
    raw = "".join(chunks)
    request = {"type": "function", "name": "get-time", "id": "1", "arguments": {"zone": "UTC"}}
    assert play(chunks) == [
        {"type": "toolCallGenerationStart", "toolCallId": "1"},
        {"type": "toolCallGenerationNameReceived", "name": "get-time"},
        {"type": "toolCallGenerationArgumentFragmentGenerated", "content": '{"zone"'},
        {"type": "toolCallGenerationArgumentFragmentGenerated", "content": ': "UTC"'},
        {"type": "toolCallGenerationArgumentFragmentGenerated", "content": "}"},
        {"type": "toolCallGenerationEnd", "toolCallRequest": request, "rawContent": raw},
    ]


def test_id_that_the_model_gives_first_is_used() -> None:
    packets = play([tagged('{"id": "mine", "name": "add"}')])
    assert packets[0] == {"type": "toolCallGenerationStart", "toolCallId": "mine"}
    assert packets[-1]["toolCallRequest"] == {"type": "function", "name": "add", "id": "mine"}


def test_arguments_that_come_before_the_name_are_told_after_it() -> None:
    types = [packet["type"] for packet in play(tagged('{"arguments": {"a": 1}, "name": "add"}'))]
    assert [each.removeprefix("toolCallGeneration") for each in types] == [
        "Start",
        "NameReceived",
        "ArgumentFragmentGenerated",
        "End",
    ]


def test_text_around_calls_is_text_without_the_white_space_that_belongs_to_the_calls() -> None:
    text = f"Let me see.\n{tagged(ADD)}\n{tagged(TIME)}\n\nDone.\n"
    assert summary(play(text)) == ["Let me see.", ADDED, TOLD, "\n\nDone.\n"]


def test_white_space_at_the_end_after_a_call_is_no_text() -> None:
    assert summary(play(tagged(ADD) + "\n")) == [ADDED]


def test_tokens_of_the_text_are_counted_and_those_of_calls_are_not() -> None:
    packets = play(["a", " b", tagged(ADD), " c"])
    assert sum(packet["fragment"]["tokensCount"] for packet in packets if packet["type"] == "fragment") == 3


def test_call_in_reasoning_is_reasoning() -> None:
    text = f"<think>{tagged(ADD)}</think>{tagged(TIME)}"
    assert summary(play([text])) == [f"(<think>)({tagged(ADD)})(</think>)", TOLD]


def test_reasoning_tags_in_arguments_are_arguments() -> None:
    call = '{"name": "add", "arguments": {"a": "<think>x</think>"}}'
    assert summary(play(f"Hm {tagged(call)} <think>y")) == ["Hm", ("add", {"a": "<think>x</think>"}), " <think>y"]


def test_end_marker_in_an_argument_does_not_end_the_call() -> None:
    call = json.dumps({"name": "add", "arguments": {"a": "</tool_call>"}})
    assert summary(play(tagged(call) + "ok")) == [("add", {"a": "</tool_call>"}), "ok"]


# Formats -------------------------------------------------------------------------------------------------------------

CASES = [
    (HERMES, tagged(ADD), [ADDED]),
    (HERMES, f"<tool_call>{ADD}</tool_call><tool_call>{TIME}</tool_call>", [ADDED, TOLD]),
    (HERMES, tagged('{"name": "add", "arguments": "{\\"a\\": 1}"}'), [ADDED]),
    (HERMES, tagged('{"type": "function", "name": "add", "parameters": {"a": 1}}'), [ADDED]),
    (HERMES, f"<tool_call>\n{ADD}", [ADDED]),
    (HERMES, f"<tool_call>[{ADD}, {TIME}]</tool_call>.", [ADDED, TOLD, "."]),
    (HERMES, "a < b and <tool_calls>", ["a < b and <tool_calls>"]),
    (HERMES, ADD, [ADD]),
    (LM_STUDIO, f"[TOOL_REQUEST]{ADD}[END_TOOL_REQUEST]", [ADDED]),
    (MISTRAL, f"[TOOL_CALLS] [{ADD}, {TIME}]", [ADDED, TOLD]),
    (MISTRAL, f"[TOOL_CALLS][{ADD}] and so on", [ADDED, " and so on"]),
    (MISTRAL, '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]get_time[ARGS]{}', [ADDED, TOLD]),
    (MISTRAL, '[TOOL_CALLS]add[CALL_ID]abcdef123[ARGS]{"a": 1}', [ADDED]),
    (LLAMA, '{"name": "add", "parameters": {"a": 1}}', [ADDED]),
    (LLAMA, '\n<|python_tag|>{"name": "add", "parameters": {"a": 1}}', [ADDED]),
    (LLAMA, f"{ADD}; {TIME}", [ADDED, TOLD]),
    (LLAMA, f"<think>hm</think>\n\n{ADD}", ["(<think>)(hm)(</think>)", ADDED]),
    (LLAMA, '{"name": "Marta", "age": 4}', ['{"name": "Marta", "age": 4}']),
    (LLAMA, '{"age": 4}', ['{"age": 4}']),
    (LLAMA, "{}", ["{}"]),
    (LLAMA, f"See: {ADD}", [f"See: {ADD}"]),
    (GENERIC, f"Sure:\n```json\n{ADD}\n```\nOk?", ["Sure:", ADDED, "\nOk?"]),
    (GENERIC, f"```\n[{ADD}, {TIME}]\n```", [ADDED, TOLD]),
    (GENERIC, '```json\n{"name": "Marta"}\n```\n', ['```json\n{"name": "Marta"}\n```\n']),
    (GENERIC, "```python\nx = {}\n```", ["```python\nx = {}\n```"]),
    (GENERIC, "```json", ["```json"]),
    (GENERIC, tagged(ADD), [ADDED]),
    (GENERIC, ADD, [ADDED]),
]


@pytest.mark.parametrize(("form", "text", "expected"), CASES, ids=[f"{case[0].name}-{case[1][:30]}" for case in CASES])
def test_calls_are_found_in_one_chunk_and_in_single_characters(
    form: ToolCallFormat, text: str, expected: list[Any]
) -> None:
    for chunks in ([text], text):
        found = [part.replace(")(", "") if isinstance(part, str) else part for part in summary(play(chunks, form))]
        wanted = [part.replace(")(", "") if isinstance(part, str) else part for part in expected]
        assert found == wanted


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(CASES), st.lists(st.integers(0, 80), max_size=8))
def test_what_is_found_does_not_depend_on_the_chunks(
    case: tuple[ToolCallFormat, str, list[Any]], cuts: list[int]
) -> None:
    form, text, _ = case
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    chunks = [text[start:end] for start, end in itertools.pairwise(edges) if end > start]
    flat = [str(part).replace(")(", "") for part in summary(play(chunks, form))]
    assert flat == [str(part).replace(")(", "") for part in summary(play([text], form))]


@settings(derandomize=True, deadline=None)
@given(
    st.sampled_from([HERMES, LM_STUDIO, MISTRAL, LLAMA, GENERIC]),
    st.lists(
        st.sampled_from(
            [*'{}[]:,\\" ', "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "```", "json", "name", "add", ADD]
        ),
        max_size=25,
    ),
)
def test_any_nonsense_leads_to_a_strict_sequence_of_packets(form: ToolCallFormat, chunks: list[str]) -> None:
    is_open = False
    for packet in play(chunks, form):
        kind = packet["type"].removeprefix("toolCallGeneration")
        assert (kind not in ("fragment", "Start")) == is_open
        is_open = kind in ("Start", "NameReceived", "ArgumentFragmentGenerated")
    assert not is_open


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{{ tools }} {{ '<tool_call>' }}", HERMES),
        ("{{ tools }} {{ '[TOOL_CALLS] [' }}", MISTRAL),
        ("{{ tools }} {{ '[TOOL_REQUEST]' }}", LM_STUDIO),
        ("{{ tools }} {{ '<|start_header_id|>' }}", LLAMA),
        ("{{ tools }}", GENERIC),
        ("{{ messages }} {{ '<|start_header_id|>' }}", GENERIC),
    ],
)
def test_format_is_chosen_by_the_template(template: str, form: ToolCallFormat) -> None:
    assert format_of(template) is form


# Failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "oops",
        "[1]",
        "{'name': 'add'}",
        '{"name": "add"',
        '{"name": "add", }}',
        '{"name": 1}',
        '{"arguments": {}}',
        '{"name": "add", "arguments": 5}',
        '{"name": "add", "arguments": {"a": NaN}}',
        '{"name": "add", "arguments": {"a": "\\ud800"}}',
    ],
)
def test_broken_call_fails_with_its_text_and_the_rest_goes_on(content: str) -> None:
    packets = play([f"Hm {tagged(content)} so."])
    assert summary(packets) == ["Hm", ("failed", tagged(content)), " so."]
    error = next(packet for packet in packets if packet["type"] == "toolCallGenerationFailed")["error"]
    assert error["title"].startswith("The model wrote a tool call that cannot be understood.")


def test_quote_that_is_not_closed_fails_only_its_own_call() -> None:
    broken = tagged('{"name": "add, "arguments": {}}')
    assert summary(play(f"{broken} then {tagged(ADD)}")) == [("failed", broken), " then", ADDED]


def test_call_that_was_not_ended_before_the_next_one_fails_alone() -> None:
    assert summary(play(f"<tool_call>oops {tagged(ADD)}")) == [("failed", "<tool_call>oops "), ADDED]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("maxPredictedTokensReached", "It ends in the middle because the limit of tokens was reached."),
        ("contextLengthReached", "It ends in the middle because the context is full."),
        ("eosFound", "It ends in the middle."),
    ],
)
def test_unfinished_call_fails_with_the_reason(reason: LlmPredictionStopReason, words: str) -> None:
    packets = play(['<tool_call>\n{"name": "add", "argu'], reason=reason)
    assert packets[-1]["rawContent"] == '<tool_call>\n{"name": "add", "argu'
    assert packets[-1]["error"]["title"].endswith(words)


def test_call_that_the_user_stopped_is_neither_ended_nor_failed() -> None:
    packets = play(["Hm", '<tool_call>\n{"name": "add", "argu'], reason="userStopped")
    assert [packet["type"] for packet in packets] == [
        "fragment",
        "toolCallGenerationStart",
        "toolCallGenerationNameReceived",
    ]


def test_beginning_of_a_marker_at_the_end_is_text() -> None:
    assert summary(play(["a <tool_"])) == ["a <tool_"]


# Forced calls --------------------------------------------------------------------------------------------------------


def test_forced_call_goes_on_from_the_prompt() -> None:
    packets = play([ADD], is_forced=True)
    assert summary(packets) == [ADDED]
    assert packets[-1]["rawContent"] == f"<tool_call>\n{ADD}"


def test_forced_calls_of_an_array_go_on_from_the_prompt() -> None:
    assert summary(play([f"[{ADD}, {TIME}]"], MISTRAL, is_forced=True)) == [ADDED, TOLD]


def definition(name: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", **parameters}}}


def test_schema_of_a_forced_call_allows_one_call_of_any_tool() -> None:
    schema = HERMES.forced_schema([definition("a", properties={"x": {"type": "string"}}), definition("b")])
    assert [option["properties"]["name"] for option in schema["anyOf"]] == [{"const": "a"}, {"const": "b"}]
    assert schema["anyOf"][0]["properties"]["arguments"] == {"type": "object", "properties": {"x": {"type": "string"}}}


def test_schema_of_a_forced_call_of_mistral_is_an_array() -> None:
    schema = MISTRAL.forced_schema([definition("a")])
    assert (schema["type"], schema["minItems"], schema["items"]["properties"]["name"]) == ("array", 1, {"const": "a"})


def test_definitions_of_different_tools_do_not_mix_in_the_schema() -> None:
    tools = [
        definition(name, properties={"p": {"$ref": "#/$defs/P"}}, **{"$defs": {"P": {"type": kind}}})
        for name, kind in (("a", "string"), ("b", "integer"))
    ]
    schema = HERMES.forced_schema(tools)
    references = [option["properties"]["arguments"]["properties"]["p"]["$ref"] for option in schema["anyOf"]]
    assert [schema["$defs"][reference.removeprefix("#/$defs/")]["type"] for reference in references] == [
        "string",
        "integer",
    ]


@pytest.mark.parametrize("form", [MISTRAL, LLAMA, GENERIC])
def test_families_that_write_calls_in_several_ways_are_not_held_to_one(form: ToolCallFormat) -> None:
    assert form.grammar([definition("a")]) is None


def test_grammar_of_a_call_begins_with_its_marker_and_names_the_tools() -> None:
    grammar = LM_STUDIO.grammar([definition("a"), definition('say "hi"')])
    assert grammar is not None
    assert grammar.trigger == "[TOOL_REQUEST]"
    assert grammar.grammar.startswith('root ::= "[TOOL_REQUEST]" ws ')
    assert r"""("\"a\"" | "\"say \\\"hi\\\"\"")""" in grammar.grammar


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("naming", "expected"),
    [
        ("passThrough", ["get-HTTPStatus v2", "天气"]),
        ("removeSpecial", ["get_HTTPStatus_v2", "__"]),
        ("snakeCase", ["get_http_status_v_2", "天气"]),
        ("camelCase", ["getHttpStatusV2", "天气"]),
    ],
)
def test_names_are_converted(naming: Any, expected: list[str]) -> None:
    assert [converted_name(name, naming) for name in ("get-HTTPStatus v2", "天气")] == expected


def test_names_that_would_be_equal_are_numbered_and_find_their_way_back() -> None:
    names = ToolNames(["a-b", "a.b", "a_b"], "removeSpecial")
    shown = [names.shown(name) for name in ("a-b", "a.b", "a_b")]
    assert shown == ["a_b", "a_b_2", "a_b_3"]
    assert [names.original(name) for name in shown] == ["a-b", "a.b", "a_b"]


def test_name_that_was_not_offered_is_converted_for_the_model_and_kept_from_it() -> None:
    assert (NAMES.shown("no-tool"), NAMES.original("no_tool")) == ("no_tool", "no_tool")


def test_definitions_carry_the_names_for_the_model() -> None:
    assert NAMES.definitions([definition("get-time")])[0]["function"]["name"] == "get_time"


# The reader ----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('abc"\\}{', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.text('xyz"\\{', min_size=1), JSON, max_size=3), st.booleans(), st.integers(1, 9))
def test_reader_reads_what_json_writes(arguments: dict[str, Any], is_first: bool, size: int) -> None:
    call = (
        {"arguments": arguments, "name": "n", "other": [1, {}]} if is_first else {"name": "n", "arguments": arguments}
    )
    text = json.dumps(call, indent=1 if size % 2 else None, ensure_ascii=size > 4)
    reader = CallReader()
    seen = ""
    for start in range(0, len(text), size):
        part = text[start : start + size]
        assert reader.feed(part) == len(part)
        seen += reader.take_arguments()
    assert reader.is_complete
    assert reader.parse() == ("n", arguments)
    assert json.loads(seen) == arguments
    assert reader.feed("more") == 0


def test_reader_stops_after_the_object() -> None:
    assert CallReader().feed('{"a": [1, "}"], "b": true} {') == 26


def test_reader_refuses_deep_nesting() -> None:
    reader = CallReader()
    reader.feed('{"name": "n", "arguments": ' + '{"a": ' * 10_000 + "1" + "}" * 10_001)
    with pytest.raises(MalformedCallError):
        reader.parse()
