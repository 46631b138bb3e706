"""`lmstudio runtime`: the engines that the server runs models with, and the hardware that they find."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lmstudio._near import near_matches
from lmstudio.errors import LMStudioRuntimeError

from . import native
from .output import memory_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from lmstudio.sync_api import Client

    from .output import Output

_LS = "`lmstudio runtime ls` shows what there is."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands below this one, and their options."""
    commands = native.add_commands(parser)
    ls = _command(commands, "ls", _ls, "list the engines that are installed")
    survey = _command(commands, "survey", _survey, "show the hardware that the engines find")
    survey.add_argument(
        "--refresh", action="store_true", help="look again; a server that keeps no answers does so anyway"
    )
    get = _command(commands, "get", _get, "download an engine")
    get.add_argument("-l", "--list", action="store_true", help="list what there is, and download nothing")
    select = _command(commands, "select", _select, "let an engine run the models of its formats")
    select.add_argument("--latest", action="store_true", help="of several versions, take the latest")
    remove = _command(commands, "remove", _remove, "remove an engine")
    update = _command(commands, "update", _update, "download newer versions of engines")
    update.add_argument("-a", "--all", action="store_true", help="of all engines, not only of those that are selected")
    for command in (get, update):
        command.add_argument(
            "query", metavar="QUERY", nargs="?", help="a name such as llama.cpp, llama.cpp:cuda or llama.cpp@1.2.3"
        )
        command.add_argument("--allow-incompatible", action="store_true", help="also what the machine cannot run")
        command.add_argument("--channel", metavar="NAME", help="the release channel (default: the server's)")
    for command in (select, remove):
        command.add_argument("engine", metavar="ENGINE", nargs="?", help="NAME, NAME@VERSION or a part of it")
    for command in (get, remove, update):
        command.add_argument("-y", "--yes", action="store_true", help="ask nothing")
    for command in (remove, update):
        command.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    for command in (ls, survey, get):
        native.add_json_argument(command)


