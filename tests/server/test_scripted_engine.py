"""The scripted engine: it keeps the engine's promises, and does what it is told."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstudio.server.engine._scripted_json import minimal_instance
from lmstudio.server.engine._stop_strings import StopStringFinder
from lmstudio.server.engine.base import (
    EngineError,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    ModelDiedError,
    PromptProgress,
    PromptTooLongError,
    TextChunk,
    TokenInfo,
)
from lmstudio.server.engine.scripted import Gate, Reply, ScriptedEngine, ScriptedModel, scripted_models

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

T = TypeVar("T")
CHAT, EMBED = scripted_models()


async def load(engine: ScriptedEngine, options: LoadOptions | None = None) -> ScriptedModel:
    return await engine.load(CHAT, options or LoadOptions(), lambda _: None)


def with_model(engine: ScriptedEngine, use: Callable[[ScriptedModel], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        return await use(await load(engine))

    return asyncio.run(main())


def generate(engine: ScriptedEngine, prompt: str = "Hello", **fields: Any) -> list[GenerationEvent]:
    async def use(model: ScriptedModel) -> list[GenerationEvent]:
        return [event async for event in model.generate(GenerationRequest(prompt, **fields))]

    return with_model(engine, use)


def text_of(events: list[GenerationEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextChunk))


def end_of(events: list[GenerationEvent]) -> GenerationEnd:
    assert isinstance(events[-1], GenerationEnd)
    return events[-1]


# Loading


def test_load_reports_rising_progress_and_is_recorded() -> None:
    engine = ScriptedEngine(load_steps=3)
    seen: list[float] = []
    options = LoadOptions(context_length=77)
    model = asyncio.run(engine.load(CHAT, options, seen.append))
    assert seen == [0.0, 1 / 3, 2 / 3, 1.0]
    assert model.context_length == 77
    assert engine.loads == [(CHAT, options)]
    assert engine.models == [model]


def test_load_fails_on_demand_before_it_is_complete() -> None:
    engine = ScriptedEngine(fail_load="No weights today.")
    seen: list[float] = []
    with pytest.raises(EngineError, match="No weights today"):
        asyncio.run(engine.load(CHAT, LoadOptions(), seen.append))
    assert seen == [0.0, 0.25, 0.5, 0.75]
    engine.fail_load = None
    asyncio.run(load(engine))


def test_cancelled_load_is_counted() -> None:
    gate = Gate()
    engine = ScriptedEngine(load_gate=gate)

    async def main() -> None:
        task = asyncio.create_task(load(engine))
        await gate.wait_reached()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert engine.wait_for_cancel(0)
    assert engine.models == []


def test_closing_the_engine_is_remembered() -> None:
    engine = ScriptedEngine()
    asyncio.run(engine.close())
    assert engine.is_closed


# Generating


def test_without_a_script_it_repeats_the_last_user_text() -> None:
    engine = ScriptedEngine()

    async def use(model: ScriptedModel) -> list[GenerationEvent]:
        prompt = await model.render_chat(
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": "42"},
                {"role": "user", "content": "How many\ngulls?"},
            ]
        )
        return [event async for event in model.generate(GenerationRequest(prompt))]

    assert text_of(with_model(engine, use)) == "You said: How many\ngulls?"
    assert text_of(generate(engine, "plain prompt")) == "You said: plain prompt"


def test_events_come_in_the_promised_order_and_counts_agree() -> None:
    events = generate(ScriptedEngine(Reply("one two three", prompt_steps=2, cached_tokens=1)), "a b c d e")
    assert events[:3] == [PromptProgress(1, 0, 5), PromptProgress(1, 2, 5), PromptProgress(1, 4, 5)]
    assert events[3:-1] == [TextChunk("one", 1), TextChunk(" two", 1), TextChunk(" three", 1)]
    assert events[-1] == GenerationEnd("eosFound", None, 5, 3, 1000.0)


@pytest.mark.parametrize("chunks", ["a b", ["a", " b"], Reply("a b"), lambda _: "a b", lambda _: Reply(["a", " b"])])
def test_every_form_of_script_says_the_same(chunks: Any) -> None:
    engine = ScriptedEngine(chunks)
    assert text_of(generate(engine)) == text_of(generate(engine)) == "a b"


def test_successive_replies_are_used_up_in_order() -> None:
    engine = ScriptedEngine([Reply("first"), Reply("second")])
    assert [text_of(generate(engine)), text_of(generate(engine))] == ["first", "second"]
    with pytest.raises(EngineError, match="more replies than it was given"):
        generate(engine)


def test_function_sees_the_request_and_requests_are_recorded() -> None:
    engine = ScriptedEngine(lambda request: request.prompt.upper())
    assert text_of(generate(engine, "gull", max_tokens=5)) == "GULL"
    assert engine.requests == [GenerationRequest("gull", max_tokens=5)]


def test_token_limit_cuts_the_reply() -> None:
    engine = ScriptedEngine("one two three")
    for limit, text in ((0, ""), (2, "one two"), (3, "one two three")):
        events = generate(engine, max_tokens=limit)
        assert (text_of(events), end_of(events).stop_reason) == (text, "maxPredictedTokensReached")
        assert end_of(events).predicted_tokens == limit
    assert end_of(generate(engine, max_tokens=4)).stop_reason == "eosFound"


def test_context_limits_prompt_and_reply() -> None:
    async def main() -> tuple[GenerationEnd, int]:
        model = await load(ScriptedEngine("one two three four"), LoadOptions(context_length=5))
        events = [event async for event in model.generate(GenerationRequest("a b c", max_tokens=100))]
        with pytest.raises(PromptTooLongError) as caught:
            await model.generate(GenerationRequest("a b c d e")).__anext__()
        return end_of(events), caught.value.prompt_tokens

    end, too_long = asyncio.run(main())
    assert (end.stop_reason, end.predicted_tokens, too_long) == ("contextLengthReached", 2, 5)


def test_stop_string_ends_the_text_before_it() -> None:
    events = generate(ScriptedEngine(["one", " tw", "o thr", "ee"]), stop_strings=["two", "x"])
    assert text_of(events) == "one "
    assert (end_of(events).stop_reason, end_of(events).stop_string) == ("stopStringFound", "two")
    assert end_of(events).predicted_tokens == 3


def test_beginning_of_a_stop_string_is_not_lost_at_the_end() -> None:
    events = generate(ScriptedEngine(["one", " tw"]), stop_strings=["two"], log_probs=1)
    assert text_of(events) == "one tw"
    assert sum(event.token_count for event in events if isinstance(event, TextChunk)) == 2


def test_token_probabilities_are_well_formed() -> None:
    chunks = [event for event in generate(ScriptedEngine("one two"), log_probs=3) if isinstance(event, TextChunk)]
    tokens = [token for chunk in chunks for token in chunk.tokens]
    assert [token.text for token in tokens] == ["one", " two"]
    for token in tokens:
        assert token.candidates[0].id == token.id
        probabilities = [math.exp(candidate.log_prob or 0) for candidate in token.candidates]
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) < 1
    given_token = TokenInfo(7, "one", -1.0)
    events = generate(ScriptedEngine(Reply([TextChunk("one", 1, (given_token,))])), log_probs=0)
    assert [event.tokens for event in events if isinstance(event, TextChunk)] == [(given_token,)]


def test_failures_come_where_the_reply_says() -> None:
    async def texts(model: ScriptedModel) -> tuple[str, EngineError]:
        text = ""
        with pytest.raises(EngineError) as caught:
            async for event in model.generate(GenerationRequest("x")):
                text += event.text if isinstance(event, TextChunk) else ""
        return text, caught.value

    for reply, expected in (
        (Reply("a b c", error="Broken."), ""),
        (Reply("a b c", error="Broken.", error_after=2), "a b"),
        (Reply("a b c", error="Broken.", error_after=99), "a b c"),
    ):
        text, error = with_model(ScriptedEngine(reply), texts)
        assert (text, str(error)) == (expected, "Broken.")


def test_dead_model_stays_dead() -> None:
    engine = ScriptedEngine(Reply("a b c", die_after=1))

    async def use(model: ScriptedModel) -> None:
        for _ in range(2):
            with pytest.raises(ModelDiedError):
                async for _event in model.generate(GenerationRequest("x")):
                    pass
        with pytest.raises(ModelDiedError):
            await model.tokenize("x")

    with_model(engine, use)
    assert engine.models == []
    assert engine.cancelled == 0


def test_gates_hold_prompt_and_text_until_another_thread_opens_them() -> None:
    prompt_gate, gate = Gate(), Gate()
    engine = ScriptedEngine(Reply(["a", gate, "b"], prompt_gate=prompt_gate))
    seen: list[GenerationEvent] = []
    snapshots: list[int] = []

    def drive() -> None:
        for one in (prompt_gate, gate):
            assert one.reached()
            snapshots.append(len(seen))
            one.open()

    async def use(model: ScriptedModel) -> None:
        async for event in model.generate(GenerationRequest("x")):
            seen.append(event)  # noqa: PERF401 (another thread watches it grow)

    driver = threading.Thread(target=drive)
    driver.start()
    with_model(engine, use)
    driver.join()
    assert snapshots == [1, 3]
    assert text_of(seen) == "ab"
    assert text_of(generate(engine)) == "ab"


def test_gate_that_nobody_reaches_reports_so() -> None:
    assert not Gate().reached(0)


def test_waiting_for_a_gate_survives_cancellation() -> None:
    gate = Gate()

    async def main() -> None:
        first = asyncio.create_task(gate.pass_through())
        await gate.wait_reached()
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.create_task(gate.pass_through())
        gate.open()
        await second

    asyncio.run(main())


def test_gate_of_a_finished_loop_can_still_be_opened() -> None:
    gate = Gate()
    loop = asyncio.new_event_loop()
    waiting = gate.pass_through()
    task = loop.create_task(waiting)
    loop.run_until_complete(gate.wait_reached())
    loop.close()
    gate.open()
    # The loop is gone, so the task can only be dropped by hand.
    waiting.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # not in the stubs


def test_abandoned_generations_are_counted_from_any_thread() -> None:
    gate = Gate()
    engine = ScriptedEngine(Reply(["a", gate]))
    noticed: list[bool] = []
    watcher = threading.Thread(target=lambda: noticed.append(engine.wait_for_cancel(count=2)))
    watcher.start()

    async def use(model: ScriptedModel) -> None:
        async def consume() -> None:
            async for _ in model.generate(GenerationRequest("x")):
                pass

        closed = model.generate(GenerationRequest("x"))
        await closed.__anext__()
        await closed.aclose()
        task = asyncio.create_task(consume())
        await gate.wait_reached()
        task.cancel()
        await asyncio.wait([task])

    with_model(engine, use)
    watcher.join()
    assert noticed == [True]
    assert not engine.wait_for_cancel(0, count=3)


def test_generation_read_to_its_end_is_not_counted_as_abandoned() -> None:
    engine = ScriptedEngine("a")

    async def use(model: ScriptedModel) -> None:
        events = model.generate(GenerationRequest("x"))
        async for event in events:
            if isinstance(event, GenerationEnd):
                break
        await events.aclose()

    with_model(engine, use)
    assert engine.cancelled == 0


@pytest.mark.parametrize("how", ["kill", "close"])
def test_generation_at_a_gate_ends_when_its_model_does(how: str) -> None:
    gate = Gate()
    engine = ScriptedEngine(Reply(["a", gate, "b"], delay_seconds=0.001))

    async def use(model: ScriptedModel) -> None:
        async def consume() -> None:
            async for _ in model.generate(GenerationRequest("x")):
                pass

        task = asyncio.create_task(consume())
        await gate.wait_reached()
        if how == "kill":
            threading.Thread(target=engine.kill_models).start()
        else:
            await model.close()
            await model.close()
        with pytest.raises(ModelDiedError, match="died" if how == "kill" else "unloaded"):
            await task

    with_model(engine, use)
    assert engine.models == []


def test_long_reply_lets_other_tasks_run() -> None:
    async def main() -> int:
        model = await load(ScriptedEngine(["x"] * 10_000), LoadOptions(context_length=100_000))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        async for _ in model.generate(GenerationRequest("x")):
            pass
        counter.cancel()
        return turns

    assert asyncio.run(main()) > 100


def test_delay_is_waited_for() -> None:
    events = generate(ScriptedEngine(Reply("a", delay_seconds=0.001)))
    assert text_of(events) == "a"


def test_grammar_without_a_script_is_refused() -> None:
    with pytest.raises(EngineError, match="cannot follow a grammar"):
        generate(ScriptedEngine(), grammar="root ::= [a]")
    assert text_of(generate(ScriptedEngine("a"), grammar="root ::= [a]")) == "a"


# Prompts, tokens, embeddings


def test_chat_is_rendered_readably_and_recorded() -> None:
    engine = ScriptedEngine()
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ]
    tools = [{"type": "function"}]

    async def use(model: ScriptedModel) -> str:
        return await model.render_chat(messages, tools=tools, template="T", enable_thinking=False)

    prompt = with_model(engine, use)
    assert prompt == (
        'T\n<|tools|>\n[{"type": "function"}]\n<|user|>\nHi\n'
        '<|assistant|>\n\n<|tool_calls|>\n[{"id": "1"}]\n<|assistant|>\n'
    )
    (chat,) = engine.chats
    assert (chat.messages, chat.tools, chat.template, chat.enable_thinking) == (messages, tools, "T", False)
    assert chat.prompt == prompt


@given(st.text())
def test_tokens_spell_the_text(text: str) -> None:
    engine = ScriptedEngine()
    assert engine.detokenize(engine.tokenize(text)) == text


def test_same_word_has_the_same_id_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ScriptedEngine(), ScriptedEngine()
    assert first.tokenize("gull gull tern")[2] == second.tokenize("skua tern")[1]
    monkeypatch.setattr("lmstudio.server.engine.scripted.token_id", lambda _: 5)
    assert ScriptedEngine().tokenize("a b a c") == [5, 6, 7, 8]


def test_embedding_is_a_repeatable_unit_vector() -> None:
    async def main() -> tuple[list[float], list[float], list[float]]:
        model = await ScriptedEngine(embedding_length=8).load(EMBED, LoadOptions(), lambda _: None)
        with pytest.raises(EngineError, match=r"600 tokens.*at most 512"):
            await model.embed("x " * 599)
        with pytest.raises(EngineError, match="of type embedding"):
            await model.generate(GenerationRequest("x")).__anext__()
        return await model.embed("gull"), await model.embed("gull"), await model.embed("tern")

    gull, again, tern = asyncio.run(main())
    assert gull == again != tern
    assert len(gull) == 8
    assert math.isclose(sum(value * value for value in gull), 1.0)


# JSON schemas

ONE = {"const": 1}
NODE = {"properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}, "required": ["next"]}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, {}),
        ({"type": "object", "properties": {"a": {}, "b": {"type": "string"}}, "required": ["b"]}, {"b": ""}),
        (
            {"properties": {"b": {"const": 1}, "a": {"const": 2}}, "required": ["a", "b", "c"]},
            {"b": 1, "a": 2, "c": None},
        ),
        ({"type": "object", "properties": {"a": {"const": 1}}, "minProperties": 2}, {"a": 1, "key0": None}),
        ({"enum": ["x", "y"]}, "x"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 3}, [1, 2, 3]),
        ({"type": ["null", "string"]}, None),
        ({"type": "boolean"}, False),
        ({"type": "string", "minLength": 3}, "aaa"),
        ({"format": "date"}, "2000-01-01"),
        ({"pattern": "^x+$", "examples": [1, "xx"]}, "xx"),
        ({"type": "integer", "minimum": 3, "maximum": 9}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -2.5}, -3),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "number", "exclusiveMinimum": 0}, 1),
        ({"minimum": 10, "multipleOf": 4}, 12),
        ({"anyOf": [{"type": "integer", "minimum": 2, "maximum": 1}, {"type": "null"}]}, None),
        (
            {"oneOf": [{"required": ["b"]}, {}], "properties": {"b": {"const": 1}}, "required": ["a"]},
            {"b": 1, "a": None},
        ),
        (
            {
                "allOf": [{"$ref": "#/$defs/A"}, {"properties": {"b": {"const": 2}}}],
                "$defs": {"A": {"required": ["b"]}},
            },
            {"b": 2},
        ),
        ({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"const": 5}}}, 5),
        ({"$ref": "#/$defs/l/0", "$defs": {"l": [{"const": 5}]}}, 5),
        ({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, {"next": None}),
        ({"properties": {"a": True}, "required": ["a"], "anyOf": [True]}, {"a": None}),
    ],
)
def test_json_schema_gets_a_minimal_instance(schema: Mapping[str, Any], expected: object) -> None:
    assert minimal_instance(schema) == expected
    assert json.loads(text_of(generate(ScriptedEngine(), json_schema=schema))) == expected


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"properties": {"a": False}, "required": ["a"]}, "No JSON value satisfies"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "requires itself"),
        ({"$ref": "#/$defs/A"}, "which it does not contain"),
        ({"anyOf": []}, "offers no alternative"),
        ({"anyOf": [False]}, "No JSON value satisfies"),
        ({"type": "text"}, "unknown type 'text'"),
        ({"pattern": "x"}, "pattern 'x'"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "No number satisfies"),
    ],
)
def test_schema_without_a_simple_instance_is_refused(schema: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        generate(ScriptedEngine(), json_schema=schema)


# Stop strings


@given(st.lists(st.text("ab", max_size=3), max_size=6), st.lists(st.text("ab", max_size=3), max_size=3))
def test_stop_strings_are_found_however_the_text_is_cut(pieces: list[str], stops: list[str]) -> None:
    finder = StopStringFinder(stops)
    released = ""
    for piece in pieces:
        released += finder.feed(piece)
        if finder.found is not None:
            break
    released += finder.finish()
    whole = "".join(pieces)
    positions = [whole.find(stop) for stop in stops if stop and stop in whole]
    if not positions:
        assert (released, finder.found) == (whole, None)
    else:
        assert finder.found in stops
        assert released + (finder.found or "") == whole[: len(released) + len(finder.found or "")]
        assert not any(stop and stop in released for stop in stops)
