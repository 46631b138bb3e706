import lmstudio as lms

async with lms.AsyncClient() as client:
    model = await client.llm.model("qwen/qwen3-4b-2507")
    result = await model.respond("Why do cats purr?")

    print(result)
