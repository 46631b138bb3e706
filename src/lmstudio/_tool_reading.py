"""Tools as they are used: the definition for the server, the check of arguments, the call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from ._callbacks import refuse_unawaited
from ._tool_definitions import (
    FunctionTool,
    RawFunctionTool,
    ToolCallContext,
    ToolFunctionDef,
    ToolFunctionDefDict,
    UnimplementedRawFunctionTool,
    calling,
)
from .errors import LMStudioValueError

if TYPE_CHECKING:
    from ._tool_definitions import ToolDefinition

__all__ = ["Tool", "ToolArgumentsError", "read_tools"]

NO_CONTEXT: Final[Mapping[str, type]] = MappingProxyType({})


class ToolArgumentsError(LMStudioValueError):
    """The arguments that a model has written do not fit the tool."""

    def __init__(self, message: str, tool_name: str = "", arguments: object = None) -> None:
        super().__init__(message)
        self.tool_name = tool_name
        """The tool that was called."""
        self.arguments = arguments
        """What the model wrote, decoded from JSON."""


class Tool:
    """A tool that has been understood."""

    __slots__ = ("_context_parameters", "_read", "definition", "implementation", "is_coroutine", "name", "timeout")

    def __init__(
        self,
        definition: dict[str, Any],
        read: Callable[[Mapping[str, Any]], dict[str, Any]],
        *,
        implementation: Callable[..., Any] | None = None,
        context_parameters: Mapping[str, type] = NO_CONTEXT,
        timeout: float | None = None,
    ) -> None:
        self.definition: dict[str, Any] = definition
        """As it goes to the server: `{"type": "function", "function": {...}}`."""
        self.name: str = definition["function"]["name"]
        """What the model calls it."""
        self.implementation: Callable[..., Any] | None = implementation
        """What is called; None: whoever called `act` runs it."""
        self.timeout: float | None = timeout
        """Seconds that a call may take; None for no limit."""
        self.is_coroutine: bool = False
        """The implementation is a coroutine function."""
        self._read = read
        self._context_parameters = context_parameters
        if implementation is not None:
            from ._tool_signature import is_coroutine_function

            self.is_coroutine = is_coroutine_function(implementation, FunctionTool)

    def check_arguments(self, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        """The keyword arguments for `call`, from what the model wrote: of the right types, with the defaults.

        Raises:
            ToolArgumentsError: they do not fit; the message names the tool, the argument, and what was expected.
        """
        found = {} if arguments is None else arguments
        try:
            if not isinstance(found, Mapping):
                raise ValueError(f"expected an object with the parameters as members, got {type(found).__name__}")
            return self._read(found)
        except RecursionError as error:
            raise self._bad_arguments("they are nested too deeply", arguments) from error
        except ValueError as error:
            raise self._bad_arguments(str(error), arguments) from error

    def _bad_arguments(self, problem: str, arguments: object) -> ToolArgumentsError:
        return ToolArgumentsError(f"Invalid arguments for tool {self.name!r}: {problem}.", self.name, arguments)

    def call(self, arguments: Mapping[str, Any], context: ToolCallContext) -> Any:
        """Call the implementation with arguments that `check_arguments` has returned.

        `get_tool_call_context()` is *context* meanwhile. The result may be an awaitable: a coroutine, which must be
        awaited for the call to happen.
        """
        assert self.implementation is not None
        keywords = dict(arguments)
        for name, wanted in self._context_parameters.items():
            # Plugins have contexts of their own, which know the call that is running.
            keywords[name] = context if wanted is ToolCallContext else cast("Any", wanted)._of_running_call()
        with calling(context):
            result = self.implementation(**keywords)
        return _awaited(result, context) if hasattr(result, "__await__") else result

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


async def _awaited(awaitable: Any, context: ToolCallContext) -> Any:
    """The result of *awaitable*, with the context set in the task that awaits it."""
    with calling(context):
        return await awaitable


def read_tools(tools: Iterable[ToolDefinition]) -> list[Tool]:
    """Understand what a user gave as *tools*, in its order. Each may be

    - a function with type hints and a docstring, also a coroutine function, a bound method, a partial, an object that
      can be called, or one decorated with `tool`;
    - a `ToolFunctionDef` or a dict with its members;
    - what `raw_function_tool` and `unimplemented_raw_function_tool` make;
    - `{"type": "function", "function": {...}}`, the form of the wire and of the OpenAI API: without implementation.

    Raises:
        LMStudioValueError: one of them cannot be used, or two have the same name.
    """
    refuse_unawaited([tools])
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise LMStudioValueError(f"tools must be a list of tools, not {tools!r:.80}.")
    found: dict[str, Tool] = {}
    for given in tools:
        refuse_unawaited([given])
        one = _read_tool(given)
        if one.name in found:
            raise LMStudioValueError(f"There are two tools called {one.name!r}. Give one of them another name.")
        found[one.name] = one
    return list(found.values())


def _read_tool(given: object) -> Tool:
    from ._struct import LMStudioStruct

    if isinstance(given, ToolFunctionDef):
        return _from_function_def(given)
    if isinstance(given, UnimplementedRawFunctionTool):
        return _from_raw(given)
    if isinstance(given, Mapping):
        return _from_mapping(given)
    if isinstance(given, LMStudioStruct):  # LlmTool
        return _from_mapping(given.to_dict())
    if callable(given):
        return _from_function_def(ToolFunctionDef.from_callable(given))
    raise LMStudioValueError(
        f"Cannot use {given!r:.80} as a tool. Expected a function with type hints and a docstring, a ToolFunctionDef "
        "or a dict with its members, or the result of raw_function_tool or unimplemented_raw_function_tool."
    )


def _from_mapping(given: Mapping[str, Any]) -> Tool:
    function = given.get("function")
    if given.get("type") == "function" and isinstance(function, Mapping):
        unknown = function.keys() - {"name", "description", "parameters", "strict"}
        if not unknown and "name" in function:
            return _from_raw(
                UnimplementedRawFunctionTool(
                    name=function["name"],
                    description=function.get("description"),
                    parameters_json_schema=function.get("parameters"),
                )
            )
    elif given.keys() - {"timeout"} == ToolFunctionDefDict.__required_keys__:
        return _from_function_def(ToolFunctionDef(**given))
    raise LMStudioValueError(
        f"Cannot use the dict {dict(given)!r:.120} as a tool. Expected 'name', 'description', 'parameters' and "
        "'implementation', or {'type': 'function', 'function': {'name': ..., 'description': ..., 'parameters': ...}}."
    )


def _from_function_def(given: ToolFunctionDef) -> Tool:
    from ._tool_schema import ArgumentReader

    _check_members(given.name, given.description, given.implementation, given.timeout)
    if not isinstance(given.parameters, Mapping):
        _refuse(given.name, f"its parameters must be a dict of names and types, not {given.parameters!r:.80}")
    reader = ArgumentReader(given.name, given.parameters)
    names = frozenset(given.parameters)
    _, context_parameters = _check_implementation(given.name, given.implementation, names, names)
    return Tool(
        _definition(given.name, given.description, reader.schema),
        reader.read,
        implementation=given.implementation,
        context_parameters=context_parameters,
        timeout=given.timeout,
    )


def _from_raw(given: UnimplementedRawFunctionTool) -> Tool:
    implementation = given.implementation if isinstance(given, RawFunctionTool) else None
    timeout = given.timeout if isinstance(given, RawFunctionTool) else None
    _check_members(given.name, given.description, implementation, timeout)
    schema = _checked_schema(given.name, given.parameters_json_schema)
    known = {} if schema is None else schema
    accepted: frozenset[str] | None = None
    context_parameters: Mapping[str, type] = NO_CONTEXT
    if implementation is not None:
        names, required = frozenset(known["properties"]), frozenset(known.get("required", ()))
        accepted, context_parameters = _check_implementation(given.name, implementation, names, required)
    return Tool(
        _definition(given.name, given.description, schema),
        lambda arguments: _read_raw(arguments, known, accepted),
        implementation=implementation,
        context_parameters=context_parameters,
        timeout=timeout,
    )


def _read_raw(arguments: Mapping[str, Any], schema: dict[str, Any], accepted: frozenset[str] | None) -> dict[str, Any]:
    from ._schema_check import find_mismatch

    mismatch = find_mismatch(arguments, schema)
    if mismatch is not None:
        raise ValueError(str(mismatch))
    for name in arguments:
        if accepted is not None and name not in accepted:
            raise ValueError(f"there is no parameter {name!r}")
    return dict(arguments)


def _definition(name: str, description: str | None, schema: dict[str, Any] | None) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name}
    if description is not None:
        function["description"] = description
    if schema is not None:
        function["parameters"] = schema
    return {"type": "function", "function": function}


def _refuse(name: object, problem: str) -> NoReturn:
    raise LMStudioValueError(f"Cannot use tool {name!r:.80}: {problem}.")


def _check_members(name: object, description: object, implementation: object, timeout: object) -> None:
    if not isinstance(name, str) or not name:
        raise LMStudioValueError(f"The name of a tool must be a text that is not empty, not {name!r:.80}.")
    if description is not None and not isinstance(description, str):
        _refuse(name, f"its description must be a text, not {description!r:.80}")
    if implementation is not None and not callable(implementation):
        _refuse(name, f"its implementation must be a function, not {implementation!r:.80}")
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and timeout > 0
    if timeout is not None and not is_number:
        _refuse(name, f"its timeout must be a number of seconds above 0, or None, not {timeout!r:.80}")


def _check_implementation(
    name: str, implementation: Callable[..., Any], parameters: frozenset[str], always_given: frozenset[str]
) -> tuple[frozenset[str] | None, Mapping[str, type]]:
    """Make sure that it can be called with *parameters*: the names it accepts, and those for the context."""
    from ._tool_signature import read_implementation

    found = read_implementation(implementation, ToolCallContext, parameters)
    for parameter in sorted(parameters):
        if found.accepted is not None and parameter not in found.accepted:
            _refuse(name, f"its implementation cannot be called with an argument {parameter!r} by name")
    for parameter in found.needed:
        if parameter not in parameters:
            _refuse(name, f"its implementation needs {parameter!r}, which is not among the parameters")
        if parameter not in always_given:
            _refuse(
                name,
                f"the model may leave {parameter!r} out, but its implementation needs it. Give it a default there, or "
                "list it under 'required' in the schema",
            )
    return found.accepted, found.injected


def _checked_schema(name: str, schema: object) -> dict[str, Any] | None:
    """A copy of the schema of a tool's arguments, made of plain JSON data."""
    import msgspec

    from ._schema_check import verify_schema

    if schema is None:
        return None
    if not isinstance(schema, Mapping):
        _refuse(name, f"its JSON schema must be a dict, not {schema!r:.80}")
    try:
        plain: dict[str, Any] = msgspec.to_builtins(dict(schema))
    except (TypeError, ValueError, RecursionError) as error:
        raise LMStudioValueError(
            f"Cannot use tool {name!r}: its JSON schema is not plain JSON data ({error})."
        ) from error
    if plain.get("type") != "object":
        _refuse(name, f'its JSON schema must have "type": "object" at the root, not {plain.get("type")!r:.80}')
    try:
        verify_schema(plain)
    except ValueError as error:
        raise LMStudioValueError(f"Cannot use tool {name!r}: in its JSON schema, {error}.") from error
    # LM Studio refuses a tool without this member.
    plain.setdefault("properties", {})
    return plain
