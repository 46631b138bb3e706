"""The commands of `python -m lmstudio` that ask a server something. One module per command; only the core is needed."""
