"""The settings of `python -m lmstudio serve`, each declared once.

A setting has one name: `jit_ttl_seconds` in the file, `--jit-ttl-seconds` as a flag, and
`LMSTUDIO_SERVER_JIT_TTL_SECONDS` in the environment. A flag wins over the environment, the environment over the file,
and the file over the default. Lists are not joined: the one that wins replaces the others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lmstudio._address import API_SERVER_PORTS
from lmstudio._near import near_matches
from lmstudio._setting_files import no_setting, public_file_warnings, read_document
from lmstudio._setting_kinds import (
    ApiToken,
    Choice,
    FileOrAddress,
    FilePath,
    Kind,
    Many,
    Number,
    Port,
    Switch,
    Table,
    Text,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.server.connection import ConnectionLimits
from lmstudio.server.embedded import DEFAULT_GRACE_SECONDS
from lmstudio.server.files.store import FileLimits
from lmstudio.server.http.settings import HttpSettings
from lmstudio.server.instances import DEFAULT_JIT_TTL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ENVIRONMENT_PREFIX", "SETTINGS", "EffectiveSettings", "ServerSettings", "Setting", "resolve_settings"]

ENVIRONMENT_PREFIX: Final = "LMSTUDIO_SERVER_"
CONFIG_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
TOKENS_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}API_TOKENS"
_DEFAULT_SOURCE: Final = "default"
_KEY: Final = "setting"


@dataclass(frozen=True)
class Section:
    """Settings that belong together."""

    title: str
    target: str | None = "server"
    """What they are arguments of: `Server`, one of its arguments that is a struct of limits, or nothing."""


MODELS: Final = Section("models")
LISTENING: Final = Section("listening")
TOKENS: Final = Section("API tokens", None)
ACCESS: Final = Section("access")
LIMITS: Final = Section("limits of one client", "limits")
FILE_LIMITS: Final = Section("files of one client", "file_limits")
HTTP: Final = Section("HTTP", "http")
ENDING: Final = Section("ending")
LOG: Final = Section("log", None)

_TARGETS: Final[dict[str, type]] = {"limits": ConnectionLimits, "file_limits": FileLimits, "http": HttpSettings}
_SECONDS: Final = Number("SECONDS", minimum=0.001)
_BYTES: Final = Number("BYTES", minimum=1, is_whole=True, is_size=True)


@dataclass(frozen=True)
class Setting:
    """One setting, as it was declared."""

    name: str
    default: Any
    kind: Kind
    section: Section
    help: str
    flag: str
    """The option of the command line."""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()


def _about(section: Section, kind: Kind, help: str, flag: str | None = None) -> dict[str, Any]:
    return {_KEY: (section, kind, help, flag)}


@dataclass(frozen=True)
class ServerSettings:
    """What a server can be told. To add a setting, add a line: `Server` gets it under the same name."""

    host: str = field(
        default="127.0.0.1",
        metadata=_about(
            LISTENING, Text("ADDRESS"), "address to listen on; one that other machines can reach needs an API token"
        ),
    )
    port: int | None = field(
        default=None,
        metadata=_about(
            LISTENING,
            Port(),
            "port to listen on, 0 for any free one (default: the first free one of "
            f"{', '.join(map(str, API_SERVER_PORTS))}, where clients look that are given no address)",
        ),
    )
    models: tuple[Path, ...] | None = field(
        default=None,
        metadata=_about(
            MODELS,
            Many(FilePath("FILE.gguf"), os.pathsep),
            "a model to offer; may be repeated (default: the two tiny ones that come with this package)",
            "--model",
        ),
    )
    models_folder: Path | None = field(
        default=None,
        metadata=_about(
            MODELS,
            FilePath("FOLDER"),
            "where downloads go, and more models to offer (default: LM Studio's own, if this machine has it and no "
            "--model is given; else downloads are gone when the server stops)",
        ),
    )
    catalog: str | Path | None = field(
        default=None,
        metadata=_about(
            MODELS,
            FileOrAddress("SOURCE"),
            "what clients can download: a folder of models, a JSON file, or the address of one (default: the models of "
            "this package)",
        ),
    )
    engine: str = field(
        default="llama_cpp",
        metadata=_about(
            MODELS, Choice("llama_cpp", "scripted"), "what runs the models; scripted makes up its replies, for tests"
        ),
    )
    jit_loading: bool = field(
        default=True,
        metadata=_about(
            MODELS, Switch(), "load a model when somebody uses it; without this, only loaded models are used and listed"
        ),
    )
    jit_ttl_seconds: float | None = field(
        default=DEFAULT_JIT_TTL_SECONDS,
        metadata=_about(
            MODELS,
            Number("SECONDS", minimum=0.001, none_word="never"),
            "idle time after which a model is unloaded that was loaded because somebody used it, or never",
        ),
    )
    evict_jit: bool = field(
        default=False,
        metadata=_about(MODELS, Switch(), "before such a load, unload the idle models that were loaded so"),
    )
    presets: Path | None = field(
        default=None,
        metadata=_about(MODELS, FilePath("FOLDER"), "folder of preset files, *.preset.json, that requests may name"),
    )
    prediction_defaults: dict[str, Any] | None = field(
        default=None,
        metadata=_about(
            MODELS,
            Table(),
            "settings of predictions, by full key, that apply where a request says nothing, e.g. "
            '{"llm.prediction.temperature": 0.2}',
        ),
    )
    api_tokens: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            TOKENS,
            Many(ApiToken()),
            "let in only clients with this token, sk-lm-xxxxxxxx:xxxxxxxxxxxxxxxxxxxx; may be repeated. Other users of "
            "this machine can see it in the list of processes: better use --api-token-file, or the environment "
            f"variable {TOKENS_VARIABLE} with spaces between tokens",
            "--api-token",
        ),
    )
    api_token_files: tuple[Path, ...] = field(
        default=(),
        metadata=_about(
            TOKENS,
            Many(FilePath(), os.pathsep),
            "let in clients with one of the tokens in this file, one per line, too; may be repeated",
            "--api-token-file",
        ),
    )
    insecure: bool = field(
        default=False,
        metadata=_about(
            ACCESS, Switch(), "listen on an address that other machines can reach although no API token is given"
        ),
    )
    allowed_origins: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            ACCESS,
            Many(Text("ORIGIN")),
            "let web pages of this origin connect, e.g. https://example.com; '*' for all; may be repeated",
            "--allow-origin",
        ),
    )
    max_message_bytes: int = field(
        default=ConnectionLimits.max_message_bytes,
        metadata=_about(LIMITS, _BYTES, "larger messages end the connection"),
    )
    authentication_seconds: float = field(
        default=ConnectionLimits.authentication_seconds,
        metadata=_about(LIMITS, _SECONDS, "time to authenticate"),
    )
    request_seconds: float = field(
        default=ConnectionLimits.request_seconds,
        metadata=_about(LIMITS, _SECONDS, "time for an HTTP request to arrive"),
    )
    max_strangers: int = field(
        default=ConnectionLimits.max_strangers,
        metadata=_about(
            LIMITS,
            Number("COUNT", minimum=1, is_whole=True),
            "with more connections that have not authenticated, the oldest of them ends",
        ),
    )
    busy_bytes: int = field(
        default=ConnectionLimits.busy_bytes,
        metadata=_about(LIMITS, _BYTES, "with more than this waiting for a client, its streams wait"),
    )
    max_queued_bytes: int = field(
        default=ConnectionLimits.max_queued_bytes,
        metadata=_about(LIMITS, _BYTES, "with more than this waiting for it, its connection ends"),
    )
    stall_seconds: float = field(
        default=ConnectionLimits.stall_seconds,
        metadata=_about(LIMITS, _SECONDS, "a busy client that reads nothing for so long is disconnected"),
    )
    max_file_bytes: int = field(
        default=FileLimits.max_file_bytes,
        metadata=_about(FILE_LIMITS, _BYTES, "size of one uploaded file"),
    )
    max_client_bytes: int = field(
        default=FileLimits.max_client_bytes,
        metadata=_about(FILE_LIMITS, _BYTES, "size of all of them"),
    )
    cors: bool = field(
        default=HttpSettings.cors,
        metadata=_about(HTTP, Switch(), "let web pages of all origins use the HTTP surfaces"),
    )
    max_body_bytes: int = field(
        default=HttpSettings.max_body_bytes,
        metadata=_about(HTTP, _BYTES, "larger bodies of requests are refused"),
    )
    max_queued_requests: int = field(
        default=HttpSettings.max_queued_requests,
        metadata=_about(
            HTTP,
            Number("COUNT", minimum=1, is_whole=True),
            "with so many requests at one model, more are refused with status 429",
        ),
    )
    separate_reasoning: bool = field(
        default=HttpSettings.separate_reasoning,
        metadata=_about(
            HTTP, Switch(), "send reasoning beside the content of a message; else within it, between its tags"
        ),
    )
    allow_ephemeral_mcp: bool = field(
        default=HttpSettings.allow_ephemeral_mcp,
        metadata=_about(HTTP, Switch(), "let chats bring MCP servers, which this server then connects to"),
    )
    allow_plugins: bool = field(
        default=HttpSettings.allow_plugins,
        metadata=_about(HTTP, Switch(), "let chats over HTTP use the tools of plugins"),
    )
    mcp_json: Path | None = field(
        default=HttpSettings.mcp_json,
        metadata=_about(
            HTTP, FilePath(), "let chats over HTTP use the MCP servers of this file (mcp.json), by the name mcp/NAME"
        ),
    )
    page: bool = field(
        default=HttpSettings.page, metadata=_about(HTTP, Switch(), "show a page at /, with models, a chat and the log")
    )
    accept_unknown_paths: bool = field(
        default=HttpSettings.accept_unknown_paths,
        metadata=_about(HTTP, Switch(), "answer unknown paths with status 200 and an error, as LM Studio does"),
    )
    grace_seconds: float = field(
        default=DEFAULT_GRACE_SECONDS,
        metadata=_about(
            ENDING,
            Number("SECONDS"),
            "on Ctrl-C and SIGTERM, time for running requests to end properly; a second signal ends at once",
        ),
    )
    log_format: str = field(
        default="text",
        metadata=_about(LOG, Choice("text", "json"), "lines for people, or one JSON object per line"),
    )
    log_level: str | None = field(
        default=None,
        metadata=_about(
            LOG,
            Choice("error", "warning", "info", "debug", "websocket", "send", "recv"),
            "what to log; send and recv show messages, prompts included (default: what LMSTUDIO_LOG says, or warning)",
        ),
    )
    log_file: Path | None = field(
        default=None,
        metadata=_about(LOG, FilePath(), "file that the log is appended to (default: stderr)"),
    )

    def server_arguments(self) -> dict[str, Any]:
        """What `Server` takes, but for the tokens."""
        found: dict[str, dict[str, Any]] = {"server": {}, **{name: {} for name in _TARGETS}}
        for setting in SETTINGS.values():
            if setting.section.target is not None:
                found[setting.section.target][setting.name] = getattr(self, setting.name)
        structs = {name: struct(**found[name]) for name, struct in _TARGETS.items()}
        return {**found["server"], **structs}


def _declared() -> Iterator[Setting]:
    for each in fields(ServerSettings):
        section, kind, text, flag = each.metadata[_KEY]
        yield Setting(each.name, each.default, kind, section, text, flag or f"--{each.name.replace('_', '-')}")


SETTINGS: Final[Mapping[str, Setting]] = {setting.name: setting for setting in _declared()}


@dataclass(frozen=True)
class EffectiveSettings:
    """The settings that apply, and where each comes from."""

    values: ServerSettings
    sources: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """As a file of settings, with the sources as comments; secrets are left out."""
        for setting in SETTINGS.values():
            value, source = getattr(self.values, setting.name), self.sources[setting.name]
            if setting.kind.is_secret and value:
                yield f"# {setting.name}: {len(value)}, not shown here  # {source}"
            elif value is None and not (isinstance(setting.kind, Number) and setting.kind.none_word):
                yield f"# {setting.name} is not set  # {source}"
            else:
                yield f"{setting.name} = {setting.kind.toml(value)}  # {source}"


def resolve_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], config_file: Path | None = None
) -> EffectiveSettings:
    """What applies of *flags* (parsed, those that were given), *environment*, *config_file* and the defaults.

    Raises:
        LMStudioValueError: a setting that is not known, or a value that is not allowed. It names file and key.
    """
    values: dict[str, Any] = {name: setting.default for name, setting in SETTINGS.items()}
    sources = dict.fromkeys(SETTINGS, _DEFAULT_SOURCE)
    warnings: list[str] = []
    variable = environment.get(CONFIG_VARIABLE)
    if config_file is None and variable:
        config_file = Path(variable).expanduser()
    if config_file is not None:
        found = _read_file(config_file)
        values.update(found)
        sources.update(dict.fromkeys(found, str(config_file)))
        if found.get("api_tokens"):
            warnings += public_file_warnings(config_file)
    for name, setting in SETTINGS.items():
        if environment.get(setting.variable, "").strip():
            place = f"In the environment variable {setting.variable}"
            values[name] = _parse(setting, setting.kind.split(environment[setting.variable]), place)
            sources[name] = setting.variable
        if name in flags:
            values[name] = tuple(flags[name]) if isinstance(flags[name], list) else flags[name]
            sources[name] = setting.flag
    warnings += _unknown_variables(environment)
    return EffectiveSettings(ServerSettings(**values), sources, tuple(warnings))


def _parse(setting: Setting, value: object, place: str) -> Any:
    try:
        return setting.kind.parse(value)
    except LMStudioValueError as error:
        raise LMStudioValueError(f"{place}: {error}") from None


def _read_file(file: Path) -> dict[str, Any]:
    document = read_document(file)
    folder = file.absolute().parent
    for name in document.value:
        if name not in SETTINGS:
            raise LMStudioValueError(f"In {file}: {no_setting(name, SETTINGS)}")
    found = {name: _parse(SETTINGS[name], value, f"In {file}, {name}") for name, value in document.value.items()}
    return {name: _placed(value, folder) for name, value in found.items()}


def _placed(value: Any, folder: Path) -> Any:
    """*value* with its paths, if it has some, relative to *folder*."""
    if isinstance(value, tuple):
        return tuple(_placed(item, folder) for item in value)
    return folder / value if isinstance(value, Path) else value


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Warnings, not errors: Kubernetes puts variables of its own there for a service named lmstudio-server."""
    known = {CONFIG_VARIABLE, *(setting.variable for setting in SETTINGS.values())}
    for variable in sorted(environment):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known:
            near = near_matches(variable.removeprefix(ENVIRONMENT_PREFIX), SETTINGS, 1)
            hint = f"; did you mean {SETTINGS[near[0]].variable}?" if near else ""
            yield f"the environment variable {variable} is no setting{hint}"
