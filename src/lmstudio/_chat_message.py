"""What every chat message can do: the base of the message structs, which are generated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ._struct import LMStudioStruct

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ._sdk_models import FileHandle, ToolCallRequest, ToolCallResultData


class ChatMessage(LMStudioStruct, kw_only=True):
    """A message of a chat: who speaks, and parts of text, files, tool call requests or tool call results."""

    role: ClassVar[str]
    content: list[Any]  # each kind of message says of what

    def is_system_prompt(self) -> bool:
        """Whether this is a system prompt."""
        return self.role == "system"

    def is_user_message(self) -> bool:
        """Whether the user says this."""
        return self.role == "user"

    def is_assistant_message(self) -> bool:
        """Whether the model says this."""
        return self.role == "assistant"

    def is_tool_result_message(self) -> bool:
        """Whether these are results of tool calls."""
        return self.role == "tool"

    def get_text(self) -> str:
        """All text of the message, its parts separated by spaces; "" if it has none."""
        return " ".join([part.text for part in self.content if part.type == "text"])

    def append_text(self, text: str) -> None:
        """Add a part with *text* at the end. Refused for results of tool calls, which have no text parts."""
        from ._chat_parts import text_part

        self._check_free_content("text")
        self.content.append(text_part(text))

    def replace_text(self, text: str) -> None:
        """Put one part with *text* first, in place of all text of the message; other parts stay."""
        from ._chat_parts import text_part

        self._check_free_content("text")
        self.content = [text_part(text), *(part for part in self.content if part.type != "text")]

    def get_files(self) -> list[FileHandle]:
        """The files of the message, in order."""
        return [part for part in self.content if part.type == "file"]

    def has_files(self) -> bool:
        """Whether the message has files."""
        return any(part.type == "file" for part in self.content)

    def append_file(self, file: FileHandle | Mapping[str, Any]) -> None:
        """Add a file, as `prepare_image` returns it, at the end. Refused for results of tool calls."""
        from ._chat_parts import file_part

        self._check_free_content("files")
        self.content.append(file_part(file))

    def consume_files(self, predicate: Callable[[FileHandle], object]) -> list[FileHandle]:
        """Remove the files for which *predicate* is true, and return them. The message may be empty afterwards."""
        return remove_files([self], [file for file in self.get_files() if predicate(file)])

    async def consume_files_async(self, predicate: Callable[[FileHandle], Awaitable[object]]) -> list[FileHandle]:
        """As `consume_files`, with a coroutine function. Nothing is removed before it has seen every file."""
        return remove_files([self], [file for file in self.get_files() if await predicate(file)])

    def get_tool_call_requests(self) -> list[ToolCallRequest]:
        """The tool calls that the model asks for in this message, in order."""
        return [part.tool_call_request for part in self.content if part.type == "toolCallRequest"]

    def get_tool_call_results(self) -> list[ToolCallResultData]:
        """The results of tool calls in this message, in order."""
        return [part for part in self.content if part.type == "toolCallResult"]

    def _check_free_content(self, what: str) -> None:
        if self.role == "tool":
            from .errors import LMStudioValueError

            raise LMStudioValueError(
                f"A message with tool call results can have no {what}; add a ToolCallResultData to its content."
            )


def remove_files(messages: list[Any], files: list[FileHandle]) -> list[FileHandle]:
    """Take *files* themselves, not their equals, out of the messages; returns them."""
    doomed = {id(file) for file in files}
    for message in messages:
        if any(id(part) in doomed for part in message.content):
            message.content = [part for part in message.content if id(part) not in doomed]
    return files
