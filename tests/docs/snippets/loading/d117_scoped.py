import lmstudio as lms

with lms.Client() as client:
    model = client.llm.model()
