"""Stop predictions from another thread, several with one signal."""

import threading

import lmstudio as lms


def tell(model: lms.LLM, topic: str, signal: lms.AbortSignal) -> None:
    """Tell a story until it ends or somebody stops it."""
    try:
        result = model.respond(f"Tell me a story about {topic}.", signal=signal)
    except lms.LMStudioCancelledError as error:  # it was stopped before it had begun
        print(f"{topic}: {error}")
    else:  # what there is of it, if it was stopped later
        print(f"{topic}: {len(result.content)} characters, {result.stop_reason}")


def main() -> None:
    """Two stories, and a stop button, which is a timer here. Then one that comes too late."""
    signal = lms.AbortSignal()
    with lms.Client() as client:
        model = client.llm.model()
        stories = [threading.Thread(target=tell, args=(model, topic, signal)) for topic in ("an owl", "a fox")]
        button = threading.Timer(0.05, signal.abort, ["enough of stories"])
        for thread in (*stories, button):
            thread.start()
        for thread in (*stories, button):
            thread.join()
        tell(model, "a king", signal)


if __name__ == "__main__":
    main()
