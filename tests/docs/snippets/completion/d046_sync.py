result = model.complete("My name is", config={"maxTokens": 100})

print(result)
