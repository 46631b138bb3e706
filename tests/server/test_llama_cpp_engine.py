"""The llama.cpp engine with the shipped models: real processes, real inference."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

pytest.importorskip("xllamacpp")

from lmstudio.server.catalog import read_model_file
from lmstudio.server.engine.base import (
    EngineError,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    ModelDiedError,
    PromptProgress,
    PromptTooLongError,
    Sampling,
    TextChunk,
)
from lmstudio.server.engine.llama_cpp import LlamaCppEngine, LlamaCppModel
from lmstudio.server.models import CHAT_MODEL_FILE, EMBEDDING_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

T = TypeVar("T")
CHAT, EMBED = read_model_file(CHAT_MODEL_FILE), read_model_file(EMBEDDING_MODEL_FILE)
GREEDY = Sampling(temperature=0)
# Without its end tokens the model goes on until a limit stops it.
ENDLESS = Sampling(temperature=0, logit_bias=((0, float("-inf")), (2, float("-inf"))))
FOX = "Tell me a short story about a fox."
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class BackgroundLoop:
    """An event loop in a thread of its own, so that fixtures and tests can share what lives in it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, 60), self.loop).result()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[BackgroundLoop]:
    background = BackgroundLoop()
    yield background
    background.close()


@pytest.fixture(scope="module")
def chat(loop: BackgroundLoop) -> Iterator[LlamaCppModel]:
    model = loop.run(load(LoadOptions(context_length=512)))
    yield model
    loop.run(model.close())


@pytest.fixture(scope="module")
def embedder(loop: BackgroundLoop) -> Iterator[LlamaCppModel]:
    model = loop.run(LlamaCppEngine().load(EMBED, LoadOptions(), lambda _: None))
    yield model
    loop.run(model.close())


async def load(options: LoadOptions | None = None) -> LlamaCppModel:
    return await LlamaCppEngine().load(CHAT, options or LoadOptions(), lambda _: None)


async def using(options: LoadOptions, use: Callable[[LlamaCppModel], Awaitable[T]]) -> T:
    """The result of *use* on a model of its own."""
    model = await load(options)
    try:
        return await use(model)
    finally:
        await model.close()


async def prompt_for(model: LlamaCppModel, text: str) -> str:
    return await model.render_chat([{"role": "user", "content": text}])


async def events(model: LlamaCppModel, text: str, **fields: Any) -> list[GenerationEvent]:
    request = GenerationRequest(await prompt_for(model, text), **{"sampling": GREEDY, **fields})
    return [event async for event in model.generate(request)]


def text_of(seen: list[GenerationEvent]) -> str:
    return "".join(event.text for event in seen if isinstance(event, TextChunk))


def end_of(seen: list[GenerationEvent]) -> GenerationEnd:
    assert isinstance(seen[-1], GenerationEnd)
    return seen[-1]


async def until_idle(model: LlamaCppModel) -> None:
    while await model.busy_sessions():
        pass


def assert_gone(process_id: int) -> None:
    """Not running, and not left behind as a zombie either."""
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


# Generating


