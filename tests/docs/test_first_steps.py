"""Examples of the pages that one reads first: connecting, authentication, the interactive interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from docs.catalogue import documents
from docs.stage import LLM_KEY, MODELS, TOKEN
from lmstudio import _discovery
from lmstudio.server import Gate, Reply, ScriptedEngine, Server

if TYPE_CHECKING:
    from docs.stage import Stage


@documents(1, 2, 3)
def test_model_is_loaded_by_its_key_and_its_result_printed(stage: Stage, example: int) -> None:
    run = stage.run(example)
    assert run.printed == "You said: Why do cats purr?\n"
    assert stage.loaded() == ["qwen/qwen3-4b-2507"]


@documents(2, 3)
def test_connection_ends_with_the_block(stage: Stage, example: int) -> None:
    run = stage.run(example)
    assert not run["client"].llm.connected


@documents(4, 5, 6)
def test_token_is_presented(stage: Stage, example: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(models=MODELS, engine=ScriptedEngine(), api_tokens=[TOKEN]) as locked:
        with lms.Client(locked.api_host, TOKEN) as client:
            client.llm.load_new_instance(LLM_KEY)
        monkeypatch.setattr(_discovery, "API_SERVER_PORTS", (locked.port,))
        assert stage.run(example).printed == "You said: Who keeps the keys?\n"
        with pytest.raises(lms.LMStudioAuthenticationError), lms.Client() as guest:
            guest.llm.model()


@documents(4, 5, 6)
def test_token_of_the_documentation_is_refused_with_its_form(
    stage: Stage, example: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docs.stage.TOKEN", "your-token-here")
    with pytest.raises(lms.LMStudioValueError, match="expected are 'sk-lm-', 8 letters or digits"):
        stage.run(example)


@documents(7)
def test_default_client_is_configured_before_its_use_only(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_discovery, "API_SERVER_PORTS", ())
    stage.run(7)
    assert lms.get_default_client().api_host == stage.server.api_host
    with pytest.raises(lms.LMStudioClientError, match="in use already"):
        stage.run(7)


@documents(8, 9)
def test_address_is_given_to_the_client(stage: Stage, example: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.load()
    monkeypatch.setattr(_discovery, "API_SERVER_PORTS", ())
    assert stage.run(example).printed == "You said: How do bridges carry weight?\n"


@documents(9)
def test_plain_loop_over_asynchronous_stream_is_told_how_to_loop(stage: Stage) -> None:
    stage.load()
    with pytest.raises(TypeError, match="async for"):
        stage.run("d009_async_as_published")


@documents(10, 11)
def test_address_is_checked_without_a_client(stage: Stage, example: int) -> None:
    assert stage.run(example).printed == "found\n"
    stage.server.stop()
    assert stage.run(example).printed == "not found\n"


@documents(12, 13)
def test_local_server_is_found_without_a_client(stage: Stage, example: int) -> None:
    assert stage.run(example).printed == f"found at {stage.server.api_host}\n"
    stage.server.stop()
    assert stage.run(example).printed == "not found\n"


@documents(14, 15)
def test_session_of_the_interpreter_shows_what_is_documented(stage: Stage, example: int) -> None:
    stage.load()
    stage.engine.reply = [Reply(f"Answer {number}") for number in (1, 2, 3)]
    stage.run(example)
    assert [message["content"] for message in stage.last_chat.messages] == [
        "You answer in one line.",
        "Name three rivers.",
        "Answer 1",
        "And three lakes?",
        "Answer 2",
        "Which of them is the deepest?",
    ]


@documents(16, 17, 18)
def test_cancelled_stream_ends_its_loop_by_itself(stage: Stage, example: int) -> None:
    stage.load()
    stage.engine.reply = Reply(["One", " two", Gate(), " never"])
    run = stage.run(example)
    assert stage.engine.wait_for_cancel()
    result = run["prediction_stream"].result()
    assert (run["cancelled"], result.stats.stop_reason, run.printed) == (True, "userStopped", "")
    assert result.content.startswith("One")


@documents(141)
def test_model_of_the_developer_pages_answers(stage: Stage) -> None:
    assert stage.run(141).printed == "You said: Who invented the zip fastener?\n"
    assert stage.loaded() == ["openai/gpt-oss-20b"]


@documents(142)
def test_server_on_another_machine_is_used(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_discovery, "API_SERVER_PORTS", ())
    assert stage.run(142).printed == "You said: Who invented the zip fastener?\n"
