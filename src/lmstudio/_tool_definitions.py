"""What users give as a tool, and what a running tool knows about its call."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeAlias, TypedDict, TypeVar, cast, overload

from .errors import LMStudioRuntimeError, LMStudioValueError
from .logs import fields, get_logger

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self

    from ._abort import AbortSignal
    from ._sdk_models import LlmTool

__all__ = [
    "FunctionTool",
    "RawFunctionTool",
    "ToolCallContext",
    "ToolDefinition",
    "ToolFunctionDef",
    "ToolFunctionDefDict",
    "ToolParamDefDict",
    "UnimplementedRawFunctionTool",
    "calling",
    "current_call",
    "get_tool_call_context",
    "raw_function_tool",
    "tool",
    "unimplemented_raw_function_tool",
]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

# The context of a call ------------------------------------------------------------------------------------------------


class ToolCallContext:
    """What a running tool knows about its call.

    A tool gets it in a parameter with this type hint, which the model does not see, or from `get_tool_call_context()`.
    """

    __slots__ = ("_logger", "_on_status", "_on_warn", "call_id", "name", "signal")

    def __init__(
        self,
        call_id: int,
        name: str,
        signal: AbortSignal,
        *,
        on_status: Callable[[str], object] | None = None,
        on_warn: Callable[[str], object] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.call_id: int = call_id
        """The number of the call, as in the callbacks of `act`."""
        self.name: str = name
        """The name that the model called."""
        self.signal: AbortSignal = signal
        """Aborted when the result is not wanted any more. A tool that takes long should look at it."""
        self._on_status = on_status
        self._on_warn = on_warn
        self._logger = logger or get_logger("tools")

    def status(self, text: str) -> None:
        """Report what the tool is doing. The model does not see it: it goes to the log `lmstudio.tools`, level INFO."""
        self._logger.info("%s: %s", self.name, text, extra=fields(tool=self.name))
        if self._on_status is not None:
            self._on_status(text)

    def warn(self, text: str) -> None:
        """Report something unexpected that the tool has coped with: level WARNING in the log `lmstudio.tools`.

        What the model should know belongs into the result of the tool, or into an exception.
        """
        self._logger.warning("%s: %s", self.name, text, extra=fields(tool=self.name))
        if self._on_warn is not None:
            self._on_warn(text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(call_id={self.call_id}, name={self.name!r})"


_current_call: ContextVar[ToolCallContext] = ContextVar("lmstudio_tool_call")


@contextmanager
def calling(context: ToolCallContext) -> Iterator[None]:
    """Within the block, `get_tool_call_context()` returns *context*."""
    token = _current_call.set(context)
    try:
        yield
    finally:
        _current_call.reset(token)


def current_call() -> ToolCallContext | None:
    """The context of the tool call that is running here, if one is."""
    return _current_call.get(None)


def get_tool_call_context() -> ToolCallContext:
    """The context of the tool call that is running here, at any depth below the tool.

    Raises:
        LMStudioRuntimeError: none is. A thread that the tool has started itself is not part of the call.
    """
    context = current_call()
    if context is None:
        raise LMStudioRuntimeError("No tool call is running here: this works only within a tool that `act` has called.")
    return context


# What users give as a tool --------------------------------------------------------------------------------------------


class _ParamType(TypedDict):
    """What every parameter says."""

    type: Any
    """The type, as in a type hint."""


class ToolParamDefDict(_ParamType, total=False):
    """A parameter of a tool with more than its type."""

    default: Any
    """The model may leave the parameter out; the tool gets this instead."""
    description: str
    """For the model."""


class _RequiredFunctionDef(TypedDict):
    """What every tool says."""

    name: str
    description: str
    parameters: Mapping[str, Any | ToolParamDefDict]
    implementation: Callable[..., Any]


class ToolFunctionDefDict(_RequiredFunctionDef, total=False):
    """A tool as a dict: see `ToolFunctionDef`."""

    timeout: float | None


class ToolFunctionDef:
    """A tool with a Python implementation.

    ::

        ToolFunctionDef(
            name="add", description="Add two numbers.", parameters={"a": int, "b": int}, implementation=operator.add
        )

    *parameters* maps names to types, or to dicts of `type`, `default` and `description`; the hints of the
    implementation do not matter then. *timeout* limits a call, in seconds. A coroutine function may implement it.

    Mistakes in it are reported when it is used, before anything is sent.
    """

    name: str
    """What the model calls it."""
    description: str
    """For the model: what it does, and when to use it."""
    implementation: Callable[..., Any]
    """What is called, with the arguments by name."""
    timeout: float | None
    """Seconds that a call may take; None for no limit."""

    def __init__(
        self,
        *,
        name: str,
        description: str,
        parameters: Mapping[str, Any | ToolParamDefDict],
        implementation: Callable[..., Any],
        timeout: float | None = None,
    ) -> None:
        self._set_up(name, description, implementation, timeout)
        self._parameters: Mapping[str, Any | ToolParamDefDict] | None = parameters

    def _set_up(self, name: str, description: str, implementation: Callable[..., Any], timeout: float | None) -> None:
        self.name = name
        self.description = description
        self.implementation = implementation
        self.timeout = timeout

    @property
    def parameters(self) -> Mapping[str, Any | ToolParamDefDict]:
        """Name -> type, or dict of `type`, `default` and `description`.

        Raises:
            LMStudioValueError: they come from a signature that cannot be described to a model.
        """
        if self._parameters is None:
            from ._docstrings import parse_docstring
            from ._tool_signature import function_docstring, parameters_of

            descriptions = parse_docstring(function_docstring(self.implementation)).parameters
            self._parameters = parameters_of(self.implementation, self.name, ToolCallContext, descriptions)
        return self._parameters

    @classmethod
    def from_callable(
        cls,
        f: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        """A tool from a function with type hints and a docstring.

        The docstring describes the tool, and its parameters if it is in the Google, NumPy or Sphinx style. An
        `Annotated[str, "text"]` describes a parameter too, and goes first.

        Raises:
            LMStudioValueError: there is no docstring and no *description*, or a parameter cannot be described to a
                model: it has no type hint, or is `*args`, `**kwargs` or positional-only.
        """
        made = cls.__new__(cls)
        made._set_up(*_name_and_description(f, name, description), f, timeout)
        made._parameters = None
        _ = made.parameters  # reads the signature, so that a mistake is reported here
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ToolFunctionDef):
            return NotImplemented
        return self is other or self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((self.name, self.description))

    def _compared(self) -> tuple[Any, ...]:
        return self.name, self.description, self.parameters, self.implementation, self.timeout

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, implementation={self.implementation!r})"


class FunctionTool(ToolFunctionDef, Generic[P, R]):
    """What the decorator `tool` makes of a function: a tool that can still be called, and used as a method."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[P, R]

    def __init__(self, f: Callable[P, R], name: str, description: str, timeout: float | None) -> None:
        self._set_up(name, description, f, timeout)
        # Read when needed: in a class there is no `self` yet, and a type hint may name what is defined further down.
        self._parameters = None
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            if hasattr(f, attribute):
                setattr(self, attribute, getattr(f, attribute))
        self.__wrapped__ = f

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, as if it had not been decorated."""
        return self.__wrapped__(*args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...

    @overload
    def __get__(
        self: FunctionTool[Concatenate[S, Q], R], instance: S, owner: type | None = None, /
    ) -> FunctionTool[Q, R]: ...

    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        if instance is None:
            return self
        bound = cast("Any", self.__wrapped__).__get__(instance, owner)
        return FunctionTool(bound, self.name, self.description, self.timeout)


@overload
def tool(f: Callable[P, R], /) -> FunctionTool[P, R]: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout: float | None = None
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    f: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
) -> Any:
    """Decorator: make a function a tool, which can still be called like the function.

    ::

        @lms.tool(timeout=10)
        async def search(words: str) -> list[str]:
            \"\"\"Search the web.\"\"\"

    *name* and *description* are those of the function and its docstring unless given. *timeout* limits a call, in
    seconds. For the rest see `ToolFunctionDef.from_callable`.

    Raises:
        LMStudioValueError: there is neither a docstring nor a *description*. Mistakes in the parameters are reported
            when the tool is used.
    """

    def decorate(function: Callable[P, R]) -> FunctionTool[P, R]:
        return FunctionTool(function, *_name_and_description(function, name, description), timeout)

    return decorate if f is None else decorate(f)


def _name_and_description(f: Callable[..., Any], name: str | None, description: str | None) -> tuple[str, str]:
    from ._docstrings import parse_docstring
    from ._tool_signature import function_docstring, function_name

    if not callable(f) or isinstance(f, (type, staticmethod, classmethod)):
        raise LMStudioValueError(
            f"Cannot make a tool of {f!r:.80}. Expected a function, a method or an object with __call__."
        )
    if name is None:
        name = function_name(f)
    if name is None:
        raise LMStudioValueError("A lambda has no name that a model could call: give the tool a `name`.")
    if description is None:
        description = parse_docstring(function_docstring(f)).description
        if not description:
            raise LMStudioValueError(
                f"Tool {name!r} has no description. Write a docstring that tells the model what it does, or make it "
                "with ToolFunctionDef.from_callable(f, description=...) or @lmstudio.tool(description=...)."
            )
    return name, description


class UnimplementedRawFunctionTool:
    """A tool that the caller of `act` runs: see `unimplemented_raw_function_tool`."""

    def __init__(self, *, name: str, description: str | None, parameters_json_schema: Mapping[str, Any] | None) -> None:
        self.name = name
        """What the model calls it."""
        self.description = description
        """For the model."""
        self.parameters_json_schema = parameters_json_schema
        """The JSON schema of the arguments, which are an object."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class RawFunctionTool(UnimplementedRawFunctionTool):
    """A tool that is described by a JSON schema: see `raw_function_tool`."""

    def __init__(
        self,
        *,
        name: str,
        description: str | None,
        parameters_json_schema: Mapping[str, Any],
        implementation: Callable[..., Any],
        timeout: float | None = None,
    ) -> None:
        super().__init__(name=name, description=description, parameters_json_schema=parameters_json_schema)
        self.implementation = implementation
        """What is called, with the arguments by name."""
        self.timeout = timeout
        """Seconds that a call may take; None for no limit."""


