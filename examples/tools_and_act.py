"""Let the model call functions of this program, with a guard in between."""

import lmstudio as lms


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@lms.tool(timeout=10)  # not necessary, but takes options
def set_timer(minutes: int, context: lms.ToolCallContext) -> str:
    """Set a timer"""
    context.status(f"{minutes} minutes")  # for the log `lmstudio.tools`; the model sees neither it nor `context`
    return "ok"


def guard(call_id: int, call: lms.GuardToolCallController, round_index: int) -> None:
    """Decide about each call before it runs; `call.deny("reason")` would be the third way."""
    request = call.tool_call_request
    print(f"   call {call_id}, round {round_index}: {request.name}({request.arguments})")
    if request.name == "set_timer" and request.arguments != {"minutes": 10}:
        call.allow_and_override_parameters({"minutes": 10})
    else:
        call.allow()


def main() -> None:
    """Each question takes one round for the call and one for the answer."""
    with lms.Client() as client:
        model = client.llm.model()
        for question in ("What is 12 times 34?", "Set a timer for 40 minutes."):
            print(question)
            result = model.act(question, [multiply, set_timer], guard_tool_call=guard, config={"temperature": 0.0})
            print(f"   {result.content} ({result.rounds} rounds)")


if __name__ == "__main__":
    main()
