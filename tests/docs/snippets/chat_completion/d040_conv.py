import lmstudio as lms

llm = lms.llm()

response = llm.respond(
    "What makes bread rise?",
    on_prompt_processing_progress=(lambda progress: print(f"{progress * 100}% read")),
)
