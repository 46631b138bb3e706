# Generated from ../async/test_bad_input.py by tools/make_sync.py. Edit that file instead.
"""What cannot be meant is refused with one clear error, before anything is sent."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms

if TYPE_CHECKING:
    from lmstudio.server import ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy

HALF_A_PAIR = "\ud800"
"""Half of a surrogate pair: no text that can be written as UTF-8."""


def texts_of(proxy: FaultProxy) -> int:
    """How many messages the client has sent."""
    return sum(frame.kind == "text" for frame in proxy.frames)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.parametrize("signal", [3, "stop", threading.Event()])
def test_signal_is_an_abort_signal(proxy: FaultProxy, signal: Any) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        embedding = client.embedding.model("scripted-embed")
        handle = client.files.prepare_file(b"text", "notes.txt")
        sent = texts_of(proxy)
        refused = pytest.raises(lms.LMStudioValueError, match=r"signal must be an AbortSignal, got \w+")
        with refused:
            model.respond("Hi", signal=signal)
        with refused:
            model.complete("Hi", signal=signal)
        with refused:
            model.respond_stream("Hi", signal=signal)
        with refused:
            model.act("Hi", [add], signal=signal)
        with refused:
            client.llm.model("scripted-chat", signal=signal)
        with refused:
            client.llm.load_new_instance("scripted-chat", signal=signal)
        with refused:
            client.files.parse_document(handle, signal=signal)
        with refused:
            client.files.retrieve("text", [handle], embedding_model=embedding, signal=signal)
    assert texts_of(proxy) == sent


@pytest.mark.parametrize("what", [None, 3, {"identifier": "x"}, ["x"], lms.Chat])
def test_unload_takes_identifiers_and_handles(proxy: FaultProxy, what: Any) -> None:
    with lms.Client(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioValueError, match=r"instance identifier must be a string, got \w+"):
            client.llm.unload(what)
    assert texts_of(proxy) == 0


@pytest.mark.parametrize("texts", [{"text": "Hi"}, b"Hi", bytearray(b"Hi")])
def test_mappings_and_bytes_are_no_texts(proxy: FaultProxy, texts: Any) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.create_dynamic_handle("scripted-chat")
        embedding = client.embedding.create_dynamic_handle("scripted-embed")
        with pytest.raises(lms.LMStudioValueError, match=r"Expected text or several texts, got (dict|bytes|bytearray)"):
            model.tokenize(texts)
        with pytest.raises(lms.LMStudioValueError, match=r"Expected text or several texts, got (dict|bytes|bytearray)"):
            embedding.embed(texts)
    assert texts_of(proxy) == 0


def test_lifetime_may_not_be_longer_than_any_float(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioValueError, match="ttl"):
            client.llm.load_new_instance("scripted-chat", ttl=10**400)
    assert texts_of(proxy) == 0


def test_endpoint_is_text_that_can_be_sent(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioValueError, match="endpoint must have 1 to 1024 printable characters"):
            client.llm.remote_call(HALF_A_PAIR)
    assert texts_of(proxy) == 0


@pytest.mark.parametrize("send", ["respond", "tokenize"])
def test_text_that_is_no_unicode_is_refused(proxy: FaultProxy, send: str) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.create_dynamic_handle("scripted-chat")
        with pytest.raises(lms.LMStudioValueError, match="surrogate"):
            getattr(model, send)(f"one {HALF_A_PAIR} two")
    assert texts_of(proxy) == 0


def test_path_that_is_no_unicode_is_refused(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioError, match="file"):
            client.prepare_image(f"{HALF_A_PAIR}.png")
    assert texts_of(proxy) == 0


def test_data_that_refers_to_itself_is_refused(proxy: FaultProxy) -> None:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"inner": schema}
    with lms.Client(proxy.api_host) as client:
        model = client.llm.create_dynamic_handle("scripted-chat")
        with pytest.raises(lms.LMStudioValueError, match="cannot be JSON"):
            model.respond("Hi", response_format=schema)
    assert texts_of(proxy) == 0


def test_setting_given_as_keyword_is_told_its_place(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model: Any = client.llm.create_dynamic_handle("scripted-chat")
        with pytest.raises(TypeError, match=r"'max_tokens': it is a setting, so pass config={'max_tokens': ...}"):
            model.respond("Hi", max_tokens=3)
        with pytest.raises(TypeError, match=r"act\(\) got .* 'temperature': it is a setting"):
            model.act("Hi", [], temperature=0.5)
        with pytest.raises(TypeError, match=r"'stream'\. For a stream call respond_stream\(\)"):
            model.respond("Hi", stream=True)


def test_result_given_as_message_is_told_the_method(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result: Any = model.respond("Hi")
    with pytest.raises(lms.LMStudioValueError, match=r"Add a result with add_assistant_response\(\)"):
        lms.Chat().append(result)


class Text(str):
    """As those of numpy and of some template engines."""

    __slots__ = ()


class Number(float):
    """As numpy.float64."""


def test_texts_and_numbers_of_subclasses_are_texts_and_numbers(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model(Text("scripted-chat"))
        config: Any = {"temperature": Number(0.5), "stopStrings": [Text("two")]}
        result = model.respond([{"role": "user", "content": Text("one two")}], config=config)
        assert model.tokenize(Text("one two")) == model.tokenize("one two")
    assert result.content == "You said: one "
    assert engine.requests[0].sampling.temperature == 0.5


@pytest.mark.parametrize("token", [3, b"sk-lm-abcdefgh:ABCDEFGHIJKLMNOPQRST", [], {}, False])
def test_token_is_text(token: Any) -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"api_token must be a text, got \w+") as caught:
        lms.Client("localhost:1", token)
    assert "abcdefgh" not in str(caught.value)
