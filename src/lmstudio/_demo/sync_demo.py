# Generated from async_demo.py by tools/make_sync.py. Edit that file instead.
"""The demo, through the public synchronous API."""

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


def demo(screen: Screen, engine: Literal["llama_cpp", "scripted"]) -> None:
    """Start a server on a free loopback port and do a bit of everything with it."""
    screen.step("Start the embedded server")
    with Server(engine=engine) as server, lms.Client(server.api_host) as client:
        screen.note(f"listening on {server.api_host}, engine {engine}; nothing leaves this machine")

        screen.step("List downloaded models")
        downloaded = client.list_downloaded_models()
        screen.models(downloaded)
        chat_model, embedding_model = client.llm.list_downloaded(), client.embedding.list_downloaded()

        screen.step(f"Load {chat_model[0].model_key}")
        with screen.progress("loading") as on_load_progress:
            llm = chat_model[0].load_new_instance(on_load_progress=on_load_progress)

        screen.step("Stream a chat reply")
        stream_reply(screen, llm)

        screen.step("Cancel a reply half way")
        cancel_reply(screen, llm)

        screen.step("Get a reply as a typed object")
        screen.note(f"> {EXTRACTION}")
        reply = llm.respond(EXTRACTION, response_format=Person, config={"temperature": 0.0})
        screen.note(f"{reply.parsed!r}")

        screen.step(f"Embed two sentences with {embedding_model[0].model_key}")
        embedder = embedding_model[0].model()
        screen.similarity(SENTENCES, embedder.embed(SENTENCES))

        screen.step("Unload")
        llm.unload()
        embedder.unload()
        screen.note(f"models still loaded: {len(client.list_loaded_models())}")
    screen.done()


def stream_reply(screen: Screen, llm: lms.LLM) -> None:
    """Show a reply token by token, then its statistics."""
    chat = lms.Chat()
    chat.add_user_message(QUESTION)
    screen.question(QUESTION)
    with llm.respond_stream(chat, config={"temperature": 0.0}) as stream:
        for fragment in stream:
            screen.fragment(fragment.content)
        screen.stats(stream.result().stats)


def cancel_reply(screen: Screen, llm: lms.LLM) -> None:
    """Show the beginning of a reply, then stop it."""
    screen.question(STORY)
    fragments = 0
    with llm.respond_stream(STORY) as stream:
        for fragment in stream:
            screen.fragment(fragment.content)
            fragments += 1
            if fragments == CANCEL_AFTER:
                stream.cancel()
        screen.stats(stream.result().stats)
