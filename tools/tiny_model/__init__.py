"""How the two models of the embedded server were made: corpus, training, export and evaluation.

Run the modules from the repository root, for example `python -m tools.tiny_model.corpus --help`; README.md has the
commands of a complete rebuild. The corpus modules need only the standard library.
"""
