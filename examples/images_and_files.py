"""Show a picture to a model, and find something in documents."""

import tempfile
from pathlib import Path

import lmstudio as lms

FACTS = "Rome is the capital of Italy.\n\nOslo is the capital of Norway.\n\nParis is the capital of France.\n"
# One grey pixel. A path, an open file, a Pillow image or a data: URI would do as well.
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
    "18dd8db00000000049454e44ae426082"
)


def describe(client: lms.Client, picture: bytes) -> str:
    """What the model sees. Models that cannot see refuse pictures before anything is sent."""
    chat = lms.Chat()
    chat.add_user_message("What is this?", images=[client.prepare_image(picture, "picture.png")])
    try:
        return client.llm.model().respond(chat).content
    except lms.LMStudioValueError as error:
        return str(error)


def main() -> None:
    """Upload, parse and search. The server forgets the files when the client closes."""
    with lms.Client() as client, tempfile.TemporaryDirectory() as folder:
        print(describe(client, PICTURE))

        path = Path(folder) / "facts.md"
        path.write_text(FACTS, encoding="utf-8")
        file = client.prepare_file(path)
        document = client.files.parse_document(file)
        print(f"{file.name}: {len(document.content)} characters, read by {document.parser.library}")

        pieces = {"chunk_size": 40, "chunk_overlap": 0}
        found = client.files.retrieve("What is the capital of Norway?", [file], limit=1, chunking_method=pieces)
        for entry in found.entries:
            print(f"{entry.score:.3f}  {entry.source.name}, line {entry.line_number}: {entry.content}")


if __name__ == "__main__":
    main()
