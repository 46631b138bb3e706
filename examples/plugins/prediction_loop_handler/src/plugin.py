"""Let the model think twice: it answers, looks at its answer, and answers again.

Run it with: python -m lmstudio.plugin --dev examples/plugins/prediction_loop_handler
"""

from __future__ import annotations

from typing import Any

from lmstudio.plugin import PredictionLoopHandlerController

REVIEW = "Look at your answer once more. What is wrong or missing? Then write the final answer, and nothing else."


async def handle_prediction_loop(ctl: PredictionLoopHandlerController[Any, Any]) -> None:
    """Answer the chat: the first attempt is shown as thoughts, the second is the answer."""
    model = await ctl.token_source()
    chat = await ctl.pull_history()

    draft = ctl.create_content_block(include_in_context=False, style={"type": "thinking", "title": "First attempt"})
    first = await draft.pipe_from(model.respond_stream(chat))
    draft.set_style({"type": "thinking", "title": "First attempt", "ended": True})

    chat.add_assistant_response(first.content)
    chat.add_user_message(REVIEW)
    answer = ctl.create_content_block()
    await answer.pipe_from(model.respond_stream(chat))
