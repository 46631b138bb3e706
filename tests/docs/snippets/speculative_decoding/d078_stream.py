import lmstudio as lms

main_model_key = "qwen2.5-7b-instruct"
draft_model_key = "qwen2.5-0.5b-instruct"

model = lms.llm(main_model_key)
prediction_stream = model.respond_stream(
    "Which numbers below 20 are prime?",
    config={
        "draftModel": draft_model_key,
    },
)
for fragment in prediction_stream:
    print(fragment.content, end="", flush=True)
print()

stats = prediction_stream.result().stats
print(f"{stats.accepted_draft_tokens_count} of {stats.predicted_tokens_count} tokens were guessed")
