import lmstudio as lms

model = lms.llm()

for fragment in model.respond_stream("What makes bread rise?"):
    print(fragment.content, end="", flush=True)
print()
