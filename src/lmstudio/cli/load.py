"""`lmstudio load`: load a model, or estimate what that would take."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from lmstudio.errors import LMStudioOSError, LMStudioRuntimeError

from . import asking, choosing, completing, native
from .output import disk_size, memory_size
from .state import StateFolder

if TYPE_CHECKING:
    from lmstudio.sync_api import Client

    from .output import Output

_LLM_ONLY: Final = {
    "max_parallel_predictions": "--parallel",
    "speculative_draft_mtp": "--speculative-draft-mtp",
    "speculative_draft_simple": "--speculative-draft-simple",
    "speculative_draft_model": "--speculative-draft-model",
    "speculative_draft_max_tokens": "--speculative-draft-max-tokens",
    "speculative_draft_min_tokens": "--speculative-draft-min-tokens",
    "speculative_draft_min_continue_probability": "--speculative-draft-min-continue-probability",
}
"""Settings of a load that embedding models do not have, and their options."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    model = parser.add_argument(
        "model_key", metavar="MODEL", nargs="?", help="key of the model, or a part of it (default: asks)"
    )
    completing.complete(model, completing.downloaded)
    parser.add_argument("--identifier", metavar="NAME", help="name of the new instance (default: the key)")
    parser.add_argument(
        "--ttl",
        type=asking.seconds_argument,
        metavar="SECONDS",
        help="unload after so long without use (default: never)",
    )
    parser.add_argument(
        "--gpu",
        type=_gpu_argument,
        metavar="RATIO",
        help="part of the model on GPUs: 0 to 1, off, max or auto (default)",
    )
    parser.add_argument("-c", "--context-length", type=_count, metavar="TOKENS", help="size of the context")
    parser.add_argument("--parallel", type=_count, metavar="COUNT", help="so many predictions at the same time")
    parser.add_argument("--estimate-only", action="store_true", help="say what it would take, and load nothing")
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing: of several models, take the first")
    parser.add_argument("--exact", action="store_true", help="MODEL is the whole key or path")
    parser.add_argument("--local", action="store_true", help="load on the server's own machine")
    native.add_json_argument(parser)
    _add_speculative_arguments(parser)
    native.add_arguments(parser)


def _add_speculative_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("speculative decoding")
    switch: Any = argparse.BooleanOptionalAction
    group.add_argument("--speculative-draft-mtp", action=switch, help="draft with the model's own prediction heads")
    group.add_argument("--speculative-draft-simple", action=switch, help="draft with another model")
    group.add_argument("--speculative-draft-model", metavar="KEY", help="the model that drafts")
    group.add_argument("--speculative-draft-max-tokens", type=_count_from_0, metavar="COUNT", help="longest draft")
    group.add_argument(
        "--speculative-draft-min-tokens", type=_count_from_0, metavar="COUNT", help="shortest draft worth checking"
    )
    group.add_argument(
        "--speculative-draft-min-continue-probability",
        type=_ratio,
        metavar="RATIO",
        help="stop drafting at a token less probable than this",
    )


def run(arguments: argparse.Namespace) -> int:
    """Load, or estimate; returns the exit code."""

    def command(client: Client, output: Output) -> None:
        info = _chosen(arguments, client, output)
        config = _config(arguments, info.type)
        session: Any = client.llm if info.type == "llm" else client.embedding
        device = {"device_identifier": None} if arguments.local else {}
        if arguments.estimate_only:
            usage = session.estimate_resources_usage(info.model_key, config, **device)
            if arguments.json:
                output.say_json(usage.to_dict())
            else:
                _show_estimate(arguments, info, usage, output)
            return
        with output.timed() as elapsed:
            with output.progress(f"Loading {info.model_key}") as report:
                handle = session.load_new_instance(
                    info.model_key,
                    arguments.identifier,
                    ttl=arguments.ttl,
                    config=config,
                    on_load_progress=report,
                    **device,
                )
            output.info(f"Loaded {info.model_key} in {elapsed()} ({disk_size(info.size_bytes)}).")
        output.info(f'Its identifier is "{handle.identifier}".')
        try:
            StateFolder.default().remember_model(info.model_key)
        except LMStudioOSError as error:
            output.debug(str(error))  # it is loaded all the same
        if arguments.json:
            output.say_json(handle.info.to_dict())

    return native.run(arguments, command)


def _chosen(arguments: argparse.Namespace, client: Client, output: Output) -> Any:
    key = arguments.model_key
    if not arguments.exact or key is None:
        return choosing.choose_downloaded(client, output, key, takes_first=arguments.yes or arguments.exact)
    found = [info for info in choosing.downloaded(client) if key in (info.model_key, info.path)]
    if not found:
        raise LMStudioRuntimeError(
            f"No downloaded model has the key or path {key!r}, which --exact wants. `lmstudio ls` shows what there is."
        )
    return found[0]


def _config(arguments: argparse.Namespace, kind: str) -> dict[str, Any]:
    given = {name: getattr(arguments, flag[2:].replace("-", "_")) for name, flag in _LLM_ONLY.items()}
    given = {name: value for name, value in given.items() if value is not None}
    if given and kind == "embedding":
        raise LMStudioRuntimeError(f"{_LLM_ONLY[next(iter(given))]} is for language models, and this embeds.")
    if arguments.context_length is not None:
        given["context_length"] = arguments.context_length
    if arguments.gpu not in (None, "auto"):
        given["gpu"] = {"ratio": arguments.gpu}
    return given


def _show_estimate(arguments: argparse.Namespace, info: Any, usage: Any, output: Output) -> None:
    memory = usage.memory
    output.info(f"Model: {info.model_key}")
    if arguments.context_length is not None:
        output.info(f"Context Length: {arguments.context_length}")
    if arguments.gpu is not None:
        output.info(f"GPU Offload: {arguments.gpu}")
    output.info(f"Estimated GPU Memory: {memory_size(memory.total_vram_bytes)}")
    output.info(f"Estimated Total Memory: {memory_size(memory.total_bytes)}")
    if memory.confidence == "low":
        output.info("Confidence: LOW")
    may = "This model may be loaded" if usage.passes_guardrails else "This model will fail to load"
    output.info(f"\nEstimate: {may}, by the guardrails of the server.")


def _gpu_argument(text: str) -> float | str:
    return text if text in ("off", "max", "auto") else _ratio(text)


def _ratio(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return number


def _count(text: str) -> int:
    return _whole(text, 1)


def _count_from_0(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return int(text)
