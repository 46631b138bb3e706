prediction_stream = model.respond_stream(
    chat,
    config={
        "temperature": 0.6,
        "maxTokens": 50,
    },
)

for fragment in prediction_stream:
    print(fragment.content, end="", flush=True)
print()
