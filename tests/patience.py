"""How long a test waits for what should happen at once."""

PATIENCE_SECONDS = 60.0
"""Only a failing test waits that long. A busy machine, under coverage, takes 15 s for the work of one."""
