import lmstudio as lms

model = lms.llm(
    "qwen2.5-7b-instruct",
    config={
        "contextLength": 8192,
        "gpu": {
            "ratio": 0.5,
        },
    },
)
