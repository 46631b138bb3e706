import lmstudio as lms

with lms.Client(api_token="your-token-here") as client:
    model = client.llm.model()
    result = model.respond("Who keeps the keys?")
    print(result)
