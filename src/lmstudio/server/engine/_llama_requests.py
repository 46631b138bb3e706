"""Between the server's words and the engine's: request bodies and streamed events. Pure functions."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lmstudio.server.engine._closed_schema import closed_schema
from lmstudio.server.engine.base import (
    BadInputError,
    EngineError,
    EngineStopReason,
    GenerationEnd,
    GenerationRequest,
    PromptProgress,
    PromptTooLongError,
    Sampling,
    TokenInfo,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WORD_TRIGGER: Final = 1
"""The engine's number for a trigger that is a text."""
_ARRAY_SIZES: Final = ("minItems", "maxItems")
_MOST_ELEMENTS: Final = 10_000
_COMPACT_JSON: Final = {
    # Free white space lets small models write blanks without end.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    # Schemas come from many generators: ignore the keywords the engine does not know, take oneOf as anyOf.
    "coerce_one_of": True,
    "lenient": True,
}


def encode(body: Mapping[str, Any]) -> bytes:
    """*body* as JSON.

    Raises:
        EngineError: it holds text that is not Unicode (half of a surrogate pair).
    """
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise BadInputError(f"The text is not valid Unicode: {error.reason} at position {error.start}.") from error


def completion_body(request: GenerationRequest, *, has_draft_model: bool = False) -> bytes:
    """The body of POST /completion. Stop strings are not in it: see `LlamaCppModel.generate`."""
    body: dict[str, Any] = {
        "prompt": request.prompt,
        "stream": True,
        "cache_prompt": True,
        "return_progress": True,
        # The engine makes one token even for 0; the caller drops it.
        "n_predict": -1 if request.max_tokens is None else max(1, request.max_tokens),
        # Without this, the last event repeats the prompt and every setting.
        "response_fields": [field.encode_name for field in msgspec.structs.fields(StreamEvent)],
        **_sampling_fields(request.sampling),
    }
    if request.stop_strings or has_draft_model:
        # We end a generation with stop strings ourselves, and need the numbers then; and they tell what was guessed.
        body["timings_per_token"] = True
    if request.log_probs is not None:
        body["n_probs"] = max(1, request.log_probs)
    if request.json_schema is not None:
        body["json_schema"] = enforceable_schema(request.json_schema)
    if request.grammar is not None:
        body["grammar"] = request.grammar
    elif request.triggered_grammar is not None:
        trigger = request.triggered_grammar.trigger
        body["grammar"] = request.triggered_grammar.grammar
        body["grammar_lazy"] = True
        body["grammar_triggers"] = [{"type": _WORD_TRIGGER, "value": trigger}]
        # The engine wants to be told so of a trigger that is a single token.
        body["preserved_tokens"] = [trigger]
    return encode(body)


def enforceable_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """*schema* with the engine's options for how JSON is written. {} means any JSON value to the engine as well."""
    return {**closed_schema(schema), "x-guidance": _COMPACT_JSON}


def refuse_endless_arrays(schema: Any) -> None:
    """The engine writes every element of an array out, and can be kept busy for minutes so.

    Raises:
        BadInputError: an array of *schema* has more elements than anybody needs.
    """
    waiting = [schema]
    while waiting:
        value: Any = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        if not isinstance(value, dict):
            continue
        waiting.extend(value.values())
        for keyword in _ARRAY_SIZES:
            size = value.get(keyword)
            if isinstance(size, (int, float)) and size > _MOST_ELEMENTS:
                raise BadInputError(
                    f"The JSON schema has the {keyword} {size!r:.50}; the engine enforces at most {_MOST_ELEMENTS}."
                )


def schema_probe_body(schema: Mapping[str, Any], forbidden_token: int) -> bytes:
    """The body of a POST /completion that shows whether the engine enforces *schema*.

    The engine drops a schema that it cannot compile and generates freely. So this asks for one token while favouring,
    beyond any logit, one that no JSON begins with: getting it means that nothing was enforced.
    """
    return encode(
        {
            "prompt": [forbidden_token],
            "n_predict": 1,
            "temperature": 0,
            "cache_prompt": False,
            "return_tokens": True,
            "logit_bias": [[forbidden_token, 1e6]],
            "json_schema": enforceable_schema(schema),
            "response_fields": ["tokens"],
        }
    )


def _sampling_fields(sampling: Sampling) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical_p,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "xtc_probability": sampling.xtc_probability,
        "xtc_threshold": sampling.xtc_threshold,
        "seed": None if sampling.seed is None else sampling.seed & 0xFFFFFFFF,
    }
    if sampling.mirostat is not None:
        fields["mirostat"], fields["mirostat_eta"], fields["mirostat_tau"] = sampling.mirostat
    if sampling.logit_bias:
        # JSON has no infinity; false is the engine's word for "never".
        fields["logit_bias"] = [
            [token, False if bias == -math.inf else min(bias, 1e30)] for token, bias in sampling.logit_bias
        ]
    return {name: value for name, value in fields.items() if value is not None}


