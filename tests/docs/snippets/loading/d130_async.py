import lmstudio as lms

async with lms.AsyncClient() as client:
    llm = await client.llm.model("qwen/qwen3-4b-2507", ttl=3600)
