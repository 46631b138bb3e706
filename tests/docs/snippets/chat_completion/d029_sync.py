result = model.respond(chat)

print(result)
