import lmstudio as lms

model = lms.llm()

print(model.get_load_config())
