import lmstudio as lms

model = lms.llm()
model.unload()
