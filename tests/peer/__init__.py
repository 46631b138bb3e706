"""Tests against other clients: @lmstudio/sdk of npm, and the official package of PyPI."""
