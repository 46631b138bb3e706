"""Settings that every program with a server has: of which kind they are, what they mean, and how options are called.

To be used as `about(section, *LOG_LEVEL)`.
"""

from __future__ import annotations

import os
from typing import Final, TypeAlias

from lmstudio._setting_kinds import ApiToken, Choice, FilePath, Kind, Many, Number, Switch, Text

__all__ = [
    "ALLOWED_ORIGINS",
    "API_TOKEN_FILES",
    "GRACE_SECONDS",
    "INSECURE",
    "LOG_FILE",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAX_BODY_BYTES",
    "MAX_QUEUED_REQUESTS",
    "TRACES",
    "api_tokens",
]

_Plain: TypeAlias = "tuple[Kind, str]"
_Renamed: TypeAlias = "tuple[Kind, str, str]"
"""With the option, which is called otherwise than the setting."""


def api_tokens(variable: str) -> _Renamed:
    """The tokens themselves. *variable* is the one of the environment."""
    text = (
        "let in only clients with this token, sk-lm-xxxxxxxx:xxxxxxxxxxxxxxxxxxxx; may be repeated. Other users of "
        "this machine can see it in the list of processes: better use --api-token-file, or the environment "
        f"variable {variable} with spaces between tokens"
    )
    return Many(ApiToken()), text, "--api-token"


API_TOKEN_FILES: Final[_Renamed] = (
    Many(FilePath(), os.pathsep),
    "let in clients with one of the tokens in this file, one per line, too; may be repeated",
    "--api-token-file",
)
INSECURE: Final[_Plain] = (
    Switch(),
    "listen on an address that other machines can reach although no API token is given",
)
ALLOWED_ORIGINS: Final[_Renamed] = (
    Many(Text("ORIGIN")),
    "let web pages of this origin connect, e.g. https://example.com; '*' for all; may be repeated",
    "--allow-origin",
)
MAX_BODY_BYTES: Final[_Plain] = (
    Number("BYTES", minimum=1, is_whole=True, is_size=True),
    "larger bodies of requests are refused",
)
MAX_QUEUED_REQUESTS: Final[_Plain] = (
    Number("COUNT", minimum=1, is_whole=True),
    "with so many requests at one model, more are refused with status 429",
)
TRACES: Final[_Plain] = (
    Switch(),
    "send a span of every request to OpenTelemetry, as its variables OTEL_* say; needs lmstudio[otel]",
)
GRACE_SECONDS: Final[_Plain] = (
    Number("SECONDS"),
    "on Ctrl-C and SIGTERM, time for running requests to end properly; a second signal ends at once",
)
LOG_FORMAT: Final[_Plain] = (Choice("text", "json"), "lines for people, or one JSON object per line")
LOG_LEVEL: Final[_Plain] = (
    Choice("error", "warning", "info", "debug", "websocket", "send", "recv"),
    "what to log; send and recv show messages, prompts included (default: what LMSTUDIO_LOG says, or warning)",
)
LOG_FILE: Final[_Plain] = (FilePath(), "file that the log is appended to (default: stderr)")
