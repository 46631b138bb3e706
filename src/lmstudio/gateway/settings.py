"""The settings of the gateway, each declared once.

A file has two sections. `inference` says where LM Studio is and which models are used; `gateway` is for the gateway
itself. A flag wins over the environment, the environment over the file, and the file over the default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypedDict

from lmstudio._auth import parse_api_token
from lmstudio._setting_kinds import (
    ApiKey,
    Choice,
    Many,
    Number,
    Port,
    Switch,
    Text,
)
from lmstudio._setting_table import Section, SettingTable, YamlLines, about
from lmstudio.errors import LMStudioValueError
from lmstudio.server import program_settings as shared
from lmstudio.server.background import DEFAULT_GRACE_SECONDS
from lmstudio.server.http.settings import HttpSettings
from lmstudio.settings import KEY_NAMES, Settings
from lmstudio.settings import SETTINGS as _CLIENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lmstudio._setting_table import EffectiveSettings

__all__ = ["GATEWAY_TABLE", "GatewayArguments", "GatewaySettings", "resolve_gateway_settings"]

ENVIRONMENT_PREFIX: Final = "LMSTUDIO_GATEWAY_"
CONFIG_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
TOKENS_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}API_TOKENS"
INFERENCE_PREFIX: Final = "INFERENCE_INFERENCE_"

UPSTREAM: Final = Section("LM Studio behind the gateway", INFERENCE_PREFIX, place=("inference",))
CONNECTION: Final = Section("connections to it", f"{INFERENCE_PREFIX}HTTP_", place=("inference", "http"))
_OWN: Final = ("gateway",)
LISTENING: Final = Section("listening", ENVIRONMENT_PREFIX, "server", _OWN)
TOKENS: Final = Section("API tokens", ENVIRONMENT_PREFIX, place=_OWN)
ACCESS: Final = Section("access", ENVIRONMENT_PREFIX, "server", _OWN)
REQUESTS: Final = Section("requests", ENVIRONMENT_PREFIX, place=_OWN)
HTTP: Final = Section("HTTP", ENVIRONMENT_PREFIX, "http", _OWN)
ENDING: Final = Section("ending", ENVIRONMENT_PREFIX, "server", _OWN)
LOG: Final = Section("log", ENVIRONMENT_PREFIX, place=_OWN)

_TOKEN_VARIABLES: Final = tuple(name for name in _CLIENT["api_token"].variables if name not in KEY_NAMES)
"""Not those with keys of other systems: they are set for programs, and LM Studio's native protocol refuses them."""
_SECONDS: Final = Number("SECONDS", minimum=0.001)
_COUNT: Final = Number("COUNT", minimum=1, is_whole=True)


