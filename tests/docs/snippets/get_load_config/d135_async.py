import lmstudio as lms

async with lms.AsyncClient() as client:
    model = await client.llm.model()

    print(await model.get_load_config())
