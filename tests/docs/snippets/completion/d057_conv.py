import lmstudio as lms

llm = lms.llm()

completion = llm.complete(
    "My name is",
    on_prompt_processing_progress=(lambda progress: print(f"{progress * 100}% read")),
)
