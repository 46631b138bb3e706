import lmstudio as lms

async with lms.AsyncClient() as client:
    model = await client.llm.model()
    await model.unload()
