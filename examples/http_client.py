"""LM Studio over HTTP: health, models, a completion, one with settings of its own, and what can go wrong."""

from lmstudio.http import (
    CompletionRequest,
    ErrorType,
    HttpClient,
    LMStudioError,
    RetryConfig,
    Timeout,
    complete,
    list_models,
)


def check_health(client: HttpClient) -> bool:
    """Whether the server can be used; if not, what to do about it."""
    health = client.health_check()
    print(f"health: {health['status']} at {health['base_url']}, {health['models_loaded']} models loaded")
    for hint in health["hints"]:
        print(f"  {hint}")
    return bool(health["api_available"])


def complete_with_settings(model: str) -> None:
    """More patience and more retries than by default, and a request with everything in it."""
    retry = RetryConfig(max_retries=5, backoff_factor=2.0, max_backoff=120.0)
    with HttpClient(timeout=Timeout(connect=5, idle=60), retry=retry) as client:
        request = CompletionRequest(model=model, prompt="Once upon a time", max_tokens=30, temperature=0.2, stop=["\n"])
        response = client.create_completion(request)
        print(f"completion: {response.choices[0].text!r}, finished because of {response.choices[0].finish_reason!r}")
        with client.stream_chat_completion("What is the capital of Norway?", model=model, max_tokens=50) as stream:
            print("stream: ", end="")
            for chunk in stream:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
            print()


def show_errors(client: HttpClient) -> None:
    """Every failure is an LMStudioError, and its type says what kind of failure it is."""
    try:
        client.create_completion_simple("no-such-model", "Hello")
    except LMStudioError as error:
        print(f"error: {error.error_type.value}, status {error.status_code}: {error.message}")
    try:
        with HttpClient("localhost:1", retry=RetryConfig(max_retries=0)) as nobody:
            nobody.list_models()
    except LMStudioError as error:
        print(
            f"error: {error.error_type.value}, worth another try later: {error.error_type is ErrorType.NETWORK_ERROR}"
        )


def main() -> None:
    """All of it, with a model that is loaded."""
    with HttpClient() as client:
        if not check_health(client):
            return
        print("models:", ", ".join(model.id for model in list_models()))
        ready = [model.id for model in client.list_models(status="ready") if "embed" not in model.id]
        response = complete(model=ready[0], prompt="The capital of Norway is", max_tokens=20)
        print(f"completion: {response.choices[0].text!r}")
        complete_with_settings(ready[0])
        show_errors(client)


if __name__ == "__main__":
    main()
