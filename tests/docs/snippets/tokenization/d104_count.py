token_count = len(model.tokenize("Rain on a tin roof"))
print("Tokens:", token_count)
