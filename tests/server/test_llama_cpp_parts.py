"""The parts of the llama.cpp engine: settings, requests, streams, HTTP, logs."""

from __future__ import annotations

import asyncio
import json
import math
import os
import types
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstudio.server.engine import _llama_worker as worker
from lmstudio.server.engine._llama_process import LastLines, exit_name, load_failure, reason_in_log
from lmstudio.server.engine._llama_requests import (
    completion_body,
    error_in_reply,
    parse_event,
    request_error,
    schema_probe_body,
)
from lmstudio.server.engine._llama_settings import (
    _physical_cores,
    load_parameters,
    template_parameters,
    usable_threads,
)
from lmstudio.server.engine._llama_stream import CompletionStream
from lmstudio.server.engine._loopback_http import BodyDecoder, ConnectionLostError, LoopbackClient
from lmstudio.server.engine.base import (
    SMALL_MODEL_BYTES,
    EngineError,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    ModelFile,
    PromptProgress,
    Sampling,
    TextChunk,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

SMALL = ModelFile(
    kind="llm",
    model_key="gull",
    path="reef/gull/gull.gguf",
    file=Path("gull.gguf"),
    display_name="Gull",
    publisher="reef",
    size_bytes=1_000_000,
    max_context_length=32_768,
)
LARGE = replace(SMALL, size_bytes=SMALL_MODEL_BYTES)


# Settings


def parameters(model: ModelFile, **options: Any) -> dict[str, Any]:
    return load_parameters(model, LoadOptions(**options), key="k")


def test_defaults_are_modest_and_never_spin() -> None:
    chosen = parameters(LARGE)
    assert (chosen["n_ctx"], chosen["n_parallel"], chosen["kv_unified"]) == (4096, 4, True)
    assert (chosen["n_batch"], chosen["n_ubatch"], chosen["api_keys"], chosen["ui"]) == (512, 512, ["k"], False)
    assert chosen["cpuparams.poll"] == chosen["cpuparams_batch.poll"] == 0
    assert parameters(replace(LARGE, max_context_length=2048))["n_ctx"] == 2048
    assert parameters(replace(LARGE, max_context_length=0))["n_ctx"] == 4096


def test_small_model_gets_one_thread_and_a_context_per_session() -> None:
    chosen = parameters(SMALL)
    assert (chosen["cpuparams.n_threads"], chosen["n_ctx"], chosen["kv_unified"]) == (1, 4 * 4096, False)
    assert parameters(SMALL, unified_kv_cache=True, context_length=512)["n_ctx"] == 512
    assert parameters(LARGE, unified_kv_cache=False, context_length=512, parallel_sessions=2)["n_ctx"] == 1024


def test_embedding_model_reads_a_text_in_one_step() -> None:
    chosen = parameters(replace(SMALL, kind="embedding", max_context_length=512))
    assert chosen["embedding"] is True
    assert chosen["n_ctx"] == chosen["n_batch"] == chosen["n_ubatch"] == 512


def test_threads_are_limited_by_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert usable_threads(SMALL_MODEL_BYTES) >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_threads(SMALL_MODEL_BYTES) == 1
    for number in range(4):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number // 2 * 2}-{number // 2 * 2 + 1}\n")
    assert _physical_cores(tmp_path) == 2
    (tmp_path / "cpu9" / "topology" / "thread_siblings_list").mkdir(parents=True)
    assert _physical_cores(tmp_path) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"gpu_offload_ratio": 0}, {"n_gpu_layers": 0}),
        ({"gpu_offload_ratio": 1.0}, {"n_gpu_layers": 999}),
        ({"offload_kv_cache": False}, {"no_kv_offload": True}),
        ({"try_mmap": False}, {"load_mode": "@llama_load_mode.LLAMA_LOAD_MODE_NONE"}),
        ({"keep_in_memory": True}, {"load_mode": "@llama_load_mode.LLAMA_LOAD_MODE_MMAP_MLOCK"}),
        ({"try_mmap": False, "keep_in_memory": True}, {"load_mode": "@llama_load_mode.LLAMA_LOAD_MODE_MLOCK"}),
        ({"flash_attention": False}, {"flash_attn_type": "@llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED"}),
        ({"k_cache_type": "q8_0"}, {"cache_type_k": "@ggml_type.GGML_TYPE_Q8_0"}),
        ({"v_cache_type": "f16"}, {"cache_type_v": "@ggml_type.GGML_TYPE_F16"}),
        ({"eval_batch_size": 64}, {"n_batch": 64, "n_ubatch": 64}),
        ({"eval_batch_size": 1024, "physical_batch_size": 128}, {"n_batch": 1024, "n_ubatch": 128}),
        ({"seed": -1}, {"sampling.seed": 0xFFFFFFFF}),
        ({"rope_frequency_base": 5.0, "rope_frequency_scale": 0.5}, {"rope_freq_base": 5.0, "rope_freq_scale": 0.5}),
        ({"chat_template": "T"}, {"chat_template": "T"}),
        ({"draft_model": Path("d.gguf")}, {"speculative.draft.mparams.path": "d.gguf"}),
    ],
)
def test_each_load_option_has_its_setting(options: dict[str, Any], expected: dict[str, Any]) -> None:
    chosen = parameters(LARGE, **options)
    assert {name: chosen[name] for name in expected} == expected


