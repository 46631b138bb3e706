import lmstudio as lms

async with lms.AsyncClient() as client:
    image_path = "/path/to/image.jpg"
    image_handle = await client.files.prepare_image(image_path)
