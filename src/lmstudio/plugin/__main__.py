"""`python -m lmstudio.plugin FOLDER`."""

from __future__ import annotations

import sys

from .cli import main

# Processes that `multiprocessing` starts run this module again, under another name.
if __name__ == "__main__":
    sys.exit(main())
