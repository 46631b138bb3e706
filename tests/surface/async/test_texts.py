"""Tokens, embeddings and prompt templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms

if TYPE_CHECKING:
    from lmstudio.server import ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy


async def test_text_has_tokens(server: Server, engine: ScriptedEngine) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        tokens = await model.tokenize("Hello, wide world!")
        assert len(tokens) == await model.count_tokens("Hello, wide world!") == 3
        assert (await model.tokenize(""), await model.count_tokens("")) == ([], 0)
    assert engine.detokenize(tokens) == "Hello, wide world!"


async def test_several_texts_keep_their_order_and_take_one_round_trip(proxy: FaultProxy) -> None:
    texts = ["one", "one two", "", "one two three"] * 25
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        assert [len(tokens) for tokens in await model.tokenize(texts)] == [1, 2, 0, 3] * 25
        assert await model.tokenize(text for text in ["one two"]) == [await model.tokenize("one two")]
        assert await model.tokenize([]) == []


async def test_all_texts_are_sent_before_the_first_reply(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.embedding.model("scripted-embed")
        await model.embed([str(number) for number in range(50)])
    calls = [message for message in proxy.messages("rpcCall") if message["endpoint"] == "embedString"]
    assert [message["callId"] for message in calls] == list(range(calls[0]["callId"], calls[0]["callId"] + 50))


async def test_many_texts_are_sent_in_parts(proxy: FaultProxy) -> None:
    texts = [str(number) for number in range(1000)]
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.embedding.model("scripted-embed")
        vectors = await model.embed(text for text in texts)
        assert vectors[::333] == await model.embed(texts[::333])
        before = len(proxy.messages("rpcCall"))
        with pytest.raises(lms.LMStudioValueError, match="got int at position 999"):
            await model.embed([*texts[:-1], 5])  # type: ignore[list-item]  # the mistake
        assert len(proxy.messages("rpcCall")) == before
    assert len(vectors) == 1000


async def test_embeddings_belong_to_their_texts(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.embedding.model("scripted-embed")
        one, two, again = await model.embed(["one", "two", "one"])
        assert one == again == await model.embed("one")
        assert one != two
        assert len(one) == len(two) == 16
        assert await model.embed([]) == []
        assert await model.embed(()) == []


async def test_embedding_models_have_tokens_too(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.embedding.model("scripted-embed")
        assert await model.count_tokens("one two") == len(await model.tokenize("one two")) == 2


async def test_one_bad_text_among_many_is_an_error_and_the_rest_is_ignored(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.embedding.model("scripted-embed", config={"contextLength": 4})
        with pytest.raises(lms.LMStudioServerError, match=r"Could not embed with model 'scripted-embed'"):
            await model.embed(["one", "far too long for this " * 10, "three"])
        assert len(await model.embed(["one", "two"])) == 2


@pytest.mark.parametrize("bad", [5, None, b"bytes", ["text", 5]], ids=str)
async def test_what_is_no_text_is_refused(server: Server, bad: Any) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        chat = await client.llm.model("scripted-chat")
        embed = await client.embedding.model("scripted-embed")
        with pytest.raises((lms.LMStudioValueError, TypeError)):
            await chat.tokenize(bad)
        with pytest.raises((lms.LMStudioValueError, TypeError)):
            await embed.embed(bad)
        with pytest.raises((lms.LMStudioValueError, TypeError)):
            await chat.count_tokens(bad)


async def test_template_is_applied_to_a_chat(server: Server) -> None:
    chat = lms.Chat("Be brief.")
    chat.add_user_message("Hi")
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        assert await model.apply_prompt_template(chat) == "<|system|>\nBe brief.\n<|user|>\nHi\n<|assistant|>\n"
        assert await model.apply_prompt_template("Hi") == "<|user|>\nHi\n<|assistant|>\n"


@pytest.mark.parametrize(
    "opts",
    [
        {"omitBosToken": True, "omitEosToken": True},
        {"omit_bos_token": True, "omit_eos_token": True},
        lms.LlmApplyPromptTemplateOpts(omit_bos_token=True, omit_eos_token=True),
    ],
    ids=["camelCase", "snake_case", "struct"],
)
async def test_template_takes_options(proxy: FaultProxy, opts: Any) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        assert await model.apply_prompt_template("Hi", opts) == "<|user|>\nHi\n<|assistant|>\n"
        with pytest.raises(lms.LMStudioValueError, match="omitBosTokens"):
            await model.apply_prompt_template("Hi", {"omitBosTokens": True})
    assert proxy.messages("rpcCall")[-1]["parameter"]["opts"] == {"omitBosToken": True, "omitEosToken": True}
