"""The examples of LM Studio's developer pages over HTTP, E1 to E52, as a user of the shipped models has them.

| Examples | Done with | Where |
| --- | --- | --- |
| E1 to E9 | requests | here, together with the same by curl: E29 to E33, E25 to E28 |
| E10 to E18 | OpenAI's client | `test_http_openai.py`; its whole range is in `http_surfaces/test_openai_client.py` |
| E19 | Anthropic's client | here; its whole range is in `http_surfaces/test_anthropic_client.py` |
| E20 to E52 | curl | here; every member and event is in `http_surfaces` |
| E15, E38 | | cannot be run as published (a brace too many, a quote too few); what their authors meant is tested |
| E17 | | no program, but pieces of a stream: the stream of E16 has that form |
| E18, E24, E48 | | published as a difference between two programs; the second one is tested |
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from http_surfaces.http_stage import PIXEL
from patience import PATIENCE_SECONDS

from docs import test_http_openai
from docs.http_programs import (
    CAPITAL,
    EMBEDDER,
    GET_WEATHER,
    MODEL,
    OSLO,
    PLAIN,
    TOKEN,
    WEATHER_SCHEMA,
    Curl,
    Program,
    Requests,
    WeatherServer,
    shows,
)
from lmstudio.server import HttpSettings, ScriptedEngine, Server
from lmstudio.server.engine.scripted import scripted_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = range(1, 53)
CHAT = "/api/v1/chat"
DOWNLOAD = "/api/v1/models/download"
CHAT_STATS = {
    "input_tokens",
    "total_output_tokens",
    "reasoning_output_tokens",
    "tokens_per_second",
    "time_to_first_token_seconds",
}
both = pytest.mark.parametrize("kind", [Requests, Curl])


@pytest.fixture(scope="module")
def weather() -> Iterator[WeatherServer]:
    """The MCP server of the examples that have one."""
    with WeatherServer() as server:
        yield server


@pytest.fixture(scope="module")
def mcp_json(weather: WeatherServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The servers that the user has set up: only that one."""
    file = tmp_path_factory.mktemp("home") / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"weather": {"url": weather.url}}}))
    return file


@pytest.fixture(scope="module")
def server(mcp_json: Path) -> Iterator[Server]:
    """As the examples have it: MCP servers are allowed."""
    http = HttpSettings(allow_ephemeral_mcp=True, mcp_json=mcp_json)
    with Server(prediction_defaults=PLAIN, http=http) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(mcp_json: Path) -> Iterator[Server]:
    """Nobody comes in without the token, and requests bring no MCP servers."""
    with Server(prediction_defaults=PLAIN, http=HttpSettings(mcp_json=mcp_json), api_tokens=[TOKEN]) as server:
        yield server


def test_every_example_has_its_test() -> None:
    tests = [*globals().values(), *vars(test_http_openai).values()]
    shown = {number for test in tests for number in getattr(test, "http_examples", ())}
    assert sorted(shown) == list(EXAMPLES)


# What the answers of /api/v1/chat have -------------------------------------------------------------------------------


def said(reply: dict[str, Any]) -> str:
    """The text of an answer that has all it is said to have."""
    assert reply["model_instance_id"] == MODEL
    assert set(reply["stats"]) >= CHAT_STATS
    return "".join(item["content"] for item in reply["output"] if item["type"] == "message")


def assert_weather_was_looked_up(reply: dict[str, Any], weather: WeatherServer, provider: dict[str, str]) -> None:
    """The model called the tool of *provider*, and answers with what that said."""
    calls = [item for item in reply["output"] if item["type"] == "tool_call"]
    assert [(call["tool"], call["arguments"], call["provider_info"]) for call in calls] == [
        ("get_weather", {"city": "Oslo"}, provider)
    ]
    assert "snowy" in calls[0]["output"]
    assert reply["output"][-1]["type"] == "message"
    assert "snowy" in said(reply)
    assert re.fullmatch("resp_[0-9a-f]{48}", reply["response_id"])
    assert weather.calls[-1] == ("get_weather", {"city": "Oslo"})


