import lmstudio as lms


def fits_into_context(model: lms.LLM, chat: lms.Chat) -> bool:
    formatted = model.apply_prompt_template(chat)
    token_count = len(model.tokenize(formatted))
    context_length = model.get_context_length()
    return token_count < context_length


model = lms.llm()

chat = lms.Chat.from_history(
    {
        "messages": [
            {"role": "user", "content": "What makes bread rise?"},
            {"role": "assistant", "content": "Yeast does."},
            {"role": "user", "content": "And cake?"},
        ]
    }
)

print("Fits:", fits_into_context(model, chat))
