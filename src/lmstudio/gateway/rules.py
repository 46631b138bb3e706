"""What the gateway makes of a request before anybody else sees it: which model it means, and how it may be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lmstudio._kv_members import PREDICTION
from lmstudio._near import near_matches
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio.gateway.settings import GatewaySettings
    from lmstudio.server.engine.base import ModelKind

__all__ = ["Offer", "Rules"]

_MOST_NAMES: Final = 10
"""Names that one message has."""
_RANGES: Final = {"temperature": (0.0, 2.0), "top_p_sampling": (0.0, 1.0), "presence_penalty": (-2.0, 2.0)}
"""Of members of `LlmPredictionConfig`."""
_PARAMS: Final = {"top_p_sampling": "top_p"}
"""What requests call them, where that is another name."""
_FREQUENCY_KEY: Final = f"{PREDICTION}llama.frequencyPenalty"
_FREQUENCY_RANGE: Final = (-2.0, 2.0)


class Offer(NamedTuple):
    """A model that requests may get."""

    key: str
    path: str
    identifier: str | None = None
    """Of the loaded instance; None for a model that is only downloaded."""

    @property
    def name(self) -> str:
        """What a request calls it."""
        return self.identifier or self.key

    @property
    def names(self) -> tuple[str, ...]:
        """All names that it is known by."""
        return tuple(name for name in (self.identifier, self.key, self.path) if name)


class Rules:
    """The settings that are about requests."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._default_model = settings.default_model
        self._allowed = settings.allowed_models
        self._preload = settings.preload
        self._defaults: dict[str, Any] = {"temperature": settings.temperature, "max_tokens": settings.max_tokens}

    # Models ----------------------------------------------------------------------------------------------------------

    def allowed(self, offers: Sequence[Offer]) -> list[Offer]:
        """Those of *offers* that requests may use."""
        if not self._allowed:
            return list(offers)
        models = {offer.key for name in self._allowed for offer in _unless_ambiguous(_matches(name, offers))}
        return [offer for offer in offers if offer.key in models]

    def preloaded(self, offers: Sequence[Offer]) -> list[Offer]:
        """Those of *offers* that the gateway loads by itself."""
        keys = {offer.key for name in self._preload for offer in _unless_ambiguous(_matches(name, offers))}
        return [offer for offer in offers if offer.key in keys]

    def choose(self, kind: ModelKind, name: str | None, offers: Sequence[Offer]) -> Offer:
        """The one of *offers* that a request for the model *name* gets.

        An exact name comes first, then any part of a name that fits one model only; loaded models come before others.

        Raises:
            HttpError: there is none, it is not allowed, or there are several.
        """
        wanted = name or (self._default_model if kind == "llm" else None)
        allowed = self.allowed(offers)
        if not wanted:
            return _only(allowed)
        loaded = [offer for offer in allowed if offer.identifier]
        found = _exact(wanted, allowed) or _partial(wanted, loaded) or _partial(wanted, allowed)
        if not found:
            raise self._missing(wanted, offers, allowed)
        if len({offer.key for offer in found}) > 1:
            message = f"The model {wanted[:100]!r} may be {_listed(found)}. Name one of them."
            raise HttpError("invalid_request", message, param="model", code="ambiguous_model")
        return found[0]

    def fits(self, name: str, offers: Sequence[Offer]) -> bool:
        """Whether *name* means any of *offers*, allowed or not."""
        return bool(_matches(name, offers))

    def _missing(self, wanted: str, offers: Sequence[Offer], allowed: Sequence[Offer]) -> HttpError:
        if self._allowed and _matches(wanted, offers):
            message = f"The model {wanted[:100]!r} is not allowed here. Allowed: {_listed(allowed) or 'none'}."
            return HttpError("forbidden", message, param="model", code="model_not_allowed")
        near = near_matches(wanted, [offer.name for offer in allowed])
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        message = f"There is no model {wanted[:100]!r} here. Available: {_listed(allowed) or 'none'}.{hint}"
        return HttpError("model_not_found", message, param="model")

    # Parameters ------------------------------------------------------------------------------------------------------

    def configured(
        self, config: Mapping[str, Any], fields: Mapping[str, Any], *, preset: str | None
    ) -> Mapping[str, Any]:
        """*config* (`LlmPredictionConfig`) with the gateway's defaults, which a preset replaces.

        Raises:
            HttpError: a value in it, or in *fields* (by full key), is out of its range.
        """
        for name, (low, high) in _RANGES.items():
            _check(_PARAMS.get(name, name), config.get(name), low, high)
        if _FREQUENCY_KEY in fields:
            _check("frequency_penalty", fields[_FREQUENCY_KEY]["value"], *_FREQUENCY_RANGE)
        return config if preset else {**self._defaults, **config}


def _check(param: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        message = f"{param} must be a number from {low:g} to {high:g}, not {value:g}."
        raise HttpError("invalid_request", message, param=param, code="invalid_value")


def _exact(wanted: str, offers: Sequence[Offer]) -> list[Offer]:
    """Those with this name. An identifier is one instance's own, so it comes before the other names."""
    own = [offer for offer in offers if offer.identifier == wanted]
    return own or [offer for offer in offers if wanted in offer.names]


def _partial(wanted: str, offers: Sequence[Offer]) -> list[Offer]:
    """Those that have it as a part of a name."""
    part = wanted.lower()
    return [offer for offer in offers if any(part in name.lower() for name in offer.names)]


def _matches(wanted: str, offers: Sequence[Offer]) -> list[Offer]:
    return _exact(wanted, offers) or _partial(wanted, offers)


def _unless_ambiguous(offers: Sequence[Offer]) -> Sequence[Offer]:
    return offers if len({offer.key for offer in offers}) == 1 else ()


def _only(offers: Sequence[Offer]) -> Offer:
    loaded = [offer for offer in offers if offer.identifier]
    if len(loaded) == 1:
        return loaded[0]
    found = f"there are several loaded: {_listed(loaded)}" if loaded else "none is loaded"
    message = f"model is required: it may be left out when exactly one is loaded, but {found}."
    raise HttpError("invalid_request", message, param="model", code="missing_required_parameter")


def _listed(offers: Sequence[Offer]) -> str:
    names = list(dict.fromkeys(offer.name for offer in offers))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
