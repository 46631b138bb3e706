import lmstudio as lms

model = lms.llm("qwen/qwen3-4b-2507")
result = model.respond("Why do cats purr?")

print(result)
