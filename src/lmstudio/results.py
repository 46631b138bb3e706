"""What predictions return."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, cast

from typing_extensions import TypeVar

if TYPE_CHECKING:
    from ._sdk_models import (
        KvConfig,
        LlmInstanceInfo,
        LlmLoadModelConfig,
        LlmPredictionConfig,
        LlmPredictionStats,
    )
    from .errors import LMStudioStructuredOutputError

__all__ = ["PredictionResult"]

ParsedT = TypeVar("ParsedT", default=Any)


@dataclass(frozen=True, kw_only=True)
class PredictionResult(Generic[ParsedT]):
    """The complete result of a prediction.

    `str(result)` is the text, or indented JSON for a structured prediction.
    """

    content: str
    """All text of the model, reasoning and its tags included."""
    reasoning_content: str = ""
    """What the model thought, without the tags; "" for a model that does not reason."""
    non_reasoning_content: str = ""
    """The answer, without reasoning and tags. Equal to *content* for a model that does not reason."""
    stats: LlmPredictionStats
    """Stop reason, token counts and speed, as the server measured them."""
    model_info: LlmInstanceInfo
    """The instance that predicted."""
    structured: bool = False
    """Whether a schema or grammar was requested."""
    load_config_kv: KvConfig = field(repr=False)
    """The configuration the model was loaded with, as the server sent it."""
    prediction_config_kv: KvConfig = field(repr=False)
    """The effective configuration of this prediction, as the server sent it."""
    _parsed: object = field(default=None, repr=False)
    _parse_error: LMStudioStructuredOutputError | None = field(default=None, repr=False)

    @property
    def parsed(self) -> ParsedT:
        """The reply as the type that was asked for.

        An instance of the class given as *response_format*; a dict (or other JSON value) for a JSON schema; the text
        itself for a grammar or an unstructured prediction.

        Raises:
            LMStudioStructuredOutputError: the reply does not match; says where, and why the model stopped.
        """
        if self._parse_error is not None:
            raise self._parse_error.with_traceback(None)  # or each access would make it longer
        return cast("ParsedT", self._parsed)

    @property
    def stop_reason(self) -> str:
        """Why the model stopped, e.g. "eosFound"; values that this version does not know are kept."""
        return self.stats.stop_reason

    @cached_property
    def load_config(self) -> LlmLoadModelConfig:
        """The configuration the model was loaded with."""
        from ._kv_config import llm_load_config_from_kv

        return llm_load_config_from_kv(self.load_config_kv)

    @cached_property
    def prediction_config(self) -> LlmPredictionConfig:
        """The effective configuration of this prediction."""
        from ._kv_config import prediction_config_from_kv

        return prediction_config_from_kv(self.prediction_config_kv)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(content={self.content!r})"

    def __str__(self) -> str:
        if self.structured and self._parse_error is None and not isinstance(self._parsed, str):
            try:
                return json.dumps(json.loads(self.non_reasoning_content), indent=2, ensure_ascii=False)
            except (ValueError, RecursionError):
                pass  # a response format of the user's own may accept what is not JSON
        return self.content