def test_part_of_the_layers_is_counted_from_the_file(tmp_path: Path) -> None:
    from lmstudio.server.models import CHAT_MODEL_FILE

    assert parameters(replace(LARGE, file=CHAT_MODEL_FILE), gpu_offload_ratio=0.5)["n_gpu_layers"] == 4
    assert parameters(replace(LARGE, file=None), gpu_offload_ratio=0.5)["n_gpu_layers"] == 999
    with pytest.raises(EngineError, match="Cannot read"):
        parameters(replace(LARGE, file=tmp_path / "gone.gguf"), gpu_offload_ratio=0.5)


def test_unknown_cache_type_is_refused() -> None:
    with pytest.raises(EngineError, match="'q3' is unknown") as caught:
        parameters(LARGE, k_cache_type="q3")
    assert "q8_0" in str(caught.value.suggestion)


def test_process_for_a_template_does_not_touch_the_weights() -> None:
    chosen = template_parameters(LARGE, "T", key="k")
    assert (chosen["chat_template"], chosen["warmup"], chosen["no_extra_bufts"]) == ("T", False, True)
    assert chosen["n_gpu_layers"] == 0


# The worker's own functions


def test_worker_reads_its_settings_whole() -> None:
    reader, writer = os.pipe()
    data = json.dumps({"sys_path": ["x" * 5000]}).encode()
    os.write(writer, b"%08d" % len(data) + data)
    os.close(writer)
    assert worker.read_settings(reader) == {"sys_path": ["x" * 5000]}
    assert worker.read_settings(reader) == {}
    os.close(reader)


def test_worker_applies_dotted_names_and_enumerations() -> None:
    engine = types.SimpleNamespace(mode=types.SimpleNamespace(FAST=3))
    target = types.SimpleNamespace(a=types.SimpleNamespace(b=0), c=None, d=None)
    worker.apply_parameters(engine, target, {"a.b": 1, "c": "@mode.FAST", "d": ["@mode.FAST", "x"]})
    assert (target.a.b, target.c, target.d) == (1, 3, [3, "x"])


# Requests


def test_only_what_was_asked_for_is_sent() -> None:
    body = json.loads(completion_body(GenerationRequest("p")))
    assert (body["prompt"], body["n_predict"], body["stream"]) == ("p", -1, True)
    assert not {"temperature", "seed", "n_probs", "json_schema", "grammar", "stop"} & set(body)


def test_sampling_is_sent_under_the_engines_names() -> None:
    sampling = Sampling(
        temperature=0.5, mirostat=(2, 0.1, 5.0), seed=-1, logit_bias=((7, -math.inf), (8, math.inf), (9, 1.5))
    )  # fmt: skip
    body = json.loads(completion_body(GenerationRequest("p", sampling, max_tokens=0, log_probs=0, grammar="g")))
    assert (body["temperature"], body["seed"], body["n_predict"], body["n_probs"]) == (0.5, 0xFFFFFFFF, 1, 1)
    assert (body["mirostat"], body["mirostat_eta"], body["mirostat_tau"]) == (2, 0.1, 5.0)
    assert body["logit_bias"] == [[7, False], [8, 1e30], [9, 1.5]]
    assert body["grammar"] == "g"


