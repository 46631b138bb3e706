import lmstudio as lms

with lms.Client() as client:
    model = client.llm.model("qwen2.5-7b-instruct")
