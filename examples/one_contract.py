"""Depend on the contract, not on a client: the same function with the native client, over HTTP, and with a double."""

import lmstudio as lms
from lmstudio.contract import ChatMessage, ChatRole, Completed, SdkContract
from lmstudio.http import HttpClient
from lmstudio.testing import FakeSdk


def capital_of(sdk: SdkContract, country: str, model: str | None = None) -> str:
    """The application. It knows nothing of how the model is reached."""
    messages = [
        ChatMessage(ChatRole.SYSTEM, "You answer with one word."),
        ChatMessage(ChatRole.USER, f"What is the capital of {country}?"),
    ]
    text = ""
    with sdk.stream_chat_completion(messages, model=model, max_tokens=20, temperature=0) as stream:
        for event in stream.events():
            if isinstance(event, Completed):
                return text.strip()
            text += event.content
    return text.strip()


def test_capital() -> None:
    """Its test: in memory, without a server."""
    sdk = FakeSdk()
    sdk.reply("  Oslo ")
    assert capital_of(sdk, "Norway") == "Oslo"
    sdk.assert_called_with("What is the capital of Norway?", config={"max_tokens": 20, "temperature": 0})


def main() -> None:
    """Ask the LM Studio on this machine in both ways."""
    test_capital()
    with lms.Client() as native:
        model = next(iter(native.list_models(status="ready"))).id
        print("native:", capital_of(native, "Norway", model))
        with HttpClient(f"http://{native.api_host}") as over_http:
            print("http:", capital_of(over_http, "Norway", model))


if __name__ == "__main__":
    main()
