"""The tools of POST /v1/responses: functions of the client, and MCP servers that this server calls for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from lmstudio._http_models.rest_v1 import EphemeralMcpIntegration
from lmstudio._openai_parameters import TOOL_CHOICES, tools_fields
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._http_models.openai_responses import ResponseRequest
    from lmstudio.server.http.server_tools import Toolbox
    from lmstudio.server.http.settings import HttpSettings

__all__ = ["RequestedTools", "shown_tool"]

_Mode: TypeAlias = Literal["none", "auto", "required"]
_SECRETS: Final = ("headers", "authorization")


def shown_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """*tool* as a response repeats it: without what only the MCP server should see."""
    return {name: value for name, value in tool.items() if name not in _SECRETS}


@dataclass(frozen=True)
class RequestedTools:
    """What a request says of tools."""

    functions: Sequence[Mapping[str, Any]]
    servers: Sequence[EphemeralMcpIntegration]
    choice: str | Mapping[str, Any] | None

    @classmethod
    def read(cls, request: ResponseRequest, settings: HttpSettings) -> RequestedTools:
        """The tools of *request*.

        Raises:
            HttpError: one cannot be read, or is not allowed here.
        """
        functions: list[Mapping[str, Any]] = []
        servers: list[EphemeralMcpIntegration] = []
        for number, tool in enumerate(request.tools or ()):
            match tool.get("type"):
                case "function":
                    functions.append(_function(tool, number))
                case "mcp":
                    servers.append(_server(tool, number, settings))
                case kind:
                    param = f"tools[{number}].type"
                    message = f"{param} must be 'function' or 'mcp', not {kind!r:.50}: no tools are built in here."
                    raise HttpError("invalid_request", message, param=param, code="invalid_value")
        return cls(functions, servers, request.tool_choice)

    def fields(self, toolbox: Toolbox, *, is_first: bool) -> dict[str, Any]:
        """What is offered, together with the tools of the servers, as fields by full key.

        A call that has to be made, has to be made first: *is_first* is False for what follows its result.

        Raises:
            HttpError: the choice cannot be read, or is none of the tools.
        """
        offered = [*self.functions, *toolbox.functions]
        names = [tool.get("name") for tool in offered]
        for name in toolbox.labels:
            if names.count(name) > 1:
                message = f"A function and an MCP server have the same name {name!r}; choose others with allowed_tools."
                raise HttpError("invalid_request", message, param="tools", code="invalid_value")
        mode, allowed = self._chosen(toolbox)
        missing = [name for name in allowed or () if name not in names]
        if missing:
            there = ", ".join(filter(None, names)) or "none"
            message = f"tool_choice asks for the tool {missing[0][:50]!r}, but tools has only {there}."
            raise HttpError("invalid_request", message, param="tool_choice", code="invalid_value")
        if allowed is not None:
            offered = [tool for tool in offered if tool.get("name") in allowed]
        if mode == "required" and not is_first:
            mode = "auto"
        return tools_fields(offered, mode)

    def _chosen(self, toolbox: Toolbox) -> tuple[_Mode | None, Sequence[str] | None]:
        """The mode, and the names of the only tools that count; None for all."""
        choice = self.choice
        if choice is None or isinstance(choice, str):
            if choice in TOOL_CHOICES or choice is None:
                return choice, None  # type: ignore[return-value]  # it is one of them
            raise _bad_choice(choice)
        tools: Any = [choice.get("function", choice)]
        mode: Any = "required"
        if choice.get("type") == "allowed_tools":
            mode, tools = choice.get("mode", "auto"), choice.get("tools")
        if mode not in ("auto", "required") or not isinstance(tools, list):
            raise _bad_choice(choice)
        return mode, [name for tool in tools for name in _named(tool, choice, toolbox)]


def _named(tool: Any, choice: Mapping[str, Any], toolbox: Toolbox) -> Sequence[str]:
    """The names that one part of *choice* allows."""
    kind = tool.get("type", "function") if isinstance(tool, dict) else None
    name = None if kind is None else tool.get("name")
    if kind == "function" and isinstance(name, str):
        return [name]
    if kind == "mcp" and (name is None or isinstance(name, str)):
        label = tool.get("server_label")
        found = [each for each, its_label in toolbox.labels.items() if its_label == label]
        if found:
            return found if name is None else [name]
    raise _bad_choice(choice)


def _bad_choice(choice: object) -> HttpError:
    modes = ", ".join(map(repr, TOOL_CHOICES))
    message = (
        f"tool_choice must be {modes}, {{'type': 'function', 'name': ...}}, {{'type': 'mcp', 'server_label': ...}} of "
        "one of the tools, or {'type': 'allowed_tools', 'mode': 'auto' or 'required', 'tools': [...]} with such parts, "
        f"not {choice!r:.80}."
    )
    return HttpError("invalid_request", message, param="tool_choice", code="invalid_value")


def _function(tool: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    # Chat completions have the members one level deeper, and their users bring them along.
    function = tool.get("function", tool)
    if not isinstance(function, dict):
        message = f"tools[{number}].function must be an object."
        raise HttpError("invalid_request", message, param=f"tools[{number}].function", code="invalid_value")
    return function


def _server(tool: Mapping[str, Any], number: int, settings: HttpSettings) -> EphemeralMcpIntegration:
    param = f"tools[{number}]"
    if not settings.allow_ephemeral_mcp:
        message = "This server does not let requests bring MCP servers (allow_ephemeral_mcp). Offer functions instead."
        raise HttpError("not_implemented", message, param=f"{param}.type", code="not_implemented")
    if tool.get("require_approval") not in (None, "never"):
        message = f"{param}.require_approval must be 'never': this server asks nobody before it calls a tool."
        raise HttpError("invalid_request", message, param=f"{param}.require_approval", code="unsupported_parameter")
    allowed = tool.get("allowed_tools")
    headers = tool.get("headers") or {}
    if isinstance(headers, dict) and tool.get("authorization"):
        headers = {**headers, "Authorization": f"Bearer {tool['authorization']}"}
    members = {
        "type": "ephemeral_mcp",
        "server_label": tool.get("server_label"),
        "server_url": tool.get("server_url"),
        "allowed_tools": allowed.get("tool_names") if isinstance(allowed, dict) else allowed,
        "headers": headers or None,
    }
    try:
        return msgspec.convert(members, EphemeralMcpIntegration)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        where = f"{param}.{path.removesuffix('`')}" if path else param
        message = f"The value of {where} is not valid: {text[0].lower()}{text[1:]}."
        raise HttpError("invalid_request", message, param=where, code="invalid_value") from None
