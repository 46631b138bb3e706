"""The chats that a server remembers."""

from __future__ import annotations

import pytest

from lmstudio._sdk_models import TextData, UserMessage
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.stored_chats import StoredChat, StoredChats, new_response_id


def said(text: str) -> UserMessage:
    return UserMessage(content=[TextData(text=text)])


def test_ids_are_as_long_as_those_of_lm_studio_and_differ() -> None:
    ids = {new_response_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(one.startswith("resp_") and len(one) == len("resp_") + 48 for one in ids)


def test_oldest_chat_makes_room() -> None:
    chats = StoredChats(max_chats=2)
    for name in ("a", "b", "c"):
        chats.put(StoredChat(name, [said(name)]))
    assert [chats.get(name) is not None for name in ("a", "b", "c")] == [False, True, True]


def test_unknown_chat_is_refused_by_name() -> None:
    with pytest.raises(HttpError, match="no stored response 'resp_x'") as caught:
        StoredChats().previous("resp_x")
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "previous_response_not_found")


def test_size_is_bounded() -> None:
    chats = StoredChats(max_bytes=10_000)
    for number in range(10):
        chats.put(StoredChat(str(number), [said("x" * 4000)]))
    assert len(chats) == 2
    assert chats.get("9") is not None


def test_large_reply_counts_as_well() -> None:
    chats = StoredChats(max_bytes=10_000)
    chats.put(StoredChat("a", [said("a")], reply={"text": "x" * 8000}))
    chats.put(StoredChat("b", [said("b")], input_items=[{"text": "x" * 8000}]))
    assert chats.get("a") is None


def test_newest_chat_is_kept_however_large() -> None:
    chats = StoredChats(max_bytes=10)
    chats.put(StoredChat("a", [said("a")]))
    chats.put(StoredChat("b", [said("x" * 4000)]))
    assert chats.get("a") is None
    assert chats.get("b") is not None


def test_shared_messages_count_once() -> None:
    chats = StoredChats(max_bytes=10_000)
    messages = [said("x" * 8000)]
    for number in range(10):
        messages = [*messages, said(str(number))]
        chats.put(StoredChat(str(number), messages))
    assert len(chats) == 10


def test_room_is_free_again_when_nobody_shares_a_message() -> None:
    chats = StoredChats(max_bytes=10_000)
    first = said("x" * 8000)
    chats.put(StoredChat("a", [first]))
    chats.put(StoredChat("b", [first, said("b")]))
    assert chats.delete("a")
    assert chats.delete("b")
    assert not chats.delete("b")
    chats.put(StoredChat("c", [said("c")]))
    chats.put(StoredChat("d", [said("x" * 8000)]))
    assert len(chats) == 2
