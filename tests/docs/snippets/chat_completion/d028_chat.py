import lmstudio as lms

chat = lms.Chat("You are a gardener who answers briefly.")
chat.add_user_message("When do I plant tulips?")
