"""From the parameters of OpenAI's API to the configuration of a prediction: for the server and for native clients.

What cannot be used is an LMStudioValueError, whose context has the parameter in `errors` and a `code`.
"""

from __future__ import annotations

import re
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from lmstudio._kv_members import PREDICTION
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._http_models.openai import ChatParameters, SamplingRequest

__all__ = [
    "TOOL_CHOICES",
    "bad_parameter",
    "chat_settings",
    "passed_on",
    "reasoning_config",
    "reasoning_effort",
    "sampling_config",
    "sampling_fields",
    "structured_config",
    "tools_fields",
]

_REASONING_TOKENS: Final[Mapping[str, int | None]] = {
    "off": 0,
    "none": 0,
    "minimal": 128,
    "low": 512,
    "medium": 2048,
    "high": None,
    "on": None,
}
"""After how many tokens the reasoning of each effort ends; 0 for none at all, None for no limit."""
_PASSED_ON: Final = ("cache_prompt", "user", "mirostat", "mirostat_mode", "microstat_mode")
"""What other servers understand as it was given, and better so than in another form."""
TOOL_CHOICES: Final = ("none", "auto", "required")
"""Whether a tool may be called, or has to be."""
_NO_BIAS: Final = 100
"""OpenAI's largest bias, which forbids a token where it is negative."""


def bad_parameter(param: str, message: str, code: str | None = "invalid_value") -> LMStudioValueError:
    """The error for a parameter that cannot be used."""
    return LMStudioValueError(message).with_context(errors={param: message}, code=code)


def chat_settings(request: ChatParameters) -> tuple[dict[str, Any], dict[str, Any]]:
    """How a chat is to be answered: members of `LlmPredictionConfig` and, over them, fields by full key.

    Raises:
        LMStudioValueError: a parameter cannot be used.
    """
    if (request.n or 1) > 1:
        raise bad_parameter("n", "n must be 1: a model answers once.")
    name = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
    config = {
        **sampling_config(request, getattr(request, name), name),
        **structured_config(request.response_format, "response_format"),
        **reasoning_config(request.reasoning_effort, "reasoning_effort"),
    }
    if request.logprobs:
        config["log_probs"] = request.top_logprobs or 0
    choice, only = _tool_choice(request.tool_choice)
    functions = [_function(tool, number) for number, tool in enumerate(request.tools or ())]
    return config, {**sampling_fields(request), **tools_fields(functions, choice, only)}


def _function(tool: Mapping[str, Any], number: int) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        message = f"tools[{number}] must be {{'type': 'function', 'function': {{...}}}}."
        raise bad_parameter(f"tools[{number}]", message)
    return function


