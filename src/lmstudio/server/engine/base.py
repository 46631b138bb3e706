"""What the server asks of an inference engine.

The server speaks LM Studio's protocol and knows models, instances, configuration and channels. An engine knows none of
that: it loads one file, renders a chat, tokenizes, generates text from a finished prompt, and embeds. So an engine is
replaceable, and everything LM Studio-shaped (reasoning split, statistics, JIT loading, TTL) exists once, above it.

Engines run in the server's asyncio loop. Cancelling the task that awaits `Engine.load` aborts the load; closing the
generator that `LoadedModel.generate` returns aborts the generation. Both take effect at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

ModelKind: TypeAlias = Literal["llm", "embedding"]
ProgressCallback: TypeAlias = Callable[[float], None]
LogLevel: TypeAlias = Literal["debug", "info", "warn", "error"]


SMALL_MODEL_BYTES: Final = 64 * 2**20
"""Below this (about 50 million parameters) a second thread costs more than it brings, and context costs nothing."""


class EngineError(Exception):
    """The engine could not do what was asked; the message is one sentence for the user.

    *suggestion* says what the user can do about it, where there is something.
    """

    def __init__(self, message: str, *, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


class BadInputError(EngineError):
    """The request itself is at fault: a schema, a grammar or a text that no model could make something of."""


class PromptTooLongError(EngineError):
    """The prompt alone does not fit into the context."""

    def __init__(self, prompt_tokens: int, context_length: int) -> None:
        super().__init__(
            f"The prompt has {prompt_tokens} tokens, the model was loaded with a context of {context_length}.",
            suggestion="Shorten the chat, or load the model with a larger contextLength.",
        )
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length


class ModelDiedError(EngineError):
    """The process or thread that held the model ended unexpectedly; the instance is unusable."""


@dataclass(frozen=True)
class LoadOptions:
    """How to load a model. None leaves the choice to the engine."""

    context_length: int | None = None
    parallel_sessions: int | None = None
    unified_kv_cache: bool | None = None
    eval_batch_size: int | None = None
    physical_batch_size: int | None = None
    flash_attention: bool | None = None
    gpu_offload_ratio: float | None = None
    offload_kv_cache: bool | None = None
    seed: int | None = None
    rope_frequency_base: float | None = None
    rope_frequency_scale: float | None = None
    keep_in_memory: bool | None = None
    try_mmap: bool | None = None
    k_cache_type: str | None = None
    v_cache_type: str | None = None
    chat_template: str | None = None
    draft_model: Path | None = None
    draft_max_tokens: int | None = None
    draft_min_tokens: int | None = None
    draft_min_probability: float | None = None
    """The draft model guesses on as long as it is as sure as this."""
    reasoning_budget_message: str | None = None
    """What ends reasoning that is cut short. The server writes it; engines need not know."""


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens. None leaves a value to the model's or the engine's default."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    mirostat: tuple[int, float, float] | None = None
    """Version (0, 1 or 2), learning rate, target entropy."""
    logit_bias: Sequence[tuple[int, float]] = ()
    seed: int | None = None


@dataclass(frozen=True)
class TriggeredGrammar:
    """A GBNF grammar for the text from *trigger* on, if the model writes that; its root begins with it."""

    trigger: str
    grammar: str


@dataclass(frozen=True)
class GenerationRequest:
    """One text completion. The prompt is complete: templates have been applied."""

    prompt: str
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop_strings: Sequence[str] = ()
    json_schema: Mapping[str, Any] | None = None
    """A JSON schema that the text must satisfy; {} allows any JSON value. Excludes *grammar*."""
    grammar: str | None = None
    """A GBNF grammar that the text must satisfy."""
    triggered_grammar: TriggeredGrammar | None = None
    """What an engine should hold the model to from some point on, if it can. Excludes the two above."""
    log_probs: int | None = None
    """Number of candidates per token to report; None reports no tokens at all."""


@dataclass(frozen=True)
class ChatImage:
    """An image in a chat."""

    name: str
    content: bytes
    """The file: PNG, JPEG, WebP or what else the client has sent."""


@dataclass(frozen=True)
class PromptProgress:
    """The prompt is being read. Sent at least once with *processed* == 0 and once complete, before the first text."""

    cached_tokens: int
    processed_tokens: int
    """Without the cached ones."""
    total_tokens: int
    """cached + processed + still to do."""


@dataclass(frozen=True)
class TokenInfo:
    """One generated token."""

    id: int
    text: str
    log_prob: float | None = None
    candidates: Sequence[TokenInfo] = ()


@dataclass(frozen=True)
class TextChunk:
    """More text. Stop strings are never part of it."""

    text: str
    token_count: int
    tokens: Sequence[TokenInfo] = ()
    has_drafted: bool = False
    """Whether a draft model guessed some of it."""


EngineStopReason: TypeAlias = Literal[
    "eosFound", "stopStringFound", "maxPredictedTokensReached", "contextLengthReached"
]


@dataclass(frozen=True)
class GenerationEnd:
    """The last event of a generation that was not aborted."""

    stop_reason: EngineStopReason
    stop_string: str | None
    prompt_tokens: int
    predicted_tokens: int
    tokens_per_second: float | None
    draft_tokens: int | None = None
    accepted_draft_tokens: int | None = None


GenerationEvent: TypeAlias = PromptProgress | TextChunk | GenerationEnd


@dataclass(frozen=True)
class ModelFile:
    """One model that can be loaded, as the server's catalogue knows it."""

    kind: ModelKind
    model_key: str
    path: str
    """Relative, with forward slashes: publisher/repo/file.gguf."""
    file: Path | None
    """Where the weights are; None for a model that the scripted engine makes up."""
    display_name: str
    publisher: str
    size_bytes: int
    max_context_length: int
    architecture: str | None = None
    params_string: str | None = None
    quantization: tuple[str, int] | None = None
    """Name and bits per weight, e.g. ("Q8_0", 8)."""
    vision: bool = False
    trained_for_tool_use: bool = False
    can_reason: bool = False
    """Its chat template knows of reasoning before an answer."""
    expert_count: int | None = None
    """For a mixture of experts."""
    variant_of: str | None = None
    """The key of the model that this is one quantization of, if there are several; `model_key` then names this one."""
    variants: tuple[str, ...] = ()
    """The keys of all these, first the one that `variant_of` alone means."""

    @property
    def listed_key(self) -> str:
        """The key under which lists have it."""
        return self.variant_of or self.model_key

    @property
    def shortest_key(self) -> str:
        """The key that is enough to mean just this file."""
        return self.listed_key if self.is_selected else self.model_key

    @property
    def is_selected(self) -> bool:
        """It is what its listed key means."""
        return not self.variants or self.variants[0] == self.model_key


