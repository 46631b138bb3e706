"""Programs as the users of two other clients write them, in interpreters of their own, against the embedded server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.http import HttpClient
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "scripted-chat"
ONLY_CORE = """
import sys
for name in ('starlette', 'uvicorn', 'yaml', 'rich', 'pypdf', 'xllamacpp', 'lmstudio.server'):
    sys.modules[name] = None
"""
R0 = """
from lmstudio.http import (
    LMStudioClient, LMStudioError, RetryConfig, CompletionRequest, ErrorType, list_models, complete
)

print([model.id for model in list_models()])
print(complete(model="scripted-chat", prompt="Hi", max_tokens=100).choices[0].text)

retry = RetryConfig(max_retries=5, backoff_factor=2.0, max_backoff=120.0)
with LMStudioClient(base_url=sys.argv[1], api_key=None, timeout=60.0, retry_config=retry) as client:
    print(client.health_check()["status"])
    response = client.create_completion(CompletionRequest(model="scripted-chat", prompt="one two", temperature=0.7))
    print(response.choices[0].text, response.usage.total_tokens)
    print(client.create_completion_simple("scripted-chat", "one", max_tokens=50, temperature=0.7).choices[0].text)
    try:
        client.create_completion_simple("nothing-like-it", "one")
    except LMStudioError as error:
        print(error.error_type.value, error.error_type is ErrorType.CLIENT_ERROR, error.status_code)
client.close()
"""
R1 = """
import lmstudio as lms
from lmstudio.contract import ChatMessage, ChatRole, Completed
from lmstudio.http import ChatCompletionRequest, HttpClient, ListModelsFilter

settings = lms.Settings.load(".env")
print(settings.timeout, settings.connect_timeout, settings.max_retries, settings.verify_tls)
with HttpClient(settings=settings) as sdk:
    request = ChatCompletionRequest(
        model="scripted-chat",
        messages=[ChatMessage(role=ChatRole.USER, content="one two")],
        stream=False, temperature=0.7, max_tokens=500,
    )
    print(sdk.create_chat_completion(request).choices[0].message.content)
    params = {"messages": [{"role": "user", "content": "three"}], "maxTokens": 500}
    print(sdk.chat_completion(**params).choices[0].message.content)  # with the model of the file
    for event in sdk.stream_chat_completion(**params).events():
        print("completed" if isinstance(event, Completed) else event.content, end="|")
    print()
    print([model.id for model in sdk.list_models(ListModelsFilter(status="ready", limit=10))])
    health = sdk.get_health()
    print(sdk.health(), health.status, health.api_version, health.models_loaded)
try:
    HttpClient("localhost:1", settings=settings).list_models()
except lms.LMStudioConnectionError as error:
    print(error.context["endpoint"], bool(error.message))
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(engine=ScriptedEngine()) as server, lms.Client(server.api_host) as client:
        client.llm.load_new_instance(MODEL)
        yield server


def run(program: str, *arguments: str, folder: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ONLY_CORE + program, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_program_of_the_completion_client(server: Server, tmp_path: Path) -> None:
    """Reference R0: its imports, its client, its functions, and nothing installed but the package itself."""
    url = f"http://{server.api_host}/v1"
    assert run(R0, url, folder=tmp_path, LM_STUDIO_BASE_URL=url) == [
        "['scripted-chat', 'scripted-embed']",
        "You said: Hi",
        "ok",
        "You said: one two 6",
        "You said: one",
        "client_error True 400",
    ]


def test_program_of_the_chat_client(server: Server, tmp_path: Path) -> None:
    """Reference R1: settings in a file .env, among those of an application."""
    (tmp_path / ".env").write_text(
        f"APP_ENV=local\nAPP_NAME=Laravel\n\nLM_STUDIO_BASE_URL=http://{server.api_host}\nLM_STUDIO_API_KEY=\n"
        f"LM_STUDIO_TIMEOUT=30\nLM_STUDIO_CONNECT_TIMEOUT=10\nLM_STUDIO_MAX_RETRIES=0\nLM_STUDIO_VERIFY_TLS=true\n"
        f"LM_STUDIO_DEFAULT_MODEL={MODEL}\n"
    )
    assert run(R1, folder=tmp_path) == [
        "30.0 10.0 0 True",
        "You said: one two",
        "You said: three",
        "You| said:| three|completed|",
        "['scripted-chat']",
        "True ok v1 1",
        "v1/models True",
    ]


def test_first_words_of_a_stream_take_less_than_two_seconds(server: Server) -> None:
    """Reference R1 names the number, for connections within a machine. The fastest of several counts."""
    seconds: list[float] = []
    with HttpClient(server.api_host) as client:
        for _ in range(5):
            began = time.monotonic()
            with client.stream_chat_completion("Hi", model=MODEL) as stream:
                assert any(chunk.choices[0].delta.content for chunk in stream)  # looks no further than the first
                seconds.append(time.monotonic() - began)
    assert min(seconds) < 2.0
