prediction_stream = model.respond_stream(chat)

for fragment in prediction_stream:
    print(fragment.content, end="", flush=True)
print()