@dataclass(frozen=True)
class GatewaySettings:
    """What a gateway can be told. To add a setting, add a line.

    Raises:
        LMStudioValueError: a value is not allowed.
    """

    provider: str = field(
        default="lmstudio",
        metadata=about(
            UPSTREAM,
            Choice("lmstudio", "http", "mock"),
            "what answers: lmstudio is LM Studio over its native protocol; http is LM Studio, or any server with "
            "OpenAI's API, over HTTP, for where WebSockets do not get through; mock makes up its replies, for tests",
        ),
    )
    base_url: str = field(
        default="http://localhost:1234",
        metadata=about(
            UPSTREAM,
            _CLIENT["api_host"].kind,
            "where LM Studio is, or the other server",
            variables=_CLIENT["api_host"].variables,
        ),
    )
    api_token: str | None = field(
        default=None,
        repr=False,
        metadata=about(
            UPSTREAM,
            ApiKey(),
            "API token of LM Studio, or the key of another server. Other users of this machine can see it in the list "
            f"of processes: better use the environment variable {_TOKEN_VARIABLES[0]}",
            "--upstream-token",
            variables=_TOKEN_VARIABLES,
        ),
    )
    default_model: str | None = field(
        default=None,
        metadata=about(
            UPSTREAM,
            Text("MODEL"),
            "used by requests that name no model: a name, or any part of one that fits one model only",
            variables=_CLIENT["default_model"].variables,
        ),
    )
    allowed_models: tuple[str, ...] = field(
        default=(),
        metadata=about(
            UPSTREAM,
            _CLIENT["allowed_models"].kind,
            "let requests use this model; may be repeated (default: all models)",
            "--allowed-model",
            variables=_CLIENT["allowed_models"].variables,
        ),
    )
    verify_tls: bool = field(
        default=True,
        metadata=about(
            UPSTREAM, Switch(), "check the certificate of an https address", variables=_CLIENT["verify_tls"].variables
        ),
    )
    require_token_for_remote: bool = field(
        default=False,
        metadata=about(
            UPSTREAM,
            Switch(),
            "refuse an LM Studio on another machine if there is no API token for it",
            variables=_CLIENT["require_token_for_remote"].variables,
        ),
    )
    timeout_seconds: float = field(
        default=60.0,
        metadata=about(
            CONNECTION,
            _SECONDS,
            "time for a reply; for a streamed one, time without anything of it",
            key="timeout_secs",
        ),
    )
    connect_timeout_seconds: float = field(
        default=10.0,
        metadata=about(CONNECTION, _SECONDS, "time to connect", key="connect_timeout_secs"),
    )
    keep_alive_seconds: float = field(
        default=30.0,
        metadata=about(
            CONNECTION,
            _SECONDS,
            "how long a connection is kept that nobody uses",
            key="keep_alive_secs",
        ),
    )
    max_idle_connections: int = field(
        default=10,
        metadata=about(
            CONNECTION,
            Number("COUNT", is_whole=True),
            "how many connections are kept that nobody uses; the native protocol has one for each kind of request",
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=about(
            LISTENING, Text("ADDRESS"), "address to listen on; one that other machines can reach needs an API token"
        ),
    )
    port: int = field(default=3000, metadata=about(LISTENING, Port(), "port to listen on, 0 for any free one"))
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
    cors: bool = field(
        default=HttpSettings.cors,
        metadata=about(HTTP, Switch(), "let web pages of all origins use the gateway"),
    )
    max_body_bytes: int = field(
        default=HttpSettings.max_body_bytes,
        metadata=about(HTTP, *shared.MAX_BODY_BYTES),
    )
    max_queued_requests: int = field(
        default=HttpSettings.max_queued_requests,
        metadata=about(HTTP, *shared.MAX_QUEUED_REQUESTS),
    )
    max_tokens: int = field(
        default=100, metadata=about(REQUESTS, _COUNT, "longest reply, where a request says nothing")
    )
    temperature: float = field(
        default=0.7, metadata=about(REQUESTS, Number(maximum=2.0), "temperature, where a request says nothing")
    )
    preload: tuple[str, ...] = field(
        default=(),
        metadata=about(
            REQUESTS, Many(Text("MODEL"), ","), "load this model before requests are taken; may be repeated"
        ),
    )
    jit_loading: bool = field(
        default=False,
        metadata=about(REQUESTS, Switch(), "load a model when somebody uses it; else only loaded models are used"),
    )
    list_downloaded: bool = field(
        default=False, metadata=about(REQUESTS, Switch(), "list models that are downloaded as well as loaded ones")
    )
    metrics: bool = field(default=True, metadata=about(REQUESTS, Switch(), "show numbers for Prometheus at /metrics"))
    traces: bool = field(
        default=HttpSettings.traces,
        metadata=about(REQUESTS, *shared.TRACES),
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

    def __post_init__(self) -> None:
        for name, setting in GATEWAY_TABLE.settings.items():
            value = getattr(self, name)
            if value != setting.default:
                object.__setattr__(self, name, setting.parse(value, name))
        if self.provider == "lmstudio" and self.api_token is not None:
            try:
                parse_api_token(self.api_token)
            except LMStudioValueError as error:
                raise LMStudioValueError(f"api_token: {error}") from None
        self.client_settings().check_remote()

    def client_settings(self) -> Settings:
        """How a client of LM Studio is told the same."""
        return Settings(
            api_host=self.base_url,
            api_token=self.api_token or "",
            timeout=self.timeout_seconds,
            connect_timeout=self.connect_timeout_seconds,
            max_retries=0,
            verify_tls=self.verify_tls,
            require_token_for_remote=self.require_token_for_remote,
        )


class GatewayArguments(TypedDict, total=False):
    """The arguments of `GatewaySettings`; lists, and paths as texts, are taken as well."""

    provider: str
    base_url: str
    api_token: str | None
    default_model: str | None
    allowed_models: Sequence[str]
    verify_tls: bool
    require_token_for_remote: bool
    timeout_seconds: float
    connect_timeout_seconds: float
    keep_alive_seconds: float
    max_idle_connections: int
    host: str
    port: int
    api_tokens: Sequence[str]
    api_token_files: Sequence[str | Path]
    insecure: bool
    allowed_origins: Sequence[str]
    cors: bool
    max_body_bytes: int
    max_queued_requests: int
    max_tokens: int
    temperature: float
    preload: Sequence[str]
    jit_loading: bool
    list_downloaded: bool
    metrics: bool
    traces: bool
    grace_seconds: float
    log_format: str
    log_level: str | None
    log_file: str | Path | None


GATEWAY_TABLE: Final = SettingTable(GatewaySettings, CONFIG_VARIABLE, YamlLines)


def resolve_gateway_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], config_file: Path | None = None
) -> EffectiveSettings[GatewaySettings]:
    """As `SettingTable.resolve`."""
    return GATEWAY_TABLE.resolve(flags, environment, config_file)
