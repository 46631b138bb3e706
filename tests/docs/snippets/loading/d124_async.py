import lmstudio as lms

async with lms.AsyncClient() as client:
    model = await client.llm.load_new_instance("qwen/qwen3-4b-2507")
    another_model = await client.llm.load_new_instance("qwen/qwen3-4b-2507", "my-second-model")
