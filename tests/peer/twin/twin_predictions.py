"""Cases: predictions, configurations, callbacks, streams, structured output, errors."""

# Which package this uses is decided when it runs.
# mypy: ignore-errors

from __future__ import annotations

from twin_kit import (
    CHAT,
    EMBED,
    case,
    each,
    entered,
    error_of,
    got,
    plain,
    shown,
)

import lmstudio as lms


@case
async def responses(client):
    model = await got(client.llm.model(CHAT))
    chat = lms.Chat("Be brief.")
    chat.add_user_message("Who are you?")
    history = {"messages": [{"role": "user", "content": [{"type": "text", "text": "From a dict"}]}]}
    return {
        "text": shown(await got(model.respond("Hello"))),
        "chat": shown(await got(model.respond(chat))),
        "dict": shown(await got(model.respond(history))),
        "unicode": shown(await got(model.respond("Grüße 🙂 \u2028 \u0000 end"))),
        "empty": shown(await got(model.respond("say nothing"))),
        "completion": shown(await got(model.complete("Once upon a time"))),
        "reasoning": (await got(model.respond("think"))).content,
    }


@case
async def configurations(client):
    model = await got(client.llm.model(CHAT))
    camel = {
        "maxTokens": 3,
        "temperature": 0.25,
        "topKSampling": 5,
        "topPSampling": 0.5,
        "minPSampling": 0.1,
        "repeatPenalty": 1.1,
        "stopStrings": ["stop"],
        "contextOverflowPolicy": "stopAtLimit",
        "cpuThreads": 2,
    }
    snake = {"max_tokens": 3, "stop_strings": ["stop"], "context_overflow_policy": "rollingWindow"}
    struct = lms.LlmPredictionConfig(max_tokens=2, temperature=0.5, cpu_threads=3)
    words = "one two three four five"
    return {
        "camel": shown(await got(model.respond(words, config=camel))),
        "snake": shown(await got(model.respond(words, config=snake))),
        "struct": shown(await got(model.respond(words, config=struct))),
        "preset": shown(await got(model.respond(words, preset="two-tokens"))),
        "no preset": await error_of(lambda: model.respond(words, preset="unknown")),
        "completion": shown(await got(model.complete(words, config=snake))),
        "wrong type": await error_of(lambda: model.respond(words, config={"maxTokens": "three"})),
        "no config": await error_of(lambda: model.respond(words, config=3)),
    }


@case
async def a_misspelt_setting(client):
    model = await got(client.llm.model(CHAT))
    return await error_of(lambda: str(model.respond("one two", config={"maxToken": 1})))


@case
async def callbacks(client):
    model = await got(client.llm.model(CHAT))
    events = []

    def note(name):
        return lambda *arguments: events.append([name, *(plain(argument) for argument in arguments)])

    names = ("on_message", "on_first_token", "on_prediction_fragment", "on_prompt_processing_progress")
    await got(model.respond("one two", **{name: note(name) for name in names}))
    await got(model.complete("three four", **{name: note(name) for name in names}))
    stream = await got(model.respond_stream("five six", **{name: note(name) for name in names}))
    async for fragment in each(stream):
        events.append(["read", fragment.content])  # noqa: PERF401 - between what the callbacks append
    return events


@case
async def callbacks_that_fail(client):
    model = await got(client.llm.model(CHAT))

    def fail(*_arguments):
        raise ZeroDivisionError("of a callback")

    names = ("on_first_token", "on_prediction_fragment", "on_prompt_processing_progress")
    return {
        "quiet": str(await got(model.respond("one two", **dict.fromkeys(names, fail)))),
        "message": await error_of(lambda: model.respond("one two", on_message=fail)),
    }


@case
async def streams(client):
    model = await got(client.llm.model(CHAT))
    seen = {}
    async with entered(await got(model.respond_stream("one two three"))) as stream:
        seen["before"] = [plain(stream.stats), plain(stream.model_info)]
        seen["fragments"] = [plain(fragment) async for fragment in each(stream)]
        seen["after"] = [plain(stream.stats), plain(stream.model_info), shown(stream.result())]
    stream = await got(model.complete_stream("four five"))
    seen["waited"] = shown(await got(stream.wait_for_result()))
    seen["result"] = stream.result().content
    stream = await got(model.respond_stream("six seven"))
    async with entered(stream):
        async for fragment in each(stream):
            seen.setdefault("cancelled after", fragment.content)
            await got(stream.cancel())
        seen["cancelled"] = [plain(stream.result().stats.stop_reason), stream.result().content]
    stream = await got(model.respond_stream("eight"))
    await got(stream.start())
    seen["started twice"] = await error_of(stream.start)
    async for _ in each(stream):
        pass
    seen["started"] = stream.result().content
    return seen


@case
async def stream_left_early(client):
    model = await got(client.llm.model(CHAT))
    async with entered(await got(model.respond_stream("one two three"))) as stream:
        async for fragment in each(stream):
            return [fragment.content, plain(stream.stats)]
    return None


@case
async def stream_left_unread(client):
    model = await got(client.llm.model(CHAT))
    stream = await got(model.respond_stream("one two three"))
    async with entered(stream):
        pass
    return [await error_of(stream.result), plain(stream.stats)]


@case
async def structured_responses(client):
    model = await got(client.llm.model(CHAT))

    class Book(lms.BaseModel):
        title: str
        year: int

    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}, "required": ["z"]}
    as_class = await got(model.respond("book", response_format=Book))
    stream = await got(model.respond_stream("book", response_format=schema))
    return {
        "schema of class": Book.model_json_schema(),
        "class": [as_class.content, str(as_class), as_class.structured],
        "schema": shown(await got(model.respond("book", response_format=schema))),
        "completion": shown(await got(model.complete("book", response_format=schema))),
        "stream": shown(await got(stream.wait_for_result())),
        "grammar": shown(
            await got(model.respond("grammar", response_format={"type": "gbnf", "gbnfGrammar": 'root ::= "yes"'}))
        ),
        "config": str(await got(model.respond("book", config={"structured": {"type": "json", "jsonSchema": schema}}))),
        "no schema": await error_of(lambda: model.respond("book", response_format=3)),
        "odd schema": await error_of(lambda: model.respond("book", response_format={"some": "thing"})),
    }


@case
async def structured_instance(client):
    class Book(lms.BaseModel):
        title: str
        year: int

    model = await got(client.llm.model(CHAT))
    return plain((await got(model.respond("book", response_format=Book))).parsed)


@case
async def structured_response_that_is_none(client):
    model = await got(client.llm.model(CHAT))
    schema = {"type": "object", "properties": {}}
    return await error_of(lambda: parsed_of(model, schema))


async def parsed_of(model, schema):
    return (await got(model.respond("no json", response_format=schema))).parsed


@case
async def failures(client):
    model = await got(client.llm.model(CHAT))
    embedding = await got(client.embedding.model(EMBED))
    cannot = lms.Chat()
    cannot.add_user_message("Hi")
    return {
        "engine": await error_of(lambda: model.respond("fail")),
        "engine later": await error_of(lambda: model.respond("fail later")),
        "too long": await error_of(lambda: model.respond("word " * 5000)),
        "history": await error_of(lambda: model.respond(3)),
        "embed": await error_of(lambda: embedding.embed(3)),
        "works again": str(await got(model.respond("still here"))),
    }


@case
async def details_of_errors(client):
    try:
        await got(client.llm.model("no-such-model"))
    except lms.LMStudioServerError as error:
        details = error.server_error
        return [type(details).__name__, isinstance(details.title, str), isinstance(str(error), str)]
