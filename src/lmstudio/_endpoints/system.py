"""Endpoints of the namespace system."""

from __future__ import annotations

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._sdk_models import (
    BackendNotification,
    ModelInfo,
    SystemRpcInfoReturns,
    SystemRpcListDownloadedModelVariantsParameter,
    SystemRpcSetExperimentFlagParameter,
    SystemRpcStartHttpServerParameter,
    SystemRpcVersionReturns,
)

LIST_DOWNLOADED_MODELS: Rpc[None, list[ModelInfo]] = Rpc("listDownloadedModels", None, list[ModelInfo], is_read=True)
LIST_DOWNLOADED_MODEL_VARIANTS: Rpc[SystemRpcListDownloadedModelVariantsParameter, list[ModelInfo]] = Rpc(
    "listDownloadedModelVariants", SystemRpcListDownloadedModelVariantsParameter, list[ModelInfo], is_read=True
)
NOTIFY: Rpc[BackendNotification, None] = Rpc("notify", BackendNotification, None)
VERSION: Rpc[None, SystemRpcVersionReturns] = Rpc("version", None, SystemRpcVersionReturns, is_read=True)
SET_EXPERIMENT_FLAG: Rpc[SystemRpcSetExperimentFlagParameter, None] = Rpc(
    "setExperimentFlag", SystemRpcSetExperimentFlagParameter, None
)
GET_EXPERIMENT_FLAGS: Rpc[None, list[str]] = Rpc("getExperimentFlags", None, list[str], is_read=True)
START_HTTP_SERVER: Rpc[SystemRpcStartHttpServerParameter, None] = Rpc(
    "startHttpServer", SystemRpcStartHttpServerParameter, None
)
STOP_HTTP_SERVER: Rpc[None, None] = Rpc("stopHttpServer", None, None)
INFO: Rpc[None, SystemRpcInfoReturns] = Rpc("info", None, SystemRpcInfoReturns, is_read=True)
REQUEST_SHUTDOWN: Rpc[None, None] = Rpc("requestShutdown", None, None)
ALIVE: ChannelSpec[None, None, None] = ChannelSpec("alive", None, None, None)
