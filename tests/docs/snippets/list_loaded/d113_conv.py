import lmstudio as lms

all_loaded_models = lms.list_loaded_models()
llm_only = lms.list_loaded_models("llm")
embedding_only = lms.list_loaded_models("embedding")

print(all_loaded_models)
