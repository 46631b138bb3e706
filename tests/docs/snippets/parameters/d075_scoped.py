import lmstudio as lms

with lms.Client() as client:
    model = client.llm.load_new_instance(
        "qwen2.5-7b-instruct",
        config={
            "contextLength": 8192,
            "gpu": {
                "ratio": 0.5,
            },
        },
    )