def _command(commands: Any, name: str, action: Any, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=f"{about.capitalize()}.")
    parser.set_defaults(action=action)
    native.add_arguments(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    return native.run_locally(arguments, lambda output: arguments.action(arguments, output))


# Installed engines ---------------------------------------------------------------------------------------------------


def _ls(arguments: argparse.Namespace, output: Output) -> None:
    with native.connected(arguments) as client:
        engines = _installed(client)
        selected = _selections(client)
    described = [(engine, selected.get(_label(engine), [])) for engine in engines]
    if arguments.json:
        output.say_json([{**engine.to_dict(), "selectedFor": formats} for engine, formats in described])
        return
    rows = [
        (_label(engine), "✓" if formats else "", ", ".join(engine.supported_model_format_names))
        for engine, formats in described
    ]
    output.table(("LLM ENGINE", "SELECTED", "MODEL FORMAT"), rows)


def _installed(client: Client) -> list[Any]:
    return sorted(client.runtime.engine.list(), key=lambda engine: (engine.name, _order(engine.version)))


def _selections(client: Client) -> dict[str, list[str]]:
    """For which formats each engine is selected."""
    found: dict[str, list[str]] = {}
    for name, engine in client.runtime.engine.get_selections().items():
        found.setdefault(_label(engine), []).append(name)
    return found


def _label(engine: Any) -> str:
    return f"{engine.name}@{engine.version}"


def _order(version: str) -> list[tuple[int, str]]:
    """1.9 comes before 1.10, and 1.10-rc.1 between them."""
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    end = (-1, "~")  # after all words, and before all numbers
    return [*((int(part), "") if part.isdecimal() else (-1, part) for part in parts), end]


def _chosen(engines: Sequence[Any], arguments: argparse.Namespace, output: Output, *, is_latest: bool = False) -> Any:
    labels = [_label(engine) for engine in engines]
    text = (arguments.engine or "").lower()
    named = [engine for engine in engines if text in (engine.name.lower(), _label(engine).lower())]
    found = named or [engine for engine in engines if text in _label(engine).lower()]
    if not found:
        near = near_matches(arguments.engine or "", labels)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise LMStudioRuntimeError(f"No installed engine matches {arguments.engine!r}. {hint}{_LS}")
    if len(found) == 1 or (is_latest and len({engine.name for engine in found}) == 1):
        return found[-1]
    names = [_label(engine) for engine in found]
    return found[output.choose("Which engine?", names, f"Name one of {', '.join(names)}. {_LS}")]


def _select(arguments: argparse.Namespace, output: Output) -> None:
    with native.connected(arguments) as client:
        engine = _chosen(_installed(client), arguments, output, is_latest=arguments.latest)
        for name in engine.supported_model_format_names:
            client.runtime.engine.select(engine, name)
            output.info(f"{_label(engine)} runs models of the format {name}.")


def _remove(arguments: argparse.Namespace, output: Output) -> None:
    with native.connected(arguments) as client:
        engine = _chosen(_installed(client), arguments, output)
        label = _label(engine)
        if arguments.dry_run:
            output.say(f"Would remove {label}.")
            return
        if not arguments.yes and not output.confirm(f"Remove {label}?", f"Give --yes to remove {label}."):
            raise LMStudioRuntimeError("Nothing was removed.")
        client.runtime.engine.remove(engine)
        output.info(f"Removed {label}.")


# Hardware ------------------------------------------------------------------------------------------------------------


def _survey(arguments: argparse.Namespace, output: Output) -> None:
    with native.connected(arguments) as client:
        result = client.runtime.survey_hardware()
    if arguments.json:
        output.say_json(result.to_dict())
        return
    if not result.engines:
        output.info("No engine can look at the hardware.")
    for number, engine in enumerate(result.engines):
        output.say(*([""] if number else []), *_survey_lines(engine))


def _survey_lines(engine: Any) -> Iterable[str]:
    state = engine.compatibility
    yield f"{_label(engine)}: {state.status}" + (f" ({state.message})" if state.message else "")
    cpu = engine.hardware_survey.cpu_survey_result.cpu_info
    if cpu is not None:
        extensions = ", ".join(cpu.supported_instruction_set_extensions)
        yield f"  CPU: {cpu.name or cpu.architecture} ({', '.join(filter(None, (cpu.architecture, extensions)))})"
    gpus = engine.hardware_survey.gpu_survey_result
    for gpu in gpus.gpu_info:
        size = memory_size(gpu.dedicated_memory_capacity_bytes or gpu.total_memory_capacity_bytes)
        yield f"  GPU: {gpu.name} ({gpu.detection_platform}, {gpu.integration_type}, {size})"
    if not gpus.gpu_info:
        yield f"  GPU: none{f' ({gpus.result.message})' if gpus.result.message else ''}"
    memory = engine.memory_info
    yield f"  RAM: {memory_size(memory.ram_capacity)}, VRAM: {memory_size(memory.vram_capacity)}"


# Downloads -----------------------------------------------------------------------------------------------------------


def _search(client: Client, query: str, arguments: argparse.Namespace) -> list[Any]:
    found = client.runtime.extensions.search(
        query, channel=arguments.channel, include_incompatible=arguments.allow_incompatible
    )
    return sorted(found, key=lambda extension: (extension.name, _order(extension.version)))


def _get(arguments: argparse.Namespace, output: Output) -> None:
    with native.connected(arguments) as client:
        found = _search(client, arguments.query or "", arguments)
        if arguments.list or arguments.json:
            _list_extensions(found, output, is_json=arguments.json)
            return
        if not found:
            raise LMStudioRuntimeError(
                f"The server offers no engine {arguments.query!r} to download. {_how_to_change(client)}"
                if arguments.query
                else f"The server offers no engines to download. {_how_to_change(client)}"
            )
        newest = {extension.name: extension for extension in found}
        names = list(newest)
        place = 0
        if len(names) > 1:
            place = output.choose("Which engine?", names, f"Name one of {', '.join(names)}.")
        chosen = newest[names[place]]
        if chosen.version in chosen.local_versions:
            output.info(f"{_label(chosen)} is installed already.")
            return
        label = _label(chosen)
        if not arguments.yes and output.can_ask and not output.confirm(f"Download {label}?", "Give --yes."):
            raise LMStudioRuntimeError("Nothing was downloaded.")
        _download(client, chosen, output)


def _how_to_change(client: Client) -> str:
    """What servers of this package say about their engine, which comes with pip."""
    names = {engine.engine for engine in client.runtime.engine.list()}
    return f"It has {', '.join(sorted(names))}; a server of this package gets another version with pip."


def _list_extensions(found: Sequence[Any], output: Output, *, is_json: bool) -> None:
    if is_json:
        output.say_json([extension.to_dict() for extension in found])
    elif found:
        output.table(
            ("ENGINE", "TYPE", "INSTALLED"),
            [(_label(each), each.type, ", ".join(each.local_versions)) for each in found],
        )
    else:
        output.info("The server offers no engines to download.")


def _download(client: Client, extension: Any, output: Output, *, is_selected: bool = False) -> None:
    label = _label(extension)
    with output.downloading(f"Downloading {label}") as report:
        client.runtime.extensions.download(extension, update_selections=is_selected, on_progress=report)
    output.info(f"Installed {label}.")


def _update(arguments: argparse.Namespace, output: Output) -> None:
    with native.connected(arguments) as client:
        text = (arguments.query or "").lower()
        engines = [engine for engine in _installed(client) if text in _label(engine).lower()]
        if not engines:
            raise LMStudioRuntimeError(f"No installed engine matches {arguments.query!r}. {_LS}")
        selected = _selections(client)
        if not arguments.all and not text:
            engines = [engine for engine in engines if _label(engine) in selected]
        current = {engine.name: engine for engine in engines}
        newer = [each for engine in current.values() if (each := _newer(client, engine, arguments)) is not None]
        if not newer:
            output.info(f"Nothing newer is offered. {_how_to_change(client)}")
        for extension in newer:
            change = f"{_label(current[extension.name])} to {extension.version}"
            if arguments.dry_run:
                output.say(f"Would update {change}.")
            elif arguments.yes or output.confirm(f"Update {change}?", f"Give --yes to update {change}."):
                _download(client, extension, output, is_selected=True)


def _newer(client: Client, engine: Any, arguments: argparse.Namespace) -> Any | None:
    found = [each for each in _search(client, engine.name, arguments) if each.name == engine.name]
    return found[-1] if found and _order(found[-1].version) > _order(engine.version) else None
