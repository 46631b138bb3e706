"""What a type checker must make of the embedded server and of MCP. Checked by mypy and pyright, never run."""

from __future__ import annotations

from pathlib import Path

import mcp
from typing_extensions import assert_type

import lmstudio as lms
from lmstudio.mcp import mcp_tools
from lmstudio.server import Gate, ModelFile, Reply, ScriptedEngine, Server, ToolCall, scripted_models


def embedded() -> None:
    with Server() as server, lms.Client(server.api_host) as client:
        assert_type(server, Server)
        assert_type(server.api_host, str)
        assert_type(server.models, tuple[ModelFile, ...])
        assert_type(client.llm.model(), lms.LLM)
    Server(["model.gguf", Path("other.gguf")], port=1234, api_tokens=("sk-lm-abc",))
    Server(models_folder="models", catalog=Path("catalog.json"))
    Server("model.gguf", prot=1234)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # misspelt
    Server([5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # no file


async def scripted() -> None:
    gate = Gate()
    engine = ScriptedEngine([Reply("Hello"), Reply([ToolCall("add", {"a": 1})], prompt_gate=gate), "Bye"])
    async with Server(scripted_models(), engine=engine) as server, lms.AsyncClient(server.api_host) as client:
        assert_type(server, Server)
        assert_type(await client.llm.model(), lms.AsyncLLM)
    assert_type(engine.cancelled, int)


async def tools_of_mcp(model: lms.AsyncLLM, session: mcp.ClientSession) -> None:
    tools = await mcp_tools(session)
    assert_type(tools, list[lms.RawFunctionTool])
    await model.act("Hi", [*tools, print])