class LoadedModel(ABC):
    """One model in memory. Its methods may run concurrently."""

    context_length: int
    """What one conversation may use, in tokens."""

    @property
    def process_id(self) -> int | None:
        """The process that holds it, if that is one of its own."""
        return None

    @abstractmethod
    async def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        template: str | None = None,
        enable_thinking: bool | None = None,
    ) -> str:
        """Apply the chat template, ending with the generation prompt.

        *messages* are OpenAI-shaped: `role`, `content` (text), and for tool use `tool_calls` (each with `id`, `type`,
        `function.name` and `function.arguments` as JSON text), `tool_call_id` and `name`. Messages to a vision
        model may have `images`, a list of `ChatImage`. *template* (Jinja) replaces the model's own.
        """

    async def chat_template(self) -> str:
        """The template (Jinja) that `render_chat` applies by itself; "" if there is none, or nobody knows."""
        return ""

    @abstractmethod
    async def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of *text*, no template applied. *special* adds what the model adds around a text (e.g. [CLS])."""

    @abstractmethod
    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Yield PromptProgress, then TextChunks, then one GenerationEnd. Closing it early stops the generation.

        Raises EngineError: PromptTooLongError, ModelDiedError, or a bad schema or grammar.
        """

    @abstractmethod
    async def embed(self, text: str) -> list[float]:
        """The embedding of *text*."""

    @abstractmethod
    async def close(self) -> None:
        """Free the model. Generations in flight end with ModelDiedError. Safe to call twice."""


@dataclass(frozen=True)
class EngineLogLine:
    """What an engine has written into its log."""

    level: LogLevel
    text: str
    pid: int | None = None
    """The process of the model that it is about, if that is one of its own."""


@dataclass(frozen=True)
class EngineDevice:
    """What an engine can compute with besides the processor: a graphics card."""

    name: str
    """The engine's own, e.g. CUDA0."""
    description: str
    memory_bytes: int
    shares_memory: bool = False
    """Its memory is the machine's."""


LogCallback: TypeAlias = Callable[[EngineLogLine], object]


class Engine(ABC):
    """Loads models."""

    name: str
    version: str
    default_options: LoadOptions = LoadOptions()
    """What it takes for a language model where options leave the choice to it, as far as that is always the same."""
    on_log: LogCallback | None = None
    """Set by the server. Call it in the server's event loop, with each line of the engine's log if it has one."""

    @abstractmethod
    async def load(self, model: ModelFile, options: LoadOptions, on_progress: ProgressCallback) -> LoadedModel:
        """Load *model*; *on_progress* gets 0..1, never decreasing. Cancelling the task aborts the load.

        Raises EngineError with the engine's own reason when the file cannot be loaded.
        """

    async def devices(self) -> Sequence[EngineDevice]:
        """What it can compute with besides the processor.

        Raises EngineError when it cannot find out.
        """
        return ()

    @abstractmethod
    async def close(self) -> None:
        """Release what the engine itself holds (not the models: the server closes those first)."""
