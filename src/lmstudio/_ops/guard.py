"""Allow, change or deny the tool calls of `act` before they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError

if TYPE_CHECKING:
    from lmstudio._sdk_models import ToolCallRequest
    from lmstudio.results import ToolCallRequestInfo

__all__ = ["GuardToolCallController"]


class GuardDecision(NamedTuple):
    """What a guard has decided."""

    is_denied: bool = False
    reason: str | None = None
    arguments: dict[str, Any] | None = None
    """Instead of the model's; None to keep those."""


class GuardToolCallController:
    """What `guard_tool_call` gets for each call. It has to call exactly one of the three methods."""

    def __init__(self, info: ToolCallRequestInfo) -> None:
        self._info = info
        self._decision: GuardDecision | None = None

    @property
    def tool_call_request(self) -> ToolCallRequest:
        """The call: id, name, arguments."""
        return self._info.tool_call_request

    @property
    def raw_content(self) -> str | None:
        """What the model wrote, where the server says it."""
        return self._info.raw_content

    def allow(self) -> None:
        """Run the tool."""
        self._decide(GuardDecision())

    def allow_and_override_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Run the tool with *parameters* instead of the model's. They replace the model's in the chat as well."""
        if not isinstance(parameters, Mapping):
            raise LMStudioValueError(f"The parameters must be a mapping of names, got {type(parameters).__name__}.")
        self._decide(GuardDecision(arguments=dict(parameters)))

    def deny(self, reason: str | None = None) -> None:
        """Do not run the tool. The model is told so, with *reason* if there is one."""
        self._decide(GuardDecision(is_denied=True, reason=reason))

    def _decide(self, decision: GuardDecision) -> None:
        if self._decision is not None:
            raise LMStudioRuntimeError("The guard has decided already: call one method of its controller, once.")
        self._decision = decision

    def decision(self) -> GuardDecision:
        """What was decided.

        Raises:
            LMStudioRuntimeError: nothing.
        """
        if self._decision is None:
            raise LMStudioRuntimeError(
                f"guard_tool_call has not decided about {self.tool_call_request.name!r}: it has to call allow(), "
                "allow_and_override_parameters() or deny() of its controller."
            )
        return self._decision
