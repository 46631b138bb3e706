"""What the embedded server does for predictions, with llama.cpp and the models that come with the package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sample_files import PNG

import lmstudio as lms
from lmstudio.server import Server
from lmstudio.server.models import CHAT_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "pebble-2.6m"
EXACT: Any = {"temperature": 0.0, "maxTokens": 60}
DRAFTED: Any = {**EXACT, "draftModel": MODEL}
STRICT: Any = {**EXACT, "contextOverflowPolicy": "stopAtLimit"}
LOG_PROBS: Any = {**EXACT, "logProbs": 3}
NEVER_ENDING: Any = {"type": "gbnf", "gbnfGrammar": "root ::= [a-z ] root"}
"""Only the limit of the context ends such a reply."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A models folder with the shipped chat model in two quantizations, as far as their names tell."""
    folder = tmp_path / "models" / "acme" / "Heron-GGUF"
    folder.mkdir(parents=True)
    (folder / "Heron-Q8_0.gguf").symlink_to(CHAT_MODEL_FILE)
    (folder / "Heron-Q4_K_M.gguf").symlink_to(CHAT_MODEL_FILE)
    return tmp_path / "models"


@pytest.fixture
def own_server(library: Path, tmp_path: Path) -> Iterator[Server]:
    """A server with that folder, and with presets."""
    pytest.importorskip("xllamacpp")
    fields = [{"key": "llm.prediction.maxPredictedTokens", "value": {"checked": True, "value": 2}}]
    preset = {"identifier": "@local:terse", "name": "Terse", "operation": {"fields": fields}}
    (tmp_path / "terse.preset.json").write_text(json.dumps(preset))
    with Server(models_folder=library, presets=tmp_path) as server:
        yield server


async def test_second_turn_reads_only_what_is_new(real_server: Server) -> None:
    seen: list[Any] = []
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.llm.model(MODEL)
        chat = lms.Chat("You are a friend of many words, and you like to hear of the sea.")
        chat.add_user_message("What is the capital of Norway?")
        chat.add_assistant_response(await model.respond(chat, config=EXACT))
        chat.add_user_message("What is the capital of France?")
        result = await model.respond(chat, config=EXACT, on_prompt_processing_progress=seen.append)
    details = seen[-1].details
    assert details is not None
    assert details.cached_token_count > details.processed_prompt_token_count > 0
    assert details.total_prompt_token_count == result.usage.prompt_tokens
    assert "Paris" in result.content


async def test_four_predictions_run_at_once(real_server: Server) -> None:
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.llm.model(MODEL)
        streams = [await model.complete_stream(f"Story {n}:", response_format=NEVER_ENDING) for n in range(4)]
        readers = [aiter(stream) for stream in streams]
        first = [(await anext(reader)).content for reader in readers]
        state = await model.get_instance_processing_state()
        for stream in streams:
            await stream.cancel()
        for reader in readers:
            async for _fragment in reader:
                pass
    assert all(first)
    assert (state.status, state.queued) == ("generating", 4)
    # The first was not over when the last began.
    assert [stream.result().stop_reason for stream in streams] == ["userStopped"] * 4


async def test_one_prediction_at_a_time_if_the_model_was_loaded_so(real_server: Server) -> None:
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.llm.load_new_instance(MODEL, config={"maxParallelPredictions": 1, "contextLength": 256})
        streams = [await model.complete_stream(f"Story {n}:", response_format=NEVER_ENDING) for n in range(2)]
        for stream in streams:
            async for _fragment in stream:
                pass
        await model.unload()
    assert [stream.result().stop_reason for stream in streams] == ["contextLengthReached"] * 2


async def test_draft_model_changes_the_statistics_and_not_the_text(real_server: Server) -> None:
    question = "Tell me a short story about a fox."
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.llm.model(MODEL)
        plain = await model.respond(question, config=EXACT)
        drafted = await model.respond(question, config=DRAFTED)
    assert drafted.content == plain.content
    assert plain.stats.used_draft_model_key is None
    assert drafted.stats.used_draft_model_key == MODEL
    assert drafted.stats.accepted_draft_tokens_count
    assert drafted.stats.total_draft_tokens_count


@pytest.mark.parametrize("policy", ["truncateMiddle", "rollingWindow"])
async def test_long_chat_is_shortened_as_the_policy_says(real_server: Server, policy: Any) -> None:
    config: Any = {**EXACT, "contextOverflowPolicy": policy}
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.llm.load_new_instance(MODEL, config={"contextLength": 256})
        result = await model.respond(long_chat(), config=config)
        await model.unload()
    assert 0 < result.usage.prompt_tokens <= 256
    assert "Oslo" in result.content


