"""Files in a chat -> what a model can be shown: the text of documents, and images for models that see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from lmstudio._sdk_models import ChatHistoryData, FileHandle, TextData
from lmstudio.server.engine.base import ChatImage
from lmstudio.server.errors import RequestError
from lmstudio.server.files.parsing import parse, parser_for
from lmstudio.server.files.threads import in_thread

if TYPE_CHECKING:
    from lmstudio.server._port import ClientContext
    from lmstudio.server.engine.base import ModelFile
    from lmstudio.server.files.store import FileStore

__all__ = ["with_contents"]


async def with_contents(
    store: FileStore, context: ClientContext, history: ChatHistoryData, model: ModelFile
) -> ChatHistoryData:
    """*history* with the contents of files in their places: texts as `TextData`, images as `ChatImage`.

    Raises:
        RequestError: a file is not there or cannot be read, or the model cannot see images.
    """
    if not any(isinstance(part, FileHandle) for message in history.messages for part in message.content):
        return history
    messages = []
    for message in history.messages:
        parts: list[Any] = [
            await _content(store, context, part, model) if isinstance(part, FileHandle) else part
            for part in message.content
        ]
        # An image is no part that could travel; in here only `prompt` looks at it.
        messages.append(type(message)(content=parts))
    return ChatHistoryData(messages=cast("Any", messages))


async def _content(
    store: FileStore, context: ClientContext, part: FileHandle, model: ModelFile
) -> TextData | ChatImage:
    file = store.find(context, part.identifier, part.name)
    if file.file_type == "image":
        if not model.vision:
            raise RequestError(
                f"The model {model.model_key!r} cannot see images, and the chat contains the image {part.name!r}.",
                suggestion="Use a vision model, or remove the image.",
            )
        return ChatImage(part.name, await in_thread(file.read))
    document = await parse(file, parser_for(file), lambda _: None)
    if not document.text.strip():
        raise RequestError(
            f"The document {part.name!r} has no text that could be shown to a model.",
            suggestion="If its pages are pictures, send them as images to a vision model.",
        )
    return TextData(text=f"[{part.name}]\n{document.text}\n[end of {part.name}]\n")
