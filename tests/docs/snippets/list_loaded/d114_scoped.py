import lmstudio as lms

with lms.Client() as client:
    all_loaded_models = client.list_loaded_models()
    llm_only = client.llm.list_loaded()
    embedding_only = client.embedding.list_loaded()

    print(all_loaded_models)
