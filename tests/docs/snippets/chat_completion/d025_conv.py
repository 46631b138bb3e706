import lmstudio as lms

model = lms.llm("qwen2.5-7b-instruct")
