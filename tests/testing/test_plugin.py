"""The fixtures, in runs of pytest of their own."""

from __future__ import annotations

import os
from pathlib import Path

# Runs of pytest in this process forget what they have imported, and httpx would go on with its exceptions of before.
import httpcore  # noqa: F401
import pytest

import lmstudio as lms
from lmstudio import convenience
from lmstudio.testing import ScriptedServer

pytest_plugins = ["pytester"]

WITH_ASYNCIO = ("-p", "lmstudio.testing.plugin", "-p", "no:cacheprovider")
PLUGIN = (*WITH_ASYNCIO, "-p", "no:asyncio")
TOKEN = "sk-lm-abcdefgh:abcdefghijklmnopqrst"
SOURCE = Path(lms.__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs in a process of their own."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")]))


def passes(pytester: pytest.Pytester, code: str, *options: str, count: int = 1) -> None:
    pytester.makepyfile(code)
    pytester.runpytest(*PLUGIN, "-W", "error", *options).assert_outcomes(passed=count)


def test_server_and_client(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        def test_one(lmstudio_server, lmstudio_client):
            lmstudio_server.reply("A short summary.")
            assert lmstudio_client.llm.model("scripted-chat").respond("Hi").content == "A short summary."
            lmstudio_server.assert_called_with("Hi")

        def test_two(lmstudio_client, lmstudio_server):
            lmstudio_server.assert_not_called()
            assert lmstudio_client.list_loaded_models() == []
        """,
        count=2,
    )


def test_example_runs_with_pytest(pytester: pytest.Pytester) -> None:
    example = SOURCE.parent / "examples" / "testing_your_code.py"
    passes(pytester, example.read_text(encoding="utf-8"), count=3)


def test_module_level_functions_find_the_server_and_are_restored(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", "localhost:1")
    monkeypatch.setenv("LM_API_TOKEN", TOKEN)
    with ScriptedServer() as server:
        lms.configure_default_client(server.api_host)
        try:
            kept = lms.get_default_client()
            passes(
                pytester,
                """
                import os

                import lmstudio as lms

                def test_default(lmstudio_server):
                    assert "LM_API_TOKEN" not in os.environ
                    lmstudio_server.add_model("mine", loaded=True)
                    assert lms.llm().respond("Hi").content == "You said: Hi"
                    assert lms.get_default_client().api_host == lmstudio_server.api_host
                    with lms.Client() as client:
                        assert client.api_host == lmstudio_server.api_host
                """,
            )
            assert lms.get_default_client() is kept
            assert len(lms.list_downloaded_models()) == 2
            assert convenience._api_host == server.api_host
            assert (os.environ["LM_STUDIO_BASE_URL"], os.environ["LM_API_TOKEN"]) == (
                "localhost:1",
                TOKEN,
            )
        finally:
            lms.close_default_client()


ASYNC_TEST = """
import pytest

{marker}
async def test_async(lmstudio_server, lmstudio_async_client):
    lmstudio_server.reply("Hello!")
    model = await lmstudio_async_client.llm.model("scripted-chat")
    assert (await model.respond("Hi")).content == "Hello!"
"""


def test_asynchronous_client_with_the_plugin_of_anyio(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    passes(pytester, ASYNC_TEST.format(marker="@pytest.mark.anyio"))


def test_asynchronous_client_with_the_plugin_of_asyncio(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(ASYNC_TEST.format(marker="@pytest.mark.asyncio"))
    pytester.runpytest(*WITH_ASYNCIO, "-W", "error").assert_outcomes(passed=1)


def test_asynchronous_client_under_trio(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'trio'\n")
    passes(
        pytester,
        """
        import pytest

        @pytest.mark.anyio
        async def test_async(lmstudio_server, lmstudio_async_client):
            async with lmstudio_async_client as client:
                model = await client.llm.model("scripted-chat")
                assert (await model.respond("Hi")).content == "You said: Hi"
        """,
    )


def test_marker_and_settings_choose_models(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nlmstudio_models = of-settings other\n")
    passes(
        pytester,
        """
        import pytest

        def keys(client):
            return [model.model_key for model in client.list_downloaded_models()]

        def test_settings(lmstudio_client):
            assert keys(lmstudio_client) == ["of-settings", "other"]

        @pytest.mark.lmstudio(models=["of/marker"])
        def test_marker(lmstudio_client):
            assert keys(lmstudio_client) == ["of/marker"]
        """,
        "--strict-markers",
        count=2,
    )


def test_marker_with_something_else_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n\n@pytest.mark.lmstudio(model='x')\ndef test(lmstudio_server):\n    pass\n")
    result = pytester.runpytest(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*The marker lmstudio takes models=*"])


@pytest.mark.parametrize("where", ["settings", "marker"])
def test_strict_test_must_use_its_replies(pytester: pytest.Pytester, where: str) -> None:
    pytester.makeini(f"[pytest]\nlmstudio_strict = {'true' if where == 'settings' else 'false'}\n")
    marker = "@pytest.mark.lmstudio(strict=True)\n" if where == "marker" else ""
    pytester.makepyfile(f"import pytest\n\n{marker}def test(lmstudio_server):\n    lmstudio_server.reply('unused')\n")
    result = pytester.runpytest(*PLUGIN)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*Nobody has asked for the reply 'unused'.*"])


def test_session_server_is_one_for_all_tests(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import lmstudio as lms

        def test_one(lmstudio_client, lmstudio_session_server):
            assert lmstudio_client.api_host == lmstudio_session_server.api_host
            assert lms.llm("scripted-chat").respond("Hi").content == "You said: Hi"

        def test_two(lmstudio_session_server):
            lmstudio_session_server.assert_called_with("Hi")
            lmstudio_session_server.reset()
            lmstudio_session_server.assert_not_called()
        """,
        count=2,
    )


