result = model.respond(
    chat,
    config={
        "temperature": 0.6,
        "maxTokens": 50,
    },
)
