"""Many requests at once: as many run as may, the others are told to wait, and nothing is left of any of them."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.asgi_call import SlowReader, ask, ask_and_leave
from http_surfaces.bodies import CHATS, chat_body
from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL
from lmstudio.server import Gate, HttpSettings, Reply, ScriptedEngine
from lmstudio.server.app import AppSettings, create_app
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import scripted_models

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp

pytestmark = pytest.mark.unmeasured

MANY, ALLOWED = 200, 7
EMBEDDING = ("/v1/embeddings", {"model": EMBEDDING_MODEL, "input": ["Hi"] * 20})
BODIES: list[tuple[str, Any]] = [
    *((path, chat_body(path, stream=stream)) for path in CHATS for stream in (False, True)),
    ("/v1/messages/count_tokens", chat_body("/v1/messages", stream=False)),
    EMBEDDING,
]


def serve(engine: ScriptedEngine, scene: Callable[[ServerCore, ASGIApp], Awaitable[None]], **http: Any) -> None:
    """Play *scene* with a server without sockets; at its end, nothing of its requests is left."""

    async def play() -> None:
        core = ServerCore(engine, Catalog(scripted_models()))
        app = create_app(core, AppSettings(http=HttpSettings(**http)))
        before = asyncio.all_tasks()
        try:
            await scene(core, app)
            for instance in (*core.instances.loaded("llm"), *core.instances.loaded("embedding")):
                assert instance.uses == []
                assert (instance.state().status, instance.state().queued) == ("idle", 0)
            assert core.places.taken == {}
            assert asyncio.all_tasks() <= before
        finally:
            await core.aclose()

    asyncio.run(asyncio.wait_for(play(), 3 * PATIENCE_SECONDS))


async def burst(app: ASGIApp, gate: Gate, path: str, body: Any) -> Counter[int]:
    """How many of *MANY* requests were answered how; *gate* opens when the first ones have been refused."""
    content = json.dumps(body).encode()
    asked = [asyncio.ensure_future(ask(app, "POST", path, content)) for _ in range(MANY)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    gate.open()
    answers = await asyncio.gather(*asked)
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 429)
    return Counter(answer.status for answer in answers)


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("path", CHATS)
def test_exactly_as_many_run_as_may(path: str, *, is_loaded: bool) -> None:
    engine = ScriptedEngine(Reply([gate := Gate(), "Hi"]))

    async def scene(core: ServerCore, app: ASGIApp) -> None:
        if is_loaded:
            await core.instances.acquire("llm", CHAT_MODEL)
        found = await burst(app, gate, path, chat_body(path, stream=False))
        assert found == {200: ALLOWED, 429: MANY - ALLOWED}
        assert len(engine.requests) == ALLOWED
        assert len(engine.loads) == 1

    serve(engine, scene, max_queued_requests=ALLOWED)


def test_those_who_wait_for_a_load_count() -> None:
    engine = ScriptedEngine(load_gate=(gate := Gate()))

    async def scene(_: ServerCore, app: ASGIApp) -> None:
        assert await burst(app, gate, *EMBEDDING) == {200: ALLOWED, 429: MANY - ALLOWED}

    serve(engine, scene, max_queued_requests=ALLOWED)


def test_models_have_places_of_their_own() -> None:
    engine = ScriptedEngine(Reply([gate := Gate(), "Hi"]))

    async def scene(_: ServerCore, app: ASGIApp) -> None:
        chat = json.dumps(chat_body(CHATS[0], stream=False)).encode()
        asked = asyncio.ensure_future(ask(app, "POST", CHATS[0], chat))
        assert await asyncio.to_thread(gate.reached, PATIENCE_SECONDS)
        assert (await ask(app, "POST", CHATS[0], chat)).status == 429
        assert (await ask(app, "POST", EMBEDDING[0], json.dumps(EMBEDDING[1]).encode())).status == 200
        gate.open()
        assert (await asked).status == 200

    serve(engine, scene, max_queued_requests=1)


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_clients_that_leave_at_any_moment_leave_nothing(path: str, body: Any) -> None:
    chance = random.Random(7)
    engine = ScriptedEngine(Reply(["word "] * 40))

    async def scene(_: ServerCore, app: ASGIApp) -> None:
        content = json.dumps(body).encode()
        leaving = [ask_and_leave(app, "POST", path, content, after=chance.randrange(60)) for _ in range(MANY)]
        answers = await asyncio.gather(*leaving)
        assert None in answers
        assert (await ask(app, "POST", path, content)).status == 200

    serve(engine, scene)


@pytest.mark.parametrize("path", CHATS)
def test_model_waits_for_a_client_that_does_not_read(path: str) -> None:
    engine = ScriptedEngine(Reply([*["word "] * 3000, far := Gate(), *["word "] * 50]))
    content = json.dumps(chat_body(path, stream=True)).encode()

    async def scene(_: ServerCore, app: ASGIApp) -> None:
        reader = SlowReader()
        asked = asyncio.ensure_future(ask_and_leave(app, "POST", path, content, after=None, reader=reader))
        await reader.is_stuck.wait()
        for _turn in range(2000):
            await asyncio.sleep(0)
        assert not far.reached(0)
        reader.goes_on.set()
        assert await asyncio.to_thread(far.reached, PATIENCE_SECONDS)
        far.open()
        answer = await asked
        assert answer is not None
        assert answer.body.count(b"word ") >= 3050

    serve(engine, scene)
