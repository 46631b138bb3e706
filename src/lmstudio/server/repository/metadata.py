"""What the models of a catalogue are, as LM Studio's hub would describe them. Of files elsewhere it knows the names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmstudio._sdk_models import HubModel, HubModelMetadataEmbedding, HubModelMetadataLlm
from lmstudio.server.catalog import InvalidModelFileError, read_model_file
from lmstudio.server.repository.plans import memory_bytes

if TYPE_CHECKING:
    from lmstudio.server.engine.base import ModelFile
    from lmstudio.server.repository.listing import ListedModel

__all__ = ["hub_model"]


def hub_model(model: ListedModel) -> HubModel:
    """The entry of *model*. Reads the header of its first file, if that is on this machine: call it in a thread."""
    owner, _, name = model.repository.partition("/")
    return HubModel(
        owner=owner,
        name=name,
        description="",
        # Nobody counts, and nobody has noted when it was picked.
        downloads=0,
        like_count=0,
        staff_picked_at=0 if model.is_staff_pick else None,
        metadata=_metadata(model, _read(model)),
    )


def _read(model: ListedModel) -> ModelFile | None:
    main = model.options[0].files[0]
    if not isinstance(main.source, Path):
        return None
    try:
        return read_model_file(main.source, path_in_catalog=model.options[0].identifier)
    except InvalidModelFileError:
        return None  # whoever downloads it is told


def _metadata(model: ListedModel, file: ModelFile | None) -> HubModelMetadataLlm | HubModelMetadataEmbedding:
    architectures = [file.architecture] if file is not None and file.architecture else []
    params_strings = [file.params_string] if file is not None and file.params_string else []
    context_lengths: list[float] = [file.max_context_length] if file is not None else []
    smallest = min(memory_bytes(option) for option in model.options)
    if file.kind == "embedding" if file is not None else "embed" in model.options[0].identifier.lower():
        return HubModelMetadataEmbedding(
            architectures=architectures,
            compatibility_types=["gguf"],
            params_strings=params_strings,
            min_memory_usage_bytes=smallest,
            context_lengths=context_lengths,
        )
    has_image_part = any(part.is_image_part for option in model.options for part in option.files)
    return HubModelMetadataLlm(
        architectures=architectures,
        compatibility_types=["gguf"],
        params_strings=params_strings,
        min_memory_usage_bytes=smallest,
        trained_for_tool_use=file is not None and file.trained_for_tool_use,
        vision=has_image_part or (file is not None and file.vision),
        reasoning=False,
        context_lengths=context_lengths,
    )
