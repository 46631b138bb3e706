prediction_stream = await model.complete_stream("My name is", config={"maxTokens": 100})

async for fragment in prediction_stream:
    print(fragment.content, end="", flush=True)
print()
