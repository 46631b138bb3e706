# Generated from ../async/test_real_engine.py by tools/make_sync.py. Edit that file instead.
"""The whole way with llama.cpp and the models that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pydantic
import pytest

import lmstudio as lms

if TYPE_CHECKING:
    from lmstudio.server import Server


class PydanticPerson(pydantic.BaseModel):
    name: str
    age: int


class Person(lms.BaseModel):
    name: str
    age: int


PERSON_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
QUESTION = "Extract the name and age as JSON: Nina is 31 years old."


def test_chat_is_answered(real_server: Server) -> None:
    progress: list[float] = []
    with lms.Client(real_server.api_host) as client:
        (downloaded,) = client.llm.list_downloaded()
        model = downloaded.model()
        with model.respond_stream(
            "What is the capital of Norway?",
            config={"temperature": 0.0, "maxTokens": 50},
            on_prompt_processing_progress=progress.append,
        ) as stream:
            text = "".join([fragment.content for fragment in stream])
            result = stream.result()
    assert result.content == text
    assert "Oslo" in text
    assert result.stop_reason == "eosFound"
    assert progress[-1] == 1.0
    assert result.stats.predicted_tokens_count
    assert result.stats.time_to_first_token_sec


def test_prediction_is_stopped(real_server: Server) -> None:
    with lms.Client(real_server.api_host) as client:
        (downloaded,) = client.llm.list_downloaded()
        model = downloaded.model()
        with model.respond_stream("Tell me a long story about a fox.") as stream:
            for _fragment in stream:
                stream.cancel()
            assert stream.result().stop_reason == "userStopped"
        limited = model.respond("Tell me a story.", config={"maxTokens": 3})
        assert limited.stop_reason == "maxPredictedTokensReached"
        stopped = model.complete("The capital of France is", config={"stopStrings": [" the", "."], "maxTokens": 40})
        assert " the" not in stopped.content


@pytest.mark.parametrize("response_format", [PydanticPerson, Person, PERSON_SCHEMA], ids=["pydantic", "own", "schema"])
def test_structured_reply_has_the_type_that_was_asked_for(real_server: Server, response_format: Any) -> None:
    with lms.Client(real_server.api_host) as client:
        (downloaded,) = client.llm.list_downloaded()
        model = downloaded.model()
        result = model.respond(QUESTION, response_format=response_format, config={"temperature": 0.0, "maxTokens": 100})
    expected = {"name": "Nina", "age": 31}
    assert result.parsed == (expected if isinstance(response_format, dict) else response_format(**expected))


def test_grammar_restricts_the_reply(real_server: Server) -> None:
    grammar = {"type": "gbnf", "gbnfGrammar": 'root ::= "yes" | "no"'}
    with lms.Client(real_server.api_host) as client:
        (downloaded,) = client.llm.list_downloaded()
        model = downloaded.model()
        result = model.respond("Is the sky blue?", response_format=grammar)
    assert result.content in ("yes", "no")


def test_texts_are_embedded_and_counted(real_server: Server) -> None:
    with lms.Client(real_server.api_host) as client:
        (downloaded,) = client.embedding.list_downloaded()
        model = downloaded.model()
        vectors = model.embed(["a cat", "a dog"])
        assert len({len(vector) for vector in vectors}) == 1
        assert vectors[0] != vectors[1]
        assert model.count_tokens("a cat") == len(model.tokenize("a cat"))
