import lmstudio as lms

async with lms.AsyncClient() as client:
    all_loaded_models = await client.list_loaded_models()
    llm_only = await client.llm.list_loaded()
    embedding_only = await client.embedding.list_loaded()

    print(all_loaded_models)
