"""Every endpoint of the protocol can be reached with what this package offers to its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from peer.plugin_session import MANIFEST

import lmstudio as lms
from lmstudio._sdk_models import (
    PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop,
    PluginsChannelSetPredictionLoopHandlerToServerPacketComplete,
)
from lmstudio.plugin import PredictionLoopHandlerController, create_config_schematics
from surface.endpoint_stage import endpoints_of_the_schema, recorded

if TYPE_CHECKING:
    from surface.endpoint_stage import EndpointStage

GONE = "/gone/from/here"
REPORT = {"type": "networkUnavailable", "pluginRunId": "1", "serverUrl": "http://a", "message": "b"}


@pytest.mark.only_loop("asyncio", "it is about what is said, which no loop changes")
async def test_all_endpoints_of_the_schema_are_reached() -> None:
    with recorded() as stage:
        async with lms.AsyncClient(stage.api_host) as client:
            await use_models(client)
            await use_files(client)
            await use_repository(client)
            await use_hub(client)
            await use_runtime(client)
            await use_plugins(client, stage)
            await use_system(client)
    assert stage.asked == endpoints_of_the_schema()
    assert len(stage.asked) == 93


async def use_models(client: lms.AsyncClient) -> None:
    llm = await client.llm.model("scripted-chat")
    await (await client.llm.load_new_instance("scripted-chat", "second")).unload()
    await client.llm.list_loaded()
    await client.llm.estimate_resources_usage("scripted-chat")
    await llm.get_info()
    await llm.get_load_config()
    await llm.get_base_prediction_config()
    await llm.get_instance_processing_state()
    await llm.apply_prompt_template("Hi")
    await llm.tokenize("Hi")
    await llm.count_tokens("Hi")
    await llm.preload_draft_model("scripted-chat")
    await llm.respond("Hi")
    assert (await llm.complete("Hi", raw=True)).content == (await llm.complete("Hi")).content
    embedding = await client.embedding.model("scripted-embed")
    await (await client.embedding.load_new_instance("scripted-embed", "second")).unload()
    await client.embedding.list_loaded()
    await client.embedding.estimate_resources_usage("scripted-embed")
    await embedding.get_info()
    await embedding.get_load_config()
    assert (await embedding.get_base_prediction_config()).fields == []
    await embedding.get_instance_processing_state()
    await embedding.tokenize("Hi")
    await embedding.count_tokens("Hi")
    await embedding.embed("Hi")


async def use_files(client: lms.AsyncClient) -> None:
    file = await client.files.prepare_file(b"Pebbles are round.", "pebbles.txt")
    await client.files.get_file_path(file)
    await client.files.get_document_parsing_library(file)
    await client.files.parse_document(file)
    await client.files.retrieve("pebbles", [file])


async def use_repository(client: lms.AsyncClient) -> None:
    repository = client.repository
    await repository.get_model_catalog()
    await repository.fuzzy_find_staff_picks("pebble")
    model = (await repository.search_models("pebble"))[0]
    option = (await model.get_download_options())[0]
    await option.download()
    async with repository.create_artifact_download_planner("maker", "gone") as planner:
        with pytest.raises(lms.LMStudioServerError):
            await planner.until_ready()
    await repository.get_writable_artifact_owners()
    with pytest.raises(lms.LMStudioServerError):
        await repository.download_artifact("maker", "gone", GONE)
    with pytest.raises(lms.LMStudioServerError):
        await repository.push_artifact(GONE)
    with pytest.raises(lms.LMStudioServerError):
        await repository.get_local_artifact_file_list(GONE)
    with pytest.raises(lms.LMStudioServerError):
        await repository.install_plugin_dependencies(GONE)
    with pytest.raises(lms.LMStudioServerError):
        await repository.install_local_plugin(GONE)


async def use_hub(client: lms.AsyncClient) -> None:
    repository = client.repository
    with pytest.raises(lms.LMStudioServerError):
        await repository.ensure_authenticated(print)
    with pytest.raises(lms.LMStudioServerError):
        await repository.login_with_pre_authenticated_keys("a", "b", "c")
    with pytest.raises(lms.LMStudioServerError):
        await repository.login_as_compute_device("a")
    await repository.get_authentication_status()
    await repository.is_authenticated()
    await repository.deauthenticate()
    await repository.lm_link.status()
    await repository.lm_link.set_disabled(True)
    with pytest.raises(lms.LMStudioServerError):
        await repository.lm_link.update_device_name("a")
    with pytest.raises(lms.LMStudioServerError):
        await repository.lm_link.set_preferred_device("a")


async def use_runtime(client: lms.AsyncClient) -> None:
    engine = (await client.runtime.engine.list())[0]
    await client.runtime.engine.get_selections()
    await client.runtime.engine.select(engine, "GGUF")
    with pytest.raises(lms.LMStudioServerError):
        await client.runtime.engine.remove(engine)
    await client.runtime.extensions.search("llama.cpp")
    with pytest.raises(lms.LMStudioServerError):
        await client.runtime.extensions.download({"name": "other", "version": "1"})
    await client.runtime.survey_hardware()


async def use_plugins(client: lms.AsyncClient, stage: EndpointStage) -> None:
    await client.plugins.reindex_plugins()
    with pytest.raises(lms.LMStudioServerError):
        async with client.plugins.plugin_tools("me/absent"):
            pass
    with pytest.raises(lms.LMStudioServerError):
        await client.plugins.create_generator_handle("me/absent").respond("Hi")
    async with client.plugins.register_development_plugin(MANIFEST) as registration:
        name, passkey = registration.client_identifier, registration.client_passkey
        async with lms.AsyncClient(stage.api_host, client_identifier=name, client_passkey=passkey) as process:
            await be_a_plugin(process, stage)


async def be_a_plugin(process: lms.AsyncClient, stage: EndpointStage) -> None:
    host = process.plugins.get_self_registration_host()
    settings = create_config_schematics().field("greeting", "string", {}, "Hello").build()
    await host.set_config_schematics(settings)
    await host.set_global_config_schematics(settings)
    host.set_prompt_preprocessor()
    host.set_tools_provider()
    host.set_generator()
    hook = host.set_prediction_loop_handler()
    await host.init_completed()
    await host.report_error(REPORT)
    turn = stage.begin_turn()
    task: Any = await hook.receive()
    assert isinstance(task, PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop)
    ctl = PredictionLoopHandlerController(process, task)
    await ctl.pull_history()
    await ctl.token_source()
    await ctl.needs_naming()
    await ctl.suggest_name("Pebbles")
    await ctl.set_sender_name("Helper", wait=True)
    assert await ctl.request_text_input("Your name?") == "Ada"
    await ctl.notify_done("Asked")
    assert await ctl.has_status()
    hook.send(PluginsChannelSetPredictionLoopHandlerToServerPacketComplete(task_id=task.task_id))
    turn.result(PATIENCE_SECONDS)


async def use_system(client: lms.AsyncClient) -> None:
    async with client.diagnostics.stream_logs():
        await client.system.notify("Hi")
    await client.system.list_downloaded_models()
    with pytest.raises(lms.LMStudioServerError, match="has no variants"):
        await client.system.list_downloaded_model_variants("scripted-chat")
    await client.system.get_lm_studio_version()
    await client.system.get_info()
    await client.system.set_experiment_flag("a", True)
    await client.system.get_experiment_flags()
    with pytest.raises(lms.LMStudioTimeoutError):
        await client.system.when_disconnected(timeout=0.01)
    with pytest.raises(lms.LMStudioServerError, match="privileged"):
        await client.system.start_http_server()
    with pytest.raises(lms.LMStudioServerError):
        await client.system.stop_http_server()
    with pytest.raises(lms.LMStudioServerError):
        await client.system.request_shutdown()