def ephemeral(weather: WeatherServer, **members: Any) -> dict[str, Any]:
    return {
        "type": "ephemeral_mcp",
        "server_label": "sky",
        "server_url": weather.url,
        "allowed_tools": ["get_weather"],
        **members,
    }


EPHEMERAL = {"type": "ephemeral_mcp", "server_label": "sky"}
PLUGIN = {"type": "plugin", "plugin_id": "mcp/weather"}


# LM Studio's own API: quickstart, MCP --------------------------------------------------------------------------------


@shows(1, 20, 29)
@both
def test_chat(guarded: Server, kind: type[Program]) -> None:
    reply = kind(guarded, TOKEN)(CHAT, {"model": MODEL, "input": CAPITAL})
    assert "Paris" in said(reply)
    assert kind(guarded)(CHAT, {"model": MODEL, "input": CAPITAL})["error"]["code"] == "invalid_api_key"


@shows(2, 6, 8, 25, 27, 30)
@both
def test_chat_with_an_mcp_server_of_its_own(server: Server, weather: WeatherServer, kind: type[Program]) -> None:
    body = {"model": MODEL, "input": OSLO, "integrations": [ephemeral(weather)], "context_length": 2048}
    assert_weather_was_looked_up(kind(server, TOKEN)(CHAT, body), weather, EPHEMERAL)


@shows(2, 30)
@both
def test_chat_with_an_mcp_server_that_cannot_be_reached(server: Server, kind: type[Program]) -> None:
    nowhere = {"type": "ephemeral_mcp", "server_label": "gone", "server_url": "http://127.0.0.1:9/mcp"}
    reply = kind(server)(CHAT, {"model": MODEL, "input": OSLO, "integrations": [nowhere]})
    assert reply["error"]["type"] == "mcp_connection_error"
    assert "'gone'" in reply["error"]["message"]


@shows(3, 21, 31)
@both
def test_chat_with_a_server_of_the_user(guarded: Server, weather: WeatherServer, kind: type[Program]) -> None:
    plugin = {"type": "plugin", "id": "mcp/weather", "allowed_tools": ["get_weather"]}
    body = {"model": MODEL, "input": OSLO, "integrations": [plugin], "context_length": 2048}
    assert_weather_was_looked_up(kind(guarded, TOKEN)(CHAT, body), weather, PLUGIN)


@shows(7, 26)
@both
def test_chat_with_a_server_of_the_user_by_its_name(
    guarded: Server, weather: WeatherServer, kind: type[Program]
) -> None:
    body = {"model": MODEL, "input": OSLO, "integrations": ["mcp/weather"], "context_length": 2048, "temperature": 0}
    assert_weather_was_looked_up(kind(guarded, TOKEN)(CHAT, body), weather, PLUGIN)


