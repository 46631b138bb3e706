result = model.respond("Describe a famous novel.", response_format=schema)
book = result.parsed

print(book)