def test_greedy_reply_knows_the_capital_of_norway(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    seen = loop.run(events(chat, "What is the capital of Norway?"))
    assert "Oslo" in text_of(seen)
    end = end_of(seen)
    assert (end.stop_reason, end.stop_string, end.prompt_tokens) == ("eosFound", None, 18)
    assert end.tokens_per_second is not None
    assert end.tokens_per_second > 0
    # The end token is predicted too, and has no text.
    assert end.predicted_tokens == sum(event.token_count for event in seen if isinstance(event, TextChunk)) + 1


def test_prompt_progress_begins_at_nothing_and_is_complete_before_the_text(
    loop: BackgroundLoop, chat: LlamaCppModel
) -> None:
    seen = loop.run(events(chat, "What is the opposite of early?"))
    progress = [event for event in seen if isinstance(event, PromptProgress)]
    assert seen[: len(progress)] == progress
    assert progress[0].processed_tokens == 0
    assert progress[-1].cached_tokens + progress[-1].processed_tokens == progress[-1].total_tokens
    assert progress[-1].total_tokens == end_of(seen).prompt_tokens


def test_prompt_read_before_is_reported_as_cached(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    loop.run(events(chat, "What is the opposite of hot?"))
    first = loop.run(events(chat, "What is the opposite of hot?"))[0]
    assert isinstance(first, PromptProgress)
    assert first.cached_tokens > 0


def test_long_prompt_is_read_in_steps(loop: BackgroundLoop) -> None:
    seen = loop.run(using(LoadOptions(eval_batch_size=64), lambda model: events(model, "Hello! " * 100)))
    progress = [event for event in seen if isinstance(event, PromptProgress)]
    assert len(progress) >= 4
    assert [event.processed_tokens for event in progress] == sorted(event.processed_tokens for event in progress)


def test_closing_the_stream_frees_the_slot(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    async def main() -> None:
        stream = chat.generate(GenerationRequest(await prompt_for(chat, FOX), ENDLESS))
        async for event in stream:
            if isinstance(event, TextChunk):
                break
        await stream.aclose()
        await until_idle(chat)

    loop.run(main())


def test_cancelling_the_task_frees_the_slot(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def consume() -> None:
            async for _ in chat.generate(GenerationRequest(await prompt_for(chat, FOX), ENDLESS)):
                begun.set()

        task = asyncio.create_task(consume())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await until_idle(chat)

    loop.run(main())


def test_token_limit_stops_the_text(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    seen = loop.run(events(chat, FOX, max_tokens=5))
    assert (end_of(seen).stop_reason, end_of(seen).predicted_tokens) == ("maxPredictedTokensReached", 5)
    nothing = loop.run(events(chat, FOX, max_tokens=0))
    assert (text_of(nothing), end_of(nothing).predicted_tokens) == ("", 0)
    assert end_of(nothing).stop_reason == "maxPredictedTokensReached"


def test_stop_string_is_found_and_left_out(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    seen = loop.run(events(chat, "What is the capital of Norway?", stop_strings=["slo", "nothing"]))
    assert text_of(seen) == "The capital of Norway is O"
    assert (end_of(seen).stop_reason, end_of(seen).stop_string) == ("stopStringFound", "slo")
    assert (end_of(seen).tokens_per_second or 0) > 0
    loop.run(until_idle(chat))


def test_beginning_of_a_stop_string_is_not_lost_at_the_token_limit(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    seen = loop.run(events(chat, "What is the capital of Norway?", stop_strings=["capital of X"], max_tokens=3))
    assert text_of(seen) == "The capital of"


def test_full_context_ends_the_text(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    end = end_of(loop.run(events(chat, FOX, sampling=ENDLESS)))
    assert end.stop_reason == "contextLengthReached"
    assert end.prompt_tokens + end.predicted_tokens >= chat.context_length


def test_prompt_beyond_the_context_is_refused_with_numbers(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    with pytest.raises(PromptTooLongError) as caught:
        loop.run(events(chat, "Hello! " * 400))
    assert caught.value.context_length == 512
    assert caught.value.prompt_tokens > 512


def test_empty_prompt_is_refused(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    async def main() -> None:
        async for _ in chat.generate(GenerationRequest("")):
            pass

    with pytest.raises(EngineError, match="prompt is empty"):
        loop.run(main())


@pytest.mark.parametrize("question", ["Extract the name and age as JSON: Nina is 31 years old.", FOX])
def test_json_schema_is_obeyed(loop: BackgroundLoop, chat: LlamaCppModel, question: str) -> None:
    for seed in range(3):
        sampling = Sampling(temperature=1.0, seed=seed)
        person = json.loads(text_of(loop.run(events(chat, question, json_schema=PERSON, sampling=sampling))))
        assert isinstance(person["name"], str)
        assert isinstance(person["age"], int)


def test_empty_schema_gives_any_json(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    complete = 0
    for seed in range(6):
        sampling = Sampling(temperature=1.0, seed=seed)
        seen = loop.run(events(chat, "Hello!", json_schema={}, sampling=sampling, max_tokens=200))
        if end_of(seen).stop_reason == "eosFound":
            json.loads(text_of(seen))
            complete += 1
    assert complete


def test_keywords_that_the_engine_does_not_know_are_ignored(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    schema = {"type": "array", "uniqueItems": True, "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2}
    assert len(json.loads(text_of(loop.run(events(chat, FOX, json_schema=schema))))) == 2


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "nonsense"}, "Invalid type: nonsense"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"pattern": "(?=x)"}, "look-around"),
    ],
)
def test_schema_that_would_not_be_enforced_is_refused(
    loop: BackgroundLoop, chat: LlamaCppModel, schema: dict[str, Any], reason: str
) -> None:
    for _ in range(2):
        with pytest.raises(EngineError, match="cannot be enforced") as caught:
            loop.run(events(chat, FOX, json_schema=schema))
        assert reason in str(caught.value)


def test_grammar_is_obeyed(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    assert text_of(loop.run(events(chat, FOX, grammar='root ::= "gull" | "tern"'))) in ("gull", "tern")


def test_broken_grammar_is_refused_with_its_reason(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    with pytest.raises(EngineError, match="not valid GBNF: Undefined rule identifier 'gull'"):
        loop.run(events(chat, FOX, grammar="root ::= gull"))
    with pytest.raises(EngineError, match="not both"):
        loop.run(events(chat, FOX, grammar="root ::= gull", json_schema={}))


def test_characters_of_several_tokens_arrive_whole(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    seen = loop.run(events(chat, FOX, grammar='root ::= "日本é🎉"'))
    chunks = [event for event in seen if isinstance(event, TextChunk)]
    assert [chunk.text for chunk in chunks] == ["日", "本", "é", "🎉"]
    assert sum(chunk.token_count for chunk in chunks) > 4


def test_token_probabilities_are_reported_on_request(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    seen = loop.run(events(chat, "What is the capital of Norway?", log_probs=2))
    tokens = [token for event in seen if isinstance(event, TextChunk) for token in event.tokens]
    assert "".join(token.text for token in tokens) == text_of(seen)
    for token in tokens:
        assert len(token.candidates) == 2
        assert token.id == token.candidates[0].id
        assert token.log_prob is not None
        assert token.log_prob <= 0
    assert all(not event.tokens for event in loop.run(events(chat, "Hello!")) if isinstance(event, TextChunk))


def test_same_seed_gives_the_same_text(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    sampling = Sampling(
        temperature=1.2, top_k=50, top_p=0.95, min_p=0.01, typical_p=0.99, repeat_penalty=1.1, presence_penalty=0.1,
        frequency_penalty=0.1, xtc_probability=0.1, xtc_threshold=0.2, mirostat=(2, 0.1, 5.0), seed=-5,
    )  # fmt: skip
    first, second = (loop.run(events(chat, FOX, sampling=sampling, max_tokens=40)) for _ in range(2))
    assert text_of(first) == text_of(second)


def test_eight_generations_run_side_by_side(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    async def main() -> list[str]:
        questions = [f"What is {number} + 1?" for number in range(8)]
        return [text_of(seen) for seen in await asyncio.gather(*(events(chat, question) for question in questions))]

    for number, answer in enumerate(loop.run(main())):
        assert answer.startswith(f"{number} + 1 = {number + 1}")


def test_sessions_that_share_a_full_context_end_one_way_or_the_other(loop: BackgroundLoop) -> None:
    async def four(model: LlamaCppModel) -> list[list[GenerationEvent] | BaseException]:
        return await asyncio.gather(*(events(model, FOX, sampling=ENDLESS) for _ in range(4)), return_exceptions=True)

    options = LoadOptions(context_length=256, unified_kv_cache=True, parallel_sessions=4)
    for outcome in loop.run(using(options, four)):
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, EngineError)
        else:
            assert end_of(outcome).stop_reason == "contextLengthReached"


def test_draft_model_guesses_and_is_counted(loop: BackgroundLoop) -> None:
    end = end_of(loop.run(using(LoadOptions(draft_model=CHAT_MODEL_FILE), lambda model: events(model, FOX))))
    assert end.draft_tokens is not None
    assert end.accepted_draft_tokens is not None
    assert 0 < end.accepted_draft_tokens <= end.draft_tokens


# Prompts, tokens, embeddings


def test_chat_template_is_the_models_own(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    async def main() -> list[str]:
        history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
        tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
        return [
            await chat.render_chat(history, enable_thinking=False),
            await chat.render_chat(history[:1], tools=[tool]),
        ]

    plain, with_tools = loop.run(main())
    assert plain == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>assistant\n"
    assert '"name": "f"' in with_tools


def test_other_templates_may_be_given_per_chat(loop: BackgroundLoop) -> None:
    async def render(model: LlamaCppModel) -> list[str]:
        hello = [{"role": "user", "content": "Hi"}]
        with pytest.raises(EngineError, match="chat template is broken"):
            await model.render_chat(hello, template="{% if")
        templates = ["A:{{ messages[0].content }}{{ eos_token }}"] * 2 + ["B:{{ messages[0].content }}"]
        return [await model.render_chat(hello, template=template) for template in templates]

    assert loop.run(using(LoadOptions(), render)) == ["A:Hi<|im_end|>", "A:Hi<|im_end|>", "B:Hi"]


def test_template_given_at_load_replaces_the_models_own(loop: BackgroundLoop) -> None:
    options = LoadOptions(chat_template="C:{{ messages[0].content }}")
    assert loop.run(using(options, lambda model: prompt_for(model, "Hi"))) == "C:Hi"


def test_chat_that_the_template_cannot_take_is_refused(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    with pytest.raises(EngineError, match="refused to apply the chat template"):
        loop.run(chat.render_chat([{"role": "assistant", "content": "", "tool_calls": [call]}]))


def test_text_is_tokenized_with_control_tokens(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    tokens = loop.run(chat.tokenize("hello<|im_end|>"))
    assert tokens[-1] == 2
    assert loop.run(chat.tokenize("")) == []
    assert loop.run(chat.tokenize("hello", special=False)) == tokens[:-1]


def test_half_a_surrogate_pair_is_refused(loop: BackgroundLoop, chat: LlamaCppModel) -> None:
    with pytest.raises(EngineError, match="not valid Unicode"):
        loop.run(chat.tokenize("a\ud83d"))


def test_embedding_is_a_unit_vector_of_the_models_length(loop: BackgroundLoop, embedder: LlamaCppModel) -> None:
    async def main() -> list[list[float]]:
        return await asyncio.gather(*(embedder.embed(f"bird number {number}") for number in range(8)))

    vectors = loop.run(main())
    assert {len(vector) for vector in vectors} == {128}
    assert all(abs(sum(value * value for value in vector) - 1) < 1e-3 for vector in vectors)
    assert embedder.context_length == 512


def test_text_too_long_to_embed_is_refused_with_numbers(loop: BackgroundLoop, embedder: LlamaCppModel) -> None:
    with pytest.raises(EngineError, match=r"has 6\d\d tokens, the model embeds at most 512"):
        loop.run(embedder.embed("hello " * 600))


def test_each_kind_of_model_refuses_the_others_work(
    loop: BackgroundLoop, chat: LlamaCppModel, embedder: LlamaCppModel
) -> None:
    with pytest.raises(EngineError, match="cannot embed a text: it is a language model"):
        loop.run(chat.embed("x"))
    with pytest.raises(EngineError, match="cannot generate text: it is an embedding model"):
        loop.run(events(embedder, "x"))


# Loading and ending


def test_load_progress_rises_from_nothing_to_complete(loop: BackgroundLoop) -> None:
    seen: list[float] = []

    async def main() -> None:
        model = await LlamaCppEngine().load(CHAT, LoadOptions(try_mmap=False), seen.append)
        await model.close()

    loop.run(main())
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert seen == sorted(set(seen))


def test_load_options_reach_the_engine(loop: BackgroundLoop) -> None:
    options = LoadOptions(
        context_length=300, parallel_sessions=2, unified_kv_cache=False, eval_batch_size=128, physical_batch_size=64,
        flash_attention=True, k_cache_type="q8_0", v_cache_type="q8_0", gpu_offload_ratio=0.5, offload_kv_cache=False,
        seed=7, rope_frequency_base=10000.0, rope_frequency_scale=1.0, try_mmap=True,
    )  # fmt: skip

    async def use(model: LlamaCppModel) -> tuple[int, str]:
        return model.context_length, text_of(await events(model, "What is the capital of Norway?"))

    context_length, text = loop.run(using(options, use))
    assert context_length >= 300
    assert "Oslo" in text


def damaged(content: bytes, key: bytes, skipped: int, replacement: bytes) -> bytes:
    start = content.index(key) + len(key) + skipped
    return content[:start] + replacement + content[start + len(replacement) :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-100_000], "is not within the file bounds"),
        (lambda content: content[:5000], "failed to read"),
        (lambda content: b"nope" * 100, "invalid magic characters"),
        (lambda content: damaged(content, b"llama.block_count", 4, b"\0\0\0\x80"), "SIGABRT"),
        (lambda content: damaged(content, b"tokenizer.chat_template", 12, b"{% if %"), "chat template is broken"),
    ],
)
def test_damaged_file_fails_in_one_readable_sentence(
    loop: BackgroundLoop, tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    file = tmp_path / "bad.gguf"
    file.write_bytes(damage(CHAT_MODEL_FILE.read_bytes()))
    with pytest.raises(EngineError) as caught:
        loop.run(LlamaCppEngine().load(replace(CHAT, file=file), LoadOptions(), lambda _: None))
    message = str(caught.value)
    assert message.startswith("Cannot load bad.gguf: ")
    assert reason in message
    assert message.endswith(".")
    assert "\n" not in message


def test_load_of_the_real_engine_can_be_cancelled_at_any_moment(loop: BackgroundLoop) -> None:
    async def main() -> None:
        for turns in (0, 1, 3, 10, 30, 100):
            task = asyncio.create_task(load())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    loop.run(main())


def test_model_killed_in_the_middle_of_a_generation_is_reported_dead(loop: BackgroundLoop) -> None:
    async def main() -> None:
        model = await load()
        try:
            with pytest.raises(ModelDiedError, match="SIGKILL"):
                async for event in model.generate(GenerationRequest(await prompt_for(model, FOX), ENDLESS)):
                    if isinstance(event, TextChunk):
                        os.kill(model.process_id, signal.SIGKILL)
            with pytest.raises(ModelDiedError, match="SIGKILL"):
                await model.tokenize("x")
        finally:
            await model.close()
        assert_gone(model.process_id)

    loop.run(main())


def test_closing_ends_generations_in_flight_and_can_be_repeated(loop: BackgroundLoop) -> None:
    async def main() -> None:
        model = await load()
        begun = asyncio.Event()

        async def consume() -> None:
            async for _ in model.generate(GenerationRequest(await prompt_for(model, FOX), ENDLESS)):
                begun.set()

        task = asyncio.create_task(consume())
        await begun.wait()
        await asyncio.gather(model.close(), model.close())
        with pytest.raises(ModelDiedError, match="unloaded"):
            await task
        assert_gone(model.process_id)

    loop.run(main())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts this process's descriptors, on Linux only")
def test_loading_and_closing_leaks_no_descriptor(loop: BackgroundLoop) -> None:
    async def main() -> list[int]:
        counts = []
        for _ in range(4):
            model = await load()
            await events(model, "Hello!")
            await model.close()
            counts.append(len(os.listdir("/proc/self/fd")))
        return counts

    counts = loop.run(main())
    # The first one opens what the loop itself keeps.
    assert len(set(counts[1:])) == 1


ORPHAN = """
import asyncio, os, sys
from lmstudio.server.catalog import read_model_file
from lmstudio.server.engine.base import LoadOptions
from lmstudio.server.engine.llama_cpp import LlamaCppEngine
from lmstudio.server.models import CHAT_MODEL_FILE

async def main():
    model = await LlamaCppEngine().load(read_model_file(CHAT_MODEL_FILE), LoadOptions(), lambda _: None)
    print(model.process_id, flush=True)
    sys.stdin.read()
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for a process that is not its child, on Linux only")
def test_no_process_outlives_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        watched = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.stdin.close()
            assert parent.wait(20) == 0
            assert select.select([watched], [], [], 10)[0] == [watched]
        finally:
            os.close(watched)


def test_loop_that_ends_without_closing_its_models_ends_their_processes() -> None:
    async def main() -> int:
        return (await load()).process_id

    assert_gone(asyncio.run(main()))
