"""What plugins give."""

from __future__ import annotations

from typing_extensions import assert_type

import lmstudio as lms


def synchronous(client: lms.Client, model: lms.LLM) -> None:
    with client.plugins.plugin_tools("me/helper", plugin_config={"loud": True}) as tools:
        assert_type(tools, lms.RemoteToolUseSession)
        assert_type(tools[0], lms.RawFunctionTool)
        assert_type(model.act("Hi", tools), lms.ActResult[str])
    generator = client.plugins.create_generator_handle("me/helper")
    assert_type(generator.respond("Hi"), lms.GeneratorPredictionResult)
    for fragment in generator.respond_stream("Hi"):
        assert_type(fragment, lms.LlmPredictionFragment)
    acted = generator.act("Hi", [])
    assert_type(acted.final_result, lms.GeneratorPredictionRoundResult | None)
    with client.plugins.register_development_plugin({"owner": "me"}) as registration:
        assert_type(registration.base_url, str | None)
    generator.respond("Hi", config={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def asynchronous(client: lms.AsyncClient, model: lms.AsyncLLM) -> None:
    async with client.plugins.plugin_tools("me/helper") as tools:
        assert_type(await model.act("Hi", [*tools]), lms.ActResult[str])
    async with client.plugins.create_generator_handle("me/helper").respond_stream("Hi") as stream:
        assert_type(await stream.wait_for_result(), lms.GeneratorPredictionResult)
    assert_type(await client.plugins.register_development_plugin({}), lms.AsyncPluginRegistration)
    hook = client.plugins.get_self_registration_host().set_generator()
    packet = await hook.receive()
    assert_type(packet.task_id, str)
