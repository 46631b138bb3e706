"""Lists of models as programs ask for them, and the health of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from lmstudio._http_models import HttpReply, HttpStruct, JsonObject
from lmstudio._http_models.openai import Model
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["HealthStatus", "ListModelsFilter", "ModelStatus", "ModelsListResponse", "read_filter"]

ModelStatus: TypeAlias = Literal["ready", "not-loaded"]
"""Loaded, or on the server's disk only."""
_STATUSES: Final = ("ready", "not-loaded")


class ModelsListResponse(list[Model]):
    """The models, as a list; also in the form of OpenAI's reply, whose list is called `data`."""

    object: Final = "list"

    @property
    def data(self) -> list[Model]:
        """The models: this list itself."""
        return self

    def to_dict(self) -> JsonObject:
        """As OpenAI's API writes it."""
        return {"object": self.object, "data": [model.to_dict() for model in self]}


class ListModelsFilter(HttpStruct, kw_only=True):
    """Which models to list; None for all.

    Raises:
        LMStudioValueError: there is no such status, or *limit* is below 0.
    """

    owned_by: str | None = None
    """The owner that the list names, or the publisher; case does not count."""
    status: ModelStatus | None = None
    """"ready" for those that are loaded."""
    limit: int | None = None
    """So many, at most."""

    def __post_init__(self) -> None:
        owner: object = self.owned_by
        if owner is not None and not isinstance(owner, str):
            raise LMStudioValueError(f"owned_by must be a text, got {owner!r:.80}.")
        if self.status is not None and self.status not in _STATUSES:
            raise LMStudioValueError(f"status must be 'ready' or 'not-loaded', got {self.status!r:.80}.")
        limit: object = self.limit
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
            raise LMStudioValueError(f"limit must be a number of models from 0 on, got {limit!r:.80}.")

    @property
    def needs_details(self) -> bool:
        """Whether the plain list does not say enough."""
        return self.owned_by is not None or self.status is not None

    def select(
        self,
        models: Iterable[Model],
        *,
        loaded: Collection[str],
        publishers: Mapping[str, str] | None = None,
    ) -> ModelsListResponse:
        """The *models* that fit; *loaded* are the ids of those in memory, *publishers* are by id, too."""
        found = ModelsListResponse()
        for model in models:
            if self.limit is not None and len(found) >= self.limit:
                break
            owners = {model.owned_by.lower(), (publishers or {}).get(model.id, model.owned_by).lower()}
            is_owned = self.owned_by is None or self.owned_by.lower() in owners
            if is_owned and (self.status is None or (self.status == "ready") == (model.id in loaded)):
                found.append(model)
        return found


def read_filter(
    given: ListModelsFilter | Mapping[str, Any] | None,
    owned_by: str | None = None,
    status: str | None = None,
    limit: int | None = None,
) -> ListModelsFilter:
    """What a caller gave as a filter (a dict may have names in camelCase), with single keywords over it.

    Raises:
        LMStudioValueError: something of it cannot be used.
    """
    if given is not None and not isinstance(given, ListModelsFilter):
        unknown = ListModelsFilter.from_dict(given)
        if unknown.extra:
            raise LMStudioValueError(
                f"There is no filter {', '.join(map(repr, unknown.extra))}: models are chosen by owned_by, status and "
                "limit."
            )
        given = unknown
    over = {
        name: value
        for name, value in {"owned_by": owned_by, "status": status, "limit": limit}.items()
        if value is not None
    }
    if given is None:
        return ListModelsFilter(**over)  # type: ignore[arg-type]  # it checks them
    return msgspec.structs.replace(given, **over) if over else given


class HealthStatus(HttpReply, kw_only=True):
    """How a server is. What it does not say is None."""

    status: str
    """"ok" if all is well."""
    lmstudio_version: str | None = None
    api_version: str | None = None
    models_loaded: int | None = None
    uptime_ms: float | None = None

    @property
    def is_ok(self) -> bool:
        """Whether all is well."""
        return self.status.lower() in _GOOD


_GOOD: Final = ("ok", "healthy", "up", "ready")
