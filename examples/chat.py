"""A chat in the terminal: streams the replies, remembers the conversation. Ctrl-C stops a reply, Ctrl-D ends it."""

import lmstudio as lms


def main() -> None:
    """Talk until the input ends."""
    with lms.Client() as client:
        model = client.llm.model()
        chat = lms.Chat("You answer briefly.")
        while True:
            try:
                chat.add_user_message(input("you> "))
            except EOFError:
                print()
                return
            with model.respond_stream(chat, on_message=chat.append) as stream:
                try:
                    for fragment in stream:
                        print(fragment.content, end="", flush=True)
                except KeyboardInterrupt:  # the server has been told to stop; the conversation goes on
                    chat.pop()
            print()


if __name__ == "__main__":
    main()
