result = model.respond("Describe a famous novel.", response_format=BookSchema)
book = result.parsed

print(book)
