import lmstudio as lms

model = lms.llm()

tokens = model.tokenize("Rain on a tin roof")

print(tokens)
