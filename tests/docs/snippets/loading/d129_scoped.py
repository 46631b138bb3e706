import lmstudio as lms

with lms.Client() as client:
    llm = client.llm.model("qwen/qwen3-4b-2507", ttl=3600)
