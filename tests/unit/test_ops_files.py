"""Uploads, documents and retrieval against a scripted server."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import pytest
from sample_files import PNG
from scripted_runtime import (
    ScriptedRuntime,
    channel_error,
    close,
    packet,
    result,
    rpc_error,
    run,
)

import lmstudio as lms
from lmstudio._abort import AbortSignal
from lmstudio._ops import files as ops
from lmstudio._ops.models import identifier_target

UPLOADED = {"identifier": "abc.png", "fileType": "image", "sizeBytes": 69}
MODEL = {
    "type": "embedding",
    "modelKey": "e",
    "format": "gguf",
    "displayName": "E",
    "publisher": "p",
    "path": "p/e",
    "sizeBytes": 1,
    "indexedModelIdentifier": "p/e",
    "deviceIdentifier": None,
    "identifier": "my embedder",
    "instanceReference": "r",
    "ttlMs": None,
    "lastUsedTime": None,
    "maxContextLength": 512,
    "contextLength": 512,
}


def handle(name: str = "a.txt", identifier: str = "x.txt") -> lms.FileHandle:
    return lms.FileHandle(name=name, identifier=identifier, size_bytes=1, file_type="text/plain")


class Stage:
    def __init__(self, *steps: Any) -> None:
        self.runtime = ScriptedRuntime(*steps)
        self.uploads = ops.Uploads()

    @property
    def sent(self) -> list[Any]:
        return self.runtime.sent

    def prepare(self, source: object = PNG, name: str | None = None) -> lms.FileHandle:
        return run(ops.prepare(self.runtime.port("files"), self.uploads, source, name, "image"))


# Uploading -----------------------------------------------------------------------------------------------------------


def test_upload_sends_name_and_content_and_returns_what_the_server_says() -> None:
    stage = Stage(result(UPLOADED))

    assert stage.prepare(name="cat.png").to_dict() == {"type": "file", "name": "cat.png", **UPLOADED}
    assert stage.sent == [
        {
            "type": "rpcCall",
            "endpoint": "uploadFileBase64",
            "callId": 1,
            "parameter": {"name": "cat.png", "contentBase64": base64.b64encode(PNG).decode()},
        }
    ]


def test_base64_is_uploaded_as_the_same_file() -> None:
    stage = Stage(result(UPLOADED))
    stage.prepare(name="cat.png")
    again = ops.prepare_base64(
        stage.runtime.port("files"), stage.uploads, "cat.png", base64.b64encode(PNG).decode(), "image"
    )

    assert run(again).identifier == "abc.png"
    assert len(stage.sent) == 1


def test_same_content_is_sent_once_and_each_caller_has_a_handle_of_its_own() -> None:
    stage = Stage(result(UPLOADED))
    first, second, third = stage.prepare(name="cat.png"), stage.prepare(name="dog.PNG"), stage.prepare(name="cat.png")

    assert len(stage.sent) == 1
    assert [file.name for file in (first, second, third)] == ["cat.png", "dog.PNG", "cat.png"]
    first.name = "changed"
    assert third.name == "cat.png"
    assert stage.prepare(name="cat.png").name == "cat.png"


def test_same_content_with_another_ending_is_another_file() -> None:
    stage = Stage(result(UPLOADED), result({**UPLOADED, "identifier": "def.txt"}, 2))

    assert stage.prepare(name="cat.png").identifier == "abc.png"
    assert stage.prepare(name="cat.txt").identifier == "def.txt"


def test_file_is_sent_again_after_the_connection_was_lost() -> None:
    stage = Stage(result(UPLOADED), result({**UPLOADED, "identifier": "new.png"}))
    stage.prepare()
    stage.runtime.multiplexers[-1].fail(lms.LMStudioWebsocketError("lost"))

    assert stage.prepare().identifier == "new.png"
    assert stage.prepare().identifier == "new.png"
    assert len(stage.sent) == 2


def test_upload_that_was_refused_is_tried_again() -> None:
    stage = Stage(rpc_error({"title": "The disk is full."}), result(UPLOADED, 2))
    with pytest.raises(lms.LMStudioServerError, match=r"Could not upload 'image\.png': The disk is full\."):
        stage.prepare()

    assert stage.prepare().identifier == "abc.png"


def test_interrupted_upload_is_forgotten() -> None:
    stage = Stage(KeyboardInterrupt(), result(UPLOADED, 2))
    with pytest.raises(KeyboardInterrupt):
        stage.prepare()

    assert stage.prepare().identifier == "abc.png"


def test_file_that_is_no_image_is_refused_before_anything_is_sent() -> None:
    stage = Stage()
    with pytest.raises(lms.LMStudioValueError, match="a text, not an image"):
        stage.prepare(b"words")

    assert stage.runtime.multiplexers == []


# Handles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", ["x.txt", "local:x.txt"])
def test_path_is_asked_for_by_the_local_name(identifier: str) -> None:
    runtime = ScriptedRuntime(result({"path": "/srv/x.txt"}))

    assert run(ops.get_file_path(runtime.port("files"), handle(identifier=identifier))) == "/srv/x.txt"
    assert runtime.sent[0]["parameter"] == {"fileName": "x.txt"}


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("base64:AAAA", r"The file 'a\.txt' has no path: its handle carries its content"),
        ("ftp:x", "identifier of unknown form: 'ftp:x'"),
        ("local:", "identifier of unknown form"),
        ("../x", "identifier of unknown form"),
        ("", "identifier of unknown form"),
    ],
)
def test_file_without_a_path_is_refused(identifier: str, message: str) -> None:
    runtime = ScriptedRuntime()
    with pytest.raises(lms.LMStudioValueError, match=message):
        run(ops.get_file_path(runtime.port("files"), handle(identifier=identifier)))
    assert runtime.multiplexers == []


def test_handle_may_be_a_dict_in_both_spellings() -> None:
    camel = {"type": "file", "name": "a", "identifier": "i", "sizeBytes": 1, "fileType": "image"}
    snake = {"name": "a", "identifier": "i", "size_bytes": 1, "file_type": "image"}

    assert ops.read_handle(camel) == ops.read_handle(snake)
    assert ops.is_image(camel)
    assert not ops.is_image(handle())


async def _never_awaited() -> None: ...


def test_what_is_no_handle_is_refused() -> None:
    with pytest.raises(
        lms.LMStudioValueError, match=r"Expected a file handle, as prepare_file\(\) returns it; got str"
    ):
        ops.read_handle("a.txt")
    with pytest.raises(lms.LMStudioValueError, match=r"Cannot read .* as a file handle: .*identifier"):
        ops.read_handle({"name": "a"})
    pending = _never_awaited()
    with pytest.raises(lms.LMStudioValueError, match="Await it first"):
        ops.read_handle(pending)
    pending.close()


# Documents -----------------------------------------------------------------------------------------------------------

PARSER = {"library": "reader", "version": "1"}


def test_document_is_parsed_with_news_on_the_way() -> None:
    news: list[Any] = []
    runtime = ScriptedRuntime(
        packet({"type": "parserLoaded", "parser": PARSER}),
        packet({"type": "progress", "progress": 0.5}),
        packet({"type": "result", "content": "words", "parser": PARSER}),
    )
    parsed = run(ops.parse_document(runtime.port("files"), handle(), PARSER, news.append, news.append))

    assert parsed == lms.ParseDocumentResult(content="words", parser=lms.DocumentParsingLibraryIdentifier(**PARSER))
    assert news == [parsed.parser, 0.5]
    assert runtime.sent == [
        {
            "type": "channelCreate",
            "endpoint": "parseDocument",
            "channelId": 1,
            "creationParameter": {"fileIdentifier": "x.txt", "parseOpts": {"parserId": PARSER}},
        }
    ]


def test_parser_is_left_to_the_server_by_default() -> None:
    runtime = ScriptedRuntime(packet({"type": "result", "content": "words", "parser": PARSER}))
    run(ops.parse_document(runtime.port("files"), handle()))

    assert runtime.sent[0]["creationParameter"]["parseOpts"] == {}


def test_parsing_library_is_asked_for() -> None:
    runtime = ScriptedRuntime(result(PARSER))

    found = run(ops.get_document_parsing_library(runtime.port("files"), handle()))
    assert found == lms.DocumentParsingLibraryIdentifier(**PARSER)


def test_leaving_parsing_early_cancels_it() -> None:
    runtime = ScriptedRuntime(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(ops.parse_document(runtime.port("files"), handle()))

    assert runtime.sent_packets() == [{"type": "cancel"}]


def test_parsing_that_the_server_ends_without_result_is_an_error() -> None:
    runtime = ScriptedRuntime(close())
    with pytest.raises(lms.LMStudioChannelClosedError, match=r"Could not parse 'a\.txt'"):
        run(ops.parse_document(runtime.port("files"), handle()))


# Retrieval -----------------------------------------------------------------------------------------------------------


class Search:
    """A search with an embedding model that is there."""

    def __init__(self, *steps: Any) -> None:
        self.runtime = ScriptedRuntime(result(MODEL), *steps)

    def run(
        self, files: Any = None, signal: AbortSignal | None = None, query: str = "what?", **members: Any
    ) -> lms.RetrievalResult:
        names = ops.RetrievalOptions.__struct_fields__
        options = {name: members.pop(name) for name in names if name in members}
        options.setdefault("embedding_model", identifier_target("my embedder"))
        return run(
            ops.retrieve(
                self.runtime.port("files"),
                self.runtime.port("embedding"),
                query,
                [handle("a.txt", "x"), handle("b.pdf", "y")] if files is None else files,
                ops.RetrievalOptions(**options),
                ops.RetrievalCallbacks(**members),
                signal,
            )
        )

    @property
    def parameter(self) -> Any:
        return self.runtime.sent[1]["creationParameter"]


def found(*entries: dict[str, Any]) -> dict[str, Any]:
    return packet({"type": "result", "result": {"entries": list(entries)}})


def test_search_names_files_and_model_and_leaves_the_rest_to_the_server() -> None:
    search = Search(found())

    assert search.run() == lms.RetrievalResult(entries=[])
    assert search.parameter == {
        "query": "what?",
        "fileIdentifiers": ["x", "y"],
        "config": {"fields": [{"key": "retrieval.embeddingModel", "value": "my embedder"}]},
    }


def test_every_option_becomes_a_field() -> None:
    search = Search(found())
    search.run(chunking_method={"chunk_size": 40, "chunkOverlap": 7}, limit=3, database_path="/srv/db")

    assert {item["key"]: item["value"] for item in search.parameter["config"]["fields"]} == {
        "retrieval.chunkingMethod": {"type": "recursive-v1", "chunkSize": 40, "chunkOverlap": 7},
        "retrieval.limit": 3,
        "retrieval.databaseFile": "/srv/db",
        "retrieval.embeddingModel": "my embedder",
    }


def test_model_is_any_loaded_one_by_default() -> None:
    search = Search(found())
    search.runtime.steps[0] = result([MODEL])
    search.run(embedding_model=None)

    assert search.runtime.sent[0]["endpoint"] == "listLoaded"
    assert search.parameter["config"]["fields"] == [{"key": "retrieval.embeddingModel", "value": "my embedder"}]


def test_search_without_a_loaded_model_is_an_error_before_it_begins() -> None:
    search = Search()
    search.runtime.steps[0] = result([])
    with pytest.raises(lms.LMStudioModelNotFoundError, match="No embedding model is loaded"):
        search.run(embedding_model=None)

    assert [message["type"] for message in search.runtime.sent] == ["rpcCall"]


def test_entries_carry_their_file_and_place() -> None:
    text = {"content": "c", "score": 0.5}
    search = Search(
        found(
            {**text, "sourceIndex": 1, "pageNumber": 3},
            {**text, "sourceIndex": 0, "lineNumber": [4, 7]},
            {**text, "sourceIndex": 0},
        )
    )
    entries = search.run().entries

    assert [entry.source.name for entry in entries] == ["b.pdf", "a.txt", "a.txt"]
    assert [(entry.page_number, entry.line_number) for entry in entries] == [(3, None), (None, (4, 7)), (None, None)]


def test_every_callback_gets_files_instead_of_numbers() -> None:
    events: list[tuple[Any, ...]] = []
    step = {"index": 1, "step": "embedding"}
    search = Search(
        packet({"type": "onFileProcessList", "indices": [1]}),
        packet({"type": "onFileProcessingStart", "index": 1}),
        packet({"type": "onFileProcessingStepStart", **step}),
        packet({"type": "onFileProcessingStepProgress", **step, "progress": 0.25}),
        packet({"type": "onFileProcessingStepEnd", **step}),
        packet({"type": "onFileProcessingEnd", "index": 1}),
        packet({"type": "onSearchingStart"}),
        packet({"type": "onSearchingEnd"}),
        found(),
    )
    names = ops.RetrievalCallbacks.__struct_fields__
    callbacks: dict[str, Any] = {
        name: partial(lambda name, *values: events.append((name, *values)), name) for name in names
    }
    search.run(**callbacks)

    second = handle("b.pdf", "y")
    assert events == [
        ("on_file_process_list", [second]),
        ("on_file_processing_start", second, 0, [second]),
        ("on_file_processing_step_start", second, "embedding"),
        ("on_file_processing_step_progress", second, "embedding", 0.25),
        ("on_file_processing_step_end", second, "embedding"),
        ("on_file_processing_end", second, 0, [second]),
        ("on_searching_start",),
        ("on_searching_end",),
    ]


def test_report_on_a_file_that_does_not_exist_is_ignored() -> None:
    events: list[Any] = []
    step = {"index": 2, "step": "embedding"}
    search = Search(
        packet({"type": "onFileProcessList", "indices": [-1, 1, 2]}),
        packet({"type": "onFileProcessingStart", "index": -1}),
        packet({"type": "onFileProcessingStepStart", **step}),
        packet({"type": "onFileProcessingStepProgress", **step, "progress": 0.5}),
        packet({"type": "onFileProcessingStepEnd", **step}),
        packet({"type": "onFileProcessingEnd", "index": 2}),
        found(),
    )
    names = ("on_file_processing_start", "on_file_processing_end", "on_file_processing_step_start")
    callbacks: dict[str, Any] = dict.fromkeys(names, lambda *values: events.append(values))
    search.run(on_file_process_list=events.append, **callbacks)

    assert [[file.name for file in files] for files in events] == [["b.pdf"]]


@pytest.mark.parametrize("index", [-1, 2])
def test_result_from_a_file_that_does_not_exist_ends_the_search(index: int) -> None:
    search = Search(found({"content": "c", "score": 0.5, "sourceIndex": index}))
    with pytest.raises(lms.LMStudioServerError, match=f"reports on file {index} of a search in 2 files"):
        search.run()

    assert search.runtime.sent_packets() == [{"type": "stop"}]


def test_leaving_a_search_early_stops_it() -> None:
    search = Search(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        search.run()

    assert search.runtime.sent_packets() == [{"type": "stop"}]


def test_abort_stops_a_search_with_the_reason() -> None:
    signal = AbortSignal()
    search = Search(lambda: signal.abort("no time"))
    with pytest.raises(lms.LMStudioCancelledError, match="Aborted: no time"):
        search.run(signal=signal)

    assert search.runtime.sent_packets() == [{"type": "stop"}]


def test_aborted_signal_keeps_everything_from_being_sent() -> None:
    signal = AbortSignal()
    signal.abort()
    search = Search()
    with pytest.raises(lms.LMStudioCancelledError):
        search.run(signal=signal)
    with pytest.raises(lms.LMStudioCancelledError):
        run(ops.parse_document(search.runtime.port("files"), handle(), signal=signal))

    assert search.runtime.sent == []


def test_search_that_the_server_refuses_says_what_was_attempted() -> None:
    search = Search(channel_error({"title": "There is no file 'x'."}))
    with pytest.raises(lms.LMStudioServerError, match=r"Could not search 2 files: There is no file 'x'\."):
        search.run()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"query": " "}, "The query must be a text that is not empty"),
        ({"query": None}, "The query must be a text"),
        ({"files": []}, "There are no files to search"),
        ({"files": "a.txt"}, "files must be a list of file handles, got str"),
        ({"files": ["a.txt"]}, "Expected a file handle"),
        ({"limit": 0}, "limit must be a whole number from 1, got 0"),
        ({"limit": True}, "limit must be a whole number"),
        ({"chunking_method": {"chunk_size": 10, "chunk_overlap": 10}}, "chunk_overlap at least 0 and smaller; got 10"),
        ({"chunking_method": {"type": "semantic-v9"}}, "one chunking method, 'recursive-v1'; got 'semantic-v9'"),
        ({"chunking_method": {"chunk_sise": 1, "chunk_overlap": 0}}, "chunk_sise"),
        ({"on_searching_end": "print"}, "on_searching_end must be a function"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(members: dict[str, Any], message: str) -> None:
    search = Search()
    with pytest.raises(lms.LMStudioValueError, match=message):
        search.run(**members)

    assert search.runtime.sent == []


def test_single_handle_is_a_list_of_one() -> None:
    search = Search(found())
    search.run(files=handle())

    assert search.parameter["fileIdentifiers"] == ["x.txt"]
