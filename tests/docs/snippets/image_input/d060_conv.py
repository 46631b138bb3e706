import lmstudio as lms

model = lms.llm("qwen2-vl-2b-instruct")
