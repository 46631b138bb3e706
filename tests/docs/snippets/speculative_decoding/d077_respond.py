import lmstudio as lms

main_model_key = "qwen2.5-7b-instruct"
draft_model_key = "qwen2.5-0.5b-instruct"

model = lms.llm(main_model_key)
result = model.respond(
    "Which numbers below 20 are prime?",
    config={
        "draftModel": draft_model_key,
    },
)

print(result)
stats = result.stats
print(f"{stats.accepted_draft_tokens_count} of {stats.predicted_tokens_count} tokens were guessed")
