import lmstudio as lms
from lmstudio import *


def divide(numerator: float, denominator: float) -> float:
    """Divide one number by another."""
    return numerator / denominator


model = lms.llm("qwen2.5-7b-instruct")
chat = Chat()
chat.add_user_message("How much is 10 divided by 0?")


def raise_here(exc: LMStudioPredictionError, request: ToolCallRequest | None) -> None:
    raise exc


act_result = model.act(
    chat,
    [divide],
    handle_invalid_tool_request=raise_here,
)
