"""How the server is, and what is missing if it cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models.model_lists import HealthStatus, ListModelsFilter
from lmstudio.errors import LMStudioAuthenticationError, LMStudioError, LMStudioServerError

from ._caller import HttpEndpoint
from ._openai import list_details, list_models

if TYPE_CHECKING:
    from lmstudio._timeouts import TimeoutInput

    from ._caller import Caller

_HEALTH: Final = HttpEndpoint("GET", "health", HealthStatus, "check the server's health", is_read=True)
_GREETING: Final = HttpEndpoint("GET", "lmstudio-greeting", dict[str, Any], "check the server's health", is_read=True)


async def get_health(caller: Caller, timeout: TimeoutInput = None) -> HealthStatus:
    """What the server says about itself at /health; LM Studio, which has no such path, is asked in other ways.

    Raises:
        LMStudioError: the server cannot be reached, or refuses to answer.
    """
    try:
        return await caller.call(_HEALTH, timeout=timeout)
    except LMStudioServerError as error:
        # Another application may have something else there, or refuse it to clients.
        if error.status_code is not None and error.status_code >= 500:
            raise
    if await _greets(caller, timeout):
        return HealthStatus(status="ok", api_version="v1", models_loaded=await _count_loaded(caller, timeout))
    models = await list_models(caller, ListModelsFilter(), timeout)
    loaded = await _count_loaded(caller, timeout)
    return HealthStatus(status="ok", api_version="v1", models_loaded=len(models) if loaded is None else loaded)


async def _greets(caller: Caller, timeout: TimeoutInput) -> bool:
    try:
        return (await caller.call(_GREETING, timeout=timeout)).get("lmstudio") is True
    except LMStudioServerError:
        return False


async def _count_loaded(caller: Caller, timeout: TimeoutInput) -> int | None:
    try:
        details = await list_details(caller, timeout)
    except LMStudioServerError:
        return None
    return None if details is None else sum(model.state == "loaded" for model in details.data)


async def is_healthy(caller: Caller, timeout: TimeoutInput = None) -> bool:
    """Whether the server answers and is well."""
    try:
        return (await get_health(caller, timeout)).is_ok
    except LMStudioError:
        return False


async def check_health(caller: Caller, timeout: TimeoutInput = None) -> dict[str, Any]:
    """What there is of what a client needs, and what to do about the rest: a server, its API, a loaded model."""
    report: dict[str, Any] = {
        "status": "unavailable",
        "base_url": caller.address.http_url("v1"),
        "server_reachable": False,
        "api_available": False,
        "model_loaded": False,
        "models": [],
        "models_loaded": 0,
        "lmstudio_version": None,
        "missing": [],
        "hints": [],
        "error": None,
    }
    error = await _examine(caller, report, timeout)
    if error is not None:
        report["error"] = str(error)
        report["error_type"] = error.error_type.value
    report["missing"] = [
        name
        for name, member in (("server", "server_reachable"), ("api", "api_available"), ("model", "model_loaded"))
        if not report[member]
    ]
    report["hints"] = [_hint(name, caller, error) for name in report["missing"][:1]]
    if not report["missing"]:
        report["status"] = "ok"
    elif report["api_available"]:
        report["status"] = "no_model"
    return report


async def _examine(caller: Caller, report: dict[str, Any], timeout: TimeoutInput) -> LMStudioError | None:
    """Fill in what there is, as far as it goes; what stopped it."""
    try:
        health = await get_health(caller, timeout)
        report["server_reachable"] = True
        report["lmstudio_version"] = health.lmstudio_version
        models = await list_models(caller, ListModelsFilter(), timeout)
        report["api_available"] = True
        report["models"] = [model.id for model in models]
        loaded = health.models_loaded
        if loaded is None:
            details = await _count_loaded(caller, timeout)
            loaded = len(models) if details is None else details
        report["models_loaded"] = loaded
        report["model_loaded"] = loaded > 0
    except LMStudioServerError as error:
        report["server_reachable"] = True
        return error
    except LMStudioError as error:
        return error
    return None


def _hint(missing: str, caller: Caller, error: LMStudioError | None) -> str:
    where = caller.address.http_url("")
    if missing == "server":
        return (
            f"Nothing answers at {where}: start LM Studio, and its server on the Developer tab or with "
            "`lms server start`; or give the right base_url."
        )
    if missing == "api":
        if isinstance(error, LMStudioAuthenticationError):
            return f"The server at {where} wants a token: pass api_key, or set LM_STUDIO_API_KEY."
        return (
            f"What answers at {where} has no OpenAI-compatible API: enable LM Studio's API server, or check the port."
        )
    return "No model is loaded: load one in LM Studio, with `lms load`, or with client.llm.load_new_instance(...)."
