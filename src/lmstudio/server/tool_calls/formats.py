"""How models write tool calls: one entry per family, chosen by the model's chat template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lmstudio.server.engine.base import TriggeredGrammar
from lmstudio.server.tool_calls.plain_prompt import knows_tools

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GENERIC", "HERMES", "LLAMA", "LM_STUDIO", "MISTRAL", "Opening", "ToolCallFormat", "format_of"]


@dataclass(frozen=True)
class Opening:
    """What stands before a call, or before a JSON array of calls, and what after it."""

    marker: str
    """"" for none: then the call is where a reply, or the next call of it, begins with a brace."""
    closing: str = ""
    """"" where the end of the JSON is the end."""
    is_certain: bool = True
    """Whether nothing but a call follows; otherwise it is one if it names a tool that was offered."""
    has_label: bool = False
    """Whether a word may follow the marker: the language of a fenced block."""


@dataclass(frozen=True)
class ToolCallFormat:
    """The form in which one family of models calls tools."""

    name: str
    openings: Sequence[Opening]
    """The first one is what a forced call begins with."""
    arguments_key: str = "arguments"
    name_end: str = ""
    """Mistral's newer models write the name, this marker, then only the arguments."""
    id_marker: str = ""
    """There, between name and marker, an id may stand after this."""
    is_array: bool = False
    """Whether a forced call stands in a JSON array."""
    is_uniform: bool = False
    """Whether all models of the family write exactly this, so that they may be held to it."""

    def forced_opening(self) -> str:
        """The text that makes the model write a call."""
        marker = self.openings[0].marker
        return marker + "\n" if marker and not self.is_array else marker

    def forced_schema(self, tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A JSON schema for what follows `forced_opening`: a call of one of *tools* (as chat templates expect them)."""
        definitions: dict[str, Any] = {}
        calls = [self._call_schema(tool["function"], number, definitions) for number, tool in enumerate(tools)]
        schema: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
        if self.is_array:
            schema = {"type": "array", "items": schema, "minItems": 1}
        return {**schema, "$defs": definitions} if definitions else schema

    def grammar(self, tools: Sequence[dict[str, Any]]) -> TriggeredGrammar | None:
        """What keeps a model that has begun a call from inventing a name, and from writing wrong JSON.

        None where that could hinder a model that writes calls in another way than most of its family.
        """
        opening = self.openings[0]
        if not (self.is_uniform and tools):
            return None
        names = " | ".join(_literal(json.dumps(tool["function"]["name"], ensure_ascii=False)) for tool in tools)
        members = f'"{{" ws {_literal(json.dumps("name"))} ws ":" ws ({names}) ws ","'
        members += f' ws {_literal(json.dumps(self.arguments_key))} ws ":" ws object ws "}}"'
        root = f"root ::= {_literal(opening.marker)} ws {members} ws {_literal(opening.closing)} [^\\x00]*"
        return TriggeredGrammar(opening.marker, f"{root}\n{_JSON_GRAMMAR}")

    def _call_schema(self, function: dict[str, Any], number: int, definitions: dict[str, Any]) -> dict[str, Any]:
        # References point to the root, where the definitions of all tools meet.
        parameters = _with_moved_references(
            function.get("parameters") or {"type": "object", "properties": {}}, f"#/$defs/{number}."
        )
        for key, definition in (parameters.pop("$defs", None) or {}).items():
            definitions[f"{number}.{key}"] = definition
        return {
            "type": "object",
            "properties": {"name": {"const": function["name"]}, self.arguments_key: parameters},
            "required": ["name", self.arguments_key],
            "additionalProperties": False,
        }


def _with_moved_references(schema: Any, prefix: str) -> Any:
    """A copy of *schema* whose references to definitions begin with *prefix*."""
    match schema:
        case {"$ref": str(reference)} if reference.startswith("#/$defs/"):
            return {**schema, "$ref": prefix + reference.removeprefix("#/$defs/")}
        case dict():
            return {key: _with_moved_references(value, prefix) for key, value in schema.items()}
        case list():
            return [_with_moved_references(value, prefix) for value in schema]
    return schema


def _literal(text: str) -> str:
    """*text* as a terminal of a GBNF grammar."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_JSON_GRAMMAR: Final = r"""
ws ::= [ \t\n]{0,8}
object ::= "{" ws (member (ws "," ws member)*)? ws "}"
member ::= string ws ":" ws value
value ::= object | array | string | number | "true" | "false" | "null"
array ::= "[" ws (value (ws "," ws value)*)? ws "]"
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F]))* "\""
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)?
"""
_TAGS: Final = Opening("<tool_call>", "</tool_call>")
_REQUEST: Final = Opening("[TOOL_REQUEST]", "[END_TOOL_REQUEST]")
_ARRAY: Final = Opening("[TOOL_CALLS]")
_BARE: Final = Opening("", is_certain=False)
_FENCE: Final = Opening("```", "```", is_certain=False, has_label=True)

HERMES: Final = ToolCallFormat("hermes", [_TAGS], is_uniform=True)
MISTRAL: Final = ToolCallFormat("mistral", [_ARRAY], name_end="[ARGS]", id_marker="[CALL_ID]", is_array=True)
LM_STUDIO: Final = ToolCallFormat("lm studio", [_REQUEST], is_uniform=True)
LLAMA: Final = ToolCallFormat("llama", [_BARE, Opening("<|python_tag|>", is_certain=False)], "parameters")
GENERIC: Final = ToolCallFormat("generic", [_TAGS, _REQUEST, _ARRAY, _FENCE, _BARE])

_SIGNATURES: Final = (
    ("[TOOL_CALLS]", MISTRAL),
    ("<tool_call>", HERMES),
    ("[TOOL_REQUEST]", LM_STUDIO),
    ("<|python_tag|>", LLAMA),
    ("<|start_header_id|>", LLAMA),
)


def format_of(template: str) -> ToolCallFormat:
    """How a model with this chat template (Jinja) writes calls; the generic form if it does not show tools at all."""
    if not knows_tools(template):
        return GENERIC
    return next((form for signature, form in _SIGNATURES if signature in template), GENERIC)
