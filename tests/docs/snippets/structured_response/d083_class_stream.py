prediction_stream = model.respond_stream("Describe a famous novel.", response_format=BookSchema)

# The fragments are there for who wants them:
# for fragment in prediction_stream:
#     print(fragment.content, end="", flush=True)

result = prediction_stream.result()
book = result.parsed

print(book)
