"""What the signature and the source say about the function behind a tool."""

from __future__ import annotations

import functools
import inspect
import types
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

from .errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MISSING",
    "Implementation",
    "bad_parameter",
    "function_docstring",
    "function_name",
    "is_coroutine_function",
    "is_union",
    "parameters_of",
    "read_implementation",
]

MISSING: Any = inspect.Parameter.empty
"""No value, where None is one."""


def _innermost(function: Callable[..., Any]) -> Any:
    """The Python function that runs in the end: behind partials, bound methods, decorators and `__call__`."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.isroutine(function) or isinstance(function, type):
            return function
        else:
            function = type(function).__call__


def function_name(function: Callable[..., Any]) -> str | None:
    """The name that *function* has in the source; None for lambdas. A callable object is called like its class."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    return None if name == "<lambda>" else str(name)


def function_docstring(function: Callable[..., Any]) -> str:
    """The docstring of *function* as it stands in the source; "" if it has none."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function):
        return function.__doc__ or ""
    # An object: what its class says about the call, else about itself. Every class inherits a text from `object`.
    return type(function).__call__.__doc__ or type(function).__doc__ or ""


def is_coroutine_function(function: Callable[..., Any], wrapper: type) -> bool:
    """Whether a call of *function* makes a coroutine, also through a partial, a *wrapper* or `async __call__`."""
    while isinstance(function, (functools.partial, wrapper)):
        function = function.func if isinstance(function, functools.partial) else cast("Any", function).__wrapped__
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters that are still open, i.e. not those that a partial has bound.

    Raises:
        ValueError: it has none that Python knows.
    """
    bound = function.keywords if isinstance(function, functools.partial) else {}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, NameError) as error:  # NameError: Python 3.14 resolves the annotations meanwhile
        raise ValueError(str(error)) from error
    return [parameter for parameter in parameters if parameter.name not in bound]


def _resolved(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    """The annotation of *parameter* as a type.

    Raises:
        NameError, SyntaxError: it is a text that means nothing in the module of the function.
    """
    innermost = _innermost(function)

    def carrier() -> None: ...

    # One parameter at a time: an annotation of another one, or of the result, may exist for type checkers only.
    carrier.__annotations__ = {parameter.name: parameter.annotation}
    names = getattr(innermost, "__globals__", {})
    return get_type_hints(carrier, names, names, include_extras=True)[parameter.name]


_UNUSABLE_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: (
        "*{0} cannot be described to a model",
        "replace it by a parameter that is a list, such as `{0}: list[str]`",
    ),
    inspect.Parameter.VAR_KEYWORD: (
        "**{0} cannot be described to a model",
        "name the parameters, or use raw_function_tool with a JSON schema",
    ),
    inspect.Parameter.POSITIONAL_ONLY: (
        "parameter {0!r} is positional-only, but arguments of tools are passed by name",
        "remove the `/` from the signature",
    ),
}


def parameters_of(
    function: Callable[..., Any], tool_name: str, injected: type, descriptions: Mapping[str, str]
) -> dict[str, Any]:
    """The parameters of *function*, in the form that `ArgumentReader` takes, without contexts of calls.

    Raises:
        LMStudioValueError: a parameter cannot be described to a model; the message says which, why and what helps.
    """
    try:
        signature = _signature(function)
    except ValueError as error:
        raise LMStudioValueError(
            f"Cannot read the signature of tool {tool_name!r} ({error}). Wrap it in a Python function with type hints."
        ) from error
    found: dict[str, Any] = {}
    for parameter in signature:
        name = parameter.name
        if parameter.kind in _UNUSABLE_KINDS:
            problem, remedy = _UNUSABLE_KINDS[parameter.kind]
            raise bad_parameter(tool_name, problem.format(name), remedy.format(name))
        if parameter.annotation is MISSING:
            raise bad_parameter(
                tool_name, f"parameter {name!r} has no type hint", f"write a type, such as `{name}: str`"
            )
        try:
            annotation = _resolved(parameter, function)
        except (NameError, SyntaxError, TypeError, AttributeError) as error:
            raise bad_parameter(
                tool_name,
                f"the type hint {parameter.annotation!r} of parameter {name!r} cannot be resolved ({error})",
                "it must be importable at run time: define or import it at the top of the module, outside of functions "
                "and `if TYPE_CHECKING`; types that are local to a function work without "
                "`from __future__ import annotations`",
            ) from error
        if _injected_type(annotation, injected) is None:
            found[name] = _parameter_entry(annotation, parameter.default, descriptions.get(name))
    return found


def bad_parameter(tool_name: str, problem: str, remedy: str) -> LMStudioValueError:
    """The error to raise about one parameter of a tool."""
    return LMStudioValueError(f"Cannot use tool {tool_name!r}: {problem}. To fix it, {remedy}.")


def _injected_type(annotation: Any, injected: type) -> type | None:
    """*injected*, or one of the contexts of plugins, if an annotation is that, or that | None."""
    options = {*(get_args(annotation) if is_union(annotation) else (annotation,))} - {type(None)}
    if len(options) != 1:
        return None
    (found,) = options
    is_context = isinstance(found, type) and (found is injected or hasattr(found, "_of_running_call"))
    return found if is_context else None


def is_union(annotation: Any) -> bool:
    """Whether an annotation is a union, in either spelling."""
    return get_origin(annotation) in (Union, types.UnionType)


def _parameter_entry(annotation: Any, default: Any, description: str | None) -> Any:
    if type(default).__name__ == "FieldInfo" and type(default).__module__.startswith("pydantic"):
        # `x: int = Field(default=3, ge=1)`
        annotation = Annotated[annotation, default]
        default = MISSING if default.is_required() else default.get_default(call_default_factory=True)
    entry: dict[str, Any] = {"type": annotation}
    if description is not None:
        entry["description"] = description
    if default is not MISSING:
        entry["default"] = default
    return entry if len(entry) > 1 else annotation


class Implementation(NamedTuple):
    """What can be passed to the function behind a tool."""

    accepted: frozenset[str] | None
    """Names of parameters that can be passed; None if any can."""
    needed: tuple[str, ...]
    """Names of parameters that must be passed."""
    injected: Mapping[str, type]
    """The parameters that get the context of the call, and the types of context that they want."""


def read_implementation(function: Callable[..., Any], injected: type, known: frozenset[str]) -> Implementation:
    """Find out how *function* can be called, for a tool whose parameters are described apart from it as *known*."""
    try:
        signature = _signature(function)
    except ValueError:  # in C, for example: it will say itself what it does not like
        return Implementation(None, (), {})
    contexts: dict[str, type] = {}
    accepted: set[str] | None = set()
    needed = []
    for parameter in signature:
        if parameter.kind is parameter.VAR_KEYWORD:
            accepted = None
        elif parameter.name not in known and (context := _context_type(parameter, function, injected)) is not None:
            contexts[parameter.name] = context
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            if accepted is not None and parameter.kind is not parameter.POSITIONAL_ONLY:
                accepted.add(parameter.name)
            if parameter.default is MISSING:
                needed.append(parameter.name)
    return Implementation(None if accepted is None else frozenset(accepted), tuple(needed), contexts)


def _context_type(parameter: inspect.Parameter, function: Callable[..., Any], injected: type) -> type | None:
    if parameter.annotation is MISSING:
        return None
    try:
        return _injected_type(_resolved(parameter, function), injected)
    except (NameError, SyntaxError, TypeError, AttributeError):
        return None