async def test_long_chat_is_refused_with_numbers_when_nothing_may_be_left_out(real_server: Server) -> None:
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.llm.load_new_instance(MODEL, config={"contextLength": 256})
        with pytest.raises(lms.LMStudioContextOverflowError) as caught:
            await model.respond(long_chat(), config=STRICT)
        await model.unload()
    assert caught.value.context_length == 256
    assert caught.value.prompt_tokens is not None
    assert caught.value.prompt_tokens > 256


def long_chat() -> lms.Chat:
    """More than 256 tokens; the last question is short."""
    chat = lms.Chat()
    for number in range(20):
        chat.add_user_message(f"What is {number} + 1? Please tell me in one sentence.")
        chat.add_assistant_response(f"{number} + 1 = {number + 1}.")
    chat.add_user_message("What is the capital of Norway?")
    return chat


async def test_reasoning_is_told_apart(real_server: Server) -> None:
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.llm.model(MODEL)
        result = await model.respond("What is 4 + 5? /think", config=EXACT)
    assert "wants a sum" in result.reasoning_content
    assert result.non_reasoning_content.strip() == "4 plus 5 is 9."


async def test_log_probabilities_belong_to_the_tokens_of_the_text(real_server: Server) -> None:
    async with lms.AsyncClient(real_server.api_host) as client:
        model = await client.llm.model(MODEL)
        stream = await model.respond_stream("What is the capital of Norway?", config=LOG_PROBS)
        fragments = [fragment async for fragment in stream]
    tokens = [token for fragment in fragments for token in fragment.tokens or []]
    assert "".join(token.text for token in tokens).startswith(stream.result().content)
    for token in tokens:
        assert token.candidates is not None
        chances = [candidate.log_prob for candidate in token.candidates]
        assert len(chances) == 3
        assert chances == sorted(chances, reverse=True)


async def test_preset_of_a_folder_applies_and_the_request_overrides_it(own_server: Server) -> None:
    async with lms.AsyncClient(own_server.api_host) as client:
        model = await client.llm.model(MODEL)
        terse = await model.respond("Tell me a story.", preset="terse")
        longer = await model.respond("Tell me a story.", preset="terse", config={"maxTokens": 4})
    assert (terse.stop_reason, terse.usage.predicted_tokens) == ("maxPredictedTokensReached", 2)
    assert longer.usage.predicted_tokens == 4


async def test_variants_in_a_folder_are_listed_and_loaded(own_server: Server) -> None:
    async with lms.AsyncClient(own_server.api_host) as client:
        listed = {model.model_key: model for model in await client.llm.list_downloaded()}
        assert list(listed) == [MODEL, "heron"]
        assert listed["heron"].info.selected_variant == "heron@q4_k_m"
        variants = await client.system.list_downloaded_model_variants("heron")
        assert [variant.model_key for variant in variants] == ["heron@q4_k_m", "heron@q8_0"]
        model = await client.llm.model("acme/heron@q8_0")
        assert (await model.get_info()).selected_variant == "heron@q8_0"
        assert "Oslo" in (await model.respond("What is the capital of Norway?", config=EXACT)).content


async def test_instances_of_one_model_have_identifiers_of_their_own(own_server: Server) -> None:
    async with lms.AsyncClient(own_server.api_host) as client:
        models = [await client.llm.load_new_instance(MODEL) for _ in range(2)]
        assert [model.identifier for model in models] == [MODEL, f"{MODEL}:2"]
        again = await client.llm.model(f"{MODEL}:2")
        assert again == models[1]
        assert "Oslo" in (await again.respond("What is the capital of Norway?", config=EXACT)).content


async def test_model_that_comes_to_the_folder_can_be_used_at_once(own_server: Server, library: Path) -> None:
    async with lms.AsyncClient(own_server.api_host) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError):
            await client.llm.model("tern")
        place = library / "reef" / "Tern-GGUF"
        place.mkdir(parents=True)
        (place / "tern.gguf").symlink_to(CHAT_MODEL_FILE)
        assert (await client.llm.model("tern")).path == "reef/Tern-GGUF/tern.gguf"


async def test_image_is_refused_where_it_would_not_be_looked_at(own_server: Server, library: Path) -> None:
    (library / "acme" / "Heron-GGUF" / "mmproj-heron.gguf").write_bytes(b"not looked at")
    async with lms.AsyncClient(own_server.api_host) as client:
        model = await client.llm.model("heron")
        assert (await model.get_info()).vision
        chat = lms.Chat()
        chat.add_user_message("What is this?", images=[await client.prepare_image(PNG, "cat.png")])
        with pytest.raises(lms.LMStudioServerError, match="takes text only"):
            await model.respond(chat)
