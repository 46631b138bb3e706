import lmstudio as lms

client = lms.get_default_client()
model = client.llm.load_new_instance("qwen/qwen3-4b-2507")
another_model = client.llm.load_new_instance("qwen/qwen3-4b-2507", "my-second-model")