def _tool_choice(choice: str | Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """The mode, and the name of the only function that counts."""
    if choice is None or choice in TOOL_CHOICES:
        return choice, None
    function = choice.get("function") if not isinstance(choice, str) else None
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return "required", function["name"]
    modes = ", ".join(map(repr, TOOL_CHOICES))
    message = f"tool_choice must be {modes} or {{'type': 'function', 'function': {{'name': ...}}}}, not {choice!r:.80}."
    raise bad_parameter("tool_choice", message)


def sampling_config(request: SamplingRequest, max_tokens: int | None, limit_name: str = "max_tokens") -> dict[str, Any]:
    """The members of *request* as members of `LlmPredictionConfig`; *max_tokens* below 0 is no limit.

    Raises:
        LMStudioValueError: *max_tokens*, which is called *limit_name* in this request, is 0.
    """
    if max_tokens == 0:
        message = f"{limit_name} must be at least 1, or -1 for no limit: a reply has at least one token."
        raise bad_parameter(limit_name, message)
    stop = [request.stop] if isinstance(request.stop, str) else request.stop
    config = {
        "temperature": request.temperature,
        "top_k_sampling": request.top_k,
        "top_p_sampling": request.top_p,
        "min_p_sampling": request.min_p,
        "repeat_penalty": request.repeat_penalty,
        "presence_penalty": request.presence_penalty,
        "max_tokens": False if max_tokens is not None and max_tokens < 0 else max_tokens,
        "stop_strings": [text for text in stop if text] if stop else None,
        "draft_model": request.draft_model,
    }
    return {name: value for name, value in config.items() if value is not None}


def sampling_fields(request: SamplingRequest) -> dict[str, Any]:
    """The members of *request* that have no typed form, as fields by full key."""
    fields: dict[str, Any] = {}
    if request.frequency_penalty is not None:
        fields["llama.frequencyPenalty"] = {"checked": True, "value": request.frequency_penalty}
    if request.seed is not None:
        fields["seed"] = {"checked": True, "value": max(-1, request.seed)}
    if request.logit_bias:
        fields["llama.logitBias"] = [_bias(token, bias) for token, bias in request.logit_bias.items()]
    modes = (request.mirostat_mode, request.microstat_mode, request.mirostat)
    mode = next((each for each in modes if each is not None), None)
    if mode is not None:
        fields["llama.mirostatSampling"] = {"version": mode, "learningRate": 0.1, "targetEntropy": 5.0}
    return {PREDICTION + key: value for key, value in fields.items()}


def _bias(token: str, bias: float) -> list[Any]:
    if not re.fullmatch(r"[0-9]{1,9}", token):
        message = f"logit_bias has the key {token[:50]!r}, which is no token id: a whole number, in quotes."
        raise bad_parameter("logit_bias", message)
    return [int(token), "-inf" if bias <= -_NO_BIAS else bias]


def reasoning_config(effort: str | None, param: str) -> dict[str, Any]:
    """How much a model may reason, as members of `LlmPredictionConfig`.

    Raises:
        LMStudioValueError: *effort* is no word for that.
    """
    if effort is None:
        return {}
    if effort not in _REASONING_TOKENS:
        words = ", ".join(_REASONING_TOKENS)
        message = f"{param} must be one of {words}, not {effort[:50]!r}."
        raise bad_parameter(param, message)
    budget = _REASONING_TOKENS[effort]
    if budget == 0:
        return {"enable_thinking": False, "reasoning_budget": 0}
    return {"enable_thinking": True, "reasoning_budget": False if budget is None else budget}


def reasoning_effort(config: Mapping[str, Any]) -> str | None:
    """The effort that comes nearest to members of `LlmPredictionConfig`, as `reasoning_config` has them."""
    budget = config.get("reasoning_budget")
    if budget is None:
        return None
    if budget is False:
        return "high"
    if budget == 0:
        return "none"
    limits = {effort: limit for effort, limit in _REASONING_TOKENS.items() if limit}
    return next((effort for effort, limit in limits.items() if budget <= limit), "high")


def passed_on(request: SamplingRequest) -> dict[str, Any]:
    """The members of *request* that mean nothing here, for a server that may know what to do with them."""
    members = {name: getattr(request, name) for name in _PASSED_ON}
    return {**request.extra, **{name: value for name, value in members.items() if value is not None}}


def structured_config(
    response_format: Mapping[str, Any] | None, param: str, *, schema_at: str = "json_schema.schema"
) -> dict[str, Any]:
    """The form that the reply must have, as a member of `LlmPredictionConfig`.

    OpenAI's chat completions have the schema in `json_schema.schema`, its responses in `schema`. Either is taken;
    *schema_at* is what an error names.

    Raises:
        LMStudioValueError: the form is not known, or has no schema.
    """
    kind = "text" if response_format is None else response_format.get("type")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"structured": {"type": "json", "json_schema": {"type": "object"}}}
    if kind != "json_schema" or response_format is None:
        message = f"{param}.type must be 'json_schema', 'json_object' or 'text', not {kind!r:.50}."
        raise bad_parameter(f"{param}.type", message)
    holder = response_format.get("json_schema", response_format)
    schema = holder.get("schema") if isinstance(holder, dict) else None
    if not isinstance(schema, dict):
        message = f"{param} has the type 'json_schema' but no schema, which must be an object."
        raise bad_parameter(f"{param}.{schema_at}", message)
    return {"structured": {"type": "json", "json_schema": schema}}


def tools_fields(
    tools: Sequence[Mapping[str, Any]], choice: str | None = None, only: str | None = None
) -> dict[str, Any]:
    """Functions that the model may call, each with `name`, `description` and `parameters`, as fields by full key.

    *choice* is "none", "auto" or "required"; with *only*, that function has to be called.

    Raises:
        LMStudioValueError: there is no function *only*, or none at all where one has to be called, or one has no name
            or bad parameters.
    """
    offered: list[dict[str, Any]] = []
    for number, tool in enumerate(tools):
        name = tool.get("name")
        if not isinstance(name, str) or not name:
            raise bad_parameter(f"tools[{number}].name", f"tools[{number}] has no name.", code=None)
        given = tool.get("parameters")
        if not isinstance(given, (dict, NoneType)):
            message = f"tools[{number}] has parameters that are no JSON schema: expected an object."
            raise bad_parameter(f"tools[{number}].parameters", message)
        # A tool without parameters is one that takes none.
        parameters = {"type": "object", "properties": {}, **(given or {})}
        function: dict[str, Any] = {"name": name, "parameters": parameters}
        if tool.get("description"):
            function["description"] = tool["description"]
        offered.append({"type": "function", "function": function})
    if only is not None:
        names = [tool["function"]["name"] for tool in offered]
        offered = [tool for tool in offered if tool["function"]["name"] == only]
        if not offered:
            message = f"tool_choice asks for the tool {only[:50]!r}, but tools has only {', '.join(names) or 'none'}."
            raise bad_parameter("tool_choice", message)
        choice = "required"
    if not offered:
        if choice == "required":
            message = "tool_choice is 'required', but there are no tools."
            raise bad_parameter("tool_choice", message)
        return {}
    fields: dict[str, Any] = {"tools": {"type": "toolArray", "tools": offered}}
    if choice is not None:
        fields["toolChoice"] = {"type": "generic", "mode": choice}
    return {PREDICTION + key: value for key, value in fields.items()}
