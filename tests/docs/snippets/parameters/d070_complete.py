result = model.complete(
    chat,
    config={
        "temperature": 0.6,
        "maxTokens": 50,
        "stopStrings": ["\n\n"],
    },
)
