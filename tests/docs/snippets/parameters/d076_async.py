import lmstudio as lms

async with lms.AsyncClient() as client:
    model = await client.llm.load_new_instance(
        "qwen2.5-7b-instruct",
        config={
            "contextLength": 8192,
            "gpu": {
                "ratio": 0.5,
            },
        },
    )
