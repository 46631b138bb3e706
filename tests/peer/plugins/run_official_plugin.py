"""Registers a plugin with the official Python package and runs it: `run_official_plugin.py FOLDER HOST:PORT`.

As `python -m lmstudio.plugin --dev FOLDER`, but in one process, and at an address, which that command does not take.
"""

# Which package this uses is decided when it runs.
# mypy: ignore-errors

from __future__ import annotations

import asyncio
import sys

from lmstudio.plugin._dev_runner import DevPluginClient

from lmstudio.plugin.runner import PluginClient

FOLDER, HOST = sys.argv[1:]


def at_host(client):
    client._api_host = HOST
    return client


async def main() -> None:
    async with at_host(DevPluginClient(FOLDER)) as developer:  # noqa: SIM117 - the second needs the first
        async with developer.register_dev_plugin() as (identifier, passkey):
            async with at_host(PluginClient(FOLDER, identifier, passkey)) as plugin:
                await plugin.run_plugin()


asyncio.run(main())
