import lmstudio as lms

llm = lms.llm("qwen/qwen3-4b-2507", ttl=3600)
