"""Chat with a model of any server that has OpenAI's API, as if it were one of LM Studio.

Run it with: python -m lmstudio.plugin --dev examples/plugins/generator
"""

from __future__ import annotations

from lmstudio import Chat
from lmstudio.http import AsyncHttpClient
from lmstudio.plugin import BaseConfigSchema, TokenGeneratorController, config_field


class ConfigSchema(BaseConfigSchema):
    """What users can set in each chat."""

    model: str = config_field(label="Model", hint="Its name at the server.", default="gpt-oss-20b")


class GlobalConfigSchema(BaseConfigSchema):
    """What users set once."""

    address: str = config_field(label="Address", hint="Host and port, or a URL.", default="localhost:8000")


async def generate_tokens(ctl: TokenGeneratorController[ConfigSchema, GlobalConfigSchema], history: Chat) -> None:
    """Pass on what the server answers, as it comes."""
    async with AsyncHttpClient(ctl.global_config.address) as client:
        async for chunk in client.stream_chat_completion(history, model=ctl.plugin_config.model):
            for choice in chunk.choices:
                if choice.delta.content:
                    ctl.fragment_generated(choice.delta.content)