def test_nothing_is_imported_without_a_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_modules():
            heavy = {"httpx", "httpx_ws", "wsproto", "msgspec", "starlette", "uvicorn", "lmstudio.server"}
            assert heavy & sys.modules.keys() == set()
            assert {name for name in sys.modules if name.startswith("lmstudio")} <= {
                "lmstudio", "lmstudio._lazy", "lmstudio._version", "lmstudio.testing", "lmstudio.testing.plugin"
            }
        """
    )
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_missing_extra_breaks_no_run_and_is_named_by_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys\n\nsys.modules.update({'starlette': None, 'uvicorn': None})\n")
    pytester.makepyfile("def test_of_others():\n    pass\n\ndef test_fixture(lmstudio_server):\n    pass\n")
    result = pytester.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*needs starlette, uvicorn, not installed here; run: pip install*"])


# Recordings ----------------------------------------------------------------------------------------------------------

RECORDED_TEST = """
    import lmstudio as lms

    def test_summary(lmstudio_recording, lmstudio_client):
        assert lmstudio_client.llm.model("scripted-chat").respond("Summarize.").content == "Short."
        assert lms.llm("scripted-chat").count_tokens("a b c") == 3
"""


def record(pytester: pytest.Pytester) -> Path:
    """A run with a server that answers; the file that it has written."""
    pytester.makepyfile(test_it=RECORDED_TEST)
    with ScriptedServer() as server:
        server.reply("Short.")
        result = pytester.runpytest(*PLUGIN, f"--lmstudio-record=http://{server.api_host}")
        result.assert_outcomes(passed=1)
    return pytester.path / "recordings" / "test_it" / "test_summary.jsonl"


def test_recorded_test_is_replayed(pytester: pytest.Pytester) -> None:
    file = record(pytester)
    assert file.is_file()
    pytester.runpytest(*PLUGIN).assert_outcomes(passed=1)


def test_test_that_asks_for_something_else_fails(pytester: pytest.Pytester) -> None:
    record(pytester)
    pytester.makepyfile(test_it=RECORDED_TEST.replace("Summarize.", "Summarise."))
    result = pytester.runpytest(*PLUGIN)
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(['*-*"text": "Summarize."*', '*+*"text": "Summarise."*'])


def test_test_without_its_recording_says_how_to_record(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=RECORDED_TEST)
    result = pytester.runpytest(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Cannot read the recording*Record it first, with pytest --lmstudio-record*"])


def test_replay_names_the_file(pytester: pytest.Pytester) -> None:
    file = record(pytester)
    file.rename(pytester.path / "other.jsonl")
    passes(
        pytester,
        """
        import lmstudio as lms

        def test_summary(lmstudio_replay):
            server = lmstudio_replay("other.jsonl")
            with lms.Client(server.api_host) as client:
                assert client.llm.model("scripted-chat").respond("Summarize.").content == "Short."
            assert [call.name for call in server.unused] == ["llm/getOrLoad", "llm/countTokens"]
        """,
        "--ignore=test_it.py",
    )
