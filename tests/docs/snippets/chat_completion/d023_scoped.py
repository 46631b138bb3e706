import lmstudio as lms

with lms.Client() as client:
    model = client.llm.model()

    for fragment in model.respond_stream("What makes bread rise?"):
        print(fragment.content, end="", flush=True)
    print()
