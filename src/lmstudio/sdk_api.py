"""The base exceptions, where the official package has them."""

from .errors import LMStudioError, LMStudioOSError, LMStudioRuntimeError, LMStudioValueError

__all__ = ["LMStudioError", "LMStudioOSError", "LMStudioRuntimeError", "LMStudioValueError"]
