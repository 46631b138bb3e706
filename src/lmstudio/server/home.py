"""What LM Studio has on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._discovery import lm_studio_home

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["default_models_folder"]


def default_models_folder() -> Path | None:
    """The folder of LM Studio's downloaded models, None if this machine has none.

    `Server` does not use it by itself, so that tests see the same models on every machine: give it as `models_folder`.
    """
    home = lm_studio_home()
    folder = None if home is None else home / "models"
    return folder if folder is not None and folder.is_dir() else None
