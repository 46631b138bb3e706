"""Models: finding, loading, describing and unloading them; sessions and handles."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server, scripted_models
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server import Gate
    from surface.fault_proxy import FaultProxy


@pytest.fixture
def two_models() -> Iterator[Server]:
    """A server with two language models."""
    chat, _embed = scripted_models()
    other = dataclasses.replace(chat, model_key="other-chat", path="somebody/other-chat/other-chat.gguf")
    with Server([chat, other], engine=ScriptedEngine()) as server:
        yield server


# Get or load ---------------------------------------------------------------------------------------------------------


async def test_model_is_loaded_once(server: Server, engine: ScriptedEngine) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        first = await client.llm.model("scripted-chat")
        second = await client.llm.model("scripted-chat")
    assert first == second
    assert hash(first) == hash(second)
    assert first.identifier == "scripted-chat"
    assert len(engine.loads) == 1


async def test_concurrent_requests_for_a_model_load_it_once(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    engine.load_gate = gate
    async with lms.AsyncClient(server.api_host) as client, AsyncBackground() as background:
        calls = [background.start(lambda: client.llm.model("scripted-chat")) for _ in range(10)]
        assert await background.wait(gate.reached)
        gate.open()
        handles = [await call.result() for call in calls]
    assert len(set(handles)) == 1
    assert len(engine.loads) == 1


async def test_without_a_key_any_loaded_model_will_do(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        await client.llm.load_new_instance("scripted-chat", "mine")
        assert (await client.llm.model()).identifier == "mine"


async def test_without_a_key_a_model_must_be_loaded(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError, match=r"No LLM is loaded.*client\.llm\.model\('"):
            await client.llm.model()
        with pytest.raises(lms.LMStudioModelNotFoundError, match=r"No embedding model is loaded"):
            await client.embedding.model()


async def test_progress_rises_from_zero_to_one(server: Server) -> None:
    values: list[float] = []
    more: list[float] = []
    async with lms.AsyncClient(server.api_host) as client:
        await client.llm.model("scripted-chat", on_load_progress=values.append)
        await client.llm.load_new_instance("scripted-chat", on_load_progress=more.append)
    assert values == more == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_model_that_is_loaded_already_reports_no_progress(server: Server) -> None:
    values: list[float] = []
    async with lms.AsyncClient(server.api_host) as client:
        await client.llm.model("scripted-chat")
        await client.llm.model("scripted-chat", on_load_progress=values.append)
    assert values == []


async def test_unknown_model_is_an_error_that_lists_what_there_is(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        for call in (client.llm.model, client.llm.load_new_instance):
            with pytest.raises(lms.LMStudioModelNotFoundError, match="Downloaded models: scripted-chat") as error:
                await call("no-such-model")
            assert error.value.code == "generic.pathNotFound"
            assert error.value.server_error is not None
            assert "no-such-model" in (error.value.server_error.title or "")


async def test_failed_load_says_why(server: Server, engine: ScriptedEngine) -> None:
    engine.fail_load = "The weights are damaged."
    async with lms.AsyncClient(server.api_host) as client:
        with pytest.raises(lms.LMStudioServerError, match=r"load model 'scripted-chat'(.|\n)*The weights are damaged"):
            await client.llm.model("scripted-chat")
        engine.fail_load = None
        assert (await client.llm.model("scripted-chat")).identifier == "scripted-chat"


@pytest.mark.parametrize(
    "config",
    [
        {"contextLength": 100, "seed": 7},
        {"context_length": 100, "seed": 7},
        lms.LlmLoadModelConfig(context_length=100, seed=7),
    ],
    ids=["camelCase", "snake_case", "struct"],
)
async def test_load_configuration_reaches_the_engine(server: Server, engine: ScriptedEngine, config: Any) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat", config=config, ttl=60)
        loaded = await model.get_load_config()
        info = await model.get_info()
    assert (engine.loads[-1][1].context_length, engine.loads[-1][1].seed) == (100, 7)
    assert (loaded.context_length, loaded.seed) == (100, 7)
    assert (info.context_length, info.ttl_ms) == (100, 60_000)


async def test_embedding_model_takes_a_configuration(server: Server, engine: ScriptedEngine) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.embedding.load_new_instance("scripted-embed", config={"contextLength": 64}, ttl=None)
        assert (await model.get_load_config()).context_length == await model.get_context_length() == 64
        assert (await model.get_info()).ttl_ms is None


@pytest.mark.parametrize(
    "bad",
    [
        {"config": {"contextLenght": 5}},
        {"config": {"contextLength": "long"}},
        {"ttl": 0},
        {"ttl": -5},
        {"model_key": ""},
        {"model_key": "with\nline end"},
        {"model_key": "x" * 1025},
        {"model_key": 5},
        {"instance_identifier": ""},
    ],
    ids=str,
)
async def test_bad_load_is_refused_before_anything_is_sent(proxy: FaultProxy, bad: dict[str, Any]) -> None:
    arguments = {"model_key": "scripted-chat", **bad}
    async with lms.AsyncClient(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioValueError):
            await client.llm.load_new_instance(**arguments)
        if "instance_identifier" not in bad:
            with pytest.raises(lms.LMStudioValueError):
                await client.llm.model(arguments.pop("model_key"), **arguments)
    assert proxy.accepted == []


# New instances and unloading -----------------------------------------------------------------------------------------


async def test_every_new_instance_has_an_identifier_of_its_own(server: Server, engine: ScriptedEngine) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        named = await client.llm.load_new_instance("scripted-chat", "mine")
        first = await client.llm.load_new_instance("scripted-chat")
        second = await client.llm.load_new_instance("scripted-chat")
    assert named.identifier == "mine"
    assert len({named, first, second}) == len(engine.loads) == 3


async def test_identifier_that_is_in_use_is_refused(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        await client.llm.load_new_instance("scripted-chat", "mine")
        with pytest.raises(lms.LMStudioServerError, match="mine"):
            await client.llm.load_new_instance("scripted-chat", "mine")


async def test_instance_is_unloaded_by_its_handle_or_its_identifier(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        one = await client.llm.load_new_instance("scripted-chat", "one")
        two = await client.llm.load_new_instance("scripted-chat", "two")
        await one.unload()
        assert await client.llm.list_loaded() == [two]
        await client.llm.unload("two")
        assert await client.llm.list_loaded() == []
        with pytest.raises(lms.LMStudioModelNotFoundError, match="Loaded models: none"):
            await two.unload()


# Lists ---------------------------------------------------------------------------------------------------------------


async def test_downloaded_models_are_listed(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        every = await client.list_downloaded_models()
        assert [model.model_key for model in every] == ["scripted-chat", "scripted-embed"]
        assert [type(model) for model in every] == [lms.AsyncDownloadedLlm, lms.AsyncDownloadedEmbeddingModel]
        assert await client.list_downloaded_models("llm") == await client.llm.list_downloaded() == every[:1]
        assert await client.list_downloaded_models("embedding") == await client.embedding.list_downloaded() == every[1:]
        assert await client.system.list_downloaded_models() == every


async def test_loaded_models_are_listed(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        assert await client.list_loaded_models() == []
        chat = await client.llm.model("scripted-chat")
        embed = await client.embedding.model("scripted-embed")
        assert await client.list_loaded_models() == [chat, embed]
        assert await client.list_loaded_models("llm") == await client.llm.list_loaded() == [chat]
        assert await client.list_loaded_models("embedding") == await client.embedding.list_loaded() == [embed]


async def test_downloaded_model_describes_itself(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        chat, embed = await client.list_downloaded_models()
        (again,) = await client.list_downloaded_models("llm")
    assert (chat.type, embed.type) == ("llm", "embedding")
    assert chat.path == chat.info.path == "lmstudio-python/scripted-chat/scripted-chat.gguf"
    assert chat.info.display_name == "Scripted Chat"
    assert repr(chat).endswith(
        "DownloadedLlm(model_key='scripted-chat', display_name='Scripted Chat', architecture='scripted', vision=False)"
    )
    assert repr(embed).endswith(
        "DownloadedEmbeddingModel(model_key='scripted-embed', display_name='Scripted Embed', architecture='scripted')"
    )
    assert (chat == again, hash(chat) == hash(again), chat == embed) == (True, True, False)


async def test_model_without_variants_has_none_to_list(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        with pytest.raises(lms.LMStudioServerError, match="no variants"):
            await client.system.list_downloaded_model_variants("scripted-chat")
        with pytest.raises(lms.LMStudioModelNotFoundError):
            await client.system.list_downloaded_model_variants("no-such-model")
        with pytest.raises(lms.LMStudioValueError):
            await client.system.list_downloaded_model_variants("")


async def test_downloaded_model_is_loaded_or_found(server: Server, engine: ScriptedEngine) -> None:
    values: list[float] = []
    async with lms.AsyncClient(server.api_host) as client:
        (chat,) = await client.llm.list_downloaded()
        model = await chat.model(ttl=60, config={"contextLength": 99}, on_load_progress=values.append)
        assert await chat.model() == model
        other = await chat.load_new_instance(
            ttl=None, instance_identifier="other", config={"contextLength": 98}, on_load_progress=values.append
        )
        assert [await model.get_context_length(), await other.get_context_length()] == [99, 98]
        with pytest.raises(lms.LMStudioRuntimeError, match="contextLength is 99 instead of 5"):
            await chat.model(config={"contextLength": 5}, on_mismatch="error")
        (embed,) = await client.embedding.list_downloaded()
        assert (await embed.model()).identifier == "scripted-embed"
    assert other.identifier == "other"
    assert values == [0.0, 0.25, 0.5, 0.75, 1.0] * 2


async def test_several_models_do_not_get_mixed_up(two_models: Server) -> None:
    async with lms.AsyncClient(two_models.api_host) as client:
        for model_key in ("other-chat", "scripted-chat", "other-chat"):
            model = await client.llm.model(model_key)
            assert (await model.get_info()).model_key == model_key


# Handles and information ---------------------------------------------------------------------------------------------


async def test_handle_describes_its_instance(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.load_new_instance("scripted-chat", "mine")
        info = await model.get_info()
        assert (info.identifier, info.model_key, info.context_length) == ("mine", "scripted-chat", 4096)
        assert await model.get_context_length() == 4096
        assert repr(model).endswith("LLM(identifier='mine')")
        assert model != await client.embedding.model("scripted-embed")


async def test_information_is_found_by_every_kind_of_specifier(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.load_new_instance("scripted-chat", "mine")
        info = await model.get_info()
        query = lms.ModelQuery(identifier="mine")
        reference = lms.ModelSpecifierInstanceReference(instance_reference=info.instance_reference)
        for specifier in (
            "mine",
            query,
            lms.ModelSpecifierQuery(query=query),
            reference,
            {"identifier": "mine"},
            {"type": "query", "query": {"identifier": "mine"}},
            {"type": "instanceReference", "instanceReference": info.instance_reference},
        ):
            assert (await client.llm.get_model_info(specifier)).instance_reference == info.instance_reference
        with pytest.raises(lms.LMStudioModelNotFoundError):
            await client.llm.get_model_info("nobody")
        with pytest.raises(lms.LMStudioValueError):
            await client.llm.get_model_info({"identifire": "mine"})


async def test_handle_of_a_namespace_does_not_find_models_of_the_other(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        with pytest.raises(lms.LMStudioServerError):
            await client.llm.model("scripted-embed")
        with pytest.raises(lms.LMStudioServerError):
            await client.embedding.model("scripted-chat")


# Sessions ------------------------------------------------------------------------------------------------------------


async def test_session_connects_when_told_to_or_when_used(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        assert (client.llm.connected, proxy.accepted) == (False, [])
        await client.llm.connect()
        assert (client.llm.connected, client.system.connected, proxy.accepted) == (True, False, ["llm"])
        await client.llm.connect()
        await client.system.list_downloaded_models()
        assert (client.system.connected, proxy.accepted) == (True, ["llm", "system"])


async def test_disconnected_session_connects_again_when_used(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        await client.llm.connect()
        await client.llm.disconnect()
        await client.llm.aclose()
        assert not client.llm.connected
        assert await client.llm.list_loaded() == []
        assert proxy.accepted == ["llm", "llm"]


async def test_session_is_connected_inside_its_with_block(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        async with client.embedding as session:
            assert session is client.embedding
            assert session.connected
        assert not client.embedding.connected
        assert client.embedding.client is client


async def test_any_endpoint_may_be_called_by_its_name(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        specifier = {"type": "query", "query": {"identifier": model.identifier}}
        reply = await client.llm.remote_call("countTokens", {"specifier": specifier, "inputString": "a b c"})
        assert reply == {"tokenCount": 3}
        assert [info["identifier"] for info in await client.llm.remote_call("listLoaded")] == ["scripted-chat"]
        with pytest.raises(lms.LMStudioServerError, match=r"Could not call llm\.noSuchEndpoint"):
            await client.llm.remote_call("noSuchEndpoint")
        with pytest.raises(lms.LMStudioValueError, match="endpoint must"):
            await client.llm.remote_call("")
