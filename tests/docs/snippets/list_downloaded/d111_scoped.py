import lmstudio as lms

with lms.Client() as client:
    downloaded = client.list_downloaded_models()
    llm_only = client.llm.list_downloaded()
    embedding_only = client.embedding.list_downloaded()

for model in downloaded:
    print(model)