def raw_function_tool(
    *,
    name: str,
    description: str | None,
    parameters_json_schema: Mapping[str, Any],
    implementation: Callable[..., Any],
    timeout: float | None = None,
) -> RawFunctionTool:
    """A tool whose parameters are given as a JSON schema, which goes to the model as it is.

    *implementation* gets the arguments by name, as plain JSON data that matches the schema; defaults in the schema are
    not filled in. It may take a `ToolCallContext` too. *timeout* limits a call, in seconds.

    Mistakes in it are reported when it is used, before anything is sent.
    """
    return RawFunctionTool(
        name=name,
        description=description,
        parameters_json_schema=parameters_json_schema,
        implementation=implementation,
        timeout=timeout,
    )


def unimplemented_raw_function_tool(
    *, name: str, description: str | None, parameters_json_schema: Mapping[str, Any]
) -> UnimplementedRawFunctionTool:
    """A tool that the caller runs: when the model asks for it, `act` ends with that round."""
    return UnimplementedRawFunctionTool(
        name=name, description=description, parameters_json_schema=parameters_json_schema
    )


_SchemaTool: TypeAlias = "UnimplementedRawFunctionTool | LlmTool | Mapping[str, Any]"
ToolDefinition: TypeAlias = "ToolFunctionDef | ToolFunctionDefDict | _SchemaTool | Callable[..., Any]"
"""What can be given as a tool: see `read_tools`."""
