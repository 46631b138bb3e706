import lmstudio as lms

async with lms.AsyncClient() as client:
    model = await client.llm.model()

    prediction_stream = await model.respond_stream("Count the stars.")
    cancelled = False
    async for fragment in prediction_stream:
        if ...:  # the condition for cancelling
            cancelled = True
            await prediction_stream.cancel()
            # The loop goes on and ends by itself, so that there is a result of what was said.

    if not cancelled:
        print(prediction_stream.result())
