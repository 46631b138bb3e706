import lmstudio as lms


def multiply(a: float, b: float) -> float:
    """Multiply two numbers."""
    return a * b


model = lms.llm("qwen2.5-7b-instruct")
model.act(
    "How much is 6 times 7?",
    [multiply],
    on_message=print,
)
