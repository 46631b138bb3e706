import lmstudio as lms

async with lms.AsyncClient() as client:
    model = await client.llm.model()
    print(await model.respond("What makes bread rise?"))
