"""The shortest program with a model: connect, ask, print the first fragment. `python first_token.py HOST MODEL`."""

import sys

import lmstudio as lms

with lms.Client(sys.argv[1]) as client:
    for fragment in client.llm.model(sys.argv[2]).respond_stream("Go"):
        print(fragment.content, flush=True)
        break
