"""Names that shells complete: those of models, as the server has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio.errors import LMStudioError

from . import native

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from lmstudio.sync_api import Client

_SECONDS: Final = 1.0
"""Somebody waits with a finger on the Tab key."""


def complete(action: argparse.Action, *lists: Callable[[Client], Iterable[str]]) -> None:
    """Let shells complete *action* with what the server has."""

    def names(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        parsed_args.timeout = _SECONDS
        try:
            with native.connected(parsed_args) as client:
                return [name for each in lists for name in each(client)]
        except LMStudioError:  # no server, no names: this is no place to say so
            return []

    action.completer = names  # type: ignore[attr-defined]  # where argcomplete looks for it


def downloaded(client: Client) -> Iterable[str]:
    """Keys of models on the disk."""
    return (model.model_key for model in client.list_downloaded_models())


def loaded(client: Client) -> Iterable[str]:
    """Identifiers of loaded models."""
    return (model.identifier for model in client.list_loaded_models())
