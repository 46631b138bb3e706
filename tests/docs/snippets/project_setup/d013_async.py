import lmstudio as lms

api_host = await lms.AsyncClient.find_default_local_api_host()
if api_host is not None:
    print(f"found at {api_host}")
else:
    print("not found")
