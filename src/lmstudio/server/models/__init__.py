"""Two tiny models that come with the package, so that the server has something to list, load and run.

They are fixtures for tests and demonstrations, not an assistant: MODEL_CARD.md beside this file says what they can do.
The directory has LM Studio's layout, publisher/repository/file, and can be given to anything that reads that layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["CHAT_MODEL_FILE", "EMBEDDING_MODEL_FILE", "SHIPPED_MODELS_DIR"]

SHIPPED_MODELS_DIR: Final[Path] = Path(__file__).resolve().parent
"""The models directory: it holds `publisher/repository/file.gguf`. Read-only by intent; download elsewhere."""

CHAT_MODEL_FILE: Final[Path] = SHIPPED_MODELS_DIR.joinpath(
    "lmstudio-python", "pebble-2.6m-GGUF", "pebble-2.6m-q8_0.gguf"
)
"""The chat model: llama architecture, 2.63 million parameters, 2048 tokens of context, calls tools, 2.8 MB."""

EMBEDDING_MODEL_FILE: Final[Path] = SHIPPED_MODELS_DIR.joinpath(
    "lmstudio-python", "pebble-embed-0.8m-GGUF", "pebble-embed-0.8m-q8_0.gguf"
)
"""The embedding model: bert architecture, 128 dimensions, 512 tokens of context, 1.1 MB."""
