import lmstudio as lms

model = lms.llm("qwen/qwen3-4b-2507")
