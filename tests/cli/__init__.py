"""The commands of `python -m lmstudio`."""
