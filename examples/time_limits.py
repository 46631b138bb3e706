"""Time limits for a client and for single calls, and retries of what can be repeated."""

import lmstudio as lms


def main() -> None:
    """One answer in time, and one that takes too long."""
    with lms.Client(timeout=lms.Timeout(connect=3, idle=120), retry=lms.RetryConfig(max_retries=5)) as client:
        model = client.llm.model(timeout=30)  # a number of seconds is the total
        print(model.respond("What is the capital of Norway?", timeout=lms.Timeout(first_token=60, total=600)))
        try:
            model.respond("Tell me a very long story.", timeout=0.01)
        except lms.LMStudioTimeoutError as error:  # the server has been told to stop
            print(error)
            print("which limit it was:", error.limit)


if __name__ == "__main__":
    main()
