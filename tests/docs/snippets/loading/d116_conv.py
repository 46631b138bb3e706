import lmstudio as lms

model = lms.llm()
