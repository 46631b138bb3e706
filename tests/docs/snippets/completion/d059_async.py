import lmstudio as lms

async with lms.AsyncClient() as client:
    llm = await client.llm.model()

    completion = await llm.complete(
        "My name is",
        on_prompt_processing_progress=(lambda progress: print(f"{progress * 100}% read")),
    )
