"""What a type checker must make of tools. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import assert_type

import lmstudio as lms


def multiply(a: int, b: int) -> int:
    return a * b


@lms.tool
def double(a: int) -> int:
    """Double it."""
    return 2 * a


@lms.tool(name="fetch", timeout=3)
async def fetch(address: str, *, tries: int = 1) -> bytes:
    """Fetch it."""
    return address.encode() * tries


class Shop:
    """Has a method that is a tool."""

    @lms.tool
    def price(self, name: str) -> float:
        """Tell the price."""
        return len(name)


async def decorated(shop: Shop) -> None:
    assert_type(double(3), int)
    assert_type(await fetch("a", tries=2), bytes)
    assert_type(shop.price("pen"), float)
    double("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no int
    shop.price(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no str
    double.timeout = 3


def definitions(shop: Shop) -> list[lms.ToolDefinition]:
    assert_type(lms.ToolFunctionDef.from_callable(decorated), lms.ToolFunctionDef)
    as_dict: lms.ToolFunctionDefDict = {
        "name": "double",
        "description": "Double it.",
        "parameters": {"a": int, "b": {"type": int, "default": 3}},
        "implementation": multiply,
    }
    schema: Mapping[str, object] = {"type": "object", "properties": {}}
    return [
        double,
        fetch,
        shop.price,
        decorated,
        as_dict,
        lms.ToolFunctionDef(name="f", description="", parameters={"a": list[int] | None}, implementation=print),
        lms.raw_function_tool(name="g", description=None, parameters_json_schema=schema, implementation=print),
        lms.unimplemented_raw_function_tool(name="h", description="", parameters_json_schema=schema),
        {"type": "function", "function": {"name": "i"}},
    ]


def context(call: lms.ToolCallContext) -> None:
    assert_type(call.call_id, int)
    assert_type(lms.get_tool_call_context(), lms.ToolCallContext)
