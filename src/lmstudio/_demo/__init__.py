"""`python -m lmstudio demo`: the whole package at work on one machine, in a few seconds."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--async", dest="use_async", action="store_true", help="use the asynchronous surface")
    parser.add_argument("--engine", choices=("llama_cpp", "scripted"), default="llama_cpp", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; returns the exit code."""
    from lmstudio._demo.screen import Screen

    if arguments.use_async:
        import asyncio

        from lmstudio._demo.async_demo import demo as async_demo

        asyncio.run(async_demo(Screen(), arguments.engine))
    else:
        from lmstudio._demo.sync_demo import demo

        demo(Screen(), arguments.engine)
    return 0
