"""Calls of a whole session with the real engine, made with the package that runs this: notes go to stdout as JSON."""

# Which package this uses is decided when it runs.
# mypy: ignore-errors

from __future__ import annotations

import json
import sys

import lmstudio as lms

CHAT, EMBED = "pebble-2.6m", "pebble-embed-0.8m"
EXACT = {"temperature": 0, "maxTokens": 40}
SCHEMA = {
    "type": "object",
    # The official package sends members by name, and the model writes them in that order.
    "properties": {"age": {"type": "integer"}, "name": {"type": "string", "maxLength": 12}},
    "required": ["name", "age"],
}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def stats(result):
    made = result.stats
    return [made.stop_reason, made.prompt_tokens_count, made.predicted_tokens_count, made.total_tokens_count]


def error_of(call):
    try:
        call()
    except lms.LMStudioError as error:
        return [made.__name__ for made in type(error).__mro__ if made.__module__.startswith("lmstudio")]
    return None


def models(client):
    progress = []
    chat = client.llm.load_new_instance(CHAT, "first", config={"contextLength": 1024}, on_load_progress=progress.append)
    embed = client.embedding.model(EMBED)
    yield "progress", [progress[0], progress[-1], progress == sorted(progress)]
    yield "downloaded", [[model.model_key, model.type, model.path] for model in client.list_downloaded_models()]
    yield "loaded", [model.identifier for model in client.list_loaded_models()]
    yield "context", [chat.get_context_length(), embed.get_context_length()]
    info = chat.get_info()
    yield (
        "info",
        [info.identifier, info.model_key, info.architecture, info.max_context_length, info.trained_for_tool_use],
    )
    yield "load config", chat.get_load_config().to_dict()
    yield "unknown model", error_of(lambda: client.llm.load_new_instance("no-such-model"))


def texts(client):
    chat, embed = client.llm.model("first"), client.embedding.model(EMBED)
    yield "tokens", [chat.tokenize("Hello, world"), chat.count_tokens("Hello, world"), embed.tokenize(["a fox", "b"])]
    yield "template", chat.apply_prompt_template("Hi")
    vectors = [embed.embed("a fox"), *embed.embed(["a river", "a stone"])]
    yield "vectors", [[round(value, 5) for value in vector] for vector in vectors]


def predictions(client):
    chat = client.llm.model("first")
    result = chat.respond("Tell me a short story about a fox.", config=EXACT)
    yield "respond", [result.content, stats(result), result.model_info.model_key]
    result = chat.complete("Once upon a time", config=EXACT)
    yield "complete", [result.content, stats(result)]
    first_token, fragments = [], []
    stream = chat.respond_stream("Tell me about a boat.", config=EXACT, on_first_token=lambda: first_token.append(1))
    fragments = [[fragment.content, fragment.tokens_count, fragment.reasoning_type] for fragment in stream]
    yield "stream", [fragments, first_token, stats(stream.result())]
    result = chat.respond("Who are you?", response_format=SCHEMA, config=EXACT)
    yield "structured", [result.content, sorted(result.parsed)]
    history = lms.Chat("You are brief.")
    history.add_user_message("Tell me a short story about a girl.")
    history.add_assistant_response(chat.respond(history, config=EXACT))
    history.add_user_message("And then?")
    yield "turns", chat.respond(history, config=EXACT).content
    stream = chat.respond_stream("Tell me a long story.", config={"temperature": 0})
    for number, _ in enumerate(stream):
        if number == 3:
            stream.cancel()
    yield "cancelled", stream.result().stats.stop_reason
    yield "too long", bool(error_of(lambda: chat.complete("word " * 3000)))


def tools(client):
    chat = client.llm.model("first")
    messages = []
    act = chat.act("What is 12 plus 30?", [add], config=EXACT, on_message=messages.append)
    yield "act", [act.rounds, [message.to_dict() for message in messages]]


def endings(client):
    chat = client.llm.model("first")
    second = client.llm.load_new_instance(CHAT, "second", ttl=60)
    yield "two", sorted(model.identifier for model in client.llm.list_loaded())
    second.unload()
    client.llm.unload("first")
    yield "none", [model.identifier for model in client.llm.list_loaded()]
    yield "unloaded", error_of(lambda: chat.respond("Hi"))


def main():
    notes = {}
    with lms.Client(sys.argv[1]) as client:
        for part in (models, texts, predictions, tools, endings):
            notes.update(part(client))
    sys.stdout.write(json.dumps(notes))


if __name__ == "__main__":
    main()
