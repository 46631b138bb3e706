"""Write @notes.txt in a message, and the model sees what is in that file of the chat's working directory.

Run it with: python -m lmstudio.plugin --dev examples/plugins/prompt_preprocessor
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lmstudio as lms
from lmstudio.plugin import BaseConfigSchema, PromptPreprocessorController, config_field

MENTION = re.compile(r"(?<!\S)@([\w./-]*\w)")


class ConfigSchema(BaseConfigSchema):
    """What users can set in each chat."""

    max_kilobytes: int = config_field(label="Largest file (kB)", hint="Larger files are cut off.", default=64)


async def preprocess_prompt(
    ctl: PromptPreprocessorController[ConfigSchema, Any], message: lms.UserMessage
) -> lms.UserMessage | str | None:
    """The message with the files that it mentions."""
    names = list(dict.fromkeys(MENTION.findall(message.get_text())))
    if not names or ctl.working_path is None:
        return None  # it stays as it is
    parts = [message.get_text()]
    for name in names:
        status = await ctl.notify_start(f"Looking for {name}")
        text = read_inside(ctl.working_path, name, ctl.plugin_config.max_kilobytes * 1000)
        if text is None:
            await status.notify_error(f"There is no file {name} in the working directory")
            continue
        parts.append(f"Content of {name}:\n\n{text}")
        await status.notify_done(f"Added {name}")
    return "\n\n".join(parts)


def read_inside(folder: Path, name: str, max_bytes: int) -> str | None:
    """The text of a file below *folder*; None if there is none."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(max_bytes).decode(errors="replace")
