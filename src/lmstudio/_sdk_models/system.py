# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from lmstudio._struct import LMStudioStruct
from msgspec import Meta, field

from .shared import EmbeddingModelInfo, LlmInfo

ModelInfo: TypeAlias = LlmInfo | EmbeddingModelInfo


class SystemRpcListDownloadedModelVariantsParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc system/listDownloadedModelVariants."""

    model_key: str


class BackendNotification(LMStudioStruct, kw_only=True):
    """Parameter of the rpc system/notify."""

    title: str
    description: str | None = None
    no_auto_dismiss: bool | None = None


class SystemRpcVersionReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc system/version."""

    version: str
    build: int


class SystemRpcSetExperimentFlagParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc system/setExperimentFlag."""

    code: str
    value: bool


class SystemRpcStartHttpServerParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc system/startHttpServer."""

    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    cors: bool | None = None
    network_interface: str | None = None


class SystemRpcInfoReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc system/info."""

    pid: int
    is_daemon: bool
    version: str


SystemRpcListDownloadedModelsReturns: TypeAlias = list[ModelInfo]


SystemRpcListDownloadedModelVariantsReturns: TypeAlias = list[ModelInfo]


SystemRpcNotifyParameter: TypeAlias = BackendNotification


SystemRpcGetExperimentFlagsReturns: TypeAlias = list[str]
