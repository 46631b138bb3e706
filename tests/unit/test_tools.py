"""What can be given as a tool, how it is called, and what becomes of its result."""

from __future__ import annotations

import asyncio
import functools
import operator
import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

import lmstudio as lms
from lmstudio._abort import AbortSignal
from lmstudio.tools import (
    FunctionTool,
    Tool,
    ToolCallContext,
    ToolDefinition,
    ToolFunctionDef,
    ToolFunctionDefDict,
    read_tools,
)

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypeCheckers


def without_address(value: object) -> str:
    """An id for a parameter that is the same in every process."""
    return re.sub(r" at 0x\w+", "", repr(value))


def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    Args:
        a: The first one.
        b: The second one.
    """
    return a + b


ADD_SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "description": "The first one."},
        "b": {"type": "integer", "description": "The second one.", "default": 2},
    },
    "required": ["a"],
    "additionalProperties": False,
}


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


# Functions -----------------------------------------------------------------------------------------------------------


def test_a_function_is_a_tool() -> None:
    tool = read(add)
    assert tool.definition == {
        "type": "function",
        "function": {"name": "add", "description": "Add two numbers.", "parameters": ADD_SCHEMA},
    }
    assert (tool.name, tool.timeout, tool.is_coroutine) == ("add", None, False)
    assert tool.call(tool.check_arguments({"a": "1"}), context()) == 3


def test_a_function_without_parameters_has_an_empty_schema() -> None:
    def now() -> str:
        """Tell the time."""
        return "late"

    assert function_of(now)["parameters"] == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    assert called(now, {}) == "late"


@pytest.mark.parametrize(
    "docstring",
    [
        "Do.\n\n    Args:\n        a: From here.\n",
        "Do.\n\n    Parameters\n    ----------\n    a : int\n        From here.\n",
        "Do.\n\n    :param a: From here.\n",
    ],
)
def test_docstrings_of_all_styles_describe_parameters(docstring: str) -> None:
    def f(a: int, b: Annotated[int, "From there."]) -> None: ...

    f.__doc__ = docstring + "    "
    assert function_of(f)["description"] == "Do."
    assert properties_of(f)["a"] == {"type": "integer", "description": "From here."}
    assert properties_of(f)["b"] == {"type": "integer", "description": "From there."}


def test_a_hint_describes_a_parameter_before_the_docstring() -> None:
    def f(a: Annotated[int, "Hint"]) -> None:
        """Do.

        Args:
            a: Docstring
        """

    assert properties_of(f)["a"]["description"] == "Hint"


def test_keyword_only_parameters_work() -> None:
    def f(a: int, *, b: int) -> int:
        """Subtract."""
        return a - b

    assert called(f, {"b": 1, "a": 3}) == 2


def test_a_partial_has_only_the_open_parameters() -> None:
    def f(a: int, b: int, c: int = 3) -> list[int]:
        """List."""
        return [a, b, c]

    by_name = functools.partial(f, b=5)
    assert function_of(by_name)["name"] == "f"
    assert list(properties_of(by_name)) == ["a", "c"]
    assert called(by_name, {"a": 1}) == [1, 5, 3]
    by_position = functools.partial(functools.partial(f, 4), c=6)
    assert list(properties_of(by_position)) == ["b"]
    assert called(by_position, {"b": 1}) == [4, 1, 6]


class Shop:
    """Sells things."""

    def __init__(self, prices: dict[str, int]) -> None:
        self.prices = prices

    def price(self, name: str) -> int:
        """Tell the price."""
        return self.prices[name]

    @lms.tool(timeout=3)
    def buy(self, name: str) -> str:
        """Buy something."""
        return f"{name} for {self.prices[name]}"

    async def __call__(self, name: str) -> int:
        """Order something."""
        return self.prices[name]


def test_bound_methods_and_callable_objects_are_tools() -> None:
    shop = Shop({"pen": 2})
    assert (function_of(shop.price)["name"], list(properties_of(shop.price))) == ("price", ["name"])
    assert called(shop.price, {"name": "pen"}) == 2
    assert (function_of(shop)["name"], function_of(shop)["description"]) == ("Shop", "Order something.")
    assert asyncio.run(called(shop, {"name": "pen"})) == 2
    assert list(properties_of(functools.partial(shop.price))) == ["name"]


def test_a_wrapped_function_is_read_like_the_function() -> None:
    @functools.wraps(add)
    def wrapper(*args: Any, **kwargs: Any) -> int:
        return add(*args, **kwargs) + 100

    assert function_of(wrapper)["parameters"] == ADD_SCHEMA
    assert called(wrapper, {"a": 1}) == 103


async def fetch(address: str) -> str:
    """Fetch."""
    return address


class Fetcher:
    """Fetches."""

    async def __call__(self, address: str) -> str:
        return address


@pytest.mark.parametrize(
    "given",
    [
        fetch,
        functools.partial(fetch),
        Fetcher(),
        functools.partial(Fetcher()),
        lms.tool(fetch),
        functools.partial(lms.tool(fetch)),
        ToolFunctionDef.from_callable(lms.tool(fetch)),
    ],
    ids=without_address,
)
def test_coroutine_functions_are_recognised(given: Any) -> None:
    tool = read(given)
    assert tool.is_coroutine
    assert asyncio.run(tool.call({"address": "a"}, context())) == "a"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(a): ...", r"parameter 'a' has no type hint.*write a type, such as `a: str`"),
        ("def f(*names: str): ...", r"\*names cannot be described to a model.*`names: list\[str\]`"),
        ("def f(**options: str): ...", r"\*\*options cannot be described to a model.*raw_function_tool"),
        ("def f(a: int, /): ...", r"parameter 'a' is positional-only.*remove the `/`"),
        ("def f(a: Nothing): ...", r"the type hint 'Nothing' of parameter 'a' cannot be resolved \(name 'Nothing'"),
        ("def f(a: 'int['): ...", r"the type hint .* of parameter 'a' cannot be resolved"),
    ],
)
def test_a_parameter_that_cannot_be_described_is_named_with_what_helps(source: str, message: str) -> None:
    names: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{source}", names)
    names["f"].__doc__ = "Do."
    with pytest.raises(lms.LMStudioValueError, match=message) as caught:
        read(names["f"])
    assert str(caught.value).startswith("Cannot use tool 'f': ")


def test_a_local_type_in_a_postponed_hint_is_refused_with_the_reason() -> None:
    class Local(msgspec.Struct):
        a: int

    def f(a: Local) -> None:
        """Do."""

    with pytest.raises(
        lms.LMStudioValueError, match="types that are local to a function work without `from __future__"
    ):
        read(f)
    f.__annotations__["a"] = Local
    assert properties_of(f) == {"a": {"$ref": "#/$defs/Local"}}


def test_only_the_hints_of_parameters_must_exist_at_run_time() -> None:
    def f(a: int) -> OnlyForTypeCheckers:
        """Do."""
        raise AssertionError

    assert list(properties_of(f)) == ["a"]


def test_a_function_in_c_must_be_wrapped() -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"Cannot read the signature of tool 'max'.*Wrap it"):
        read(max)


def test_a_function_without_docstring_needs_a_description() -> None:
    def bare(a: int) -> None: ...

    with pytest.raises(
        lms.LMStudioValueError, match=r"Tool 'bare' has no description. Write a docstring.*description="
    ):
        read(bare)
    assert function_of(ToolFunctionDef.from_callable(bare, description="Do."))["description"] == "Do."


def test_an_object_without_docstrings_needs_a_description_too() -> None:
    class Bare:
        def __call__(self, a: int) -> None: ...

    with pytest.raises(lms.LMStudioValueError, match="Tool 'Bare' has no description"):
        read(Bare())


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(lms.LMStudioValueError, match="A lambda has no name"):
        read(lambda: 5)
    assert called(ToolFunctionDef.from_callable(lambda: 5, name="five", description="Five."), {}) == 5


@pytest.mark.parametrize("given", [5, None, "add", Shop, staticmethod(add)])
def test_what_is_no_function_is_refused(given: Any) -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"Cannot (use|make a tool of) .*Expected a function"):
        read(given)


# ToolFunctionDef and its dict ----------------------------------------------------------------------------------------


def test_a_definition_from_a_function_has_its_members() -> None:
    tool_def = ToolFunctionDef.from_callable(add, name="plus", description="Sum up.", timeout=3)
    assert (tool_def.name, tool_def.description, tool_def.implementation) == ("plus", "Sum up.", add)
    assert tool_def.parameters == {
        "a": {"type": int, "description": "The first one."},
        "b": {"type": int, "description": "The second one.", "default": 2},
    }
    assert read(tool_def).timeout == 3


def test_hints_are_parameters_as_they_are() -> None:
    def f(a: int, b: Annotated[str, "B"]) -> None:
        """Do."""

    assert ToolFunctionDef.from_callable(f).parameters == {"a": int, "b": Annotated[str, "B"]}


def test_explicit_parameters_do_not_need_hints() -> None:
    parameters = {"a": int, "b": {"type": float, "default": 1.5, "description": "The second one."}}
    tool_def = ToolFunctionDef(name="add", description="Add.", parameters=parameters, implementation=lambda a, b: a + b)
    assert properties_of(tool_def) == {
        "a": {"type": "integer"},
        "b": {"type": "number", "description": "The second one.", "default": 1.5},
    }
    assert called(tool_def, {"a": "2"}) == 3.5


def test_a_dict_is_as_good_as_a_definition() -> None:
    given: ToolFunctionDefDict = {
        "name": "add",
        "description": "Add.",
        "parameters": {"a": int, "b": int},
        "implementation": operator.sub,
        "timeout": 0.5,
    }
    given["implementation"] = lambda a, b: a - b
    assert called(given, {"b": 1, "a": 3}) == 2
    assert read(given).timeout == 0.5


def test_definitions_are_equal_by_content() -> None:
    one, other = ToolFunctionDef.from_callable(add), ToolFunctionDef.from_callable(add)
    assert one == other
    assert hash(one) == hash(other)
    assert one != ToolFunctionDef.from_callable(add, name="plus")
    assert one != "add"
    assert repr(one).startswith("ToolFunctionDef(name='add', implementation=<function add")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"name": ""}, "name of a tool must be a text that is not empty, not ''"),
        ({"name": 5}, "name of a tool must be a text"),
        ({"description": None, "name": "n"}, None),
        ({"description": 5}, "its description must be a text, not 5"),
        ({"implementation": 5}, "its implementation must be a function, not 5"),
        ({"parameters": ["a"]}, "its parameters must be a dict of names and types"),
        ({"parameters": {"a": "int"}}, "parameter 'a': expected a type, got 'int'"),
        ({"parameters": {"a": {"type": "string"}}}, "parameter 'a': expected a type, got 'string'"),
        ({"parameters": {"a": {"default": 3}}}, "parameter 'a': expected a type or a dict with 'type'"),
        ({"parameters": {"a": {"type": int, "minimum": 3}}}, "for a JSON schema there is raw_function_tool"),
        ({"parameters": {"a": int, "c": int}}, "cannot be called with an argument 'c' by name"),
        ({"parameters": {}}, "its implementation needs 'a', which is not among the parameters"),
        ({"timeout": 0}, "its timeout must be a number of seconds above 0, or None, not 0"),
        ({"timeout": True}, "its timeout must be"),
        ({"timeout": "5"}, "its timeout must be"),
    ],
)
def test_a_definition_that_cannot_be_used_is_refused(members: dict[str, Any], message: str | None) -> None:
    given = {"name": "add", "description": "Add.", "parameters": {"a": int}, "implementation": add, **members}
    if message is None:
        assert "description" not in function_of(ToolFunctionDef(**given))
        return
    with pytest.raises(lms.LMStudioValueError, match=message):
        read(ToolFunctionDef(**given))


def test_any_text_can_be_a_name() -> None:
    def f() -> None:
        """Do."""

    assert read(ToolFunctionDef.from_callable(f, name="Schöner Name / 5")).name == "Schöner Name / 5"


@pytest.mark.parametrize(
    "given",
    [{}, {"name": "a"}, {"name": "a", "description": "", "parameters": {}}, {"type": "function", "function": {}}],
)
def test_a_dict_that_is_no_tool_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(
        lms.LMStudioValueError, match=r"Cannot use the dict .* as a tool. Expected 'name', 'description'"
    ):
        read(given)


# The decorator -------------------------------------------------------------------------------------------------------


@lms.tool
def double(a: int) -> int:
    """Double it."""
    return 2 * a


@lms.tool(name="Halve", description="Halve it.", timeout=2.5)
async def halve(a: LaterDefined) -> float:
    return a.value / 2


class LaterDefined(msgspec.Struct):
    value: float


def test_a_decorated_function_can_still_be_called() -> None:
    assert double(4) == 8
    assert double.__name__ == "double"
    assert double.__doc__ == "Double it."
    assert isinstance(double, FunctionTool)
    assert called(double, {"a": 4}) == 8


def test_a_decorated_function_may_use_types_that_are_defined_later() -> None:
    tool = read(halve)
    assert (tool.name, tool.timeout, tool.is_coroutine) == ("Halve", 2.5, True)
    assert function_of(halve)["description"] == "Halve it."
    assert asyncio.run(called(halve, {"a": {"value": 3}})) == 1.5


def test_a_decorated_method_is_a_tool_of_its_object() -> None:
    shop = Shop({"pen": 2})
    assert shop.buy("pen") == "pen for 2"
    assert called(shop.buy, {"name": "pen"}) == "pen for 2"
    assert read(shop.buy).timeout == 3
    with pytest.raises(lms.LMStudioValueError, match="parameter 'self' has no type hint"):
        read(Shop.buy)


def test_the_decorator_needs_a_description_at_once() -> None:
    with pytest.raises(lms.LMStudioValueError, match="Tool 'bare' has no description"):

        @lms.tool
        def bare(a: int) -> None: ...


# Lists of tools ------------------------------------------------------------------------------------------------------


def test_tools_keep_their_order() -> None:
    assert [tool.name for tool in read_tools((double, add))] == ["double", "add"]
    assert read_tools([]) == []


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(lms.LMStudioValueError, match="There are two tools called 'add'"):
        read_tools([add, ToolFunctionDef.from_callable(double, name="add")])


@pytest.mark.parametrize("given", [add, None, "add", {"name": "add"}, ToolFunctionDef.from_callable(add)])
def test_one_tool_is_no_list_of_tools(given: Any) -> None:
    with pytest.raises(lms.LMStudioValueError, match="tools must be a list of tools, not"):
        read_tools(given)
