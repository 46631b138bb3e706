import lmstudio as lms

image_path = "/path/to/image.jpg"
image_handle = lms.prepare_image(image_path)
