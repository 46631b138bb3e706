from create_file_tool import create_file

import lmstudio as lms

model = lms.llm("qwen2.5-7b-instruct")
model.act(
    "Write a poem about trains into poem.txt.",
    [create_file],
)
