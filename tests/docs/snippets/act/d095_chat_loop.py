import readline  # line editing for input()
from pathlib import Path

import lmstudio as lms


def create_file(name: str, content: str):
    """Create a text file."""
    path = Path(name)
    if path.exists():
        return "Error: there is such a file already."
    try:
        path.write_text(content, encoding="utf-8")
    except Exception as exc:
        return "Error: {exc!r}"
    return "The file is there."


def print_fragment(fragment, round_index=0):
    # act() passes the number of the round as well, which this program has no use for.
    print(fragment.content, end="", flush=True)


model = lms.llm()
chat = lms.Chat("You keep the user's files in order.")

while True:
    try:
        user_input = input("You (nothing to leave): ")
    except EOFError:
        print()
        break
    if not user_input:
        break
    chat.add_user_message(user_input)
    print("Clerk: ", end="", flush=True)
    model.act(
        chat,
        [create_file],
        on_message=chat.append,
        on_prediction_fragment=print_fragment,
    )
    print()
