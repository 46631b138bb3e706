"""The generated structs against the cached schema of the SDK."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from sdk_schema_samples import DEFINITIONS, DOCUMENT, samples

import lmstudio._sdk_models as models
from lmstudio._struct import LMStudioStruct

ENDPOINTS = [
    (namespace, kind, endpoint)
    for namespace, kinds in DOCUMENT["endpoints"].items()
    for kind, endpoints in kinds.items()
    for endpoint in endpoints
]
MODULES = [module.name for module in pkgutil.iter_modules(models.__path__)]
STRUCTS: dict[str, type[LMStudioStruct]] = {
    value.__name__: value
    for name in models.__all__
    if isinstance(value := getattr(models, name), type) and issubclass(value, LMStudioStruct)
}
TAGGED = [name for name, struct in STRUCTS.items() if struct.__struct_config__.tag is not None]

# Structs of the official Python SDK that people use, also through what others return.
OFFICIAL = [
    "AssistantResponse",
    "ChatHistoryData",
    "DownloadProgressUpdate",
    "EmbeddingLoadModelConfig",
    "EmbeddingModelInfo",
    "EmbeddingModelInstanceInfo",
    "FileHandle",
    "Function",
    "GpuSetting",
    "KvConfig",
    "KvConfigField",
    "KvConfigStack",
    "KvConfigStackLayer",
    "LlmInfo",
    "LlmInstanceInfo",
    "LlmJinjaPromptTemplate",
    "LlmLoadModelConfig",
    "LlmManualPromptTemplate",
    "LlmPredictionConfig",
    "LlmPredictionFragment",
    "LlmPredictionStats",
    "LlmPromptTemplate",
    "LlmReasoningParsing",
    "LlmStructuredPredictionSetting",
    "LlmToolFunction",
    "LlmToolParametersObject",
    "LlmToolUseSettingToolArray",
    "ModelQuery",
    "ModelSearchResultDownloadOptionData",
    "ModelSearchResultEntryData",
    "ModelSearchResultIdentifierHf",
    "ModelSpecifierInstanceReference",
    "ModelSpecifierQuery",
    "SerializedLMSExtendedError",
    "SystemPrompt",
    "TextData",
    "ToolCallRequest",
    "ToolCallRequestData",
    "ToolCallResultData",
    "ToolResultMessage",
    "UserMessage",
]


def _pascal(word: str) -> str:
    return word[0].upper() + word[1:]


def test_there_are_70_rpcs_and_23_channels() -> None:
    kinds = [kind for _, kind, _ in ENDPOINTS]

    assert (kinds.count("rpc"), kinds.count("channel")) == (70, 23)


@pytest.mark.parametrize(("namespace", "kind", "endpoint"), ENDPOINTS, ids="/".join)
def test_endpoint_has_its_shapes_under_its_own_name(namespace: str, kind: str, endpoint: str) -> None:
    shapes = DOCUMENT["endpoints"][namespace][kind][endpoint]

    for role, shape in shapes.items():
        if role == "serialization" or shape is None:
            continue
        name = _pascal(namespace) + _pascal(kind) + _pascal(endpoint) + _pascal(role)
        decoder = msgspec.json.Decoder(getattr(models, name))
        for sample in samples(shape):
            assert json.loads(msgspec.json.encode(decoder.decode(json.dumps(sample)))) == sample


@pytest.mark.parametrize("name", [name for name in DEFINITIONS if hasattr(models, name)])
def test_samples_of_a_type_survive_decoding_and_encoding(name: str) -> None:
    decoder = msgspec.json.Decoder(getattr(models, name))

    for sample in samples(DEFINITIONS[name]):
        assert json.loads(msgspec.json.encode(decoder.decode(json.dumps(sample)))) == sample


def test_the_only_definitions_without_a_type_are_variants_told_apart_by_a_boolean() -> None:
    missing = {name for name in DEFINITIONS if not hasattr(models, name)}

    assert missing == {"PluginSandboxSettingsFalse", "PluginSandboxSettingsTrue"}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_name_is_a_struct(name: str) -> None:
    assert name in STRUCTS


@pytest.mark.parametrize("module", MODULES)
def test_generated_file_names_its_source_and_the_command(module: str) -> None:
    path = importlib.import_module(f"lmstudio._sdk_models.{module}").__file__
    first_line = Path(str(path)).read_text(encoding="utf-8").splitlines()[0]

    assert "sdk-schema/lmstudio-sdk.schema.json" in first_line
    assert "tox -e sync-sdk-schema" in first_line


def test_importing_the_package_loads_no_submodule() -> None:
    script = "import sys, lmstudio._sdk_models as m; print([n for n in sys.modules if n.startswith(m.__name__ + '.')])"

    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert loaded.strip() == "[]"


def test_a_name_of_one_namespace_loads_no_other_namespace() -> None:
    script = (
        "import sys; from lmstudio._sdk_models import SystemRpcVersionReturns as v;"
        "print(sorted(n for n in sys.modules if n.startswith('lmstudio._sdk_models.')))"
    )

    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert loaded.strip() == "['lmstudio._sdk_models.shared', 'lmstudio._sdk_models.system']"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"lmstudio\._sdk_models.*'NoSuchStruct'"):
        models.NoSuchStruct  # noqa: B018 - the access is what is tested


def test_dir_lists_every_exported_name() -> None:
    assert set(models.__all__) <= set(dir(models))
    assert models.__all__ == sorted(set(models.__all__))


@pytest.mark.parametrize("name", TAGGED)
def test_tag_is_a_string_and_readable_as_an_attribute(name: str) -> None:
    config = STRUCTS[name].__struct_config__

    assert isinstance(config.tag, str)
    assert getattr(STRUCTS[name], str(config.tag_field)) == config.tag


@pytest.mark.parametrize("name", STRUCTS)
def test_unset_is_a_default_only_where_the_type_admits_it(name: str) -> None:
    hints = get_type_hints(STRUCTS[name])

    for field in msgspec.structs.fields(STRUCTS[name]):
        admits_unset = msgspec.UnsetType in getattr(hints[field.name], "__args__", ())
        assert admits_unset == (field.default is msgspec.UNSET), field.name


@pytest.mark.parametrize("name", STRUCTS)
def test_struct_is_documented_and_can_be_inspected(name: str) -> None:
    info = msgspec.inspect.type_info(STRUCTS[name])

    assert isinstance(info, msgspec.inspect.StructType)
    assert STRUCTS[name].__doc__


def test_namespaces_share_one_struct_for_one_shape() -> None:
    assert models.LlmRpcTokenizeParameter is models.EmbeddingRpcTokenizeParameter is models.ModelRpcTokenizeParameter
    assert models.LlmChannelPredictToServerPacketCancel is models.RepositoryChannelDownloadModelToServerPacketCancel


def test_no_two_structs_of_endpoints_have_the_same_shape() -> None:
    shapes: dict[str, str] = {}
    for name in sorted(STRUCTS):
        if "Rpc" in name or "Channel" in name:
            fields = [(field.encode_name, str(field.type)) for field in msgspec.structs.fields(STRUCTS[name])]
            shape = json.dumps([STRUCTS[name].__struct_config__.tag, sorted(fields)])
            other = shapes.setdefault(shape, name)
            # One is a result and the other a parameter: they only happen to look alike.
            if other != name and name != "RepositoryRpcGetLocalArtifactFilesParameter":
                pytest.fail(f"{other} and {name} are the same")


@pytest.mark.parametrize(
    ("struct", "attribute", "wire_name"),
    [
        ("LlmLoadModelConfig", "offload_kv_cache_to_gpu", "offloadKVCacheToGpu"),
        ("LlmLoadModelConfig", "use_fp16_for_kv_cache", "useFp16ForKVCache"),
        ("LlmLoadModelConfig", "llama_k_cache_quantization_type", "llamaKCacheQuantizationType"),
        ("LlmLoadModelConfig", "try_direct_io", "tryDirectIO"),
        ("LlmPredictionConfig", "min_p_sampling", "minPSampling"),
        ("LlmPredictionConfig", "xtc_probability", "xtcProbability"),
        ("LlmToolParametersObject", "defs", "$defs"),
        ("FilesRpcUploadFileBase64Parameter", "content_base64", "contentBase64"),
    ],
)
def test_attribute_is_snake_case_and_member_as_on_the_wire(struct: str, attribute: str, wire_name: str) -> None:
    names = {field.name: field.encode_name for field in msgspec.structs.fields(STRUCTS[struct])}

    assert names[attribute] == wire_name


def test_absent_and_null_stay_different_where_the_wire_knows_both() -> None:
    for text in (b"{}", b'{"deviceIdentifier":null}'):
        assert msgspec.json.encode(msgspec.json.decode(text, type=models.ModelQuery)) == text


def test_optional_member_that_is_never_null_is_none_when_absent() -> None:
    assert msgspec.json.decode(b"{}", type=models.ModelQuery).path is None


def test_user_schemas_pass_byte_for_byte() -> None:
    tool = (
        b'{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":'
        b'{"z_last":{"type":"integer","x-order":[3,1]},"a_first":{"$ref":"#/$defs/My_Type"}},'
        b'"required":["z_last"],"additionalProperties":false,"$defs":{"My_Type":{"title":null}}}}}'
    )
    decoded = msgspec.json.decode(tool, type=models.LlmToolFunction)

    assert decoded.function.parameters is not None
    assert msgspec.json.encode(decoded.function.parameters.properties) in tool
    assert msgspec.json.encode(decoded.function.parameters.defs) in tool
    assert json.loads(msgspec.json.encode(decoded)) == json.loads(tool)


@pytest.mark.parametrize(
    ("struct", "data", "complaint"),
    [
        (
            "LlmChannelLoadModelCreationParameter",
            {"modelKey": "m", "loadConfigStack": {"layers": []}, "ttlMs": 0},
            ">= 1",
        ),
        ("ModelSpecifierQuery", {"type": "query", "query": {"path": ""}}, "length >= 1"),
        ("SystemRpcStartHttpServerParameter", {"port": 65536}, "<= 65535"),
        ("RepositoryRpcSearchModelsParameter", {"opts": {"limit": 26}}, "<= 25"),
    ],
)
def test_bounds_of_the_schema_are_checked(struct: str, data: dict[str, Any], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(data, getattr(models, struct))


def test_typed_dict_has_the_members_of_its_struct() -> None:
    dicts = importlib.import_module("lmstudio._sdk_models.dicts")
    twins = {name: getattr(dicts, f"{name}Dict", None) for name in STRUCTS}

    for name, twin in twins.items():
        if twin is not None:
            config = STRUCTS[name].__struct_config__
            members = {field.encode_name for field in msgspec.structs.fields(STRUCTS[name])}
            tag = set() if config.tag_field is None else {config.tag_field}
            assert set(twin.__annotations__) == members | tag, name


def test_typed_dicts_exist_for_what_users_write_as_dicts() -> None:
    for name in [
        "ChatHistoryDataDict",
        "EmbeddingLoadModelConfigDict",
        "FileHandleDict",
        "GpuSettingDict",
        "LlmLoadModelConfigDict",
        "LlmPredictionConfigDict",
        "ModelQueryDict",
        "ModelSpecifierDict",
        "TextDataDict",
        "UserMessageDict",
    ]:
        assert hasattr(models, name)


def test_cached_schema_describes_all_95_config_keys() -> None:
    fields = DOCUMENT["kvConfig"]["fields"]

    assert len({field["key"] for field in fields}) == 95
    assert all({"key", "valueType", "params", "default", "schema"} <= field.keys() for field in fields)
