"""LM Studio's own API, version 1: `client.rest_v1`."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.http import AsyncHttpClient
from lmstudio.http.rest_v1 import (
    ChatEnd,
    ChatRequest,
    DownloadJob,
    DownloadReply,
    EmbeddingModel,
    ImageInput,
    LlmModel,
    MessageDelta,
    MessageItem,
    ReasoningItem,
    TextInput,
)
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.engine.scripted import Reasoning, scripted_models
from lmstudio.server.models import EMBEDDING_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL, EMBEDDER = "scripted-chat", "scripted-embed"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJg"
    "gg=="
)
CONTENT = EMBEDDING_MODEL_FILE.read_bytes()
SIZE = len(CONTENT)


def client_of(server: Server) -> AsyncHttpClient:
    return AsyncHttpClient(f"http://{server.api_host}", timeout=PATIENCE_SECONDS)


# Models --------------------------------------------------------------------------------------------------------------


async def test_list_of_models(server: Server) -> None:
    async with client_of(server) as client:
        models = {model.key: model for model in await client.rest_v1.list_models()}
    assert isinstance(models[MODEL], LlmModel)
    assert isinstance(models[EMBEDDER], EmbeddingModel)
    assert (models[MODEL].type, models[MODEL].loaded_instances) == ("llm", [])


async def test_load_and_unload(server: Server, engine: ScriptedEngine) -> None:
    async with client_of(server) as client:
        loaded = await client.rest_v1.load(MODEL, context_length=1024, flash_attention=True, echo_load_config=True)
        (model,) = [model for model in await client.rest_v1.list_models() if model.key == MODEL]
        unloaded = await client.rest_v1.unload(loaded.instance_id)
        (after,) = [model for model in await client.rest_v1.list_models() if model.key == MODEL]
    assert (loaded.type, loaded.status) == ("llm", "loaded")
    assert loaded.load_config is not None
    assert loaded.load_config.context_length == 1024
    assert [options.context_length for _, options in engine.loads] == [1024]
    assert [instance.id for instance in model.loaded_instances] == [loaded.instance_id] == [unloaded.instance_id]
    assert after.loaded_instances == []


async def test_load_config_only_where_it_is_asked_for(server: Server) -> None:
    async with client_of(server) as client:
        loaded = await client.rest_v1.load(EMBEDDER)
    assert (loaded.type, loaded.load_config) == ("embedding", None)
    assert loaded.load_time_seconds >= 0


async def test_load_waits_longer_than_other_calls(server: Server, engine: ScriptedEngine) -> None:
    engine.load_gate = gate = Gate()
    client = AsyncHttpClient(f"http://{server.api_host}", timeout=lms.Timeout(idle=0.05, first_token=0.05))
    with pytest.raises(lms.LMStudioTimeoutError) as caught:
        await client.rest_v1.load(MODEL, timeout=lms.Timeout(first_token=0.01))
    assert caught.value.limit == "first_token"
    assert gate.reached()
    gate.open()
    assert (await client.rest_v1.load(MODEL)).status == "loaded"
    await client.aclose()


async def test_models_that_do_not_exist(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError, match="nobody") as caught:
            await client.rest_v1.load("nobody")
        with pytest.raises(lms.LMStudioModelNotFoundError, match="loaded are: none"):
            await client.rest_v1.unload("nobody")
    assert caught.value.status_code == 404


async def test_bad_values_are_refused_before_anything_is_sent() -> None:
    client = AsyncHttpClient("http://localhost:9")  # where nobody listens
    with pytest.raises(lms.LMStudioValueError, match="Could not load a model: context_length: expected `int` >= 1"):
        await client.rest_v1.load(MODEL, context_length=0)
    with pytest.raises(lms.LMStudioValueError, match="Could not unload a model: instance_id"):
        await client.rest_v1.unload("")
    with pytest.raises(lms.LMStudioValueError, match="reasoning: invalid enum value 'much'"):
        await client.rest_v1.chat(model=MODEL, input="Hi", reasoning="much")  # type: ignore[arg-type]  # none of the words
    with pytest.raises(lms.LMStudioValueError, match="input: it is required"):
        await client.rest_v1.chat(model=MODEL)
    await client.aclose()


async def test_members_that_the_server_does_not_know_read_well(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(lms.LMStudioValidationError, match="does not know seed; leave it out") as caught:
            await client.rest_v1.chat(model=MODEL, input="Hi", extra_body={"seed": 5})
        with pytest.raises(lms.LMStudioValidationError, match="does not know ttl"):
            await client.rest_v1.load(MODEL, extra_body={"ttl": 5})
    assert list(caught.value.context["errors"]) == ["seed"]


# Chats ---------------------------------------------------------------------------------------------------------------


async def test_chat_from_keywords(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning(["Hm."]), "Yes."])
    async with client_of(server) as client:
        reply = await client.rest_v1.chat(model=MODEL, input="Hi", system_prompt="Be brief.", reasoning="low")
    assert reply.text == "Yes."
    assert reply.output == [ReasoningItem(content="Hm."), MessageItem(content="Yes.")]
    assert reply.stats.total_output_tokens > 0
    assert reply.stats.model_load_time_seconds is not None
    assert engine.chats[-1].messages[0] == {"role": "system", "content": "Be brief."}


async def test_chat_goes_on(server: Server, engine: ScriptedEngine) -> None:
    async with client_of(server) as client:
        first = await client.rest_v1.chat(model=MODEL, input="one")
        await client.rest_v1.chat(ChatRequest(model=MODEL, input="two"), previous_response_id=first.response_id)
        unstored = await client.rest_v1.chat(model=MODEL, input="three", store=False)
    assert unstored.response_id is None
    assert [message["content"] for message in engine.chats[1].messages] == ["one", "You said: one", "two"]


async def test_chat_with_an_image(engine: ScriptedEngine) -> None:
    seeing = replace(scripted_models()[0], vision=True)
    parts: list[TextInput | ImageInput] = [TextInput(content="What is it?"), ImageInput(data_url=PIXEL)]
    with Server([seeing], engine=engine) as server:
        async with client_of(server) as client:
            await client.rest_v1.chat(model=MODEL, input=parts)
            await client.rest_v1.chat(model=MODEL, input=[{"type": "image", "data_url": PIXEL}])
    assert [len(chat.images) for chat in engine.chats] == [1, 1]


async def test_integrations_arrive(server: Server) -> None:
    integration = {"type": "ephemeral_mcp", "server_label": "tides", "server_url": "http://localhost:9/mcp"}
    async with client_of(server) as client:
        with pytest.raises(lms.LMStudioServerError, match="does not let requests bring MCP servers"):
            await client.rest_v1.chat(model=MODEL, input="Hi", integrations=[integration])
        with pytest.raises(lms.LMStudioServerError, match="does not let requests use plugins"):
            await client.rest_v1.chat(model=MODEL, input="Hi", integrations=["maker/plugin"])


async def test_stream_of_events_ends_with_the_reply(server: Server) -> None:
    async with client_of(server) as client, client.rest_v1.stream_chat(model=MODEL, input="Hi") as stream:
        events = [event async for event in stream]
        reply = stream.result()
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds[:5] == [
        "chat.start",
        "model_load.start",
        "model_load.progress",
        "model_load.end",
        "prompt_processing.start",
    ]
    assert "".join(event.content for event in events if isinstance(event, MessageDelta)) == "You said: Hi"
    assert isinstance(events[-1], ChatEnd)
    assert reply == events[-1].result
    assert reply.text == "You said: Hi"


async def test_stream_can_be_waited_for(server: Server) -> None:
    async with client_of(server) as client:
        reply = await client.rest_v1.stream_chat(model=MODEL, input="Hi").wait_for_result()
        await client.rest_v1.chat(model=MODEL, input="And?", previous_response_id=reply.response_id)
    assert reply.text == "You said: Hi"


async def test_failure_of_a_stream_is_raised(server: Server, engine: ScriptedEngine) -> None:
    engine.fail_load = "There is not enough memory."
    last = ""
    async with client_of(server) as client:
        with pytest.raises(lms.LMStudioServerError, match="not enough memory"):
            async with client.rest_v1.stream_chat(model=MODEL, input="Hi") as stream:
                async for event in stream:
                    last = event.type
    assert last == "model_load.progress"


async def test_cancelled_stream_has_what_has_come(server: Server, gate: Gate) -> None:
    async with client_of(server) as client, client.rest_v1.stream_chat(model=MODEL, input="Hi") as stream:
        async for event in stream:
            if isinstance(event, MessageDelta) and event.content == " two":
                await stream.cancel()
        reply = stream.result()
    assert (reply.text, reply.model_instance_id, reply.response_id) == ("one two", MODEL, None)


# Downloads -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def host() -> Iterator[FileHost]:
    """Where the file of the catalogue is."""
    with FileHost(model=CONTENT) as host:
        yield host


@pytest.fixture
def store(engine: ScriptedEngine, host: FileHost, tmp_path: Path) -> Iterator[Server]:
    """A server whose catalogue has one model."""
    file = {"url": f"{host.url}/model", "name": "pebble-embed-0.8m-q8_0.gguf", "size": SIZE}
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"models": [{"owner": "maker", "name": "pebble-GGUF", "files": [file]}]}))
    with Server(engine=engine, catalog=catalog, models_folder=tmp_path / "models") as server:
        yield server


async def test_download_is_waited_for(store: Server, host: FileHost) -> None:
    host.stop_after = SIZE // 2
    seen: list[DownloadJob] = []

    def look(job: DownloadJob) -> None:
        seen.append(job)
        host.go_on()

    async with client_of(store) as client:
        download = await client.rest_v1.download("maker/pebble-GGUF")
        assert (download.status, download.total_size_bytes) == ("downloading", SIZE)
        job = await client.rest_v1.wait_for_download(download, look, interval_seconds=0.01)
        again = await client.rest_v1.download("maker/pebble-GGUF")
        nothing = await client.rest_v1.wait_for_download(again)
        jobs = await client.rest_v1.list_downloads()
    assert job is not None
    assert (job.status, job.downloaded_bytes) == ("completed", SIZE)
    assert seen[0].status == "downloading"
    assert seen[-1] == job
    assert (again.status, nothing) == ("already_downloaded", None)
    assert [each.job_id for each in jobs] == [job.job_id]


async def test_download_that_fails_says_why(store: Server, host: FileHost) -> None:
    del host.files["/model"]
    async with client_of(store) as client:
        download = await client.rest_v1.download("maker/pebble-GGUF")
        with pytest.raises(lms.LMStudioServerError, match=r"Could not download a model: .* has failed: .*404"):
            await client.rest_v1.wait_for_download(download, interval_seconds=0.01)
        status = await client.rest_v1.download_status(download)
    assert status.status == "failed"
    assert status.error is not None


async def test_wait_for_a_download_ends_with_its_total(store: Server, host: FileHost) -> None:
    host.stop_after = SIZE // 2
    async with client_of(store) as client:
        download = await client.rest_v1.download("maker/pebble-GGUF")
        with pytest.raises(lms.LMStudioTimeoutError, match="It goes on in the server") as caught:
            await client.rest_v1.wait_for_download(download, interval_seconds=0.01, timeout=0.1)
        assert (caught.value.limit, caught.value.seconds) == ("total", 0.1)
        host.go_on()
        assert await client.rest_v1.wait_for_download(download, interval_seconds=0.01) is not None


async def test_failing_callback_does_not_end_the_wait(store: Server, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: DownloadJob) -> None:
        raise RuntimeError("oh no")

    async with client_of(store) as client:
        download = await client.rest_v1.download("maker/pebble-GGUF")
        with caplog.at_level(logging.ERROR, "lmstudio"):
            assert await client.rest_v1.wait_for_download(download, fail, interval_seconds=0.01) is not None
    assert "the operation goes on" in caplog.text


async def test_bad_arguments_of_a_wait_are_refused(server: Server) -> None:
    async with client_of(server) as client:
        wait: Any = client.rest_v1.wait_for_download
        with pytest.raises(lms.LMStudioValueError, match="on_progress must be a function, got int"):
            await wait("job_1", 5)
        with pytest.raises(lms.LMStudioValueError, match="interval_seconds must be a number of seconds from 0 on"):
            await wait("job_1", interval_seconds=-1)
        with pytest.raises(lms.LMStudioValueError, match="the id of its job; got 5"):
            await wait(5)
        with pytest.raises(lms.LMStudioValueError, match="the model was there already"):
            await client.rest_v1.download_status(DownloadReply(status="already_downloaded"))


async def test_downloads_that_do_not_exist(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(lms.LMStudioServerError, match="no download 'job_1'") as caught:
            await client.rest_v1.download_status("job_1")
        with pytest.raises(lms.LMStudioServerError, match="nobody"):
            await client.rest_v1.download("maker/nobody")
        assert await client.rest_v1.list_downloads() == []
    assert caught.value.status_code == 404
