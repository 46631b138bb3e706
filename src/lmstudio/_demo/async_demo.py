"""The demo, through the public asynchronous API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import lmstudio as lms
from lmstudio.server import Server

if TYPE_CHECKING:
    from lmstudio._demo.screen import Screen

QUESTION = "What is the capital of Norway?"
STORY = "Tell me a short story about an owl."
EXTRACTION = "Extract the name and age as JSON: Nina is 31 years old."
SENTENCES = ("What is the capital of France?", "The capital of France is Paris.")
CANCEL_AFTER = 20
"""Fragments of the story; it has several times as many."""


class Person(lms.BaseModel):
    """What the structured reply has to be."""

    name: str
    age: int


async def demo(screen: Screen, engine: Literal["llama_cpp", "scripted"]) -> None:
    """Start a server on a free loopback port and do a bit of everything with it."""
    screen.step("Start the embedded server")
    async with Server(engine=engine) as server, lms.AsyncClient(server.api_host) as client:
        screen.note(f"listening on {server.api_host}, engine {engine}; nothing leaves this machine")

        screen.step("List downloaded models")
        downloaded = await client.list_downloaded_models()
        screen.models(downloaded)
        chat_model, embedding_model = await client.llm.list_downloaded(), await client.embedding.list_downloaded()

        screen.step(f"Load {chat_model[0].model_key}")
        with screen.progress("loading") as on_load_progress:
            llm = await chat_model[0].load_new_instance(on_load_progress=on_load_progress)

        screen.step("Stream a chat reply")
        await stream_reply(screen, llm)

        screen.step("Cancel a reply half way")
        await cancel_reply(screen, llm)

        screen.step("Get a reply as a typed object")
        screen.note(f"> {EXTRACTION}")
        reply = await llm.respond(EXTRACTION, response_format=Person, config={"temperature": 0.0})
        screen.note(f"{reply.parsed!r}")

        screen.step(f"Embed two sentences with {embedding_model[0].model_key}")
        embedder = await embedding_model[0].model()
        screen.similarity(SENTENCES, await embedder.embed(SENTENCES))

        screen.step("Unload")
        await llm.unload()
        await embedder.unload()
        screen.note(f"models still loaded: {len(await client.list_loaded_models())}")
    screen.done()


async def stream_reply(screen: Screen, llm: lms.AsyncLLM) -> None:
    """Show a reply token by token, then its statistics."""
    chat = lms.Chat()
    chat.add_user_message(QUESTION)
    screen.question(QUESTION)
    async with await llm.respond_stream(chat, config={"temperature": 0.0}) as stream:
        async for fragment in stream:
            screen.fragment(fragment.content)
        screen.stats(stream.result().stats)


async def cancel_reply(screen: Screen, llm: lms.AsyncLLM) -> None:
    """Show the beginning of a reply, then stop it."""
    screen.question(STORY)
    fragments = 0
    async with await llm.respond_stream(STORY) as stream:
        async for fragment in stream:
            screen.fragment(fragment.content)
            fragments += 1
            if fragments == CANCEL_AFTER:
                await stream.cancel()
        screen.stats(stream.result().stats)
