"""For each endpoint the calls of the public client that use it, and everything one may do with what they return."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from sample_files import PNG

import lmstudio as lms
from lmstudio._surface.base import Surface
from lmstudio.history import Chat

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = lms.FileHandle(name="facts.txt", identifier="local:facts.txt", size_bytes=5, file_type="text/plain")
OTHER_FILE = lms.FileHandle(name="more.pdf", identifier="local:more.pdf", size_bytes=5, file_type="application/pdf")
ENGINE = {"name": "llama.cpp", "version": "1.2.3"}
TARGET = {"specifier": {"type": "query", "query": {"identifier": "scripted-chat"}}}


def add(a: int = 0) -> int:
    """Adds."""
    return a


def noop() -> None:
    """Does nothing."""


def _ignore(*_values: Any) -> None:
    """A callback."""


def _handle(session: Any) -> Any:
    return session.create_dynamic_handle("some-model")


def _respond(client: lms.Client) -> Any:
    model = _handle(client.llm)
    result = model.respond(
        "Hi",
        on_message=_ignore,
        on_first_token=_ignore,
        on_prediction_fragment=_ignore,
        on_prompt_processing_progress=_ignore,
    )
    chat = Chat()
    chat.add_user_message("Hi")
    chat.add_assistant_response(result, result.tool_call_requests)
    return result, chat


def _stream(client: lms.Client) -> Any:
    with _handle(client.llm).respond_stream("Hi") as stream:
        fragments = list(stream)
    with _handle(client.llm).complete_stream("Hi") as stream:
        events = list(stream.events())
    return fragments, events, stream.result(), stream.stats, stream.model_info, stream.result().parsed


def _act(client: lms.Client) -> Any:
    heard: list[Any] = []
    names = (
        "on_tool_call_request_start",
        "on_tool_call_request_name_received",
        "on_tool_call_request_argument_fragment_generated",
        "on_tool_call_request_end",
        "on_tool_call_request_finalized",
        "on_tool_call_request_failure",
        "on_tool_call_result",
    )
    callbacks: dict[str, Any] = dict.fromkeys(names, lambda *values: heard.append(values))
    result = _handle(client.llm).act("Hi", [add, noop], max_prediction_rounds=3, on_message=heard.append, **callbacks)
    return result, heard


def _load(session: str) -> Callable[[lms.Client], Any]:
    return lambda client: getattr(client, session).load_new_instance("some-model", on_load_progress=_ignore)


def _get_or_load(session: str) -> Callable[[lms.Client], Any]:
    return lambda client: getattr(client, session).model("some-model", on_load_progress=_ignore)


def _search(client: lms.Client) -> Any:
    found = client.repository.search_models("pebble")
    return found, [(model.is_exact_match(), model.is_staff_pick(), model.search_result) for model in found]


def _options(client: lms.Client) -> Any:
    found = client.repository.search_models("pebble")[0].get_download_options()
    return found, [
        (each.info, each.name, each.quantization, each.size_bytes, each.fit_estimation, each.is_recommended())
        for each in found
    ]


def _download(client: lms.Client) -> Any:
    option = client.repository.search_models("pebble")[0].get_download_options()[0]
    return option.download(on_progress=_ignore, on_finalize=_ignore)


def _retrieve(client: lms.Client) -> Any:
    return client.files.retrieve(
        "Oslo",
        [FILE, OTHER_FILE],
        on_file_process_list=_ignore,
        on_file_processing_start=_ignore,
        on_file_processing_end=_ignore,
        on_file_processing_step_start=_ignore,
        on_file_processing_step_progress=_ignore,
        on_file_processing_step_end=_ignore,
        on_searching_start=_ignore,
        on_searching_end=_ignore,
    )


def _by_name(namespace: str, endpoint: str, parameter: Any = None) -> Callable[[lms.Client], Any]:
    return lambda client: getattr(client, namespace).remote_call(endpoint, parameter)


def _model_calls(namespace: str) -> dict[str, list[Callable[[lms.Client], Any]]]:
    def of_handle(name: str, *arguments: Any) -> Callable[[lms.Client], Any]:
        return lambda client: getattr(_handle(getattr(client, namespace)), name)(*arguments)

    def of_session(name: str, *arguments: Any) -> Callable[[lms.Client], Any]:
        return lambda client: getattr(getattr(client, namespace), name)(*arguments)

    return {
        f"{namespace}/listLoaded": [of_session("list_loaded"), lambda client: client.list_loaded_models(namespace)],
        f"{namespace}/getModelInfo": [
            of_handle("get_info"),
            of_handle("get_context_length"),
            of_session("get_model_info", "some-model"),
        ],
        f"{namespace}/getLoadConfig": [of_handle("get_load_config")],
        f"{namespace}/getInstanceProcessingState": [of_handle("get_instance_processing_state")],
        f"{namespace}/estimateModelUsage": [of_session("estimate_resources_usage", "some-model")],
        f"{namespace}/tokenize": [of_handle("tokenize", "text"), of_handle("tokenize", ["some", "texts"])],
        f"{namespace}/countTokens": [of_handle("count_tokens", "text")],
        f"{namespace}/unloadModel": [of_session("unload", "some-model")],
        f"{namespace}/loadModel": [_load(namespace)],
        f"{namespace}/getOrLoad": [_get_or_load(namespace)],
    }


CALLS: dict[str, list[Callable[[lms.Client], Any]]] = {
    **_model_calls("llm"),
    **_model_calls("embedding"),
    "llm/predict": [_respond, _stream, _act],
    "llm/applyPromptTemplate": [
        lambda client: _handle(client.llm).apply_prompt_template("Hi"),
        lambda client: _handle(client.llm).count_chat_tokens("Hi"),
        lambda client: _handle(client.llm).trim_chat("Hi", max_tokens=1000),
    ],
    "llm/getBasePredictionConfig": [lambda client: _handle(client.llm).get_base_prediction_config()],
    "llm/preloadDraftModel": [lambda client: _handle(client.llm).preload_draft_model("some-model")],
    "embedding/getBasePredictionConfig": [_by_name("embedding", "getBasePredictionConfig", TARGET)],
    "embedding/getLoadConfig": [
        lambda client: _handle(client.embedding).get_load_config(),
        lambda client: _handle(client.embedding).get_eval_batch_size(),
    ],
    "embedding/embedString": [
        lambda client: _handle(client.embedding).embed("text"),
        lambda client: _handle(client.embedding).embed(["some", "texts"]),
    ],
    "files/uploadFileBase64": [
        lambda client: client.prepare_image(PNG, "cat.png"),
        lambda client: client.prepare_file(b"words", "facts.txt"),
    ],
    "files/getLocalFileAbsolutePath": [lambda client: client.files.get_file_path(FILE)],
    "files/getDocumentParsingLibrary": [lambda client: client.files.get_document_parsing_library(FILE)],
    "files/parseDocument": [
        lambda client: client.files.parse_document(FILE, on_parser_loaded=_ignore, on_progress=_ignore)
    ],
    "files/retrieve": [_retrieve],
    "repository/searchModels": [_search],
    "repository/getModelDownloadOptions": [_options],
    "repository/downloadModel": [_download],
    "repository/downloadArtifact": [lambda client: client.repository.download_artifact("ann", "dice", "/plugin")],
    "repository/pushArtifact": [lambda client: client.repository.push_artifact("/plugin", on_message=_ignore)],
    "repository/ensureAuthenticated": [lambda client: client.repository.ensure_authenticated(_ignore)],
    "repository/getModelCatalog": [lambda client: client.repository.get_model_catalog()],
    "repository/fuzzyFindStaffPicks": [lambda client: client.repository.fuzzy_find_staff_picks("pebble")],
    "repository/getLocalArtifactFiles": [lambda client: client.repository.get_local_artifact_file_list("/plugin")],
    "repository/getWritableArtifactOwners": [lambda client: client.repository.get_writable_artifact_owners()],
    "repository/installPluginDependencies": [lambda client: client.repository.install_plugin_dependencies("/plugin")],
    "repository/installLocalPlugin": [lambda client: client.repository.install_local_plugin("/plugin")],
    "repository/isAuthenticated": [lambda client: client.repository.is_authenticated()],
    "repository/getAuthenticationStatus": [lambda client: client.repository.get_authentication_status()],
    "repository/deauthenticate": [lambda client: client.repository.deauthenticate()],
    "repository/loginAsComputeDevice": [lambda client: client.repository.login_as_compute_device("token")],
    "repository/loginWithPreAuthenticatedKeys": [
        lambda client: client.repository.login_with_pre_authenticated_keys("id", "public", "private")
    ],
    "repository/lmLinkStatus": [lambda client: client.repository.lm_link.status()],
    "repository/lmLinkSetDisabled": [lambda client: client.repository.lm_link.set_disabled(True)],
    "repository/lmLinkUpdateDeviceName": [lambda client: client.repository.lm_link.update_device_name("desk")],
    "repository/lmLinkSetPreferredDevice": [lambda client: client.repository.lm_link.set_preferred_device("other")],
    "system/listDownloadedModels": [
        lambda client: client.list_downloaded_models(),
        lambda client: client.llm.list_downloaded(),
        lambda client: client.embedding.list_downloaded(),
    ],
    "system/listDownloadedModelVariants": [lambda client: client.system.list_downloaded_model_variants("some-model")],
    "system/version": [lambda client: client.system.get_lm_studio_version()],
    "system/info": [lambda client: client.system.get_info()],
    "system/notify": [lambda client: client.system.notify("Hello")],
    "system/getExperimentFlags": [lambda client: client.system.get_experiment_flags()],
    "system/setExperimentFlag": [lambda client: client.system.set_experiment_flag("flag", True)],
    "system/startHttpServer": [lambda client: client.system.start_http_server(port=1234)],
    "system/stopHttpServer": [lambda client: client.system.stop_http_server()],
    "system/requestShutdown": [lambda client: client.system.request_shutdown()],
    "diagnostics/streamLogs": [lambda client: list(client.diagnostics.stream_logs())],
    "runtime/listEngines": [lambda client: client.runtime.engine.list()],
    "runtime/getEngineSelections": [lambda client: client.runtime.engine.get_selections()],
    "runtime/selectEngine": [lambda client: client.runtime.engine.select(ENGINE, "GGUF")],
    "runtime/removeEngine": [lambda client: client.runtime.engine.remove(ENGINE)],
    "runtime/surveyHardware": [lambda client: client.runtime.survey_hardware()],
    "runtime/searchRuntimeExtensions": [lambda client: client.runtime.extensions.search("llama.cpp")],
    "runtime/downloadRuntimeExtension": [lambda client: client.runtime.extensions.download(ENGINE)],
}


def examine(value: Any) -> None:
    """Look at everything in what a call has returned: nothing of it may fail, whatever the server said."""
    repr(value), str(value)
    if isinstance(value, (list, tuple)):
        for item in value:
            examine(item)
        return
    if isinstance(value, Surface):
        _examine_properties(value)
        return
    assert repr(pickle.loads(pickle.dumps(value))) == repr(value)
    if isinstance(value, (lms.PredictionResult, lms.ActResult)):
        _examine_properties(value)
    elif hasattr(value, "to_dict"):
        assert isinstance(value.to_dict(), dict)


def examine_error(error: lms.LMStudioServerError) -> None:
    """Look at everything in an error, as `examine` does."""
    assert str(error)
    assert error.code is None or isinstance(error.code, str)
    repr(error.server_error), str(error.server_error)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.code) == (type(error), str(error), error.code)


def _examine_properties(value: Any) -> None:
    for cls in type(value).__mro__:
        for name, member in vars(cls).items():
            if not name.startswith("_") and (isinstance(member, property) or hasattr(member, "attrname")):
                getattr(value, name)