def test_schema_is_sent_with_compact_json() -> None:
    for body in (completion_body(GenerationRequest("p", json_schema={"a": 1})), schema_probe_body({"a": 1}, 5)):
        schema = json.loads(body)["json_schema"]
        assert schema["a"] == 1
        assert schema["x-guidance"]["whitespace_flexible"] is False


def test_errors_in_replies_are_understood() -> None:
    known = error_in_reply(b'{"error": {"message": "Broken.", "type": "x"}}')
    assert str(request_error(known, what="sing")) == "The inference engine refused to sing: Broken."
    assert str(request_error(error_in_reply(b"<html>"), what="sing")).endswith(": <html>.")


@pytest.mark.parametrize("line", [b"", b": ping", b"event: x"])
def test_lines_that_are_no_event_are_skipped(line: bytes) -> None:
    assert parse_event(line) is None


def test_unreadable_event_is_an_error() -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        parse_event(b"data: {")


# Streams


def played(lines: Sequence[bytes], **request: Any) -> list[GenerationEvent]:
    stream = CompletionStream(GenerationRequest("p", **request))
    events = [event for line in lines if (event := parse_event(line)) is not None]
    return [result for event in events for result in stream.feed(event)]


def test_progress_is_completed_when_the_engine_reports_none() -> None:
    seen = played([b'data: {"content": "a", "tokens_predicted": 1, "tokens_evaluated": 9}'])
    assert seen == [PromptProgress(0, 0, 9), PromptProgress(0, 9, 9), TextChunk("a", 1)]


def test_text_in_the_last_event_and_early_end_are_kept() -> None:
    seen = played(
        [
            b'data: {"content": "a", "tokens_predicted": 1, "tokens_evaluated": 9}',
            b'data: {"content": "b", "tokens_predicted": 2, "tokens_evaluated": 9, "stop": true, "stop_type": "eos"}',
            b'data: {"content": "c", "tokens_predicted": 3, "tokens_evaluated": 9}',
        ]
    )
    assert seen[2:] == [TextChunk("a", 1), TextChunk("b", 1), GenerationEnd("eosFound", None, 9, 2, None)]


FULL = b'error: {"error": {"message": "Context size has been exceeded.", "type": "server_error"}}'


def test_shared_context_that_fills_up_ends_the_text_and_refuses_a_prompt() -> None:
    begun = b'data: {"content": "ab", "tokens_predicted": 2, "tokens_evaluated": 9}'
    seen = played([begun, FULL], stop_strings=["bc"])
    assert seen[2:] == [TextChunk("a", 2), TextChunk("b", 0), GenerationEnd("contextLengthReached", None, 9, 2, None)]
    with pytest.raises(EngineError, match="together they have filled it"):
        played([FULL])
    with pytest.raises(EngineError, match="refused to generate text: Other"):
        played([b'data: {"error": {"message": "Other."}}'])


# HTTP


