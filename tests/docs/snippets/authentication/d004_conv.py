import lmstudio as lms

# Before anything else uses the default client.
lms.configure_default_client(api_token="your-token-here")

model = lms.llm()
result = model.respond("Who keeps the keys?")
print(result)
