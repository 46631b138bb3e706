"""Test code that uses a model without a model: the scripted engine answers what you tell it."""

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server


def summarize(client: lms.Client, text: str) -> str:
    """The code under test."""
    reply = client.llm.model("scripted-chat").respond(f"Summarize in one sentence: {text}")
    return reply.content.strip()


def main() -> None:
    """Run it against a server in this process."""
    with Server(engine=ScriptedEngine("  A short summary.\n")) as server, lms.Client(server.api_host) as client:
        assert summarize(client, "A long text.") == "A short summary."
    print("ok")


if __name__ == "__main__":
    main()
