import lmstudio as lms

client = lms.get_default_client()
model = client.llm.load_new_instance(
    "qwen2.5-7b-instruct",
    config={
        "contextLength": 8192,
        "gpu": {
            "ratio": 0.5,
        },
    },
)
