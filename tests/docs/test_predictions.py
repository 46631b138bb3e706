"""Examples of the pages about predictions: chats, completions, images, parameters, structured output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pydantic
import pytest
from sample_files import PNG

if TYPE_CHECKING:
    from docs.stage import Stage

import lmstudio as lms
from docs.catalogue import documents
from lmstudio.schemas import DictSchema
from lmstudio.server import Reply

CHAT_ANSWER = "You said: When do I plant tulips?"
LONG_REPLY = Reply([f"{number} " for number in range(200)])
BOOK = '{"title": "Emma", "author": "Jane Austen", "year": 1815}'
STATISTICS = (
    r"Model: Qwen2\.5 7B Instruct\nTokens: \d+\nFirst token after \(seconds\): \d+\.\d+\nStopped because of: {reason}\n"
)


# Chats ---------------------------------------------------------------------------------------------------------------


@documents(19, 20, 21, 22, 23, 24)
def test_reply_is_printed_whole_or_piece_by_piece(stage: Stage, example: int) -> None:
    stage.load()
    assert stage.run(example).printed == "You said: What makes bread rise?\n"


@documents(25, 26, 27, 43, 44, 45, 60, 61, 62)
def test_handle_of_a_model_is_named_by_its_key(stage: Stage, example: int) -> None:
    model = stage.run(example)["model"]
    assert stage.loaded() == [model.identifier]
    kind = "AsyncLLM" if isinstance(model, lms.AsyncLLM) else "LLM"
    assert repr(model) == f"{kind}(identifier='{model.identifier}')"
    assert model.vision is (example >= 60)


@documents(28)
def test_chat_is_written_without_a_server(stage: Stage) -> None:
    stage.server.stop()
    chat = stage.run(28)["chat"]
    assert [(message.role, message.content[0].text) for message in chat] == [
        ("system", "You are a gardener who answers briefly."),
        ("user", "When do I plant tulips?"),
    ]


@documents(29, 30, 31, 32)
def test_chat_is_answered(stage: Stage, example: int) -> None:
    assert stage.run(example).printed == f"{CHAT_ANSWER}\n"


@documents(33, 34, 35, 36, 69)
def test_parameters_limit_the_reply_to_a_chat(stage: Stage, example: int) -> None:
    stage.engine.reply = LONG_REPLY
    run = stage.run(example)
    result = run["result"] if "result" in run.names else run["prediction_stream"].result()
    assert (result.stats.predicted_tokens_count, result.stats.stop_reason) == (50, "maxPredictedTokensReached")
    assert stage.engine.requests[-1].sampling.temperature == 0.6
    assert run.printed.split() == ([] if example == 69 else [str(number) for number in range(50)])


@documents(37, 38)
def test_statistics_of_a_chat_are_four_lines(stage: Stage, example: int) -> None:
    printed = stage.run(example).printed
    assert re.fullmatch(re.escape(f"{CHAT_ANSWER}\n") + STATISTICS.format(reason="eosFound"), printed)


@documents(39)
def test_chatbot_remembers_what_was_said(stage: Stage) -> None:
    stage.load()
    run = stage.run(39, typed="Where is Mars?\nAnd Venus?\n\n")
    prompt = "You (nothing to leave): "
    assert run.printed == (f"{prompt}Guide: You said: Where is Mars?\n{prompt}Guide: You said: And Venus?\n{prompt}")
    assert [message["content"] for message in stage.last_chat.messages][1:] == [
        "Where is Mars?",
        "You said: Where is Mars?",
        "And Venus?",
    ]
    assert [message.role for message in run["chat"]] == ["system", "user", "assistant", "user", "assistant"]


@documents(39)
def test_chatbot_ends_with_its_input(stage: Stage) -> None:
    stage.load()
    assert stage.run(39, typed="Where is Mars?\n").printed.endswith("\nYou (nothing to leave): \n")


@documents(40, 41, 42, 57, 58, 59)
def test_progress_rises_to_the_whole(stage: Stage, example: int) -> None:
    stage.load()
    stage.engine.reply = Reply("Done.", prompt_steps=4)
    run = stage.run(example)
    lines = run.printed.splitlines()
    progress = [float(line.removesuffix("% read")) for line in lines]
    assert (progress[0], progress[-1]) == (0.0, 100.0)
    assert progress == sorted(set(progress))
    assert len(progress) >= 3
    assert str(run["response" if example < 57 else "completion"]) == "Done."


# Completions ---------------------------------------------------------------------------------------------------------


@documents(46, 47, 48, 49)
def test_text_is_continued_without_a_chat_template(stage: Stage, example: int) -> None:
    stage.engine.reply = LONG_REPLY
    run = stage.run(example)
    assert run.printed.split() == [str(number) for number in range(100)]
    assert stage.engine.requests[-1].prompt == "My name is"


@documents(50, 51)
def test_statistics_of_a_completion_are_four_lines(stage: Stage, example: int) -> None:
    stage.engine.reply = Reply(" Ada.")
    printed = stage.run(example).printed
    assert re.fullmatch(r" Ada\.\n" + STATISTICS.format(reason="eosFound"), printed)


@documents(52)
def test_terminal_is_simulated_up_to_the_next_prompt(stage: Stage) -> None:
    stage.load()
    stage.engine.reply = [Reply(["\nnotes.txt\n", "$ rm", " notes.txt"]), Reply(["\nguest\n", "$"])]
    run = stage.run(52, typed="ls\nwhoami\nexit\n")
    assert run.printed == "$ \nnotes.txt\n\n$ \nguest\n\n$ "
    assert [request.prompt for request in stage.engine.requests] == ["$ ls", "$ ls\n\nnotes.txt\n\n$ whoami"]
    assert run["console_history"] == ["$ ls", "\nnotes.txt\n", "$ whoami", "\nguest\n"]
    assert run["prediction_stream"].result().stats.stop_reason == "stopStringFound"


@documents(52)
def test_terminal_ends_with_its_input(stage: Stage) -> None:
    stage.load()
    assert stage.run(52, typed="").printed == "$ \n"


@documents(53, 54, 55, 56)
def test_parameters_reach_a_completion(stage: Stage, example: int) -> None:
    stage.engine.reply = LONG_REPLY
    run = stage.run(example, initial_text="Once upon a time")
    assert run.printed.split() == [str(number) for number in range(50)]
    request = stage.engine.requests[-1]
    assert (request.prompt, request.sampling.temperature, request.max_tokens) == ("Once upon a time", 0.6, 50)


@documents(70)
def test_parameters_with_stop_strings_reach_a_completion(stage: Stage) -> None:
    stage.engine.reply = Reply(["One.", "\n\n", "Two."])
    result = stage.run(70, chat="Once upon a time")["result"]
    assert (result.content, result.stats.stop_reason, result.stop_string) == ("One.", "stopStringFound", "\n\n")
    assert stage.engine.requests[-1].max_tokens == 50


@documents(70)
def test_completion_of_a_chat_is_refused_with_the_way_out(stage: Stage) -> None:
    with pytest.raises(lms.LMStudioValueError, match=r"got Chat\. For a chat use respond\(\)"):
        stage.run(70, chat=lms.Chat("Be brief."))
    assert stage.engine.requests == []


# Images --------------------------------------------------------------------------------------------------------------


@documents(63, 64, 65)
def test_image_is_prepared(stage: Stage, example: int) -> None:
    handle = stage.run(example)["image_handle"]
    assert (handle.name, handle.file_type, handle.size_bytes) == ("photo.png", "image", len(PNG))


@documents(66, 67, 68)
def test_model_sees_the_image(stage: Stage, example: int) -> None:
    assert str(stage.run(example)["prediction"]) == "You said: What is in the picture?"
    assert [image.content for image in stage.last_chat.images] == [PNG]


@documents(68)
def test_image_that_was_not_awaited_is_refused_with_the_way_out(stage: Stage) -> None:
    with pytest.raises(lms.LMStudioValueError, match="await"):
        stage.run("d068_async_as_published")


# Parameters ----------------------------------------------------------------------------------------------------------


@documents(71, 72, 73)
def test_load_parameters_count_for_the_call_that_loads(stage: Stage, example: int) -> None:
    stage.run(example)
    options = stage.engine.loads[-1][1]
    assert (options.context_length, options.gpu_offload_ratio) == (8192, 0.5)
    stage.run(example)
    assert len(stage.engine.loads) == 1


@documents(71, 72, 73)
def test_load_parameters_leave_a_loaded_model_alone(stage: Stage, example: int) -> None:
    stage.load()
    assert stage.run(example)["model"].context_length == 32768


@documents(74, 75, 76)
def test_new_instance_has_its_load_parameters(stage: Stage, example: int) -> None:
    stage.load()
    model = stage.run(example)["model"]
    assert (model.identifier, model.context_length) == ("qwen2.5-7b-instruct:2", 8192)
    assert stage.engine.loads[-1][1].gpu_offload_ratio == 0.5


@documents(77, 78)
def test_draft_model_guesses_tokens(stage: Stage, example: int) -> None:
    stage.engine.reply = Reply(["2", " 3", " 5", " 7"], draft_tokens=5, accepted_draft_tokens=3)
    run = stage.run(example)
    assert run.printed == "2 3 5 7\n3 of 4 tokens were guessed\n"
    assert run["stats"].used_draft_model_key == "qwen2.5-0.5b-instruct"
    assert stage.loaded() == ["qwen2.5-7b-instruct"]


# Structured output ---------------------------------------------------------------------------------------------------


@documents(79)
def test_protocol_of_response_formats_is_that_of_the_package(stage: Stage) -> None:
    shown = stage.run(79, Protocol=Protocol, runtime_checkable=runtime_checkable, DictSchema=DictSchema)["ModelSchema"]
    for protocol in (shown, lms.ModelSchema):
        assert isinstance(lms.BaseModel, protocol)
        assert isinstance(pydantic.BaseModel, protocol)
        assert not isinstance(dict, protocol)


@documents(80, 81)
def test_class_describes_itself_as_schema(stage: Stage, example: int) -> None:
    schema = stage.run(example)["BookSchema"].model_json_schema()
    types = {name: field["type"] for name, field in schema["properties"].items()}
    assert types == {"title": "string", "author": "string", "year": "integer"}
    assert schema["required"] == ["title", "author", "year"]


@pytest.mark.parametrize("declared", [80, 81])
@documents(82, 83)
def test_reply_is_parsed_as_the_class(stage: Stage, example: int, declared: int) -> None:
    stage.engine.reply = BOOK
    run = stage.run("d043_conv", declared, example)
    # The official package gives a dict; here it is what was asked for.
    assert isinstance(run["book"], run["BookSchema"])
    assert (run["book"].title, run["book"].author, run["book"].year) == ("Emma", "Jane Austen", 1815)
    assert run.printed == f"{run['book']}\n"
    schema: Any = stage.engine.requests[-1].json_schema
    assert list(schema["properties"]) == ["title", "author", "year"]


@documents(82)
def test_plain_reply_is_its_own_value(stage: Stage) -> None:
    result = stage.run("d043_conv")["model"].respond("Describe a famous novel.")
    assert result.parsed == result.content


@documents(84)
def test_json_schema_is_plain_data(stage: Stage) -> None:
    assert stage.run(84)["schema"]["required"] == ["title", "author", "year"]


@documents(85, 86)
def test_reply_to_a_json_schema_is_a_dict(stage: Stage, example: int) -> None:
    stage.engine.reply = BOOK
    run = stage.run(example)
    assert run["book"] == {"title": "Emma", "author": "Jane Austen", "year": 1815}
    assert run.printed == f"{BOOK}\n" * (example == 86) + f"{run['book']}\n"


@documents(86)
def test_loop_over_an_undefined_name_is_pythons_error(stage: Stage) -> None:
    with pytest.raises(NameError, match="'prediction' is not defined"):
        stage.run("d043_conv", "d084_json_schema", "d086_dict_stream_as_published")
