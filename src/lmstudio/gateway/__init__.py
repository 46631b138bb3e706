"""One OpenAI-compatible address in front of LM Studio.

`pip install 'lmstudio[gateway]'`, then `python -m lmstudio gateway`.
"""

from __future__ import annotations

from .settings import GatewaySettings as GatewaySettings

__all__ = ["GatewaySettings"]
