import lmstudio as lms

async with lms.AsyncClient() as client:
    model = await client.llm.model("qwen2.5-7b-instruct")
