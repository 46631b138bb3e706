"""Tools: what a model may ask to be called, from a Python function, a table of types or a JSON schema.

::

    @lms.tool
    def weather(city: Annotated[str, "Name of the city"], days: int = 1) -> str:
        \"\"\"Look up the weather forecast.\"\"\"
        return f"{city}: sunny for {days} days"

    await model.act("What will the weather be in Oslo?", [weather])

Plain functions work as well, without the decorator. The type hints become a JSON schema, and the model's arguments
become values of these types.
"""

from ._tool_definitions import (
    FunctionTool,
    RawFunctionTool,
    ToolCallContext,
    ToolDefinition,
    ToolFunctionDef,
    ToolFunctionDefDict,
    ToolParamDefDict,
    UnimplementedRawFunctionTool,
    get_tool_call_context,
    raw_function_tool,
    tool,
    unimplemented_raw_function_tool,
)
from ._tool_reading import Tool, ToolArgumentsError, read_tools
from ._tool_results import result_text

__all__ = [
    "FunctionTool",
    "RawFunctionTool",
    "Tool",
    "ToolArgumentsError",
    "ToolCallContext",
    "ToolDefinition",
    "ToolFunctionDef",
    "ToolFunctionDefDict",
    "ToolParamDefDict",
    "UnimplementedRawFunctionTool",
    "get_tool_call_context",
    "raw_function_tool",
    "read_tools",
    "result_text",
    "tool",
    "unimplemented_raw_function_tool",
]
