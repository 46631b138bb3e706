"""Cases: models on the disk and in memory, sessions, texts, downloads."""

# Which package this uses is decided when it runs.
# mypy: ignore-errors

from __future__ import annotations

from twin_kit import (
    CHAT,
    EMBED,
    HOST,
    case,
    error_of,
    got,
    plain,
)

import lmstudio as lms


@case
async def models_on_disk(client):
    found = {
        "all": await got(client.list_downloaded_models()),
        "llm": await got(client.list_downloaded_models("llm")),
        "embedding": await got(client.list_downloaded_models("embedding")),
        "session": await got(client.llm.list_downloaded()),
        "system": await got(client.system.list_downloaded_models()),
    }
    again = await got(client.list_downloaded_models())
    return {
        "models": {
            name: [(m.type, m.path, m.model_key, repr(m), str(m), plain(m.info)) for m in models]
            for name, models in found.items()
        },
        "equal": [one == other for one in found["all"] for other in again],
    }


@case
async def models_in_memory(client):
    for loaded in await got(client.list_loaded_models()):
        await got(loaded.unload())
    progress = []
    model = await got(client.llm.model(CHAT, ttl=60, on_load_progress=progress.append))
    second = await got(
        client.llm.load_new_instance(
            CHAT, "second", ttl=None, config={"contextLength": 512, "gpu": {"ratio": 0.5}}, on_load_progress=None
        )
    )
    third = await got(client.llm.load_new_instance(CHAT, config=lms.LlmLoadModelConfig(context_length=256, seed=7)))
    embedding = await got(client.embedding.model(EMBED, config={"context_length": 128}))
    found = {
        "progress": progress,
        "reprs": [repr(model), str(second), repr(third), repr(embedding)],
        "identifiers": [model.identifier, second.identifier, third.identifier, embedding.identifier],
        "infos": [plain(await got(handle.get_info())) for handle in (model, second, third, embedding)],
        "configs": [plain(await got(handle.get_load_config())) for handle in (model, second, third, embedding)],
        "lengths": [await got(handle.get_context_length()) for handle in (model, second, third, embedding)],
        "loaded": [(type(m).__name__, m.identifier) for m in await got(client.list_loaded_models())],
        "loaded embeddings": [repr(m) for m in await got(client.list_loaded_models("embedding"))],
        "by session": [m.identifier for m in await got(client.llm.list_loaded())],
        "any": (await got(client.llm.model())).identifier,
        "again": await got(client.llm.model(CHAT)) == model,
        "different": model == second,
        "by name": plain(await got(client.llm.get_model_info("second"))),
        "by query": plain(await got(client.llm.get_model_info(lms.ModelQuery(identifier="second")))),
        "by dict": plain(await got(client.llm.get_model_info({"type": "query", "query": {"identifier": "second"}}))),
        "raw": sorted(item["identifier"] for item in await got(client.llm.remote_call("listLoaded"))),
    }
    found["unload"] = [plain(await got(second.unload())), plain(await got(client.llm.unload(third.identifier)))]
    found["left"] = [m.identifier for m in await got(client.list_loaded_models())]
    return found


@case
async def progress_of_a_model_that_is_loaded_already(client):
    progress = []
    await got(client.llm.model(CHAT, on_load_progress=progress.append))
    return progress


@case
async def models_that_are_not_there(client):
    model = await got(client.llm.load_new_instance(CHAT, "gone"))
    await got(model.unload())
    return {
        "unknown key": await error_of(lambda: client.llm.model("no-such-model")),
        "unknown instance": await error_of(lambda: client.llm.load_new_instance("no-such-model")),
        "identifier in use": await error_of(lambda: client.llm.load_new_instance(CHAT, CHAT)),
        "unload twice": await error_of(model.unload),
        "info": await error_of(model.get_info),
        "respond": await error_of(lambda: model.respond("Hi")),
        "tokenize": await error_of(lambda: model.tokenize("Hi")),
        "wrong kind": await error_of(lambda: client.embedding.model(CHAT)),
        "model info": await error_of(lambda: client.llm.get_model_info("gone")),
        "bad namespace": await error_of(lambda: client.list_loaded_models("music")),
    }


@case
async def downloaded_models_load(client):
    downloaded = next(m for m in await got(client.list_downloaded_models("llm")) if m.model_key == CHAT)
    model = await got(downloaded.model(ttl=30))
    other = await got(downloaded.load_new_instance(instance_identifier="other", config={"context_length": 300}))
    seen = [repr(model), repr(other), await got(other.get_context_length())]
    await got(other.unload())
    embedding = next(m for m in await got(client.embedding.list_downloaded()) if m.model_key == EMBED)
    return [*seen, repr(await got(embedding.model()))]


@case
async def sessions(client):
    session = client.llm
    await got(session.list_loaded())
    seen = [session.API_NAMESPACE, session.client is client, type(session).__name__, session.connected]
    await got(session.disconnect())
    seen.append(session.connected)
    await got(session.connect())
    seen.append(await error_of(lambda: session.remote_call("noSuchEndpoint")))
    return [*seen, client.api_host]


@case
async def hosts(client):
    check = type(client).is_valid_api_host
    return [await got(check(HOST)), await got(check("127.0.0.1:1"))]


@case
async def texts(client):
    model = await got(client.llm.model(CHAT))
    embedding = await got(client.embedding.model(EMBED))
    chat = lms.Chat("Be brief.")
    chat.add_user_message("Hi")
    return {
        "tokens": await got(model.tokenize("one two three")),
        "many": await got(model.tokenize(["one", "two three", ""])),
        "generator": await got(model.tokenize(text for text in ("one", "two"))),
        "count": await got(model.count_tokens("one two three")),
        "embedded": await got(embedding.embed("Hello, world")),
        "embeddings": await got(embedding.embed(["Hello", "world"])),
        "embedding tokens": await got(embedding.tokenize("Hello, world")),
        "embedding count": await got(embedding.count_tokens("Hello, world")),
        "prompt": await got(model.apply_prompt_template(chat)),
        "prompt of text": await got(model.apply_prompt_template("Hi")),
        "prompt with options": await got(model.apply_prompt_template(chat, {"omitBosToken": True})),
    }


@case
async def downloads(client):
    found = await got(client.repository.search_models("pebble", limit=3))
    (option,) = await got(found[0].get_download_options())
    progress, finalized = [], []
    key = await got(option.download(progress.append, lambda: finalized.append(True)))
    return {
        "found": [plain(model.search_result) for model in found],
        "option": plain(option.info),
        "key": key,
        "progress": [type(progress[-1]).__name__ if progress else None, len(finalized)],
        "limited": len(await got(client.repository.search_models(limit=1))),
        "of a kind": len(await got(client.repository.search_models("pebble", compatibility_types=["gguf"]))),
        "listed": sorted(model.model_key for model in await got(client.list_downloaded_models())),
    }
