"""`python -m lmstudio COMMAND`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from lmstudio import __version__
from lmstudio.errors import LMStudioError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong arguments, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m lmstudio", description="LM Studio from Python.")
    parser.add_argument("--version", action="version", version=f"lmstudio {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help="show the package at work, with its own server and a tiny model")
    serve = commands.add_parser("serve", help="run an LM Studio compatible server in the foreground")
    gateway = commands.add_parser("gateway", help="run one OpenAI-compatible address in front of LM Studio")
    try:
        from lmstudio import _demo
        from lmstudio.gateway import command as _gateway
        from lmstudio.server import serve as _serve

        _demo.add_arguments(demo)
        _serve.add_arguments(serve)
        _gateway.add_arguments(gateway)
        parsed = parser.parse_args(arguments)
        runners = {"demo": _demo.run, "serve": _serve.run, "gateway": _gateway.run}
        return runners[parsed.command](parsed)
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed. Run: pip install 'lmstudio[server]'", file=sys.stderr)
        return 1
    except LMStudioError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
