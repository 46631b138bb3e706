"""Files with API tokens, one per line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._auth import parse_api_token
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_token_file"]


def read_token_file(file: Path) -> list[str]:
    """The tokens in *file*. Empty lines and those that begin with # do not count.

    Raises:
        LMStudioValueError: one has another form, or the file cannot be read or has none.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LMStudioValueError(f"Cannot read the API tokens in {file}: {reason}.") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        token = line.strip()
        if token and not token.startswith("#"):
            try:
                parse_api_token(token)
            except LMStudioValueError as error:
                raise LMStudioValueError(f"{file}, line {number}: {error}") from None
            tokens.append(token)
    if not tokens:
        # Going on would open the server to everybody, which whoever names a file does not expect.
        raise LMStudioValueError(f"There is no API token in {file}; write one per line.")
    return tokens
