"""Use messages in the form of OpenAI's API, and keep a long chat within the context."""

import json

import lmstudio as lms

MESSAGES = [
    {"role": "developer", "content": "You answer briefly."},
    {"role": "user", "content": "What is the capital of Norway?"},
    {"role": "assistant", "content": "The capital of Norway is Oslo."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "The capital of France is Paris."},
    {"role": "user", "content": "What is 2 + 3?"},
]


def main() -> None:
    """Read messages, leave out the oldest turns, answer, and write messages."""
    with lms.Client() as client:
        model = client.llm.model()
        chat = lms.Chat.from_openai(MESSAGES)
        print(f"{len(chat)} messages, {model.count_chat_tokens(chat)} tokens")

        # The model's template counts; without a number three quarters of the context are the limit.
        short = model.trim_chat(chat, 60)
        print(f"{len(short)} messages, {model.count_chat_tokens(short)} tokens")

        short.add_assistant_response(model.respond(short, config={"temperature": 0.0}))
        print(json.dumps(short.to_openai(), indent=2))


if __name__ == "__main__":
    main()
