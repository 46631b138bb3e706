"""Run the tool calls of a model yourself: `respond` hands them over, and you decide what to do with them."""

import lmstudio as lms


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def main() -> None:
    """Predict, run what the model asks for, and predict again, until it asks for nothing."""
    with lms.Client() as client:
        model = client.llm.model()
        chat = lms.Chat()
        chat.add_user_message("What is 12 times 34?")
        while True:
            reply = model.respond(chat, tools=[multiply], config={"temperature": 0.0})
            chat.add_assistant_response(reply)  # with its tool calls
            if not reply.tool_call_requests:
                print(reply.content)
                return
            for request in reply.tool_call_requests:
                print(f"the model wants {request.name}({request.arguments})")
                product = multiply(**(request.arguments or {}))
                chat.add_tool_result(str(product), request.id)


if __name__ == "__main__":
    main()
