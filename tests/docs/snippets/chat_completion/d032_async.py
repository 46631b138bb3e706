prediction_stream = await model.respond_stream(chat)

async for fragment in prediction_stream:
    print(fragment.content, end="", flush=True)
print()
