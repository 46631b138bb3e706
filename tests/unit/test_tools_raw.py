"""Tools from JSON schemas, and the context that a running tool has."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import sys
from typing import Any

import pytest

import lmstudio as lms
from lmstudio._abort import AbortSignal
from lmstudio._sdk_models import LlmTool
from lmstudio.tools import (
    Tool,
    ToolArgumentsError,
    ToolCallContext,
    ToolDefinition,
    ToolFunctionDef,
    raw_function_tool,
    read_tools,
    unimplemented_raw_function_tool,
)


def read(given: ToolDefinition) -> Tool:
    (tool,) = read_tools([given])
    return tool


def function_of(given: ToolDefinition) -> Any:
    return read(given).definition["function"]


def properties_of(given: ToolDefinition) -> Any:
    return function_of(given)["parameters"]["properties"]


def context(**listeners: Any) -> ToolCallContext:
    return ToolCallContext(7, "add", AbortSignal(), **listeners)


def called(given: ToolDefinition, arguments: dict[str, Any]) -> Any:
    tool = read(given)
    return tool.call(tool.check_arguments(arguments), context())


# Raw tools -----------------------------------------------------------------------------------------------------------

RAW_SCHEMA = {
    "required": ["cityName"],
    "type": "object",
    "$defs": {"z": {"type": "integer"}, "a": {}},
    "properties": {"unit_name": {"enum": ["C", "F"]}, "cityName": {"type": "string"}, "days": {"$ref": "#/$defs/z"}},
}


def weather(**arguments: Any) -> dict[str, Any]:
    return arguments


def raw(schema: Any = RAW_SCHEMA, implementation: Any = weather) -> lms.RawFunctionTool:
    return raw_function_tool(
        name="weather", description="Look.", parameters_json_schema=schema, implementation=implementation
    )


def test_a_raw_schema_goes_over_the_wire_as_it_is() -> None:
    parameters = function_of(raw())["parameters"]
    assert json.dumps(parameters) == json.dumps(RAW_SCHEMA)
    assert parameters is not RAW_SCHEMA


def test_arguments_of_a_raw_tool_are_checked_and_passed_by_name() -> None:
    assert called(raw(), {"cityName": "Oslo", "other": 1}) == {"cityName": "Oslo", "other": 1}
    with pytest.raises(ToolArgumentsError, match="tool 'weather': 'cityName' is missing"):
        read(raw()).check_arguments({})
    with pytest.raises(ToolArgumentsError, match='days: expected integer, got string "2"'):
        read(raw()).check_arguments({"cityName": "Oslo", "days": "2"})


def test_a_raw_tool_gets_no_arguments_that_it_does_not_have() -> None:
    def f(cityName: str, unit_name: str = "C", days: int = 1) -> None: ...  # noqa: N803 - as in the schema

    with pytest.raises(ToolArgumentsError, match="there is no parameter 'other'"):
        read(raw(implementation=f)).check_arguments({"cityName": "Oslo", "other": 1})


def test_arguments_that_are_nested_too_deeply_are_refused() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"items": {"$ref": "#/$defs/n"}}},
    }
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    with pytest.raises(ToolArgumentsError, match="they are nested too deeply"):
        read(raw(schema)).check_arguments({"a": deep})


def test_a_raw_tool_without_properties_gets_the_member_that_the_server_wants() -> None:
    assert function_of(raw({"type": "object"}))["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("object", "its JSON schema must be a dict, not 'object'"),
        ({"properties": {}}, 'its JSON schema must have "type": "object" at the root, not None'),
        ({"type": "array"}, 'must have "type": "object" at the root, not \'array\''),
        ({"type": "object", "properties": {"a": {"type": int}}}, "its JSON schema is not plain JSON data"),
        ({"type": "object", "properties": {"a": {"type": "int"}}}, "in its JSON schema, #/properties/a/type must be"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}, r"in its JSON schema, \$ref .* leads nowhere"),
    ],
)
def test_a_raw_schema_that_cannot_be_used_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=f"Cannot use tool 'weather': .*{message}|{message}"):
        read(raw(schema))


def test_an_implementation_that_needs_what_the_model_may_leave_out_is_refused() -> None:
    def f(cityName: str, unit_name: str, days: int) -> None: ...  # noqa: N803 - as in the schema

    with pytest.raises(
        lms.LMStudioValueError, match="the model may leave 'unit_name' out, but its implementation needs"
    ):
        read(raw(implementation=f))


def test_a_tool_may_be_without_implementation() -> None:
    tool = read(unimplemented_raw_function_tool(name="weather", description=None, parameters_json_schema=RAW_SCHEMA))
    assert tool.implementation is None
    assert tool.definition == {"type": "function", "function": {"name": "weather", "parameters": RAW_SCHEMA}}
    assert tool.check_arguments({"cityName": "Oslo"}) == {"cityName": "Oslo"}
    with pytest.raises(ToolArgumentsError):
        tool.check_arguments({"cityName": 5})


@pytest.mark.parametrize("as_struct", [False, True])
def test_the_form_of_the_wire_is_a_tool_without_implementation(as_struct: bool) -> None:
    parameters = {"type": "object", "properties": {"b_c": {"type": "string"}, "aB": {}}, "required": ["b_c"]}
    wire = {"type": "function", "function": {"name": "f", "description": "Do.", "parameters": parameters}}
    tool = read(LlmTool.from_dict(wire) if as_struct else wire)
    assert tool.definition == wire
    assert list(tool.definition["function"]["parameters"]["properties"]) == ["b_c", "aB"]
    assert tool.implementation is None


def test_a_wire_tool_may_have_no_parameters() -> None:
    tool = read({"type": "function", "function": {"name": "f"}})
    assert tool.definition == {"type": "function", "function": {"name": "f"}}
    assert tool.check_arguments({"anything": 1}) == {"anything": 1}


# The context of a call -----------------------------------------------------------------------------------------------


def test_a_tool_gets_the_context_that_it_asks_for() -> None:
    def f(call: ToolCallContext, a: int, other: ToolCallContext | None = None) -> Any:
        """Do."""
        return call, other

    tool, its_context = read(f), context()
    assert list(properties_of(f)) == ["a"]
    assert tool.call(tool.check_arguments({"a": 1}), its_context) == (its_context, its_context)


def test_every_kind_of_tool_can_get_the_context() -> None:
    def f(a: int, *, call: ToolCallContext | None = None) -> Any:
        """Do."""
        return call and call.call_id

    tool_def = ToolFunctionDef(name="f", description="", parameters={"a": int}, implementation=f)
    schema = {"type": "object", "properties": {"a": {}}, "required": ["a"]}
    for definition in (f, tool_def, raw(schema, f), functools.partial(f)):
        assert called(definition, {"a": 1}) == 7


def test_the_context_can_be_asked_for_while_the_tool_runs() -> None:
    def outer() -> int:
        """Do."""
        return lms.get_tool_call_context().call_id

    async def slow() -> int:
        """Do."""
        await asyncio.sleep(0)
        return lms.get_tool_call_context().call_id

    assert called(outer, {}) == 7
    assert asyncio.run(called(slow, {})) == 7
    with pytest.raises(lms.LMStudioRuntimeError, match="No tool call is running here"):
        lms.get_tool_call_context()


def test_the_context_ends_with_a_tool_that_fails() -> None:
    def fail() -> None:
        """Do."""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        called(fail, {})
    with pytest.raises(lms.LMStudioRuntimeError):
        lms.get_tool_call_context()


def test_parallel_calls_have_their_own_contexts() -> None:
    async def ask() -> int:
        """Do."""
        await asyncio.sleep(0)
        return lms.get_tool_call_context().call_id

    async def main() -> Any:
        tool = read(ask)
        contexts = [ToolCallContext(number, "ask", AbortSignal()) for number in range(3)]
        return await asyncio.gather(*(tool.call({}, each) for each in contexts))

    assert asyncio.run(main()) == [0, 1, 2]


def test_status_and_warnings_go_to_the_log_and_to_listeners(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    call = context(on_status=heard.append, on_warn=heard.append)
    with caplog.at_level(logging.INFO, "lmstudio.tools"):
        call.status("digging")
        call.warn("a stone")
        context().status("nobody listens")
        context().warn("nobody listens")
    assert heard == ["digging", "a stone"]
    assert [(record.levelname, record.message) for record in caplog.records[:2]] == [
        ("INFO", "add: digging"),
        ("WARNING", "add: a stone"),
    ]
    assert {record.name for record in caplog.records} == {"lmstudio.tools"}
    assert repr(call) == "ToolCallContext(call_id=7, name='add')"