@shows(9, 28)
@both
def test_chat_with_headers_for_the_mcp_server(
    server: Server, kind: type[Program], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with WeatherServer() as weather:
        integration = ephemeral(weather, headers={"Authorization": "Bearer sky-secret"})
        body = {"model": MODEL, "input": OSLO, "integrations": [integration], "context_length": 2048}
        reply = kind(server, TOKEN)(CHAT, body)
    assert_weather_was_looked_up(reply, weather, EPHEMERAL)
    assert {headers.get("authorization") for headers in weather.headers} == {"Bearer sky-secret"}
    assert "sky-secret" not in json.dumps(reply) + caplog.text


@shows(4, 5, 32, 44, 45)
@both
def test_download_and_its_status(kind: type[Program]) -> None:
    with Server(engine="scripted") as server:
        program = kind(server, TOKEN)
        job = program(DOWNLOAD, {"model": "lmstudio-python/pebble-embed-0.8m-GGUF"})
        assert set(job) >= {"job_id", "status", "total_size_bytes", "started_at"}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (status := program(f"{DOWNLOAD}/status/{job['job_id']}"))["status"] == "downloading":
            assert time.monotonic() < deadline
        assert (status["job_id"], status["status"]) == (job["job_id"], "completed")
        assert status["downloaded_bytes"] == status["total_size_bytes"] == job["total_size_bytes"]
        again = program(DOWNLOAD, {"model": "lmstudio-python/pebble-embed-0.8m-GGUF"})
        assert again == {"status": "already_downloaded"}


@shows(5, 33)
@both
def test_status_of_a_download_that_was_not_filled_in(server: Server, kind: type[Program]) -> None:
    """Braces mean something to curl, which asks for what is between them."""
    problem = kind(server, TOKEN)(f"{DOWNLOAD}/status/{{job_id}}")["error"]
    assert problem["type"] == "job_not_found"
    assert "job_id" in problem["message"]


# Anthropic's client --------------------------------------------------------------------------------------------------


@shows(19)
def test_anthropic_message(server: Server) -> None:
    with anthropic.Anthropic(base_url=f"http://{server.api_host}", api_key="lmstudio") as client:
        message = client.messages.create(max_tokens=64, messages=[{"role": "user", "content": CAPITAL}], model=MODEL)
    assert [block.type for block in message.content] == ["text"]
    assert "Paris" in str(message.content)


# curl: lists, and API v0 ---------------------------------------------------------------------------------------------


@shows(22, 23, 47)
def test_curl_models_of_openai(server: Server) -> None:
    reply = Curl(server)("/v1/models")
    assert reply["object"] == "list"
    assert {MODEL, EMBEDDER} <= {model["id"] for model in reply["data"]}
    assert {model["object"] for model in reply["data"]} == {"model"}


@shows(34, 35)
def test_curl_models_of_v0(server: Server) -> None:
    models = {model["id"]: model for model in Curl(server)("/api/v0/models")["data"]}
    assert (models[MODEL]["type"], models[EMBEDDER]["type"]) == ("llm", "embeddings")
    assert models[MODEL]["state"] in ("loaded", "not-loaded")
    one = Curl(server)(f"/api/v0/models/{EMBEDDER}")
    assert set(one) >= {
        "id",
        "object",
        "type",
        "publisher",
        "arch",
        "compatibility_type",
        "quantization",
        "state",
        "max_context_length",
    }
    assert (one["object"], one["compatibility_type"]) == ("model", "gguf")


def assert_has_what_v0_adds(reply: dict[str, Any], reason: str) -> None:
    stats = reply["stats"]
    assert set(stats) >= {"tokens_per_second", "time_to_first_token", "generation_time", "stop_reason"}
    assert stats["stop_reason"] == reason
    assert set(reply["model_info"]) == {"arch", "quant", "format", "context_length"}
    assert set(reply["runtime"]) == {"name", "version", "supported_formats"}
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@shows(36)
def test_curl_chat_of_v0(server: Server) -> None:
    body = {
        "model": MODEL,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": CAPITAL}],
        "temperature": 0.7,
        "max_tokens": -1,
        "stream": False,
    }
    reply = Curl(server)("/api/v0/chat/completions", body)
    assert (reply["object"], reply["choices"][0]["finish_reason"]) == ("chat.completion", "stop")
    assert reply["choices"][0]["message"]["content"]
    assert_has_what_v0_adds(reply, "eosFound")


@shows(24)
def test_curl_chat_with_a_time_to_live() -> None:
    body = {"model": MODEL, "ttl": 300, "messages": [{"role": "user", "content": CAPITAL}]}
    with Server(prediction_defaults=PLAIN) as server:
        assert "Paris" in Curl(server)("/api/v0/chat/completions", body)["choices"][0]["message"]["content"]
        assert Curl(server)(f"/api/v0/models/{MODEL}")["state"] == "loaded"


@shows(37)
def test_curl_completion_of_v0(server: Server) -> None:
    body = {"model": MODEL, "prompt": "Once upon", "temperature": 0, "max_tokens": 6, "stream": False, "stop": "\n"}
    reply = Curl(server)("/api/v0/completions", body)
    assert (reply["object"], reply["choices"][0]["finish_reason"]) == ("text_completion", "length")
    assert reply["choices"][0]["text"]
    assert_has_what_v0_adds(reply, "maxPredictedTokensReached")


@shows(38)
def test_curl_embeddings_of_v0(server: Server) -> None:
    reply = Curl(server)("/api/v0/embeddings", {"model": EMBEDDER, "input": "Some text to embed"})
    assert reply["object"] == "list"
    (item,) = reply["data"]
    assert (item["object"], item["index"], len(item["embedding"])) == ("embedding", 0, 128)


# curl: API v1 --------------------------------------------------------------------------------------------------------


@shows(39)
def test_curl_chat_with_both_kinds_of_integrations(server: Server, weather: WeatherServer) -> None:
    other = {"type": "plugin", "id": "mcp/weather", "allowed_tools": ["forget_weather"]}
    body = {"model": MODEL, "input": OSLO, "integrations": [ephemeral(weather), other], "context_length": 2048}
    assert_weather_was_looked_up(Curl(server, TOKEN)(CHAT, {**body, "temperature": 0}), weather, EPHEMERAL)


@shows(40)
@pytest.mark.parametrize("name", ["text", "message"])
def test_curl_chat_with_an_image(server: Server, name: str) -> None:
    given = [{"type": name, "content": "What is this?"}, {"type": "image", "data_url": PIXEL}]
    with Server([scripted_model("seeing", vision=True)], engine=ScriptedEngine("A pixel.")) as seeing:
        reply = Curl(seeing, TOKEN)(CHAT, {"model": "seeing", "input": given, "context_length": 2048})
    assert reply["output"] == [{"type": "message", "content": "A pixel."}]
    problem = Curl(server, TOKEN)(CHAT, {"model": MODEL, "input": given})["error"]  # the shipped model is blind
    assert problem["type"] == "invalid_request"
    assert "image" in problem["message"]


@shows(41)
def test_curl_models_of_v1(guarded: Server) -> None:
    models = {model["key"]: model for model in Curl(guarded, TOKEN)("/api/v1/models")["models"]}
    assert (models[MODEL]["type"], models[EMBEDDER]["type"]) == ("llm", "embedding")
    assert models[MODEL]["capabilities"]["trained_for_tool_use"] is True


@shows(42, 43)
def test_curl_load_and_unload() -> None:
    with Server() as server:
        curl = Curl(server, TOKEN)
        wanted = {"context_length": 1024, "flash_attention": True}
        loaded = curl("/api/v1/models/load", {"model": MODEL, **wanted, "echo_load_config": True})
        assert (loaded["type"], loaded["status"]) == ("llm", "loaded")
        assert loaded["load_time_seconds"] > 0
        assert loaded["load_config"].items() >= wanted.items()
        unloaded = curl("/api/v1/models/unload", {"instance_id": loaded["instance_id"]})
        assert unloaded == {"instance_id": loaded["instance_id"]}
        assert all(not model["loaded_instances"] for model in curl("/api/v1/models")["models"])


@shows(46)
def test_curl_chat_that_goes_on(server: Server) -> None:
    curl = Curl(server, TOKEN)
    first = curl(CHAT, {"model": MODEL, "input": "My name is Tom."})
    body = {"model": MODEL, "input": "What is my name?", "previous_response_id": first["response_id"]}
    second = curl(CHAT, body)
    assert "Tom" in said(second)
    assert second["response_id"] != first["response_id"]
    assert "response_id" not in curl(CHAT, {"model": MODEL, "input": CAPITAL, "store": False})


# curl: OpenAI --------------------------------------------------------------------------------------------------------


@shows(48)
def test_curl_openai_chat(server: Server) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": CAPITAL}], "temperature": 0}
    (choice,) = Curl(server)("/v1/chat/completions", body)["choices"]
    assert "Paris" in choice["message"]["content"]


@shows(49)
def test_curl_structured_output(server: Server) -> None:
    schema = {"type": "object", "properties": {"bird": {"enum": ["heron", "owl"]}}, "required": ["bird"]}
    body = {
        "model": MODEL,
        "messages": [{"role": "system", "content": "You know birds."}, {"role": "user", "content": "Name one."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": "true", "schema": schema}},
        "temperature": 0.7,
        "max_tokens": 50,
        "stream": False,
    }
    (choice,) = Curl(server)("/v1/chat/completions", body)["choices"]
    assert json.loads(choice["message"]["content"])["bird"] in ("heron", "owl")
    unfilled = Curl(server)("/v1/chat/completions", {**body, "model": "{{model}}"})["error"]
    assert (unfilled["code"], unfilled["param"]) == ("model_not_found", "model")


@shows(50)
def test_curl_tools(server: Server) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": OSLO}], "tools": [GET_WEATHER]}
    reply = Curl(server)("/v1/chat/completions", body)
    (choice,) = reply["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert (call["type"], call["function"]["name"]) == ("function", "get_weather")
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}
    assert reply["system_fingerprint"] == MODEL


def events(text: str) -> list[tuple[str, Any]]:
    """The names and the data of a stream of events."""
    found = []
    for frame in text.removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert all(data["type"] == name for name, data in found)
    return found


@shows(51)
def test_curl_responses(server: Server, weather: WeatherServer) -> None:
    curl = Curl(server)
    body = {"model": MODEL, "input": "My name is Tom.", "reasoning": {"effort": "low"}}
    first = curl("/v1/responses", body)
    assert first["status"] == "completed"
    second = curl("/v1/responses", {"model": MODEL, "input": "What is my name?", "previous_response_id": first["id"]})
    assert "Tom" in second["output"][-1]["content"][0]["text"]
    stream = events(curl.text("/v1/responses", {"model": MODEL, "input": CAPITAL, "stream": True}))
    names = [name for name, _ in stream]
    assert (names[0], names[-1]) == ("response.created", "response.completed")
    assert "Paris" in "".join(data["delta"] for name, data in stream if name == "response.output_text.delta")
    tool = {"type": "mcp", "server_label": "sky", "server_url": weather.url, "allowed_tools": ["get_weather"]}
    remote = curl("/v1/responses", {"model": MODEL, "tools": [tool], "input": OSLO})
    listed, call, message = remote["output"]
    assert [item["type"] for item in (listed, call, message)] == ["mcp_list_tools", "mcp_call", "message"]
    assert "snowy" in call["output"]
    assert "snowy" in message["content"][0]["text"]


# curl: Anthropic -----------------------------------------------------------------------------------------------------


@shows(52)
def test_curl_messages(guarded: Server) -> None:
    curl = Curl(guarded).with_header("x-api-key", TOKEN)
    body: dict[str, Any] = {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": CAPITAL}]}
    (block,) = curl("/v1/messages", body)["content"]
    assert "Paris" in block["text"]
    stream = events(curl.text("/v1/messages", {**body, "stream": True}))
    names = [name for name, _ in stream if name != "content_block_delta"]
    assert names == ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    assert "Paris" in "".join(data["delta"]["text"] for name, data in stream if name == "content_block_delta")
    tool = {"name": "get_weather", "description": "Get the weather", "input_schema": WEATHER_SCHEMA}
    asked = {**body, "messages": [{"role": "user", "content": OSLO}], "tools": [tool], "tool_choice": {"type": "any"}}
    reply = curl("/v1/messages", asked)
    assert reply["stop_reason"] == "tool_use"
    assert reply["content"][-1]["input"] == {"city": "Oslo"}
