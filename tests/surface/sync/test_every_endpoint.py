# Generated from ../async/test_every_endpoint.py by tools/make_sync.py. Edit that file instead.
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
from lmstudio.plugin import SyncPredictionLoopHandlerController, create_config_schematics
from surface.endpoint_stage import endpoints_of_the_schema, recorded

if TYPE_CHECKING:
    from surface.endpoint_stage import EndpointStage

GONE = "/gone/from/here"
REPORT = {"type": "networkUnavailable", "pluginRunId": "1", "serverUrl": "http://a", "message": "b"}


@pytest.mark.only_loop("asyncio", "it is about what is said, which no loop changes")
def test_all_endpoints_of_the_schema_are_reached() -> None:
    with recorded() as stage:
        with lms.Client(stage.api_host) as client:
            use_models(client)
            use_files(client)
            use_repository(client)
            use_hub(client)
            use_runtime(client)
            use_plugins(client, stage)
            use_system(client)
    assert stage.asked == endpoints_of_the_schema()
    assert len(stage.asked) == 93


def use_models(client: lms.Client) -> None:
    llm = client.llm.model("scripted-chat")
    (client.llm.load_new_instance("scripted-chat", "second")).unload()
    client.llm.list_loaded()
    client.llm.estimate_resources_usage("scripted-chat")
    llm.get_info()
    llm.get_load_config()
    llm.get_base_prediction_config()
    llm.get_instance_processing_state()
    llm.apply_prompt_template("Hi")
    llm.tokenize("Hi")
    llm.count_tokens("Hi")
    llm.preload_draft_model("scripted-chat")
    llm.respond("Hi")
    assert (llm.complete("Hi", raw=True)).content == (llm.complete("Hi")).content
    embedding = client.embedding.model("scripted-embed")
    (client.embedding.load_new_instance("scripted-embed", "second")).unload()
    client.embedding.list_loaded()
    client.embedding.estimate_resources_usage("scripted-embed")
    embedding.get_info()
    embedding.get_load_config()
    assert (embedding.get_base_prediction_config()).fields == []
    embedding.get_instance_processing_state()
    embedding.tokenize("Hi")
    embedding.count_tokens("Hi")
    embedding.embed("Hi")


def use_files(client: lms.Client) -> None:
    file = client.files.prepare_file(b"Pebbles are round.", "pebbles.txt")
    client.files.get_file_path(file)
    client.files.get_document_parsing_library(file)
    client.files.parse_document(file)
    client.files.retrieve("pebbles", [file])


def use_repository(client: lms.Client) -> None:
    repository = client.repository
    repository.get_model_catalog()
    repository.fuzzy_find_staff_picks("pebble")
    model = (repository.search_models("pebble"))[0]
    option = (model.get_download_options())[0]
    option.download()
    with repository.create_artifact_download_planner("maker", "gone") as planner:
        with pytest.raises(lms.LMStudioServerError):
            planner.until_ready()
    repository.get_writable_artifact_owners()
    with pytest.raises(lms.LMStudioServerError):
        repository.download_artifact("maker", "gone", GONE)
    with pytest.raises(lms.LMStudioServerError):
        repository.push_artifact(GONE)
    with pytest.raises(lms.LMStudioServerError):
        repository.get_local_artifact_file_list(GONE)
    with pytest.raises(lms.LMStudioServerError):
        repository.install_plugin_dependencies(GONE)
    with pytest.raises(lms.LMStudioServerError):
        repository.install_local_plugin(GONE)


def use_hub(client: lms.Client) -> None:
    repository = client.repository
    with pytest.raises(lms.LMStudioServerError):
        repository.ensure_authenticated(print)
    with pytest.raises(lms.LMStudioServerError):
        repository.login_with_pre_authenticated_keys("a", "b", "c")
    with pytest.raises(lms.LMStudioServerError):
        repository.login_as_compute_device("a")
    repository.get_authentication_status()
    repository.is_authenticated()
    repository.deauthenticate()
    repository.lm_link.status()
    repository.lm_link.set_disabled(True)
    with pytest.raises(lms.LMStudioServerError):
        repository.lm_link.update_device_name("a")
    with pytest.raises(lms.LMStudioServerError):
        repository.lm_link.set_preferred_device("a")


def use_runtime(client: lms.Client) -> None:
    engine = (client.runtime.engine.list())[0]
    client.runtime.engine.get_selections()
    client.runtime.engine.select(engine, "GGUF")
    with pytest.raises(lms.LMStudioServerError):
        client.runtime.engine.remove(engine)
    client.runtime.extensions.search("llama.cpp")
    with pytest.raises(lms.LMStudioServerError):
        client.runtime.extensions.download({"name": "other", "version": "1"})
    client.runtime.survey_hardware()


def use_plugins(client: lms.Client, stage: EndpointStage) -> None:
    client.plugins.reindex_plugins()
    with pytest.raises(lms.LMStudioServerError):
        with client.plugins.plugin_tools("me/absent"):
            pass
    with pytest.raises(lms.LMStudioServerError):
        client.plugins.create_generator_handle("me/absent").respond("Hi")
    with client.plugins.register_development_plugin(MANIFEST) as registration:
        name, passkey = registration.client_identifier, registration.client_passkey
        with lms.Client(stage.api_host, client_identifier=name, client_passkey=passkey) as process:
            be_a_plugin(process, stage)


def be_a_plugin(process: lms.Client, stage: EndpointStage) -> None:
    host = process.plugins.get_self_registration_host()
    settings = create_config_schematics().field("greeting", "string", {}, "Hello").build()
    host.set_config_schematics(settings)
    host.set_global_config_schematics(settings)
    host.set_prompt_preprocessor()
    host.set_tools_provider()
    host.set_generator()
    hook = host.set_prediction_loop_handler()
    host.init_completed()
    host.report_error(REPORT)
    turn = stage.begin_turn()
    task: Any = hook.receive()
    assert isinstance(task, PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop)
    ctl = SyncPredictionLoopHandlerController(process, task)
    ctl.pull_history()
    ctl.token_source()
    ctl.needs_naming()
    ctl.suggest_name("Pebbles")
    ctl.set_sender_name("Helper", wait=True)
    assert ctl.request_text_input("Your name?") == "Ada"
    ctl.notify_done("Asked")
    assert ctl.has_status()
    hook.send(PluginsChannelSetPredictionLoopHandlerToServerPacketComplete(task_id=task.task_id))
    turn.result(PATIENCE_SECONDS)


def use_system(client: lms.Client) -> None:
    with client.diagnostics.stream_logs():
        client.system.notify("Hi")
    client.system.list_downloaded_models()
    with pytest.raises(lms.LMStudioServerError, match="has no variants"):
        client.system.list_downloaded_model_variants("scripted-chat")
    client.system.get_lm_studio_version()
    client.system.get_info()
    client.system.set_experiment_flag("a", True)
    client.system.get_experiment_flags()
    with pytest.raises(lms.LMStudioTimeoutError):
        client.system.when_disconnected(timeout=0.01)
    with pytest.raises(lms.LMStudioServerError, match="privileged"):
        client.system.start_http_server()
    with pytest.raises(lms.LMStudioServerError):
        client.system.stop_http_server()
    with pytest.raises(lms.LMStudioServerError):
        client.system.request_shutdown()
