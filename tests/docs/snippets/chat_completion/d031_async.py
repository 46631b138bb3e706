result = await model.respond(chat)

print(result)
