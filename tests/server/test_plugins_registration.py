"""Registering plugins, and what their processes say about themselves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from native_client import Refused, run
from plugin_stage import PluginStage, manifest, plugin_stage

from lmstudio._endpoints import plugins
from lmstudio.server.plugins.registry import MAX_PLUGINS

if TYPE_CHECKING:
    from lmstudio.server.plugins.registry import Plugin

SCHEMATICS = {
    "fields": [
        {
            "shortKey": "loud",
            "fullKey": "loud",
            "typeKey": "boolean",
            "typeParams": {"displayName": "Loud"},
            "defaultValue": False,
        }
    ],
    "extensionPrefixes": [],
}


def registered(stage: PluginStage) -> list[str]:
    return [plugin.identifier for plugin in stage.host.registry.all()]


def helper(stage: PluginStage) -> Plugin:
    return stage.host.registry.find("me/helper")


def test_registration_gives_credentials_and_the_address() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            _, ready = await stage.register()
            assert ready["clientIdentifier"].startswith("plugin:me/helper:")
            assert len(ready["clientPasskey"]) >= 24
            assert ready["baseUrl"] == "ws://127.0.0.1:1234"
            assert registered(stage) == ["me/helper"]

    run(test)


def test_registration_lasts_until_it_is_ended() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            registration, first = await stage.register()
            registration.send({"type": "end"})
            assert await registration.next() is None
            assert registered(stage) == []
            _, second = await stage.register()
            assert first["clientIdentifier"] != second["clientIdentifier"]

    run(test)


def test_registration_ends_with_its_client() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            await stage.register()
            await stage.developer.hang_up()
            assert registered(stage) == []

    run(test)


def test_name_in_use_is_refused() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            await stage.register()
            with pytest.raises(Refused, match="'me/helper' is registered already") as caught:
                await stage.register()
            assert "End its registration" in caught.value.error["suggestion"]

    run(test)


@pytest.mark.parametrize(
    "change",
    [{"owner": "Me"}, {"name": ""}, {"name": "x" * 101}, {"runner": "perl"}, {"type": "model"}, {"owner": "x" * 200}],
    ids=str,
)
def test_manifest_that_is_not_valid_is_refused(change: dict[str, str]) -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            channel = stage.developer.open(plugins.REGISTER_DEVELOPMENT_PLUGIN, manifest(**change))
            with pytest.raises(Refused):
                await channel.next()
            assert registered(stage) == []

    run(test)


def test_number_of_plugins_is_limited() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            for number in range(MAX_PLUGINS):
                await stage.register(f"helper-{number}")
            with pytest.raises(Refused, match="which is the limit"):
                await stage.register()

    run(test)


@pytest.mark.parametrize(
    "spec", [plugins.SET_TOOLS_PROVIDER, plugins.SET_GENERATOR, plugins.SET_PROMPT_PREPROCESSOR], ids=lambda s: s.name
)
def test_only_plugins_have_hooks(spec: object) -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            with pytest.raises(Refused, match="Only the process of a plugin") as caught:
                await stage.user.open(spec).next()  # type: ignore[arg-type]
            assert "registerDevelopmentPlugin" in caught.value.error["suggestion"]

    run(test)


def test_hook_is_there_once() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            plugin.generate()
            with pytest.raises(Refused, match="'me/helper' has a generator already"):
                await plugin.generate().next()

    run(test)


def test_hooks_end_with_the_registration() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            registration, ready = await stage.register()
            hook = stage.connect(ready["clientIdentifier"]).open(plugins.SET_GENERATOR)
            registration.send({"type": "end"})
            assert await hook.next() is None

    run(test)


def test_plugin_says_what_can_be_set_and_that_it_is_ready() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            await plugin.session.call(plugins.SET_CONFIG_SCHEMATICS, {"schematics": SCHEMATICS})
            await plugin.session.call(plugins.SET_GLOBAL_CONFIG_SCHEMATICS, {"schematics": SCHEMATICS})
            await plugin.init_completed()
            known = helper(stage)
            assert known.is_ready
            assert known.config_schematics is not None
            assert known.config_schematics.to_dict() == SCHEMATICS
            assert known.global_config_schematics == known.config_schematics

    run(test)


def test_what_a_process_said_is_forgotten_when_it_goes() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            plugin.provide_tools()
            await plugin.session.call(plugins.SET_CONFIG_SCHEMATICS, {"schematics": SCHEMATICS})
            await plugin.init_completed()
            await plugin.session.hang_up()
            known = helper(stage)
            assert (known.is_ready, known.config_schematics, known.info().has_tools_provider) == (False, None, False)

    run(test)


def test_obstacle_that_a_plugin_reports_is_logged_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    report = {"type": "unauthorized", "pluginRunId": "1", "serverUrl": "http://mcp", "message": "Log in first."}

    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            await plugin.session.call(plugins.REPORT_ERROR, report)
            last = helper(stage).last_report
            assert last is not None
            assert last.to_dict() == report

    with caplog.at_level(logging.WARNING, "lmstudio.server"):
        run(test)
    assert "The plugin 'me/helper' reports unauthorized at 'http://mcp': 'Log in first.'" in caplog.text


def test_reindexing_keeps_what_is_registered() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            await stage.register()
            await stage.user.call(plugins.REINDEX_PLUGINS)
            assert registered(stage) == ["me/helper"]

    run(test)
