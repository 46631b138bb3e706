"""Settings of clients: where the server is, as whom to connect, how patiently, and which models to use.

They come, in this order, from arguments, from environment variables, and from a file. `Client`, `AsyncClient` and the
clients of `lmstudio.http` take them as `settings=`; without that, they read the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypedDict

import msgspec

from ._address import ServerAddress, parse_api_host
from ._auth import Hidden, Secret, is_api_token
from ._near import near_matches
from ._setting_kinds import Kind, Many, Number, Switch, Text
from ._timeouts import HTTP_TIMEOUT, INHERITED, Timeout
from .errors import LMStudioValueError
from .logs import fields, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self, Unpack

    from ._retries import RetryConfig

__all__ = ["FILE_VARIABLE", "SETTINGS", "Setting", "Settings", "SettingsArguments"]

FILE_VARIABLE: Final = "LM_STUDIO_SETTINGS_FILE"
"""Environment variable that names the file of settings where `Settings.load` is given none."""

_PREFIX: Final = "LM_STUDIO_"
_ARGUMENT: Final = "argument"
_DEFAULT: Final = "default"


class _Address(Kind):
    """Where a server is."""

    metavar = "ADDRESS"

    def parse(self, value: object) -> str:
        """The address as it was written; it is valid."""
        parse_api_host(value)  # type: ignore[arg-type]  # it checks that, too
        return str(value).strip()


class _Token(Kind):
    """What a client proves itself with. Only the native protocol wants a certain form."""

    metavar = "TOKEN"
    is_secret = True

    def parse(self, value: object) -> Secret:
        """The token without spaces around it; an empty one means none."""
        assert isinstance(value, Secret)
        if not isinstance(value.value, str):
            raise LMStudioValueError(f"must be a text, got {type(value.value).__name__}.")
        return Secret(value.value.strip())


class Setting(NamedTuple):
    """One setting, as it was declared."""

    name: str
    kind: Kind
    variables: tuple[str, ...]
    """Of the environment; the first one that is not empty counts."""
    help: str
    alias: str | None = None
    """Another name for it, as an argument and in files."""


SETTINGS: Final[Mapping[str, Setting]] = {
    setting.name: setting
    for setting in (
        Setting("api_host", _Address(), ("LM_STUDIO_BASE_URL",), "address of the server", "base_url"),
        Setting(
            "api_token",
            _Token(),
            ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN", "LM_STUDIO_API_KEY"),
            "API token of the server",
            "api_key",
        ),
        Setting("timeout", Number("SECONDS", 0.001), ("LM_STUDIO_TIMEOUT",), "longest silence of the server in a call"),
        Setting(
            "connect_timeout",
            Number("SECONDS", 0.001),
            ("LM_STUDIO_CONNECT_TIMEOUT",),
            "time for one attempt to connect",
        ),
        Setting(
            "max_retries",
            Number("COUNT", is_whole=True),
            ("LM_STUDIO_MAX_RETRIES",),
            "how often to try again what can be repeated without harm",
        ),
        Setting("verify_tls", Switch(), ("LM_STUDIO_VERIFY_TLS",), "check the certificate of an https or wss server"),
        Setting("default_model", Text("MODEL"), ("LM_STUDIO_DEFAULT_MODEL",), "language model of calls that name none"),
        Setting(
            "allowed_models", Many(Text("MODEL"), ","), ("LM_STUDIO_ALLOWED_MODELS",), "the only models to use, if any"
        ),
        Setting(
            "require_token_for_remote",
            Switch(),
            ("LM_STUDIO_REQUIRE_TOKEN_FOR_REMOTE",),
            "refuse the address of another machine without an API token",
        ),
    )
}
"""Each setting once, by name."""

_NAMES: Final = {
    **{name: name for name in SETTINGS},
    **{setting.alias: setting.name for setting in SETTINGS.values() if setting.alias},
}
KEY_NAMES: Final = ("api_key", "LM_STUDIO_API_KEY")
"""Under these names other systems have the keys of any server, so that they need not be tokens of LM Studio."""


class SettingsArguments(TypedDict, total=False):
    """The arguments of `Settings`; None for what is not set."""

    api_host: str | None
    api_token: str | None
    timeout: float | None
    connect_timeout: float | None
    max_retries: int | None
    verify_tls: bool | None
    default_model: str | None
    allowed_models: Sequence[str] | None
    require_token_for_remote: bool | None
    base_url: str | None
    api_key: str | None


class _Found(NamedTuple):
    """A value and where it comes from."""

    value: Any
    source: str
    is_key: bool = False
    """It stands under a name of a key."""


class Settings:
    """What clients are told, wherever it is written. It cannot be changed, and no repr shows the token.

    ::

        settings = lms.Settings.load("lmstudio.toml", timeout=60)
        client = lms.Client(settings=settings)

    `Settings(...)` has its arguments only; `Settings.load` reads the environment and a file as well. None stands for
    what nobody has set: every client has its own default then. An argument of a client goes before its settings.

    Args:
        api_host: The server's address: "host", "host:port" or a URL. Environment: LM_STUDIO_BASE_URL.
        api_token: An API token of the server; "" for none, whatever the environment says. Environment: LM_API_TOKEN,
            LMSTUDIO_API_TOKEN or LM_STUDIO_API_KEY.
        timeout: Seconds that the server may be silent in a call, `Timeout.idle`. Environment: LM_STUDIO_TIMEOUT.
        connect_timeout: Seconds for one attempt to connect, `Timeout.connect`. Environment: LM_STUDIO_CONNECT_TIMEOUT.
        max_retries: How often to try again, `RetryConfig.max_retries`. Environment: LM_STUDIO_MAX_RETRIES.
        verify_tls: Whether to check the certificate of an https or wss server. Environment: LM_STUDIO_VERIFY_TLS.
        default_model: The language model where a call names none; without it, any that is loaded. Environment:
            LM_STUDIO_DEFAULT_MODEL.
        allowed_models: The only models to use: keys, also of loaded instances their identifiers. A * stands for
            anything, and a key for its variants (`key@q4_k_m`), too. A call for another one is refused before anything
            is sent; a draft model in the settings of a prediction is not looked at. Environment:
            LM_STUDIO_ALLOWED_MODELS, with commas between them.
        require_token_for_remote: Whether to refuse the address of another machine without a token. Environment:
            LM_STUDIO_REQUIRE_TOKEN_FOR_REMOTE.
        base_url: Another name for *api_host*.
        api_key: Another name for *api_token*, except that it may be a key of any form, for what is in front of a
            server. The native clients do not use one that is no token of LM Studio, and neither one of
            LM_STUDIO_API_KEY: their protocol has no place for it.

    Raises:
        LMStudioValueError: a value is not allowed; says which.
    """

    api_host: str | None
    timeout: float | None
    connect_timeout: float | None
    max_retries: int | None
    verify_tls: bool | None
    default_model: str | None
    allowed_models: tuple[str, ...] | None
    require_token_for_remote: bool | None
    _token: Secret
    _found: Mapping[str, _Found]

    def __init__(
        self,
        *,
        api_host: str | None = None,
        api_token: str | None = None,
        timeout: float | None = None,
        connect_timeout: float | None = None,
        max_retries: int | None = None,
        verify_tls: bool | None = None,
        default_model: str | None = None,
        allowed_models: Sequence[str] | None = None,
        require_token_for_remote: bool | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        token, key = _hidden(api_token), _hidden(api_key)
        del api_token, api_key  # a traceback may show the variables of this function
        given = {
            "api_host": api_host,
            "api_token": token,
            "timeout": timeout,
            "connect_timeout": connect_timeout,
            "max_retries": max_retries,
            "verify_tls": verify_tls,
            "default_model": default_model,
            "allowed_models": allowed_models,
            "require_token_for_remote": require_token_for_remote,
            "base_url": base_url,
            "api_key": key,
        }
        self._take(_of_arguments(given))

    @classmethod
    def load(
        cls,
        file: str | os.PathLike[str] | Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        **arguments: Unpack[SettingsArguments],
    ) -> Self:
        """The settings that apply: *arguments*, then the environment, then *file*.

        Args:
            file: TOML; JSON or YAML, if its name ends so; or a .env file, which has the names of the environment. Also
                a mapping of names to values. By default the file that LM_STUDIO_SETTINGS_FILE names, if any.
            environ: Instead of the variables of this process.
            **arguments: As for `Settings`.

        Raises:
            LMStudioValueError: a value is not allowed, a name in *file* is not known, or it cannot be read. Says where.
        """
        # A traceback may show the variables of this function.
        given, variables, source = (
            _without_tokens(arguments),
            Hidden(os.environ if environ is None else environ),
            Hidden(file),
        )
        del arguments, environ, file
        if source.value is None:
            source = Hidden(variables.value.get(FILE_VARIABLE, "").strip() or None)
        found = _of_arguments(given)
        found = {**_of_environment(variables, found), **found}
        found = {**_of_file(source, found), **found}
        _warn_of_unknown(variables)
        settings = cls.__new__(cls)
        settings._take(found)
        return settings

    def replace(self, **arguments: Unpack[SettingsArguments]) -> Self:
        """These settings, with *arguments* in place of their own; None leaves one as it is."""
        given = _without_tokens(arguments)
        del arguments  # a traceback may show the variables of this function
        settings = type(self).__new__(type(self))
        settings._take({**self._found, **_of_arguments(given)})
        return settings

    def _take(self, found: Mapping[str, _Found]) -> None:
        values = {name: found[name].value if name in found else None for name in SETTINGS}
        token = values.pop("api_token")
        vars(self).update(values, _token=Secret(None) if token is None else token, _found=dict(found))
        if self.default_model is not None:
            self.check_model(self.default_model, "default_model")

    @property
    def api_token(self) -> str | None:
        """The token: None if nobody gave one, "" if there is to be none."""
        return self.token.value

    @property
    def token(self) -> Secret:
        """The token, in a form that no traceback shows."""
        return self._token

    @property
    def native_token(self) -> Secret:
        """The same for the native protocol, which has no place for the key of another system."""
        found = self._found.get("api_token")
        is_foreign = found is not None and found.is_key and not is_api_token(self.token)
        return Secret(None) if is_foreign else self.token

    @property
    def tls(self) -> bool:
        """Whether to check certificates."""
        return self.verify_tls is not False

    @property
    def sources(self) -> dict[str, str]:
        """Where each setting comes from: "argument", "environment variable NAME", a file, or "default"."""
        return {name: self._found[name].source if name in self._found else _DEFAULT for name in SETTINGS}

    def address(self, default: str = "localhost:1234") -> ServerAddress:
        """Where the server is; *default* where nobody says it."""
        return parse_api_host(default if self.api_host is None else self.api_host)

    def limits(self) -> Timeout:
        """The time limits that are set."""
        given = {"connect": self.connect_timeout, "idle": self.timeout}
        wanted = {name: seconds for name, seconds in given.items() if seconds is not None}
        return Timeout(**wanted) if wanted else INHERITED

    def http_timeout(self) -> Timeout:
        """The time limits over HTTP: those that are set, else 10 seconds to connect and 30 of silence."""
        return self.limits().over(HTTP_TIMEOUT)

    def retry(self, default: RetryConfig) -> RetryConfig:
        """*default*, with the number of retries that is set."""
        if self.max_retries is None:
            return default
        return msgspec.structs.replace(default, max_retries=self.max_retries)

    def allows_model(self, name: str) -> bool:
        """Whether a model with this key or identifier may be used."""
        if self.allowed_models is None:
            return True
        from fnmatch import fnmatchcase

        wanted = name.lower()
        names = {wanted, wanted.partition("@")[0]}
        return any(fnmatchcase(each, pattern.lower()) for pattern in self.allowed_models for each in names)

    def check_model(self, name: str, what: str = "model") -> None:
        """Refuse a model that `allowed_models` does not have.

        Raises:
            LMStudioValueError: it does not.
        """
        if self.allowed_models is None or self.allows_model(name):
            return
        near = near_matches(name, self.allowed_models, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        allowed = ", ".join(self.allowed_models) or "none"
        raise LMStudioValueError(
            f"The {what} {name!r} is not one of allowed_models ({self.sources['allowed_models']}): {allowed}.{hint}"
        )

    def check_remote(self, *, has_token: bool | None = None) -> None:
        """Refuse the address of another machine without a token, if these settings want that.

        Args:
            has_token: Whether the client has one; by default, whether these settings have one.

        Raises:
            LMStudioValueError: the address is one, and there is no token.
        """
        if not self.require_token_for_remote or (self.api_host is None or parse_api_host(self.api_host).is_local):
            return
        if bool(self.token.value) if has_token is None else has_token:
            return
        raise LMStudioValueError(
            f"Refused to connect to {self.api_host}: it is another machine, there is no API token, and "
            f"require_token_for_remote is on ({self.sources['require_token_for_remote']}). Pass api_token=, or set "
            f"{SETTINGS['api_token'].variables[0]}."
        )

    @property
    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in SETTINGS)

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Settings) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({', '.join(shown)})"

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        for name in SETTINGS:
            value = vars(self).get("_token" if name == "api_token" else name)  # it may not be complete yet
            if value is not None and not (isinstance(value, Secret) and value.value is None):
                yield name, value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Settings cannot be changed; settings.replace({name}=...) makes others.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Settings cannot be changed: {name} cannot be removed.")


def settings_for(settings: object, **arguments: Any) -> Settings:
    """What counts for a client: *arguments*, then *settings*, or the environment if it was given none.

    The token may be a Secret.
    """
    if settings is None:
        return Settings.load(**arguments)
    if isinstance(settings, Settings):
        return settings.replace(**arguments)
    raise LMStudioValueError(
        f"settings must be a lmstudio.Settings, got {type(settings).__name__}. "
        "Settings.load(...) reads files and mappings."
    )


def _hidden(value: Any) -> Secret | None:
    secret = value if isinstance(value, Secret) else Secret(value)
    return None if secret.value is None else secret


def _without_tokens(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with the tokens in a form that no traceback shows."""
    return {name: _hidden(value) if _NAMES.get(name) == "api_token" else value for name, value in given.items()}


