"""Test code that uses a model without a model. Run it with pytest, or as it is."""

import re

import lmstudio as lms
from lmstudio.testing import ScriptedServer, ToolCall


def summarize(client: lms.Client, text: str) -> str:
    """Code under test."""
    reply = client.llm.model("scripted-chat").respond(f"Summarize: {text}", config={"temperature": 0.2})
    return reply.content.strip()


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_summary(lmstudio_server: ScriptedServer, lmstudio_client: lms.Client) -> None:
    """The model says what it is told to, and the test sees what it was asked."""
    lmstudio_server.reply("  A short summary.\n")
    assert summarize(lmstudio_client, "A long text.") == "A short summary."
    lmstudio_server.assert_called_with(re.compile("A long text"), config={"temperature": 0.2})


def test_tool(lmstudio_server: ScriptedServer, lmstudio_client: lms.Client) -> None:
    """One reply for each round of `act`."""
    lmstudio_server.reply([ToolCall("add", {"a": 1, "b": 2})], "It is 3.")
    lmstudio_client.llm.model("scripted-chat").act("What is 1 + 2?", [add])
    assert lmstudio_server.last_request.tool_results == ["3"]


def test_lost_connection(lmstudio_server: ScriptedServer, lmstudio_client: lms.Client) -> None:
    """Faults are a line each."""
    lmstudio_server.reply(["A ", "short ", "summary."])
    lmstudio_server.network.lose_after(2)
    try:
        summarize(lmstudio_client, "A long text.")
    except lms.LMStudioWebsocketError:
        return
    raise AssertionError("The connection was not lost.")


def main() -> None:
    """Run the tests without pytest: the fixtures are a server and a client of it."""
    for test in (test_summary, test_tool, test_lost_connection):
        with ScriptedServer() as server, lms.Client(server.api_host) as client:
            test(server, client)
    print("ok")


if __name__ == "__main__":
    main()
