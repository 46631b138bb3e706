from lmstudio import ToolFunctionDef


def cryptic_name(a: int, b: int) -> int:
    return a + b


tool_def = ToolFunctionDef.from_callable(
    cryptic_name,
    name="add",
    description="Add two whole numbers.",
)
