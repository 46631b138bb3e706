import lmstudio as lms

SERVER_API_HOST = "localhost:1234"

with lms.Client(SERVER_API_HOST) as client:
    model = client.llm.model()

    for fragment in model.respond_stream("How do bridges carry weight?"):
        print(fragment.content, end="", flush=True)
    print()
