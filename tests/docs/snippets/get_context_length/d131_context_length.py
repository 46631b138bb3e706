context_length = model.get_context_length()
