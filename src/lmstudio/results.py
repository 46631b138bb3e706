"""What predictions return."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, cast

from typing_extensions import TypeVar, dataclass_transform

from .errors import LMStudioStructuredOutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from ._sdk_models import (
        KvConfig,
        LlmInstanceInfo,
        LlmLoadModelConfig,
        LlmPredictionConfig,
        LlmPredictionStats,
        PromptProcessingDetails,
        ToolCallRequest,
    )
    from .errors import ToolCallRequestError

__all__ = [
    "ActResult",
    "GeneratorActResult",
    "GeneratorPredictionResult",
    "GeneratorPredictionRoundResult",
    "ModelLoadResult",
    "PredictionResult",
    "PredictionRoundResult",
    "PromptProcessingProgress",
    "TokenUsage",
    "ToolCallRequestInfo",
]

ParsedT = TypeVar("ParsedT", default=Any)


class PromptProcessingProgress(float):
    """How much of the prompt has been read, 0.0 to 1.0; a float with token counts."""

    __slots__ = ("details",)

    details: PromptProcessingDetails | None
    """Cached, processed, unprocessed and total tokens; None where the server has not said."""

    def __new__(cls, value: float, details: PromptProcessingDetails | None = None) -> Self:
        progress = super().__new__(cls, value)
        progress.details = details
        return progress

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (float(self), self.details)


class TokenUsage(NamedTuple):
    """Token counts of one prediction, as the server counted them; 0 where it has not."""

    prompt_tokens: int
    predicted_tokens: int
    total_tokens: int


class ToolCallRequestInfo(NamedTuple):
    """A tool call that the model asked for."""

    call_id: int
    """Number of the call, unique within one prediction or one `act`. Not on the wire."""
    tool_call_request: ToolCallRequest
    """Id, name and arguments."""
    raw_content: str | None = None
    """What the model wrote, not necessarily JSON; None where the server does not say."""
    is_queued: bool = False
    """Within `act`: the tool waits for others to end."""


# For type checkers: assigning to a part is an error.
@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=False)
class _Frozen:
    """A value: equal to one with the same parts, and not to be changed. Lighter to import than a dataclass."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed.")

    def _parts(self) -> dict[str, Any]:
        """All but what is made on demand."""
        made = type(self)
        return {
            name: part
            for name, part in vars(self).items()
            if not isinstance(getattr(made, name, None), cached_property)
        }

    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if type(other) is type(self) else NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # some parts can be changed


class GeneratedReply(_Frozen):
    """What a model or a generator has answered."""

    content: str
    """All text, reasoning and its tags included."""
    reasoning_content: str
    """What the model thought, without the tags; "" for a model that does not reason."""
    non_reasoning_content: str
    """The answer, without reasoning and tags. Equal to *content* for a model that does not reason."""
    tool_calls: tuple[ToolCallRequestInfo, ...]
    """The tool calls that the model asked for, in order; nobody has run them."""
    tool_call_errors: tuple[ToolCallRequestError, ...]
    """What looked like a tool call and could not be read."""

    def __init__(
        self,
        *,
        content: str,
        reasoning_content: str = "",
        non_reasoning_content: str | None = None,
        tool_calls: Sequence[ToolCallRequestInfo] = (),
        tool_call_errors: Sequence[ToolCallRequestError] = (),
    ) -> None:
        vars(self).update(
            content=content,
            reasoning_content=reasoning_content,
            non_reasoning_content=content if non_reasoning_content is None else non_reasoning_content,
            tool_calls=tuple(tool_calls),
            tool_call_errors=tuple(tool_call_errors),
        )

    @property
    def tool_call_requests(self) -> list[ToolCallRequest]:
        """The tool calls that the model asked for, in order, as `Chat.add_assistant_response` takes them."""
        return [call.tool_call_request for call in self.tool_calls]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(content={self.content!r})"

    def __str__(self) -> str:
        return self.content


