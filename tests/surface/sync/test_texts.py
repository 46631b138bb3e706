# Generated from ../async/test_texts.py by tools/make_sync.py. Edit that file instead.
"""Tokens, embeddings and prompt templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms

if TYPE_CHECKING:
    from lmstudio.server import ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy


def test_text_has_tokens(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        tokens = model.tokenize("Hello, wide world!")
        assert len(tokens) == model.count_tokens("Hello, wide world!") == 3
        assert (model.tokenize(""), model.count_tokens("")) == ([], 0)
    assert engine.detokenize(tokens) == "Hello, wide world!"


def test_several_texts_keep_their_order_and_take_one_round_trip(proxy: FaultProxy) -> None:
    texts = ["one", "one two", "", "one two three"] * 25
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        assert [len(tokens) for tokens in model.tokenize(texts)] == [1, 2, 0, 3] * 25
        assert model.tokenize(text for text in ["one two"]) == [model.tokenize("one two")]
        assert model.tokenize([]) == []


def test_all_texts_are_sent_before_the_first_reply(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.embedding.model("scripted-embed")
        model.embed([str(number) for number in range(50)])
    calls = [message for message in proxy.messages("rpcCall") if message["endpoint"] == "embedString"]
    assert [message["callId"] for message in calls] == list(range(calls[0]["callId"], calls[0]["callId"] + 50))


def test_many_texts_are_sent_in_parts(proxy: FaultProxy) -> None:
    texts = [str(number) for number in range(1000)]
    with lms.Client(proxy.api_host) as client:
        model = client.embedding.model("scripted-embed")
        vectors = model.embed(text for text in texts)
        assert vectors[::333] == model.embed(texts[::333])
        before = len(proxy.messages("rpcCall"))
        with pytest.raises(lms.LMStudioValueError, match="got int at position 999"):
            model.embed([*texts[:-1], 5])  # type: ignore[list-item]  # the mistake
        assert len(proxy.messages("rpcCall")) == before
    assert len(vectors) == 1000


def test_embeddings_belong_to_their_texts(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.embedding.model("scripted-embed")
        one, two, again = model.embed(["one", "two", "one"])
        assert one == again == model.embed("one")
        assert one != two
        assert len(one) == len(two) == 16
        assert model.embed([]) == []
        assert model.embed(()) == []


def test_embedding_models_have_tokens_too(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.embedding.model("scripted-embed")
        assert model.count_tokens("one two") == len(model.tokenize("one two")) == 2


def test_one_bad_text_among_many_is_an_error_and_the_rest_is_ignored(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.embedding.model("scripted-embed", config={"contextLength": 4})
        with pytest.raises(lms.LMStudioServerError, match=r"Could not embed with model 'scripted-embed'"):
            model.embed(["one", "far too long for this " * 10, "three"])
        assert len(model.embed(["one", "two"])) == 2


@pytest.mark.parametrize("bad", [5, None, b"bytes", ["text", 5]], ids=str)
def test_what_is_no_text_is_refused(server: Server, bad: Any) -> None:
    with lms.Client(server.api_host) as client:
        chat = client.llm.model("scripted-chat")
        embed = client.embedding.model("scripted-embed")
        with pytest.raises((lms.LMStudioValueError, TypeError)):
            chat.tokenize(bad)
        with pytest.raises((lms.LMStudioValueError, TypeError)):
            embed.embed(bad)
        with pytest.raises((lms.LMStudioValueError, TypeError)):
            chat.count_tokens(bad)


def test_template_is_applied_to_a_chat(server: Server) -> None:
    chat = lms.Chat("Be brief.")
    chat.add_user_message("Hi")
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        assert model.apply_prompt_template(chat) == "<|system|>\nBe brief.\n<|user|>\nHi\n<|assistant|>\n"
        assert model.apply_prompt_template("Hi") == "<|user|>\nHi\n<|assistant|>\n"


@pytest.mark.parametrize(
    "opts",
    [
        {"omitBosToken": True, "omitEosToken": True},
        {"omit_bos_token": True, "omit_eos_token": True},
        lms.LlmApplyPromptTemplateOpts(omit_bos_token=True, omit_eos_token=True),
    ],
    ids=["camelCase", "snake_case", "struct"],
)
def test_template_takes_options(proxy: FaultProxy, opts: Any) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        assert model.apply_prompt_template("Hi", opts) == "<|user|>\nHi\n<|assistant|>\n"
        with pytest.raises(lms.LMStudioValueError, match="omitBosTokens"):
            model.apply_prompt_template("Hi", {"omitBosTokens": True})
    assert proxy.messages("rpcCall")[-1]["parameter"]["opts"] == {"omitBosToken": True, "omitEosToken": True}
