"""Servers behind TLS: what is verified against what, and what is said where it fails."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest
import trustme

import lmstudio as lms
from surface.background import AsyncBackground
from surface.odd_servers import http_server, mute_server, tcp_server
from surface.relays import Relay, below_path, http_proxy, socks_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server import Server

pytestmark = pytest.mark.usefixtures("quiet")

LONG = "x" * 300_000
LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who issues certificates."""
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts *authority*."""
    return trusting(authority)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts *authority*."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def presenting(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def secure(server: Server, authority: trustme.CA) -> Iterator[Relay]:
    """TLS in front of *server*, with a certificate for 127.0.0.1 and lm.example."""
    with Relay(server.port, context=presenting(authority.issue_cert("127.0.0.1", "lm.example"))) as relay:
        yield relay


async def failure(client: lms.AsyncClient, phase: str = "tls") -> lms.LMStudioWebsocketError:
    """Why *client* does not connect."""
    async with client:
        with pytest.raises(lms.LMStudioWebsocketError) as error:
            await client.list_downloaded_models()
    assert error.value.phase == phase
    assert error.value.__cause__ is not None or isinstance(error.value, lms.LMStudioConnectTimeoutError)
    return error.value


@pytest.mark.parametrize("spelling", ["https://127.0.0.1:{}", "wss://127.0.0.1:{}/llm", "HTTPS://127.0.0.1:{}/v1/"])
async def test_server_is_verified_with_the_context(secure: Relay, trust: ssl.SSLContext, spelling: str) -> None:
    async with lms.AsyncClient(spelling.format(secure.port), ssl_context=trust) as client:
        assert len(await client.list_downloaded_models()) == 2
        model = await client.llm.model("scripted-chat")
        assert (await model.respond(LONG)).content.count("x") == len(LONG)
        assert client.api_host == f"https://127.0.0.1:{secure.port}"


async def test_certificate_of_an_unknown_authority_is_an_error(secure: Relay) -> None:
    error = await failure(lms.AsyncClient(f"https://127.0.0.1:{secure.port}"))
    assert error.url == f"wss://127.0.0.1:{secure.port}/system"
    assert f"Could not connect to {error.url} (at TLS): TLS failed: its certificate is not accepted: " in str(error)
    assert "pass ssl_context=ssl.create_default_context(cafile=...)" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert not await lms.AsyncClient.is_valid_api_host(f"https://127.0.0.1:{secure.port}")


async def test_certificate_of_another_authority_is_an_error(secure: Relay) -> None:
    error = await failure(lms.AsyncClient(f"https://127.0.0.1:{secure.port}", ssl_context=trusting(trustme.CA())))
    assert "its certificate is not accepted" in str(error)


async def test_certificate_for_another_name_is_an_error(
    server: Server, authority: trustme.CA, trust: ssl.SSLContext
) -> None:
    with Relay(server.port, context=presenting(authority.issue_cert("lm.example"))) as relay:
        error = await failure(lms.AsyncClient(f"https://127.0.0.1:{relay.port}", ssl_context=trust))
    assert "mismatch" in str(error)
    assert "Use a name for which the certificate was made." in str(error)


async def test_expired_certificate_is_an_error(server: Server, authority: trustme.CA, trust: ssl.SSLContext) -> None:
    with Relay(server.port, context=presenting(authority.issue_cert("127.0.0.1", not_after=LONG_AGO))) as relay:
        error = await failure(lms.AsyncClient(f"https://127.0.0.1:{relay.port}", ssl_context=trust))
    assert "expired" in str(error)
    assert "The server needs a new certificate, or a clock is wrong." in str(error)


@pytest.mark.parametrize("value", ["false", "0", "No", " OFF "])
async def test_the_environment_can_switch_verification_off(
    secure: Relay, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LM_STUDIO_VERIFY_TLS", value)
    async with lms.AsyncClient(f"https://127.0.0.1:{secure.port}") as client:
        assert len(await client.list_downloaded_models()) == 2
    # It waits for a second only, and this machine may be busy.
    for _ in range(5):
        if await lms.AsyncClient.is_valid_api_host(f"https://127.0.0.1:{secure.port}"):
            return
    pytest.fail("It never answers.")


@pytest.mark.parametrize("value", ["", "true", "1", "yes", "on"])
async def test_verification_is_on_otherwise(secure: Relay, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LM_STUDIO_VERIFY_TLS", value)
    await failure(lms.AsyncClient(f"https://127.0.0.1:{secure.port}"))


async def test_context_counts_before_the_environment(secure: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_VERIFY_TLS", "false")
    await failure(lms.AsyncClient(f"https://127.0.0.1:{secure.port}", ssl_context=ssl.create_default_context()))


async def test_other_words_in_the_environment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_VERIFY_TLS", "maybe")
    with pytest.raises(lms.LMStudioValueError, match="LM_STUDIO_VERIFY_TLS must be true or false, it is 'maybe'"):
        lms.AsyncClient("localhost")


@pytest.mark.parametrize("context", [True, False, "authority.pem", ssl.SSLContext])
async def test_context_is_a_context(context: ssl.SSLContext) -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"ssl_context must be an ssl\.SSLContext, got"):
        lms.AsyncClient("https://localhost", ssl_context=context)


async def test_tls_to_a_server_without_it_names_the_right_address(server: Server, trust: ssl.SSLContext) -> None:
    error = await failure(lms.AsyncClient(f"https://127.0.0.1:{server.port}", ssl_context=trust))
    assert f"But LM Studio answers at http://127.0.0.1:{server.port}/: pass that address." in str(error)


async def test_no_tls_to_a_server_with_it_names_the_right_address(secure: Relay) -> None:
    error = await failure(lms.AsyncClient(f"127.0.0.1:{secure.port}"), "greeting")
    assert f"But LM Studio answers at https://127.0.0.1:{secure.port}/: pass that address." in str(error)


async def test_wrong_path_behind_tls_names_the_right_address(
    server: Server, authority: trustme.CA, trust: ssl.SSLContext
) -> None:
    context = presenting(authority.issue_cert("127.0.0.1"))
    with Relay(server.port, below_path, context) as relay:
        async with lms.AsyncClient(f"https://127.0.0.1:{relay.port}/some/path", ssl_context=trust) as client:
            assert len(await client.list_downloaded_models()) == 2
    with Relay(server.port, context=context) as relay:
        client = lms.AsyncClient(f"https://127.0.0.1:{relay.port}/some/path", ssl_context=trust)
        error = await failure(client, "greeting")
    assert f"But LM Studio answers at https://127.0.0.1:{relay.port}/: pass that address." in str(error)


async def test_other_servers_without_tls_are_told_from_lm_studio(trust: ssl.SSLContext) -> None:
    for odd_server in (http_server(), tcp_server(b"SSH-2.0-OpenSSH_9.6\r\n"), tcp_server(b"")):
        with odd_server as host:
            error = await failure(lms.AsyncClient(f"https://{host}", ssl_context=trust))
        assert "Does the server speak TLS at this port? Without it, write http:// or ws://." in str(error)


async def test_handshake_that_is_never_answered_is_given_up(trust: ssl.SSLContext) -> None:
    with mute_server() as mute:
        client = lms.AsyncClient(f"https://{mute.api_host}", ssl_context=trust, timeout=lms.Timeout(connect=0.5))
        error = await failure(client)
    assert isinstance(error, lms.LMStudioConnectTimeoutError)
    assert "no answer within 0.5 seconds (timeout 'connect')" in str(error)


async def test_client_may_be_closed_during_the_handshake(trust: ssl.SSLContext) -> None:
    with mute_server() as mute:
        client = lms.AsyncClient(f"https://{mute.api_host}", ssl_context=trust)
        async with AsyncBackground() as background:
            call = background.start(client.list_downloaded_models)
            connection = await background.wait(mute.wait_for_client)
            await client.aclose()
            with pytest.raises(lms.LMStudioWebsocketError, match="client was closed"):
                await call.result()
        with connection:
            while connection.recv(4096):  # until the client has closed it, too
                pass


@pytest.mark.parametrize(("scheme", "greet"), [("http", http_proxy), ("socks5", socks_proxy)])
async def test_tls_goes_through_proxies(secure: Relay, trust: ssl.SSLContext, scheme: str, greet: object) -> None:
    with Relay(secure.port, greet) as proxy:  # type: ignore[arg-type]
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        async with lms.AsyncClient("https://lm.example", ssl_context=trust, proxy=url) as client:
            assert len(await client.list_downloaded_models()) == 2
        error = await failure(lms.AsyncClient("https://lm.example", proxy=url))
    assert "lm.example" in proxy.seen[0]
    assert "its certificate is not accepted" in str(error)


@pytest.mark.parametrize("api_host", ["http://lm.example", "https://lm.example"])
async def test_proxy_may_want_tls_itself(
    server: Server, secure: Relay, authority: trustme.CA, trust: ssl.SSLContext, api_host: str
) -> None:
    upstream = secure.port if api_host.startswith("https") else server.port
    with Relay(upstream, http_proxy, presenting(authority.issue_cert("127.0.0.1"))) as proxy:
        url = f"https://127.0.0.1:{proxy.port}"
        async with lms.AsyncClient(api_host, ssl_context=trust, proxy=url) as client:
            assert len(await client.list_downloaded_models()) == 2
            model = await client.llm.model("scripted-chat")
            assert (await model.respond(LONG)).content.count("x") == len(LONG)
        error = await failure(lms.AsyncClient(api_host, proxy=url), "proxy")
    assert f"TLS with the proxy {url} failed: its certificate is not accepted: " in str(error)


async def test_without_tls_no_authorities_are_loaded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *arguments, **options: loaded.append(options))
    async with lms.AsyncClient(server.api_host) as client:
        assert len(await client.list_downloaded_models()) == 2
    assert await lms.AsyncClient.is_valid_api_host(server.api_host)
    assert loaded == []
    await failure(lms.AsyncClient(f"https://{server.api_host}"))
    assert loaded
