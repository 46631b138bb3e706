"""Tools for models whose chat template has no place for them: as text in ordinary messages."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["knows_tools", "plain_messages"]

_INSTRUCTIONS: Final = """\
You can call these tools, one JSON object per line:
{definitions}
To call a tool, write nothing but this, with the name of the tool and its arguments as a JSON object:
<tool_call>
{{"name": "...", "arguments": {{...}}}}
</tool_call>
The result comes back in <tool_response>. Call a tool only if it helps; otherwise answer as usual."""


def knows_tools(template: str) -> bool:
    """Whether a chat template (Jinja) shows tools to the model."""
    return re.search(r"\btools\b", template) is not None


def plain_messages(messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """*messages* (as chat templates expect them) without anything that only templates for tools understand.

    The tools are described in the system prompt, calls stand in the text of the assistant, and their results are told
    by the user, those of one turn in one message.
    """
    plain: list[dict[str, Any]] = []
    is_after_result = False
    for message in messages:
        text = message["content"]
        if message["role"] == "tool":
            text = f"<tool_response>\n{text}\n</tool_response>"
            if is_after_result:
                plain[-1]["content"] += f"\n{text}"
            else:
                plain.append({"role": "user", "content": text})
        elif calls := message.get("tool_calls"):
            plain.append({"role": "assistant", "content": "\n".join(filter(None, [text, *map(_call_text, calls)]))})
        else:
            plain.append(message)
        is_after_result = message["role"] == "tool"
    if tools:
        definitions = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
        instructions = _INSTRUCTIONS.format(definitions=definitions)
        if plain and plain[0]["role"] == "system":
            plain[0] = {**plain[0], "content": f"{plain[0]['content']}\n\n{instructions}"}
        else:
            plain.insert(0, {"role": "system", "content": instructions})
    return plain


def _call_text(call: dict[str, Any]) -> str:
    function = call["function"]
    return (
        f'<tool_call>\n{{"name": {json.dumps(function["name"])}, "arguments": {function["arguments"]}}}\n</tool_call>'
    )
