import lmstudio as lms

SERVER_API_HOST = "localhost:1234"

# The first call of the convenience functions in the program.
lms.configure_default_client(SERVER_API_HOST)