class PredictionResult(GeneratedReply, Generic[ParsedT]):
    """The complete result of a prediction.

    `str(result)` is the text, or indented JSON for a structured prediction.
    """

    stats: LlmPredictionStats
    """Stop reason, token counts and speed, as the server measured them."""
    model_info: LlmInstanceInfo
    """The instance that predicted."""
    structured: bool
    """Whether JSON was requested, so that `parsed` is more than the text."""

    def __init__(
        self,
        *,
        content: str,
        parsed: ParsedT | LMStudioStructuredOutputError,
        stats: LlmPredictionStats,
        model_info: LlmInstanceInfo,
        load_config: LlmLoadModelConfig | KvConfig,
        prediction_config: LlmPredictionConfig | KvConfig,
        structured: bool | None = None,
        reasoning_content: str = "",
        non_reasoning_content: str | None = None,
        tool_calls: Sequence[ToolCallRequestInfo] = (),
        tool_call_errors: Sequence[ToolCallRequestError] = (),
    ) -> None:
        """Results come from the package; tests may make their own.

        Args:
            content: All text of the model.
            parsed: The reply as the type that was asked for; an error is raised by whoever asks for it.
            stats: Statistics of the server.
            model_info: The instance that predicted.
            load_config: In typed form, or as the server sent it.
            prediction_config: In typed form, or as the server sent it.
            structured: By default, whether *parsed* is anything but the text.
            reasoning_content: The model's thoughts.
            non_reasoning_content: The answer; by default *content*.
            tool_calls: The tool calls that the model asked for.
            tool_call_errors: What looked like a tool call and could not be read.
        """
        super().__init__(
            content=content,
            reasoning_content=reasoning_content,
            non_reasoning_content=non_reasoning_content,
            tool_calls=tool_calls,
            tool_call_errors=tool_call_errors,
        )
        vars(self).update(
            _parsed=parsed,
            stats=stats,
            model_info=model_info,
            # Converted when somebody asks: most never do.
            _load_config=load_config,
            _prediction_config=prediction_config,
            structured=parsed is not content and parsed != content if structured is None else structured,
        )

    _parsed: ParsedT | LMStudioStructuredOutputError
    _load_config: LlmLoadModelConfig | KvConfig
    _prediction_config: LlmPredictionConfig | KvConfig

    @property
    def parsed(self) -> ParsedT:
        """The reply as the type that was asked for.

        An instance of the class given as *response_format*; a dict (or other JSON value) for a JSON schema; the text
        itself for a grammar or an unstructured prediction.

        Raises:
            LMStudioStructuredOutputError: the reply does not match; says where, and why the model stopped.
        """
        if isinstance(self._parsed, LMStudioStructuredOutputError):
            raise self._parsed.with_traceback(None)  # or each access would make it longer
        return self._parsed

    @property
    def stop_reason(self) -> str:
        """Why the model stopped, e.g. "eosFound"; values that this version does not know are kept."""
        return self.stats.stop_reason

    @property
    def stop_string(self) -> str | None:
        """The stop string that ended the reply, if one did."""
        return self.stats.stop_string

    @property
    def model(self) -> str:
        """The identifier of the instance that predicted."""
        return self.model_info.identifier

    @property
    def usage(self) -> TokenUsage:
        """Token counts of prompt and reply."""
        prompt, predicted = self.stats.prompt_tokens_count or 0, self.stats.predicted_tokens_count or 0
        return TokenUsage(prompt, predicted, self.stats.total_tokens_count or prompt + predicted)

    @cached_property
    def load_config(self) -> LlmLoadModelConfig:
        """The configuration the model was loaded with."""
        from ._kv_config import llm_load_config_from_kv
        from ._sdk_models import KvConfig

        if isinstance(self._load_config, KvConfig):
            return llm_load_config_from_kv(self._load_config)
        return self._load_config

    @property
    def load_config_kv(self) -> KvConfig:
        """The configuration the model was loaded with, as the server sent it."""
        from ._kv_config import llm_load_config_to_kv
        from ._sdk_models import KvConfig

        if isinstance(self._load_config, KvConfig):
            return self._load_config
        return llm_load_config_to_kv(self._load_config)

    @cached_property
    def prediction_config(self) -> LlmPredictionConfig:
        """The effective configuration of this prediction."""
        from ._kv_config import prediction_config_from_kv
        from ._sdk_models import KvConfig

        if isinstance(self._prediction_config, KvConfig):
            return prediction_config_from_kv(self._prediction_config)
        return self._prediction_config

    @property
    def prediction_config_kv(self) -> KvConfig:
        """The effective configuration of this prediction, as the server sent it."""
        from ._kv_config import prediction_config_to_kv
        from ._sdk_models import KvConfig

        if isinstance(self._prediction_config, KvConfig):
            return self._prediction_config
        return prediction_config_to_kv(self._prediction_config)

    def __str__(self) -> str:
        if self.structured and not isinstance(self._parsed, (str, LMStudioStructuredOutputError)):
            try:
                return json.dumps(json.loads(self.non_reasoning_content), indent=2, ensure_ascii=False)
            except (ValueError, RecursionError):
                pass  # a response format of the user's own may accept what is not JSON
        return self.content


