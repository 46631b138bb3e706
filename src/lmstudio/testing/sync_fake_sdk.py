# Generated from async_fake_sdk.py by tools/make_sync.py. Edit that file instead.
"""The synchronous double of the contract in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio._surface.sync_streams import ChatCompletionStream
from lmstudio._sync_io import SyncBase
from lmstudio.testing import _fake_answers
from lmstudio.testing._fake_core import FakeScript

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from lmstudio._http_models.model_lists import ListModelsFilter, ModelsListResponse, ModelStatus
    from lmstudio._http_models.openai import ChatCompletionParams, ChatCompletionResponse
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.history import ChatInput

__all__ = ["FakeSdk"]

_pause = _fake_answers.pause_blocking


class FakeSdk(SyncBase, FakeScript):
    """A double of the contract in memory: an `SdkContract` whose model says what the test tells it to.

    ::

        sdk = FakeSdk()
        sdk.reply("A short summary.")
        assert summarize(sdk, "A long text.") == "A short summary."
        sdk.assert_called_with(re.compile("A long text"), config={"max_tokens": 100})

    Requests are checked as by the native client, replies are those of a server with the same script: chunk by chunk,
    with token counts, limits and stop strings. Left alone it repeats the user's words. Of time limits, only the total
    counts.

    Args:
        models: The models that there are, all of them loaded; None for whichever anybody asks for.
        strict: Each chat needs a reply, and each reply a chat; see `check`.
    """

    def chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionResponse:
        """What the script says to a chat; arguments and errors as in `SdkContract.chat_completion`."""
        return self._run(self.answer(messages, model, params, timeout, _pause).run())

    def stream_chat_completion(
        self,
        messages: ChatInput,
        *,
        model: str | None = None,
        timeout: TimeoutInput = None,
        **params: Unpack[ChatCompletionParams],
    ) -> ChatCompletionStream:
        """As `chat_completion`, piece by piece. The script is not asked before the stream is used."""
        return ChatCompletionStream(self.answer(messages, model, params, timeout, _pause))

    def list_models(
        self,
        filter: ListModelsFilter | Mapping[str, Any] | None = None,
        *,
        owned_by: str | None = None,
        status: ModelStatus | None = None,
        limit: int | None = None,
    ) -> ModelsListResponse:
        """The models of the double."""
        return self._run(self._listed(filter, owned_by, status, limit))

    def health(self) -> bool:
        """True, unless `fail(..., on="health")` says otherwise."""
        return self._run(self._is_healthy())

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
