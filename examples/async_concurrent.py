"""Several predictions at once on one connection, each with a deadline."""

import asyncio

import lmstudio as lms

QUESTIONS = ("What is 2 + 3?", "What is 7 - 4?", "What is 3 x 3?")


async def main() -> None:
    """Ask all questions together; a reply that takes too long is cancelled, also on the server."""
    async with lms.AsyncClient() as client:
        model = await client.llm.model()
        replies = await asyncio.gather(*(asyncio.wait_for(model.respond(text), timeout=30) for text in QUESTIONS))
        for question, reply in zip(QUESTIONS, replies, strict=True):
            print(f"{question} {reply.content}")


if __name__ == "__main__":
    asyncio.run(main())