class PredictionRoundResult(PredictionResult[ParsedT]):
    """The result of one round of `act`."""

    round_index: int
    """The number of the round, from 0."""

    def __init__(self, *, round_index: int, **parts: Any) -> None:
        """As `PredictionResult`, and the number of the round, from 0."""
        super().__init__(**parts)
        vars(self)["round_index"] = round_index

    @classmethod
    def from_result(cls, result: PredictionResult[ParsedT], round_index: int) -> Self:
        """*result* as that of round *round_index*."""
        made = cls.__new__(cls)
        vars(made).update(vars(result), round_index=round_index)
        return made


class GeneratorPredictionResult(GeneratedReply):
    """What a generator of a plugin has answered. There are no statistics: generators do not report any."""

    plugin_identifier: str
    """The plugin that the generator belongs to, as "owner/name"."""

    def __init__(self, *, plugin_identifier: str, **parts: Any) -> None:
        """As `PredictionResult`, without what only a model has."""
        super().__init__(**parts)
        vars(self)["plugin_identifier"] = plugin_identifier


class GeneratorPredictionRoundResult(GeneratorPredictionResult):
    """The result of one round of `act` with a generator."""

    round_index: int
    """The number of the round, from 0."""

    def __init__(self, *, round_index: int, **parts: Any) -> None:
        """As `GeneratorPredictionResult`, and the number of the round, from 0."""
        super().__init__(**parts)
        vars(self)["round_index"] = round_index

    @classmethod
    def from_result(cls, result: GeneratorPredictionResult, round_index: int) -> Self:
        """*result* as that of round *round_index*."""
        made = cls.__new__(cls)
        vars(made).update(vars(result), round_index=round_index)
        return made


class ModelLoadResult(_Frozen):
    """What a server says of an instance that it has loaded."""

    identifier: str
    """Its name."""
    instance_reference: str
    """The reference of exactly this instance."""
    path: str
    """The model's path, relative to the server's models folder."""

    def __init__(self, *, identifier: str, instance_reference: str, path: str) -> None:
        vars(self).update(identifier=identifier, instance_reference=instance_reference, path=path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(identifier={self.identifier!r})"


RoundT = TypeVar("RoundT", bound=GeneratedReply)


class _Acted(_Frozen, Generic[RoundT]):
    """What `act` did. `str(result)` is the last reply."""

    rounds: int
    """How many predictions it took."""
    total_time_seconds: float
    """Time from the call to its end, tools included."""
    final_result: RoundT | None
    """The result of the last round; None if there was none."""
    tool_call_requests: list[ToolCallRequest]
    """The calls of tools without implementation, which ended `act`: run them, add their results to the chat, and call
    `act` again."""

    def __init__(
        self,
        *,
        rounds: int,
        total_time_seconds: float,
        final_result: RoundT | None = None,
        tool_call_requests: Sequence[ToolCallRequest] = (),
    ) -> None:
        """Results come from the package; tests may make their own."""
        vars(self).update(
            rounds=rounds,
            total_time_seconds=total_time_seconds,
            final_result=final_result,
            tool_call_requests=list(tool_call_requests),
        )

    @property
    def content(self) -> str:
        """The text of the last round."""
        return "" if self.final_result is None else self.final_result.content

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rounds={self.rounds!r}, total_time_seconds={self.total_time_seconds!r})"

    def __str__(self) -> str:
        return repr(self) if self.final_result is None else str(self.final_result)


class ActResult(_Acted[PredictionRoundResult[ParsedT]], Generic[ParsedT]):
    """What `act` did. `str(result)` is the last reply."""

    @property
    def parsed(self) -> ParsedT:
        """The last reply as the type given as *response_format*; see `PredictionResult.parsed`."""
        return cast("ParsedT", "") if self.final_result is None else self.final_result.parsed


class GeneratorActResult(_Acted[GeneratorPredictionRoundResult]):
    """What `act` did with a generator. `str(result)` is the last reply."""