def _of_arguments(given: Mapping[str, Any]) -> dict[str, _Found]:
    """What was *given*, None being nothing."""
    found: dict[str, _Found] = {}
    for name, value in given.items():
        if name not in _NAMES:
            near = near_matches(name, _NAMES, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise TypeError(f"Settings has no argument {name!r}.{hint}")
        if value is not None:
            _add(found, name, value, _ARGUMENT, name)
    return found


def _of_environment(variables: Hidden[Any], decided: Mapping[str, _Found], where: str = "") -> dict[str, _Found]:
    """What is in *variables*, empty ones being nothing; only what is not *decided*. *where* they are, in a file."""
    found: dict[str, _Found] = {}
    for setting in SETTINGS.values():
        for variable in setting.variables if setting.name not in decided else ():
            text = Secret(variables.value.get(variable, "").strip())
            if text.value:
                place = f"In {where}, {variable}" if where else f"The environment variable {variable}"
                value = _parse(setting, text if setting.kind.is_secret else setting.kind.split(text.value), place)
                is_key = variable in KEY_NAMES
                found[setting.name] = _Found(value, where or f"environment variable {variable}", is_key)
                break
    return found


def _of_file(source: Hidden[Any], decided: Mapping[str, _Found]) -> dict[str, _Found]:
    """What is in the file or the mapping; None and null being nothing."""
    if source.value is None:
        return {}
    if isinstance(source.value, Mapping):
        return _of_document(_without_tokens(source.value), "the mapping of settings")
    from pathlib import Path

    from ._setting_files import is_env_file, public_file_warnings, read_document, read_env_file

    if not isinstance(source.value, (str, os.PathLike)):
        raise LMStudioValueError(f"A file of settings must be a path or a mapping, got {type(source.value).__name__}.")
    path = Path(source.value).expanduser()
    if is_env_file(path):
        variables = read_env_file(path)
        _warn_of_unknown(variables, f" in {path}")
        found = _of_environment(variables, decided, str(path))
    else:
        found = _of_document(_without_tokens(read_document(path).value), str(path))
    if "api_token" in found:
        _warn(*public_file_warnings(path))
    return found


def _of_document(document: Mapping[str, object], where: str) -> dict[str, _Found]:
    from ._setting_files import no_setting

    found: dict[str, _Found] = {}
    for name, value in document.items():
        if name not in _NAMES:
            raise LMStudioValueError(f"In {where}: {no_setting(str(name), _NAMES)}")
        if value is not None:
            _add(found, name, value, where, f"In {where}, {name}")
    return found


def _add(found: dict[str, _Found], name: str, value: object, source: str, place: str) -> None:
    setting = SETTINGS[_NAMES[name]]
    if setting.name in found:
        raise LMStudioValueError(f"{place}: {setting.name} and {setting.alias} are the same setting; give one of them.")
    found[setting.name] = _Found(_parse(setting, value, place), source, name in KEY_NAMES)


def _parse(setting: Setting, value: object, place: str) -> Any:
    try:
        return setting.kind.parse(value)
    except LMStudioValueError as error:
        if isinstance(setting.kind, Switch):
            problem = f"{place} must be true or false, it is {value!r:.80}."
        elif setting.kind.is_secret:
            problem = f"{place} {error}"
        elif setting.name == "api_host" and place == "api_host":
            problem = str(error)  # it says itself what it is about
        else:
            problem = f"{place}: {error}"
        raise LMStudioValueError(problem) from error.__cause__


_warned: Final[set[str]] = set()


def _warn(*texts: str) -> None:
    """Tell the log, once."""
    for text in texts:
        if text not in _warned:
            _warned.add(text)
            get_logger("config").warning("%s", text, extra=fields())


def _warn_of_unknown(variables: Hidden[Any], where: str = "") -> None:
    """Not an error: other programs may have variables of their own. Those that look like one of ours are reported."""
    known = {variable for setting in SETTINGS.values() for variable in setting.variables} | {FILE_VARIABLE}
    for variable in variables.value:
        if variable.startswith(_PREFIX) and variable not in known:
            near = near_matches(variable.removeprefix(_PREFIX), [name.removeprefix(_PREFIX) for name in known], 1)
            if near:
                _warn(f"The variable {variable}{where} is no setting; did you mean {_PREFIX}{near[0]}?")
