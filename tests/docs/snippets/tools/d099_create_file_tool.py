from pathlib import Path


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
