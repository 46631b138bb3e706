chat = Chat.from_history("How tall is a giraffe?")
