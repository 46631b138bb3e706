"""A plugin for the official Python package."""

# It runs in an environment that has that package instead of this one.
# mypy: ignore-errors

from __future__ import annotations

import asyncio

from lmstudio.plugin import BaseConfigSchema, config_field, get_tool_call_context_async


class ConfigSchema(BaseConfigSchema):
    greeting: str = config_field(label="Greeting", hint="What to say first", default="Hello")


async def list_provided_tools(ctl):
    greeting = ctl.plugin_config.greeting

    async def greet(name: str) -> str:
        """Greets somebody."""
        context = get_tool_call_context_async()
        await context.notify_status("Looking up the name.")
        await context.notify_warning("It is early.")
        return f"{greeting}, {name}!"

    async def fail() -> str:
        """Fails."""
        raise ValueError("I cannot do that.")

    async def wait() -> str:
        """Waits until it is stopped."""
        await get_tool_call_context_async().notify_status("Waiting.")
        await asyncio.Event().wait()

    return [greet, fail, wait]


async def preprocess_prompt(ctl, message):
    status = await ctl.notify_start("Shouting")
    (part,) = message.content
    if part.text == "fail":
        raise ValueError("I have no voice.")
    if part.text == "wait":
        await asyncio.Event().wait()
    await status.notify_done("Shouted")
    return {"role": "user", "content": [{"type": "text", "text": part.text.upper()}]}
