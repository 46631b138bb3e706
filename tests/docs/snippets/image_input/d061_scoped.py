import lmstudio as lms

with lms.Client() as client:
    model = client.llm.model("qwen2-vl-2b-instruct")
