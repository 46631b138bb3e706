"""`AsyncClient` under trio: the same calls, with nurseries and cancel scopes. Needs trio, which is no dependency."""

import trio

import lmstudio as lms

QUESTIONS = ("What is 2 + 3?", "What is 7 - 4?", "What is 3 x 3?")

client = lms.AsyncClient()  # connects when it is used; may be made anywhere, also outside of `trio.run`


async def ask(question: str) -> None:
    """Print the answer, unless it takes too long: then it is cancelled, also on the server."""
    with trio.move_on_after(30):
        model = await client.llm.model()
        reply = await model.respond(question)
        print(f"{question} {reply.content}")


async def main() -> None:
    """Ask all questions together."""
    async with client, trio.open_nursery() as nursery:
        for question in QUESTIONS:
            nursery.start_soon(ask, question)


if __name__ == "__main__":
    trio.run(main)
