"""Who answers what the HTTP surfaces are asked: the models of this server, or a server behind this one.

The surfaces know nothing but this. What a backend makes of settings and of messages is its own affair, so these travel
through the surfaces unseen; what comes back are the packets of the native protocol, which a surface only has to spell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from lmstudio._http_models.openai import SamplingRequest
    from lmstudio._sdk_models import AnyChatMessage, LlmPredictionStats
    from lmstudio.server.engine.base import ModelKind
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.output import Packet

__all__ = ["Backend", "Config", "ModelInUse", "Prompt", "Running"]

Config: TypeAlias = Any
"""How to predict, as the backend that made it has it."""
Prompt: TypeAlias = Any
"""What to predict from, as the backend that made it has it."""


class ModelInUse(Protocol):
    """A loaded model that answers a request."""

    @property
    def identifier(self) -> str:
        """The name of the loaded instance."""
        raise NotImplementedError


class Running(ABC):
    """A prediction in progress: its packets, as they come."""

    @abstractmethod
    def packets(self) -> AsyncIterator[list[Packet]]:
        """All packets but the last, those that wait together at once, to the end of the prediction. Once only.

        Raises:
            Exception: it failed.
        """

    @abstractmethod
    async def wait_for_first(self, *, is_progress_enough: bool = False) -> None:
        """Wait for the first packet that the model has written. What can be refused, is refused before.

        With *is_progress_enough* until it begins to read, for which the prompt has to fit.

        Raises:
            Exception: it failed.
        """

    def pass_on_text(self, take: Callable[[list[Packet]], bool]) -> None:  # noqa: B027 (to do nothing is allowed)
        """Let *take* have packets with text before `packets` has them, if this prediction can do that.

        It is called as soon as they come, by whoever reads them; it must not wait, and is to say False if it does not
        want them, and True if it is done with them. That saves much of what a token costs. Call it between two packets.
        """

    @property
    @abstractmethod
    def stats(self) -> LlmPredictionStats:
        """The statistics, once the packets have ended."""


class Backend(ABC):
    """Everything that surfaces ask for. `LocalBackend` is the models of this server.

    What fails raises what `as_http_error` knows.
    """

    @abstractmethod
    def time(self) -> float:
        """Seconds since the epoch."""

    @property
    @abstractmethod
    def started_at(self) -> float:
        """When it began, in seconds since the epoch."""

    @abstractmethod
    async def model_names(self) -> list[str]:
        """The models that a request may name, for lists."""

    @abstractmethod
    def using_model(
        self, settings: HttpSettings, kind: ModelKind, name: str | None, *, ttl_seconds: float | None = None
    ) -> AbstractAsyncContextManager[ModelInUse]:
        """The model that *name* means, for the block. *ttl_seconds* counts only if it has to be loaded."""

    @abstractmethod
    def configured(
        self,
        config: Mapping[str, Any],
        fields: Mapping[str, Any],
        *,
        preset: str | None,
        is_raw: bool = False,
        request: SamplingRequest | None = None,
    ) -> Config:
        """How to predict: *config* (`LlmPredictionConfig`) and, over it, *fields* by full key.

        *is_raw*: a text goes on, without a chat template. *request*: where all this comes from, if it is of OpenAI's
        API, for backends that can make something of what else is in it.
        """

    @abstractmethod
    async def chat(
        self, model: Any, messages: Sequence[AnyChatMessage], config: Config, *, beginning: str = ""
    ) -> Prompt:
        """The prompt for *messages*. The model goes on with *beginning*, which is not part of the reply."""

    @abstractmethod
    def raw_text(self, text: str) -> Prompt:
        """The prompt that is *text*, with no template."""

    @abstractmethod
    def running(
        self, model: Any, config: Config, prompt: Prompt, *, is_one_call: bool = False, is_streamed: bool = False
    ) -> AbstractAsyncContextManager[Running]:
        """A prediction that ends with the block.

        With *is_one_call* the model is stopped after its first tool call. *is_streamed*: somebody sees every packet, so
        that it may take as long as packets come.
        """

    @abstractmethod
    async def count_tokens(self, model: Any, prompt: Prompt) -> int:
        """How many tokens *prompt* has."""

    @abstractmethod
    async def embed(self, model: Any, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """The embeddings of *texts*, and how many tokens they have altogether."""
