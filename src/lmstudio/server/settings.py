"""The settings of `python -m lmstudio serve`, each declared once.

A setting has one name: `jit_ttl_seconds` in the file, `--jit-ttl-seconds` as a flag, and
`LMSTUDIO_SERVER_JIT_TTL_SECONDS` in the environment. A flag wins over the environment, the environment over the file,
and the file over the default. Lists are not joined: the one that wins replaces the others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lmstudio._address import API_SERVER_PORTS
from lmstudio._setting_kinds import (
    Choice,
    FileOrAddress,
    FilePath,
    Many,
    Number,
    Port,
    Switch,
    Table,
    Text,
)
from lmstudio._setting_table import Section, SettingTable, about
from lmstudio.server import program_settings as shared
from lmstudio.server.background import DEFAULT_GRACE_SECONDS
from lmstudio.server.connection import ConnectionLimits
from lmstudio.server.files.store import FileLimits
from lmstudio.server.http.settings import HttpSettings
from lmstudio.server.instances import DEFAULT_JIT_TTL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lmstudio._setting_table import EffectiveSettings, Setting

__all__ = ["ENVIRONMENT_PREFIX", "SERVER_TABLE", "SETTINGS", "ServerSettings", "resolve_settings"]

ENVIRONMENT_PREFIX: Final = "LMSTUDIO_SERVER_"
CONFIG_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
TOKENS_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}API_TOKENS"

MODELS: Final = Section("models", ENVIRONMENT_PREFIX, "server")
LISTENING: Final = Section("listening", ENVIRONMENT_PREFIX, "server")
TOKENS: Final = Section("API tokens", ENVIRONMENT_PREFIX)
ACCESS: Final = Section("access", ENVIRONMENT_PREFIX, "server")
LIMITS: Final = Section("limits of one client", ENVIRONMENT_PREFIX, "limits")
FILE_LIMITS: Final = Section("files of one client", ENVIRONMENT_PREFIX, "file_limits")
HTTP: Final = Section("HTTP", ENVIRONMENT_PREFIX, "http")
ENDING: Final = Section("ending", ENVIRONMENT_PREFIX, "server")
LOG: Final = Section("log", ENVIRONMENT_PREFIX)

_TARGETS: Final[dict[str, type]] = {"limits": ConnectionLimits, "file_limits": FileLimits, "http": HttpSettings}
_SECONDS: Final = Number("SECONDS", minimum=0.001)
_BYTES: Final = Number("BYTES", minimum=1, is_whole=True, is_size=True)


@dataclass(frozen=True)
class ServerSettings:
    """What a server can be told. To add a setting, add a line: `Server` gets it under the same name."""

    host: str = field(
        default="127.0.0.1",
        metadata=about(
            LISTENING, Text("ADDRESS"), "address to listen on; one that other machines can reach needs an API token"
        ),
    )
    port: int | None = field(
        default=None,
        metadata=about(
            LISTENING,
            Port(),
            "port to listen on, 0 for any free one (default: the first free one of "
            f"{', '.join(map(str, API_SERVER_PORTS))}, where clients look that are given no address)",
        ),
    )
    models: tuple[Path, ...] | None = field(
        default=None,
        metadata=about(
            MODELS,
            Many(FilePath("FILE.gguf"), os.pathsep),
            "a model to offer; may be repeated (default: the two tiny ones that come with this package)",
            "--model",
        ),
    )
    models_folder: Path | None = field(
        default=None,
        metadata=about(
            MODELS,
            FilePath("FOLDER"),
            "where downloads go, and more models to offer (default: LM Studio's own, if this machine has it and no "
            "--model is given; else downloads are gone when the server stops)",
        ),
    )
    catalog: str | Path | None = field(
        default=None,
        metadata=about(
            MODELS,
            FileOrAddress("SOURCE"),
            "what clients can download: a folder of models, a JSON file, or the address of one (default: the models of "
            "this package)",
        ),
    )
    engine: str = field(
        default="llama_cpp",
        metadata=about(
            MODELS, Choice("llama_cpp", "scripted"), "what runs the models; scripted makes up its replies, for tests"
        ),
    )
    jit_loading: bool = field(
        default=True,
        metadata=about(
            MODELS, Switch(), "load a model when somebody uses it; without this, only loaded models are used and listed"
        ),
    )
    jit_ttl_seconds: float | None = field(
        default=DEFAULT_JIT_TTL_SECONDS,
        metadata=about(
            MODELS,
            Number("SECONDS", minimum=0.001, none_word="never"),
            "idle time after which a model is unloaded that was loaded because somebody used it, or never",
        ),
    )
    evict_jit: bool = field(
        default=False,
        metadata=about(MODELS, Switch(), "before such a load, unload the idle models that were loaded so"),
    )
    presets: Path | None = field(
        default=None,
        metadata=about(MODELS, FilePath("FOLDER"), "folder of preset files, *.preset.json, that requests may name"),
    )
    prediction_defaults: dict[str, Any] | None = field(
        default=None,
        metadata=about(
            MODELS,
            Table(),
            "settings of predictions, by full key, that apply where a request says nothing, e.g. "
            '{"llm.prediction.temperature": 0.2}',
        ),
    )
    api_tokens: tuple[str, ...] = field(
        default=(),
        repr=False,
        metadata=about(TOKENS, *shared.api_tokens(TOKENS_VARIABLE)),
    )
    api_token_files: tuple[Path, ...] = field(
        default=(),
        metadata=about(TOKENS, *shared.API_TOKEN_FILES),
    )
    insecure: bool = field(
        default=False,
        metadata=about(ACCESS, *shared.INSECURE),
    )
    allowed_origins: tuple[str, ...] = field(
        default=(),
        metadata=about(ACCESS, *shared.ALLOWED_ORIGINS),
    )
    max_message_bytes: int = field(
        default=ConnectionLimits.max_message_bytes,
        metadata=about(LIMITS, _BYTES, "larger messages end the connection"),
    )
    authentication_seconds: float = field(
        default=ConnectionLimits.authentication_seconds,
        metadata=about(LIMITS, _SECONDS, "time to authenticate"),
    )
    request_seconds: float = field(
        default=ConnectionLimits.request_seconds,
        metadata=about(LIMITS, _SECONDS, "time for an HTTP request to arrive"),
    )
    max_strangers: int = field(
        default=ConnectionLimits.max_strangers,
        metadata=about(
            LIMITS,
            Number("COUNT", minimum=1, is_whole=True),
            "with more connections that have not authenticated, the oldest of them ends",
        ),
    )
    busy_bytes: int = field(
        default=ConnectionLimits.busy_bytes,
        metadata=about(LIMITS, _BYTES, "with more than this waiting for a client, its streams wait"),
    )
    max_queued_bytes: int = field(
        default=ConnectionLimits.max_queued_bytes,
        metadata=about(LIMITS, _BYTES, "with more than this waiting for it, its connection ends"),
    )
    stall_seconds: float = field(
        default=ConnectionLimits.stall_seconds,
        metadata=about(LIMITS, _SECONDS, "a busy client that reads nothing for so long is disconnected"),
    )
    max_file_bytes: int = field(
        default=FileLimits.max_file_bytes,
        metadata=about(FILE_LIMITS, _BYTES, "size of one uploaded file"),
    )
    max_client_bytes: int = field(
        default=FileLimits.max_client_bytes,
        metadata=about(FILE_LIMITS, _BYTES, "size of all of them"),
    )
    cors: bool = field(
        default=HttpSettings.cors,
        metadata=about(HTTP, Switch(), "let web pages of all origins use the HTTP surfaces"),
    )
    max_body_bytes: int = field(
        default=HttpSettings.max_body_bytes,
        metadata=about(HTTP, *shared.MAX_BODY_BYTES),
    )
    max_queued_requests: int = field(
        default=HttpSettings.max_queued_requests,
        metadata=about(HTTP, *shared.MAX_QUEUED_REQUESTS),
    )
    separate_reasoning: bool = field(
        default=HttpSettings.separate_reasoning,
        metadata=about(
            HTTP, Switch(), "send reasoning beside the content of a message; else within it, between its tags"
        ),
    )
    usage_in_last_chunk: bool = field(
        default=HttpSettings.usage_in_last_chunk,
        metadata=about(
            HTTP, Switch(), "say how many tokens a stream took in its last chunk, where a request does not say"
        ),
    )
    allow_ephemeral_mcp: bool = field(
        default=HttpSettings.allow_ephemeral_mcp,
        metadata=about(HTTP, Switch(), "let chats bring MCP servers, which this server then connects to"),
    )
    allow_plugins: bool = field(
        default=HttpSettings.allow_plugins,
        metadata=about(HTTP, Switch(), "let chats over HTTP use plugins"),
    )
    mcp_json: Path | None = field(
        default=HttpSettings.mcp_json,
        metadata=about(
            HTTP, FilePath(), "let chats over HTTP use the MCP servers of this file (mcp.json), by the name mcp/NAME"
        ),
    )
    page: bool = field(
        default=HttpSettings.page, metadata=about(HTTP, Switch(), "show a page at /, with models, a chat and the log")
    )
    metrics: bool = field(
        default=HttpSettings.metrics,
        metadata=about(HTTP, Switch(), "show numbers for Prometheus at /metrics; needs lmstudio[metrics]"),
    )
    traces: bool = field(
        default=HttpSettings.traces,
        metadata=about(HTTP, *shared.TRACES),
    )
    accept_unknown_paths: bool = field(
        default=HttpSettings.accept_unknown_paths,
        metadata=about(HTTP, Switch(), "answer unknown paths with status 200 and an error, as LM Studio does"),
    )
    grace_seconds: float = field(
        default=DEFAULT_GRACE_SECONDS,
        metadata=about(ENDING, *shared.GRACE_SECONDS),
    )
    log_format: str = field(
        default="text",
        metadata=about(LOG, *shared.LOG_FORMAT),
    )
    log_level: str | None = field(
        default=None,
        metadata=about(LOG, *shared.LOG_LEVEL),
    )
    log_file: Path | None = field(
        default=None,
        metadata=about(LOG, *shared.LOG_FILE),
    )

    def server_arguments(self) -> dict[str, Any]:
        """What `Server` takes, but for the tokens."""
        found: dict[str, dict[str, Any]] = {"server": {}, **{name: {} for name in _TARGETS}}
        for setting in SETTINGS.values():
            if setting.section.target is not None:
                found[setting.section.target][setting.name] = getattr(self, setting.name)
        structs = {name: struct(**found[name]) for name, struct in _TARGETS.items()}
        return {**found["server"], **structs}


SERVER_TABLE: Final = SettingTable(ServerSettings, CONFIG_VARIABLE)
SETTINGS: Final[Mapping[str, Setting]] = SERVER_TABLE.settings


def resolve_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], config_file: Path | None = None
) -> EffectiveSettings[ServerSettings]:
    """As `SettingTable.resolve`."""
    return SERVER_TABLE.resolve(flags, environment, config_file)
