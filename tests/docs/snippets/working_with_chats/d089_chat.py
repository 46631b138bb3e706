chat = Chat("You know every animal of the savanna.")
chat.add_user_message("How tall is a giraffe?")

prediction = llm.respond(chat)
