import lmstudio as lms

model = lms.llm()
print(model.respond("What makes bread rise?"))
