from lmstudio import ToolFunctionDef


def cryptic_name(a, b):
    return a + b


tool_def = ToolFunctionDef(
    name="add",
    description="Add two whole numbers.",
    parameters={
        "a": int,
        "b": int,
    },
    implementation=cryptic_name,
)
