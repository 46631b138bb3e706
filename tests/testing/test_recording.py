"""Sessions: recorded between a client and a server, kept as a file, and replayed."""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS
from sample_files import PNG

import lmstudio as lms
from lmstudio.testing import Gate, Recorder, Replayer, Reply, ScriptedServer, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHAT, EMBED = "scripted-chat", "scripted-embed"
TOKEN = "sk-lm-abcdefgh:abcdefghijklmnopqrst"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """What is recorded."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "session.jsonl"


def record(server: ScriptedServer, file: Path, session: Callable[[lms.Client], Any], **options: Any) -> Any:
    with Recorder(server.api_host, file, **options) as recorder, lms.Client(recorder.api_host) as client:
        return session(client)


def replay(file: Path, session: Callable[[lms.Client], Any], **options: Any) -> Any:
    with Replayer(file, **options) as replayer, lms.Client(replayer.api_host) as client:
        result = session(client)
        replayer.check()
        return result


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def everyday(client: lms.Client) -> list[Any]:
    """A bit of everything; what the program has seen of it."""
    model = client.llm.model(CHAT)
    said: list[str] = []
    stats = model.respond("Hi", on_prediction_fragment=lambda fragment: said.append(fragment.content)).stats
    act_said: list[str] = []
    model.act("What is 1 + 2?", [add], on_message=lambda message: act_said.append(str(message)))
    image = client.prepare_image(PNG, "cat.png")
    vectors = client.embedding.model(EMBED).embed(["cat", "dog"])
    loaded = sorted(handle.identifier for handle in client.list_loaded_models())
    with pytest.raises(lms.LMStudioModelNotFoundError) as missing:
        client.llm.model("no-such-model")
    model.unload()
    return [said, stats, act_said, image, vectors, loaded, str(missing.value), client.list_downloaded_models()]


def test_replay_is_what_was_recorded(server: ScriptedServer, file: Path) -> None:
    server.reply(["Hel", "lo"], [ToolCall("add", {"a": 1, "b": 2})], "3")
    assert repr(record(server, file, everyday)) == repr(replay(file, everyday))


def test_everything_that_was_recorded_is_asked_for_again(server: ScriptedServer, file: Path) -> None:
    server.reply("Hello", [ToolCall("add", {"a": 1, "b": 2})], "3")
    record(server, file, everyday)
    with Replayer(file) as replayer:
        with pytest.raises(AssertionError, match=r"Nobody has asked for llm/getOrLoad, line 2 of session\.jsonl"):
            replayer.check(strict=True)
        with lms.Client(replayer.api_host) as client:
            everyday(client)
        replayer.check(strict=True)
        assert replayer.unused == []


def test_file_is_one_readable_line_per_call(server: ScriptedServer, file: Path) -> None:
    record(server, file, lambda client: client.llm.model(CHAT).respond("Grüß dich"))
    header, load, prediction = lines(file)
    assert header == {"lmstudio_recording": 1, "base64": "whole"}
    assert (load["channel"], load["end"]) == ("llm/getOrLoad", "closed")
    assert prediction["parameter"]["history"]["messages"][0]["content"][0]["text"] == "Grüß dich"
    assert prediction["exchange"][-1]["server"]["stats"]["stopReason"] == "eosFound"
    assert "Grüß dich" in file.read_text(encoding="utf-8")


def test_errors_are_replayed_word_for_word(server: ScriptedServer, file: Path) -> None:
    data = {"code": "generic.noModelMatchingQuery", "query": {}, "loadedModelsSample": ["a"], "totalLoadedModels": 1}

    def session(client: lms.Client) -> list[str]:
        texts = []
        for operation in (client.llm.model, client.list_downloaded_models):
            with pytest.raises(lms.LMStudioServerError) as raised:
                operation()
            texts.append(f"{type(raised.value)} {raised.value} {raised.value.suggestion}")
        return texts

    for _ in range(2):
        server.fail("No", on="listLoaded", suggestion="Do this.", display_data=data)
        server.fail("No disk", on="listDownloadedModels")
    assert record(server, file, session) == replay(file, session)
    assert lines(file)[-1]["end"] == "error"


def test_cancel_is_recorded_and_waited_for(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client) -> tuple[str, str]:
        stream = client.llm.model(CHAT).respond_stream("Count.")
        fragments = iter(stream)
        next(fragments)
        stream.cancel()
        result = stream.wait_for_result()
        return result.content, result.stats.stop_reason

    server.reply(["one", Gate(), " two"])
    assert record(server, file, session) == ("one", "userStopped")
    assert {"client": {"type": "cancel"}} in lines(file)[-1]["exchange"]
    assert replay(file, session) == ("one", "userStopped")


def test_client_that_does_not_cancel_again_is_told(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client) -> None:
        stream = client.llm.model(CHAT).respond_stream("Count.")
        fragments = iter(stream)
        next(fragments)
        stream.cancel()
        stream.wait_for_result()

    server.reply(["one", Gate(), " two"])
    record(server, file, session)
    with Replayer(file, patience_seconds=0.01) as replayer, lms.Client(replayer.api_host) as client:
        with pytest.raises(lms.LMStudioServerError, match=r"goes on when the client sends a packet"):
            client.llm.model(CHAT).respond("Count.")
        assert '{"type": "cancel"}' in replayer.mismatches[0]


def test_order_of_requests_does_not_matter(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client, questions: list[str]) -> list[str]:
        model = client.llm.model(CHAT)
        return [model.respond(question).content for question in questions]

    record(server, file, lambda client: session(client, ["A", "B", "C"]))
    assert replay(file, lambda client: session(client, ["C", "A", "B"])) == [
        "You said: C",
        "You said: A",
        "You said: B",
    ]


def test_concurrent_requests_are_replayed_concurrently(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client) -> dict[str, str]:
        model = client.llm.model(CHAT)
        answers: dict[str, str] = {}

        def ask(question: str) -> None:
            answers[question] = model.respond(question).content

        threads = [threading.Thread(target=ask, args=(f"question {number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        return answers

    assert record(server, file, session) == replay(file, session)


def test_same_request_gets_its_answers_in_order_and_no_more(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client) -> list[str]:
        return [client.llm.model(CHAT).respond("Again").content for _ in range(2)]

    server.reply("first", "second")
    record(server, file, session)
    assert replay(file, session) == ["first", "second"]
    with (
        pytest.raises(lms.LMStudioServerError, match=r"has this request of llm/predict only 2 times"),
        Replayer(file) as replayer,
        lms.Client(replayer.api_host) as client,
    ):
        session(client)
        session(client)


def test_what_changes_nothing_may_be_asked_again_and_again(server: ScriptedServer, file: Path) -> None:
    record(server, file, lambda client: client.list_downloaded_models())
    assert len(replay(file, lambda client: [client.list_downloaded_models() for _ in range(3)])) == 3


def test_request_that_was_not_recorded_shows_the_nearest(server: ScriptedServer, file: Path) -> None:
    def ask(*questions: str) -> Callable[[lms.Client], object]:
        return lambda client: [client.llm.model(CHAT).respond(question) for question in questions]

    record(server, file, ask("What is the capital of Norway?", "Who?"))
    with Replayer(file) as replayer, lms.Client(replayer.api_host) as client:
        with pytest.raises(lms.LMStudioServerError, match="no such request of llm/predict") as raised:
            ask("What is the capital of Sweden?")(client)
        assert "The nearest is line 3" in str(raised.value)
        assert '-       "text": "What is the capital of Norway?"' in str(raised.value)
        assert '+       "text": "What is the capital of Sweden?"' in str(raised.value)
        with pytest.raises(lms.LMStudioServerError, match="no such request of system/listDownloadedModels"):
            client.list_downloaded_models()
        with pytest.raises(AssertionError, match=r"Recorded are only llm/getOrLoad, llm/predict"):
            replayer.check()


def test_references_that_a_server_makes_up_are_ignored_if_need_be(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client) -> str:
        model = client.llm.load_new_instance(CHAT, "mine")
        return client.llm.model("mine").respond("Hi", config={"temperature": len(model.identifier) / 10}).content

    record(server, file, session)
    text = file.read_text(encoding="utf-8")
    reference = next(iter(json.loads(line) for line in text.splitlines() if "success" in line))
    made_up = reference["exchange"][-1]["server"]["info"]["instanceReference"]
    file.write_text(text.replace(made_up, "another", 1), encoding="utf-8")
    assert replay(file, session) == "You said: Hi"


def test_volatile_members_are_a_choice(server: ScriptedServer, file: Path) -> None:
    def ask(temperature: float) -> Callable[[lms.Client], str]:
        return lambda client: client.llm.model(CHAT).respond("Hi", config={"temperature": temperature}).content

    record(server, file, ask(0.1))
    with pytest.raises(lms.LMStudioServerError, match="no such request"):
        replay(file, ask(0.9))
    assert replay(file, ask(0.9), volatile=["value"]) == "You said: Hi"
    with pytest.raises(lms.LMStudioValueError, match=r"list of names, e\.g\. \['value'\]"):
        Replayer(file, volatile="value")


def test_secrets_are_removed(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client) -> None:
        model = client.llm.model(CHAT)
        model.respond(f"My token is {TOKEN}, my passkey {TOKEN[-20:]}, my street Elm Street")

    with Recorder(server.api_host, file, secrets=["Elm Street"]) as recorder:
        with lms.Client(recorder.api_host, TOKEN) as client:
            session(client)
        assert not file.exists()
    text = file.read_text(encoding="utf-8")
    assert TOKEN[-20:] not in text
    assert "Elm Street" not in text
    assert "My token is <removed>, my passkey <removed>, my street <removed>" in text


def test_members_that_are_secrets_by_name_are_removed(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client) -> None:
        schema = {"type": "object", "properties": {}, "password": "swordfish", "nested": [{"privateKey": "p-q"}]}
        client.llm.model(CHAT).respond("Hi", response_format=schema)

    record(server, file, session)
    assert not {"swordfish", "p-q"} & set(file.read_text(encoding="utf-8").split('"'))
    replay(file, session)


def test_base64_is_shortened_only_if_asked(server: ScriptedServer, file: Path) -> None:
    content = PNG + bytes(3000)
    encoded = base64.b64encode(content).decode()

    def session(client: lms.Client) -> lms.FileHandle:
        return client.prepare_image(content, "cat.png")

    record(server, file, session)
    assert encoded in file.read_text(encoding="utf-8")
    record(server, file, session, shorten_base64=True)
    text = file.read_text(encoding="utf-8")
    assert encoded not in text
    assert f"{len(encoded)} characters" in text
    assert replay(file, session).name == "cat.png"


def test_lost_connection_leaves_the_channel_open(server: ScriptedServer, file: Path) -> None:
    def session(client: lms.Client) -> None:
        server.network.lose_after(1)
        with pytest.raises(lms.LMStudioWebsocketError):
            client.llm.model(CHAT).respond("Hi")

    record(server, file, session)
    assert lines(file)[-1]["end"] == "open"
    with Replayer(file) as replayer, lms.Client(replayer.api_host) as client:
        fragments = iter(client.llm.model(CHAT).respond_stream("Hi"))
        assert next(fragments).content == "You"


def test_rpc_that_was_never_answered_fails(server: ScriptedServer, file: Path) -> None:
    record(server, file, lambda client: client.list_downloaded_models())
    header, call = lines(file)
    del call["result"]
    file.write_text("\n".join(map(json.dumps, (header, {**call, "end": "open"}))), encoding="utf-8")
    with pytest.raises(lms.LMStudioServerError, match="ended before system/listDownloadedModels was answered"):
        replay(file, lambda client: client.list_downloaded_models())


def test_plain_http_is_passed_on_and_replayed(server: ScriptedServer, file: Path) -> None:
    with Recorder(server.api_host, file) as recorder:
        assert lms.Client.is_valid_api_host(recorder.api_host)
        with httpx.Client(trust_env=False) as http:
            for _ in range(2):
                assert http.get(f"http://{recorder.api_host}/lmstudio-greeting").json() == {"lmstudio": True}
    assert len(lines(file)) == 1
    with Replayer(file) as replayer:
        assert lms.Client.is_valid_api_host(replayer.api_host)


def test_failed_session_leaves_the_file_as_it_was(server: ScriptedServer, file: Path) -> None:
    file.write_text("as it was", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), Recorder(server.api_host, file):
        _ = 1 / 0
    assert file.read_text(encoding="utf-8") == "as it was"


def test_recorder_refuses_what_it_cannot_do(server: ScriptedServer, file: Path) -> None:
    with pytest.raises(lms.LMStudioValueError, match="without TLS or a path"):
        Recorder("https://example.com", file)
    recorder = Recorder("127.0.0.1:1", file)
    with pytest.raises(lms.LMStudioWebsocketError, match=r"nothing answers at 127\.0\.0\.1:1 "):
        recorder.start()
    with pytest.raises(lms.LMStudioRuntimeError, match="has not been started"):
        _ = recorder.api_host
    recorder.stop()
    assert not file.exists()


HEADER = '{"lmstudio_recording": 1}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory.*Record it first"),
        ("", "Cannot read the recording"),
        ("[]", "no recording: its first line has no 'lmstudio_recording'"),
        ('{"lmstudio_recording": 2}', "has version 2 of the form of recordings, this package reads 1"),
        (HEADER + "{", "line 2: "),
        (HEADER + "\n" + '{"parameter": 1}', 'line 3: a line has either "rpc" or "channel"'),
        (HEADER + '{"rpc": "a/b", "reslt": 1}', "line 2: .*reslt"),
        (HEADER + '{"channel": "a/b", "exchange": [{"srever": 1}]}', "line 2: "),
        (HEADER + '{"channel": "a/b", "end": "gone"}', "line 2: .*gone"),
    ],
)
def test_file_that_cannot_be_read_is_refused(file: Path, text: str | None, said: str) -> None:
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(lms.LMStudioValueError, match=said):
        Replayer(file)


def test_endpoints_of_the_future_are_replayed(file: Path) -> None:
    call = {"rpc": "system/brandNew", "parameter": {"a": 1}, "result": {"b": 2}}
    file.write_text(HEADER + json.dumps(call), encoding="utf-8")
    assert replay(file, lambda client: client.system.remote_call("brandNew", {"a": 1})) == {"b": 2}


def test_text_that_json_can_only_escape_is_kept(server: ScriptedServer, file: Path) -> None:
    odd = "line\u2028separator \x85 and \x00"
    server.reply(Reply([odd]))
    assert record(server, file, lambda client: client.llm.model(CHAT).respond(odd).content) == odd
    assert replay(file, lambda client: client.llm.model(CHAT).respond(odd).content) == odd
