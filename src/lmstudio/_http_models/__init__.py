"""What travels over LM Studio's HTTP surfaces, one module for each: requests, replies and events as msgspec structs.

The server reads requests with them and writes replies. Surfaces and evidence for each member: the API references of
LM Studio, OpenAI and Anthropic.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

__all__ = ["Count", "Fraction", "HttpStruct", "JsonObject", "NonNegative", "encode"]

JsonObject: TypeAlias = dict[str, Any]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
NonNegative: TypeAlias = Annotated[float, Meta(ge=0)]


class HttpStruct(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A value as it travels: members are spelled as on the wire, one that is absent is None here.

    Members that have to be there even when they are null have no default. A subclass has to say `kw_only` again.
    """


encode: Final = msgspec.json.Encoder().encode
"""A struct as JSON."""
