import lmstudio as lms

async with lms.AsyncClient(api_token="your-token-here") as client:
    model = await client.llm.model()
    result = await model.respond("Who keeps the keys?")
    print(result)
