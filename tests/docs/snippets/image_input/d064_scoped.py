import lmstudio as lms

with lms.Client() as client:
    image_path = "/path/to/image.jpg"
    image_handle = client.files.prepare_image(image_path)
