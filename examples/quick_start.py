"""Chat with any loaded model, through the module-level functions."""

import lmstudio as lms


def main() -> None:
    """Ask one question."""
    model = lms.llm()
    print(model.respond("What is the capital of Norway?"))


if __name__ == "__main__":
    main()
