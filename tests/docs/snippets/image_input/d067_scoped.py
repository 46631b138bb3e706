import lmstudio as lms

with lms.Client() as client:
    image_path = "/path/to/image.jpg"
    image_handle = client.files.prepare_image(image_path)
    model = client.llm.model("qwen2-vl-2b-instruct")
    chat = lms.Chat()
    chat.add_user_message("What is in the picture?", images=[image_handle])
    prediction = model.respond(chat)
