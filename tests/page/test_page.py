"""The page in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patience import PATIENCE_SECONDS
from playwright.sync_api import expect

from lmstudio.server import Gate, Reply, Server
from lmstudio.server.engine.scripted import Reasoning, ScriptedEngine

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect.set_options(timeout=PATIENCE_SECONDS * 1000)

TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJ0123456789"


def model(page: Page, name: str) -> Locator:
    return page.locator("#model-list li", has_text=name)


def ask(page: Page, text: str) -> Locator:
    """Send *text*; the place of the answer."""
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")
    return page.locator(".message.assistant").last


def test_models_are_listed_loaded_and_unloaded(page: Page) -> None:
    chat = model(page, "scripted-chat")
    expect(chat).to_contain_text("text")
    expect(model(page, "scripted-embed")).to_contain_text("embedding")
    page.get_by_role("button", name="Load scripted-chat").click()
    expect(chat).to_contain_text("idle")
    expect(chat).to_contain_text("context")
    page.get_by_role("button", name="Unload scripted-chat").click()
    expect(page.get_by_role("button", name="Load scripted-chat")).to_be_visible()


def test_load_shows_its_progress_and_can_be_given_up(page: Page, engine: ScriptedEngine) -> None:
    engine.load_gate = Gate()
    page.get_by_role("button", name="Load scripted-chat").click()
    expect(model(page, "scripted-chat").get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Cancel scripted-chat").click()
    expect(page.get_by_role("button", name="Load scripted-chat")).to_be_visible()


def test_load_that_fails_says_why(page: Page, engine: ScriptedEngine) -> None:
    engine.fail_load = "There is not enough memory."
    page.get_by_role("button", name="Load scripted-chat").click()
    expect(model(page, "scripted-chat")).to_contain_text("There is not enough memory.")


def test_chat_streams_and_ends_with_statistics(page: Page, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply([Reasoning("Let me think."), "Once ", gate, "upon a time"])
    answer = ask(page, "Tell me a story")
    expect(page.locator(".message.user")).to_have_text("Tell me a story")
    expect(answer).to_contain_text("Once")
    expect(answer).to_contain_text("writing…")
    gate.open()
    expect(answer).to_contain_text("Once upon a time")
    expect(answer.locator(".stats")).to_contain_text("finished · ")
    expect(answer.locator(".stats")).to_contain_text("prompt")
    expect(answer.locator("details")).to_contain_text("Let me think.")
    expect(model(page, "scripted-chat")).to_contain_text("idle")


def test_second_message_has_the_first_before_it(page: Page, engine: ScriptedEngine) -> None:
    engine.reply = Reply("I am well.")
    expect(ask(page, "How are you?").locator(".stats")).to_contain_text("finished")
    expect(ask(page, "Are you sure?").locator(".stats")).to_contain_text("finished")
    messages = [(message["role"], message["content"]) for message in engine.chats[-1].messages]
    assert messages == [("user", "How are you?"), ("assistant", "I am well."), ("user", "Are you sure?")]
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".message")).to_have_count(0)
    expect(ask(page, "And now?").locator(".stats")).to_contain_text("finished")
    assert [message["content"] for message in engine.chats[-1].messages] == ["And now?"]


def test_stop_ends_the_answer(page: Page, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply(["Once ", gate, "upon a time"])
    answer = ask(page, "Tell me a story")
    expect(answer).to_contain_text("Once")
    page.get_by_role("button", name="Stop").click()
    expect(answer.locator(".stats")).to_contain_text("stopped by you")
    assert engine.wait_for_cancel()
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_settings_reach_the_model(page: Page, engine: ScriptedEngine) -> None:
    engine.reply = Reply("one two three four")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Tokens").fill("2")
    expect(ask(page, "Count").locator(".stats")).to_contain_text("limit of tokens reached · 2 tokens")
    assert engine.requests[-1].sampling.temperature == 0.3


def test_failure_is_shown_and_the_chat_goes_on(page: Page, engine: ScriptedEngine) -> None:
    engine.reply = Reply([], error="The engine is out of order.")
    expect(ask(page, "Hi").locator(".error")).to_contain_text("The engine is out of order.")
    engine.reply = None
    expect(ask(page, "Hi again")).to_contain_text("You said: Hi again")


def test_what_a_model_writes_is_text(page: Page, engine: ScriptedEngine) -> None:
    engine.reply = Reply("<img src=x onerror=alert(1)><script>alert(2)</script>")
    answer = ask(page, "Hi")
    expect(answer).to_contain_text("<script>alert(2)</script>")
    assert answer.locator("img, script").count() == 0


def test_log_is_live(page: Page) -> None:
    expect(ask(page, "Hello log").locator(".stats")).to_contain_text("finished")
    lines = page.locator("#log-lines")
    expect(lines).to_contain_text("Loading scripted-chat")
    expect(lines).to_contain_text("scripted-chat wrote: You said: Hello log")
    page.locator("#log").get_by_role("button", name="Clear").click()
    expect(lines.locator("li")).to_have_count(0)


def test_server_that_comes_back_is_used_again(empty_page: Page, engine: ScriptedEngine) -> None:
    server = Server(engine=engine)
    server.start()
    empty_page.goto(f"http://{server.api_host}/")
    empty_page.get_by_text("connected", exact=True).wait_for()
    server.stop()
    expect(empty_page.locator("#connection.down")).to_be_visible()
    with Server(engine="scripted", port=server.port):
        expect(empty_page.get_by_text("connected", exact=True)).to_be_visible()
        expect(ask(empty_page, "Hi")).to_contain_text("You said: Hi")


def test_token_is_asked_for_where_one_is_needed(empty_page: Page) -> None:
    with Server(engine="scripted", api_tokens=[TOKEN]) as server:
        empty_page.goto(f"http://{server.api_host}/")
        expect(empty_page.locator("#connection")).to_contain_text("requires an API token")
        empty_page.get_by_label("API token").fill(TOKEN)
        empty_page.get_by_role("button", name="Connect").click()
        expect(empty_page.get_by_text("connected", exact=True)).to_be_visible()
        expect(ask(empty_page, "Hi")).to_contain_text("You said: Hi")


def test_nothing_is_loaded_from_elsewhere(empty_page: Page, server: Server) -> None:
    wanted: list[str] = []
    empty_page.on("request", lambda request: wanted.append(request.url))
    empty_page.goto(f"http://{server.api_host}/")
    empty_page.get_by_text("connected", exact=True).wait_for()
    assert wanted
    assert all(url.startswith((f"http://{server.api_host}/", "data:")) for url in wanted)


def test_narrow_window_has_everything(page: Page) -> None:
    page.set_viewport_size({"width": 380, "height": 800})
    for name in ("Models", "Chat", "Log"):
        page.get_by_role("heading", name=name, exact=True).scroll_into_view_if_needed()
    overflow = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0