CHUNKED = {b"transfer-encoding": b"chunked"}


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.data())
def test_chunked_body_is_whole_however_it_arrives(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x;note\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    decoder = BodyDecoder(CHUNKED)
    content = b""
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        content += decoder.feed(wire[:size])
        wire = wire[size:]
    decoder.end()
    assert content == b"".join(parts)


def test_broken_bodies_are_noticed() -> None:
    with pytest.raises(ConnectionLostError, match="chunked encoding"):
        BodyDecoder(CHUNKED).feed(b"xyz\r\n")
    for headers in (CHUNKED, {b"content-length": b"5"}):
        decoder = BodyDecoder(headers)
        decoder.feed(b"5\r\nabc")
        if not decoder.is_complete:
            with pytest.raises(ConnectionLostError, match="in the middle"):
                decoder.end()


def talk(answer: bytes, use: Callable[[LoopbackClient], Awaitable[Any]], *, reset: bool = False) -> Any:
    """Run *use* against a server that sends *answer* to everyone and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if reset:
            writer.transport.abort()
        writer.close()

    async def main() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            return await use(LoopbackClient(f"http://{host}:{port}", "k"))

    return asyncio.run(main())


async def read_all(client: LoopbackClient) -> tuple[int, bytes]:
    reply = await client.get("/")
    try:
        return reply.status, await reply.read()
    finally:
        reply.close()


async def read_lines(client: LoopbackClient) -> list[bytes]:
    reply = await client.post("/", b"{}")
    try:
        lines = []
        while more := await reply.read_lines():
            lines += more
        return lines
    finally:
        reply.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 418 Tea\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 418\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 418 Tea\r\n\r\nabc",
    ],
)
def test_every_way_to_send_a_body_is_read(answer: bytes) -> None:
    assert talk(answer, read_all) == (418, b"abc")
    assert talk(answer, read_lines) == [b"abc"]


def test_lines_are_joined_across_reads() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n2\r\nb\n\r\n1\r\nc\r\n1\r\nd\r\n0\r\n\r\n"
    )
    assert talk(answer, read_lines) == [b"a", b"b", b"cd"]


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"]
)
def test_peer_that_does_not_answer_properly_is_noticed(answer: bytes) -> None:
    with pytest.raises(ConnectionLostError):
        talk(answer, read_all)


def test_connection_that_breaks_is_noticed() -> None:
    with pytest.raises(ConnectionLostError):
        talk(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", read_all, reset=True)


def test_connection_that_is_refused_is_noticed() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        await LoopbackClient(f"http://127.0.0.1:{port}", "k").get("/")

    with pytest.raises(ConnectionLostError, match="no connection"):
        asyncio.run(main())


# Logs and exits


def test_last_lines_are_bounded_and_whole() -> None:
    lines = LastLines()
    lines.feed(b"one\ntw")
    lines.feed(b"o\n\n")
    assert lines.since(0) == ["one", "two"]
    lines.feed("ü".encode() * 5000)
    lines.feed(b"")
    assert len(lines.since(2)[0]) == 1000
    lines.feed(b"x\n" * 500)
    assert len(lines.since(0)) == 100
    assert lines.since(lines.count) == []


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "0.00.016 E llama_model_load: error loading model: unknown model architecture: 'x'",
            "unknown model architecture: 'x'",
        ),
        (
            "0.00.1 E common_chat_templates_init: error: Unexpected token: % of type 22",
            "the chat template is broken: Unexpected token: % of type 22",
        ),
        ("0.1 E srv  init: init: chat template parsing error: no parser", "the chat template is broken: no parser"),
        ("ggml_backend: failed to allocate buffer of size 9", "ggml_backend: failed to allocate buffer of size 9"),
        ("0.00.003 W x: careful\n0.00.004 E srv    load_model: no idea.", "no idea"),
        ("terminate called\nwhat(): bad", "what(): bad"),
        ("", None),
    ],
)
def test_reason_is_found_in_the_log(log: str, reason: str | None) -> None:
    assert reason_in_log(log.splitlines()) == reason


def test_exits_are_named() -> None:
    assert (exit_name(3), exit_name(-9), exit_name(-1000)) == ("exit code 3", "SIGKILL", "signal 1000")


def test_missing_pieces_of_the_engine_come_with_a_way_to_get_them() -> None:
    for kind, text, hint in (
        ("ModuleNotFoundError", "No module named 'xllamacpp'", "pip install 'lmstudio[server]'"),
        ("ImportError", "libgomp.so.1: cannot open shared object file", "apt-get install libgomp1"),
        ("ImportError", "libother.so: cannot open shared object file", "pip install 'lmstudio[server]'"),
    ):
        error = load_failure("m.gguf", {"type": kind, "failed": text}, 1, [])
        assert hint in str(error.suggestion)
    refused = load_failure("m.gguf", {"type": "AttributeError", "failed": "no ui"}, 1, [])
    assert str(refused) == "The inference engine refused the settings for m.gguf: AttributeError: no ui."