class Timings(msgspec.Struct):
    """The engine's counters for one request."""

    cache_n: int = 0
    prompt_n: int = 0
    predicted_n: int = 0
    predicted_per_second: float | None = None
    draft_n: int | None = None
    draft_n_accepted: int | None = None


class Progress(msgspec.Struct):
    """How far the prompt is read; *processed* includes the cached part."""

    total: int
    cache: int
    processed: int


class Candidate(msgspec.Struct):
    """A token with its probability."""

    id: int
    token: str = ""
    logprob: float | None = None
    top_logprobs: list[Candidate] = []


class ErrorBody(msgspec.Struct):
    """What the engine says is wrong with a request."""

    message: str = ""
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class ErrorReply(msgspec.Struct):
    """The body of a reply that is not 200."""

    error: ErrorBody


class StreamEvent(msgspec.Struct):
    """One event of a streamed completion."""

    content: str = ""
    stop: bool = False
    stop_type: str = ""
    truncated: bool = False
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    timings: Timings | None = None
    prompt_progress: Progress | None = None
    completion_probabilities: list[Candidate] = []
    error: ErrorBody | None = None


_TOO_LARGE: Final = re.compile(r"input \((\d+) tokens\) is too large.*batch size: (\d+)")
_event_decoder: Final = msgspec.json.Decoder(StreamEvent)
_EVENT_PREFIXES: Final = (b"data: ", b"error: ")


def parse_event(line: bytes) -> StreamEvent | None:
    """The event in one line of the stream; None for a separator or a keep-alive comment.

    Raises:
        EngineError: the line is not an event as this engine sends them.
    """
    for prefix in _EVENT_PREFIXES:
        if line.startswith(prefix):
            try:
                return _event_decoder.decode(line[len(prefix) :])
            except msgspec.DecodeError as error:
                raise EngineError(f"The inference engine sent an event that cannot be read: {error}.") from error
    return None


def error_in_reply(body: bytes) -> ErrorBody:
    """The error in a reply that is not 200."""
    try:
        return msgspec.json.decode(body, type=ErrorReply).error
    except msgspec.DecodeError:
        return ErrorBody(message=body[:200].decode("utf-8", "replace"))


def request_error(error: ErrorBody, *, what: str) -> EngineError:
    """The exception for a refused request; *what* was attempted, as in "generate text"."""
    if error.type == "exceed_context_size_error":
        return PromptTooLongError(error.n_prompt_tokens, error.n_ctx)
    if too_large := _TOO_LARGE.search(error.message):
        return BadInputError(
            f"The text has {too_large[1]} tokens, the model embeds at most {too_large[2]} at once.",
            suggestion="Split the text into shorter ones.",
        )
    kind = BadInputError if error.type == "invalid_request_error" else EngineError
    return kind(f"The inference engine refused to {what}: {error.message.rstrip('. ')}.")


def is_cache_exhausted(error: ErrorBody) -> bool:
    """Whether sessions that share the context have filled it together."""
    return error.message.startswith("Context size has been exceeded")


def prompt_progress(progress: Progress) -> PromptProgress:
    """The server's form of the engine's progress."""
    return PromptProgress(progress.cache, progress.processed - progress.cache, progress.total)


def token_infos(candidates: Sequence[Candidate], wanted: int) -> list[TokenInfo]:
    """One TokenInfo per generated token, each with its *wanted* likeliest candidates."""
    return [
        TokenInfo(
            token.id,
            token.token,
            token.logprob,
            tuple(TokenInfo(other.id, other.token, other.logprob) for other in token.top_logprobs[:wanted]),
        )
        for token in candidates
    ]


_STOP_REASONS: Final[Mapping[str, EngineStopReason]] = {"eos": "eosFound", "limit": "maxPredictedTokensReached"}


def generation_end(
    event: StreamEvent, prompt_tokens: int, reason: EngineStopReason | None, stop_string: str | None
) -> GenerationEnd:
    """The end of a generation whose last event was *event*; *reason* where we know better than the engine."""
    timings = event.timings or Timings()
    known = "contextLengthReached" if event.truncated else _STOP_REASONS.get(event.stop_type, "eosFound")
    return GenerationEnd(
        stop_reason=reason or known,
        stop_string=stop_string,
        prompt_tokens=prompt_tokens,
        predicted_tokens=event.tokens_predicted,
        tokens_per_second=timings.predicted_per_second or None,
        draft_tokens=timings.draft_n,
        accepted_draft_tokens=timings.draft_n_accepted,
    )
