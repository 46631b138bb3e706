import lmstudio as lms

SERVER_API_HOST = "localhost:1234"

if await lms.AsyncClient.is_valid_api_host(SERVER_API_HOST):
    print("found")
else:
    print("not found")
