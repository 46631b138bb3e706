import lmstudio as lms

image_path = "/path/to/image.jpg"
image_handle = lms.prepare_image(image_path)
model = lms.llm("qwen2-vl-2b-instruct")
chat = lms.Chat()
chat.add_user_message("What is in the picture?", images=[image_handle])
prediction = model.respond(chat)
