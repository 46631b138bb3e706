import lmstudio as lms

SERVER_API_HOST = "localhost:1234"

lms.configure_default_client(SERVER_API_HOST)

model = lms.llm("openai/gpt-oss-20b")
for fragment in model.respond_stream("Who invented the zip fastener?"):
    print(fragment.content, end="", flush=True)
print()
