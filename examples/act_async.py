"""Tools that are coroutine functions, several at a time, and an end to it all after a while."""

import asyncio

import lmstudio as lms


async def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    await asyncio.sleep(0.01)  # a request to some service
    return f"cloudy in {city}, 12 degrees"


def get_time(city: str) -> str:
    """Get the time in a city."""  # plain functions run in threads
    return f"10:15 in {city}"


async def show(message: lms.AssistantResponse | lms.ToolResultMessage) -> None:
    """Print what is said; callbacks may be coroutine functions, too."""
    for request in message.get_tool_call_requests():
        print(f"call:   {request.name}({request.arguments})")
    for result in message.get_tool_call_results():
        print(f"result: {result.content}")


async def main() -> None:
    """Two conversations at once, which together may take a minute."""
    signal = lms.AbortSignal()
    asyncio.get_running_loop().call_later(60, signal.abort, "took too long")
    async with lms.AsyncClient() as client:
        model = await client.llm.model()
        questions = ("What is the weather in Oslo?", "What time is it in Paris?")
        acts = [
            model.act(
                question,
                [get_weather, get_time],
                max_parallel_tool_calls=None,  # any number; by default one after the other
                tool_timeout=5,
                max_prediction_rounds=4,
                on_message=show,
                config={"temperature": 0.0},
                signal=signal,
            )
            for question in questions
        ]
        try:
            for question, result in zip(questions, await asyncio.gather(*acts), strict=True):
                print(f"{question} {result.content}")
        except lms.LMStudioCancelledError as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
