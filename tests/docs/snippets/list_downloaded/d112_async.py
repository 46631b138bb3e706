import lmstudio as lms

async with lms.AsyncClient() as client:
    downloaded = await client.list_downloaded_models()
    llm_only = await client.llm.list_downloaded()
    embedding_only = await client.embedding.list_downloaded()

for model in downloaded:
    print(model)
