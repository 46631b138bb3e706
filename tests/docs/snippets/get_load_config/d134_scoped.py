import lmstudio as lms

with lms.Client() as client:
    model = client.llm.model()

    print(model.get_load_config())
