"""Every endpoint of the protocol is declared, and served or refused with a reason of its own."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from typing import Any

import pytest
from native_client import CHAT, EMBED, Refused, Session, run
from patience import PATIENCE_SECONDS

from lmstudio import _endpoints
from lmstudio._endpoints import ChannelSpec, Rpc, models
from lmstudio._endpoints.models import ModelEndpoints
from lmstudio.server._known_endpoints import KNOWN_ENDPOINTS
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import ScriptedEngine

_ENGINE = {"name": "other", "version": "1"}
_LOGIN = {"keyId": "a", "publicKey": "b", "privateKey": "c"}
_ARTIFACT = {"artifactOwner": "maker", "artifactName": "gone", "revisionNumber": None, "path": "/gone"}
REFUSED: dict[str, tuple[Any, str]] = {
    "system/startHttpServer": ({"port": 1234}, "it is always on"),
    "system/stopHttpServer": (None, "it serves this connection, too"),
    "repository/loginAsComputeDevice": ({"token": "a"}, "no account"),
    "repository/loginWithPreAuthenticatedKeys": (_LOGIN, "no account"),
    "repository/ensureAuthenticated": (None, "no account"),
    "repository/pushArtifact": ({"path": "/gone"}, "needs an account"),
    "repository/downloadArtifact": (_ARTIFACT, "LM Studio's hub"),
    "repository/installLocalPlugin": ({"pluginPath": "/gone"}, "runs no plugins by itself"),
    "repository/installPluginDependencies": ({"pluginFolder": "/gone"}, "no package manager"),
    "repository/lmLinkUpdateDeviceName": ({"deviceName": "a"}, "no LM Link"),
    "repository/lmLinkSetPreferredDevice": ({"deviceIdentifier": "a"}, "no LM Link"),
    "runtime/removeEngine": (None, "the only one"),
    "runtime/downloadRuntimeExtension": ({**_ENGINE, "updateSelections": False}, "none to offer"),
}
"""What this server cannot do, whatever it is asked: a parameter, and words of the reason."""


def declared(namespace: str) -> dict[str, Rpc[Any, Any] | ChannelSpec[Any, Any, Any]]:
    """The declarations of a namespace, by name."""
    module = importlib.import_module(f"{_endpoints.__name__}.{namespace}")
    shared = [each for each in vars(module).values() if isinstance(each, ModelEndpoints)]
    values = [*vars(module).values(), *(vars(models).values() if shared else ())]
    values += [getattr(each, name) for each in shared for name in each.__struct_fields__]
    return {each.name: each for each in values if isinstance(each, (Rpc, ChannelSpec))}


def test_there_are_93_endpoints() -> None:
    assert sum(len(names) for kinds in KNOWN_ENDPOINTS.values() for names in kinds.values()) == 93


@pytest.mark.parametrize("namespace", KNOWN_ENDPOINTS)
def test_every_endpoint_is_declared_with_its_kind(namespace: str) -> None:
    specs = declared(namespace)
    kinds = {"rpc": Rpc, "channel": ChannelSpec}
    expected = {name: kinds[kind] for kind, names in KNOWN_ENDPOINTS[namespace].items() for name in names}
    assert {name: type(spec) for name, spec in specs.items()} == expected


def test_nothing_else_is_declared() -> None:
    modules = {module.name for module in pkgutil.iter_modules(_endpoints.__path__)}
    assert modules - {"models"} == set(KNOWN_ENDPOINTS)


@pytest.mark.parametrize("namespace", KNOWN_ENDPOINTS)
def test_every_endpoint_has_a_handler_for_its_declaration(namespace: str) -> None:
    handlers = ServerCore(ScriptedEngine(), Catalog([CHAT, EMBED])).handlers(namespace)
    found = {name: spec for name, (spec, _) in {**handlers.rpcs, **handlers.channels}.items()}
    assert found == declared(namespace)


def test_what_is_refused_is_refused_with_its_reason() -> None:
    async def test() -> None:
        core = ServerCore(ScriptedEngine(), Catalog([CHAT, EMBED]))
        engine = core.installed_engine.specifier.to_dict()
        reasons = []
        for endpoint, (parameter, words) in REFUSED.items():
            namespace, _, name = endpoint.partition("/")
            given = engine if endpoint == "runtime/removeEngine" else parameter
            error = await refusal(Session(core, namespace), declared(namespace)[name], given)
            assert words in error["title"], endpoint
            assert error["suggestion"], endpoint
            reasons.append(error["title"])
        assert len(set(reasons)) == len(REFUSED)
        await core.aclose()

    run(test)


async def refusal(session: Session, spec: Any, parameter: Any) -> dict[str, Any]:
    given = () if parameter is None else (parameter,)
    is_channel = isinstance(spec, ChannelSpec)
    try:
        answer = session.open(spec, *given).rest() if is_channel else session.call(spec, *given)
        await asyncio.wait_for(answer, PATIENCE_SECONDS)
    except Refused as refused:
        return refused.error
    finally:
        await session.hang_up()
    raise AssertionError(f"{spec.name} was served")
