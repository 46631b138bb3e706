"""The exceptions of plugins."""

from __future__ import annotations

from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError

__all__ = ["LMStudioPluginInitError", "LMStudioPluginRuntimeError"]


class LMStudioPluginRuntimeError(LMStudioRuntimeError):
    """A plugin cannot run, or not any more: there are no credentials, or the host is gone, for example."""


class LMStudioPluginInitError(LMStudioValueError):
    """A plugin cannot be used as it is written: its manifest, its code, its hooks or its settings."""
