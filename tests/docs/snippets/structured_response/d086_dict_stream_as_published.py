prediction_stream = model.respond_stream("Describe a famous novel.", response_format=schema)

for fragment in prediction:
    print(fragment.content, end="", flush=True)
print()

result = prediction_stream.result()
book = result.parsed

print(book)
