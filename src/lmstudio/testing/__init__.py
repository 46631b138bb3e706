"""Tests of code that uses LM Studio, without LM Studio: fast, the same everywhere, and with every fault at hand.

`pip install 'lmstudio[testing]'` is all: pytest finds the fixtures by itself.

    def test_summary(lmstudio_server, lmstudio_client):
        lmstudio_server.reply("  A short summary.\\n")
        assert summarize(lmstudio_client, "A long text.") == "A short summary."
        lmstudio_server.assert_called_with(re.compile("A long text"), config={"temperature": 0.2})

Fixtures
--------
`lmstudio_server`: a `ScriptedServer` of this test alone, in this process; it starts in a few milliseconds.
`lmstudio_session_server`: one for the whole run; `reset()` between tests.
`lmstudio_client`, `lmstudio_async_client`: clients of it. Code that makes its own, with `lms.Client()` or `lms.llm()`,
finds the server, too: `LM_STUDIO_BASE_URL` is set during the test, and the default client is a fresh one.
`lmstudio_replay`, `lmstudio_recording`: a recorded session instead of a script, see below.

The models are "scripted-chat" and "scripted-embed". To have those that your code names, use
`lmstudio_server.add_model("qwen/qwen3-4b")`, the marker `@pytest.mark.lmstudio(models=[...])`, or the setting
`lmstudio_models` of pytest's configuration.

What the model says
-------------------
A queue, selected replies, and functions; see `ScriptedServer.reply`.

    server.reply("first", "second")                      # one for each prediction
    server.reply("Sunny.", to=re.compile("weather", re.I), times=None)
    server.reply(lambda request: request.text.upper())
    server.reply({"name": "Nina", "age": 31})            # structured output
    server.reply([Reasoning("A sum."), ToolCall("add", {"a": 1, "b": 2})], "3")
    server.reply(BrokenToolCall("{oops"))
    server.reply(Reply("Once upon", stop_reason="maxPredictedTokensReached"))
    server.reply(["one", gate, " two"])                  # stands at a Gate until the test opens it: no sleeping

    server.reply_vector([1.0, 0.0], to="cat")            # embeddings
    server.fail("No memory", on="getOrLoad", display_data={...})
    server.fail_load("Not enough memory", "qwen/qwen3-4b")

Faults
------
`server.network` is a `FaultProxy`; its methods return when the fault has happened.

    server.network.lose_after(3)              # fragments; 0: before the first
    server.network.close_connections()        # now; reset_connections(): the hard way
    server.network.refuse_connections()       # until accept_connections()
    server.network.go_silent()                # half-open: nobody answers, nobody hangs up
    server.network.hold()                     # slow: nothing arrives until release()
    server.network.send(b"garbage")
    server.restart()                          # at the same address; no model is loaded then

What the client asked for
-------------------------
    server.requests, server.last_request      # of predictions: model, messages, text, system, tools, config, raw
    server.requests[0].cancelled              # or wait_cancelled(); tool_results: what its tools have said
    server.embeddings, server.calls           # texts to embed; every call of every namespace
    server.assert_called_with(text, model=..., messages=..., tools=[...], config={...})

At the end of a test the fixture reports what the test cannot see, such as a reply function that raised. In strict mode
(`@pytest.mark.lmstudio(strict=True)`, or `lmstudio_strict`) each prediction needs a reply, and each reply a prediction.

Without a server
----------------
Code that depends on the contract (`lmstudio.contract.SdkContract`) can be tested in memory: `FakeSdk` and
`AsyncFakeSdk` have the same script, the same checks of requests and the same replies. Fixtures: `lmstudio_fake_sdk`
and `lmstudio_async_fake_sdk`.

    def test_summary(lmstudio_fake_sdk):
        lmstudio_fake_sdk.reply("A short summary.")
        assert summarize(lmstudio_fake_sdk, "A long text.") == "A short summary."

    sdk.fail(lms.LMStudioRateLimitError("Busy."))        # the next chat; on="list_models", on="health"
    sdk.add_model("qwen/qwen3-4b", loaded=False)

Over HTTP
---------
`ScriptedServer` has LM Studio's HTTP port, too, for `lmstudio.http.HttpClient(server.api_host)` and other clients: the
same replies, faults and requests. `/health` says `status`, `lmstudio_version`, `api_version`, `models_loaded` and
`uptime_ms`; `network` makes it fail.

Recordings
----------
    def test_summary(lmstudio_recording, lmstudio_client):
        assert "summary" in summarize(lmstudio_client, "A long text.")

`pytest --lmstudio-record=http://localhost:1234` runs the test with a real LM Studio and writes the session to
`recordings/<file>/<test>.jsonl`; without the option the test is answered from that file. A request that was not
recorded fails and says how it differs from the nearest one. `lmstudio_replay("file.jsonl")` names the file itself, and
without pytest there are `Recorder` and `Replayer`. The form of the file is described in `lmstudio.testing.recording`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmstudio.server.engine.scripted import BrokenToolCall as BrokenToolCall
    from lmstudio.server.engine.scripted import Gate as Gate
    from lmstudio.server.engine.scripted import Reasoning as Reasoning
    from lmstudio.server.engine.scripted import Reply as Reply
    from lmstudio.server.engine.scripted import ToolCall as ToolCall

    from .async_fake_sdk import AsyncFakeSdk as AsyncFakeSdk
    from .network import FaultProxy as FaultProxy
    from .recorder import Recorder as Recorder
    from .replayer import Replayer as Replayer
    from .requests import Call as Call
    from .requests import EmbeddingRequest as EmbeddingRequest
    from .requests import PredictionRequest as PredictionRequest
    from .server import ScriptedServer as ScriptedServer
    from .sync_fake_sdk import FakeSdk as FakeSdk

_ENGINE = "lmstudio.server.engine.scripted"
_MODULE_OF = {
    "AsyncFakeSdk": "lmstudio.testing.async_fake_sdk",
    "BrokenToolCall": _ENGINE,
    "Call": "lmstudio.testing.requests",
    "EmbeddingRequest": "lmstudio.testing.requests",
    "FakeSdk": "lmstudio.testing.sync_fake_sdk",
    "FaultProxy": "lmstudio.testing.network",
    "Gate": _ENGINE,
    "PredictionRequest": "lmstudio.testing.requests",
    "Reasoning": _ENGINE,
    "Recorder": "lmstudio.testing.recorder",
    "Replayer": "lmstudio.testing.replayer",
    "Reply": _ENGINE,
    "ScriptedServer": "lmstudio.testing.server",
    "ToolCall": _ENGINE,
}

__all__ = [
    "AsyncFakeSdk",
    "BrokenToolCall",
    "Call",
    "EmbeddingRequest",
    "FakeSdk",
    "FaultProxy",
    "Gate",
    "PredictionRequest",
    "Reasoning",
    "Recorder",
    "Replayer",
    "Reply",
    "ScriptedServer",
    "ToolCall",
]


if not TYPE_CHECKING:  # or type checkers would believe in every name

    def __getattr__(name: str) -> object:
        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(module), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
