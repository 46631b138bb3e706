import lmstudio as lms

SERVER_API_HOST = "localhost:1234"

async with lms.AsyncClient(SERVER_API_HOST) as client:
    model = await client.llm.model()

    for fragment in await model.respond_stream("How do bridges carry weight?"):
        print(fragment.content, end="", flush=True)
    print()
