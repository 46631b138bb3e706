"""One OpenAI-compatible address in front of LM Studio.

`pip install 'lmstudio[gateway]'`, then either `python -m lmstudio gateway`, or inside a program:

    from lmstudio.gateway import Gateway

    with Gateway(base_url="http://localhost:1234") as gateway:
        print(gateway.base_url)

Nothing is imported before it is used: `import lmstudio.gateway` needs none of the extra packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._lazy import lazy_names

if TYPE_CHECKING:
    from .background import Gateway as Gateway
    from .settings import GatewaySettings as GatewaySettings
    from .settings import resolve_gateway_settings as resolve_gateway_settings

_MODULE_OF = {"Gateway": ".background", "GatewaySettings": ".settings", "resolve_gateway_settings": ".settings"}

__all__ = ["Gateway", "GatewaySettings", "resolve_gateway_settings"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(globals(), _MODULE_OF)
