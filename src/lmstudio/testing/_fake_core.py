"""What both doubles of the contract are made of: the script, and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lmstudio._http_models.model_lists import read_filter
from lmstudio._http_models.openai import Model
from lmstudio._near import near_matches
from lmstudio._openai_messages import write_openai_messages
from lmstudio._ops.models import check_key
from lmstudio._ops.openai_chat import ChatRequest
from lmstudio.errors import LMStudioError, LMStudioModelNotFoundError, LMStudioServerError, LMStudioValueError
from lmstudio.json_api import fresh_copy
from lmstudio.settings import Settings
from lmstudio.testing._fake_answers import FakeAnswer
from lmstudio.testing._replies import ReplyBook
from lmstudio.testing.requests import Expected, PredictionRequest, RequestLog, require_fitting

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence

    from lmstudio._http_models.model_lists import ListModelsFilter, ModelsListResponse
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.history import ChatInput
    from lmstudio.testing._fake_answers import Pause
    from lmstudio.testing._replies import ReplyInput
    from lmstudio.testing.requests import JsonObject, Matcher

ContractMethod: TypeAlias = Literal["chat_completion", "list_models", "health"]
_METHODS = ("chat_completion", "list_models", "health")
_DEFAULT_MODEL = "scripted-chat"


@dataclass
class _PlannedFailure:
    method: ContractMethod
    error: LMStudioError
    times_left: int | None


class FakeScript:
    """What a double says, and what it was asked. All of this may be used from any thread."""

    def __init__(self, models: Sequence[str] | None = None, *, strict: bool = False) -> None:
        """*models*: those that there are; None for all that anybody asks for. *strict*: see `check`."""
        self._accepts_any = models is None
        self._models: dict[str, bool] = dict.fromkeys(models or [_DEFAULT_MODEL], True)
        self._log = RequestLog()
        self._book = ReplyBook()
        self._book.is_strict = strict
        self._failures: list[_PlannedFailure] = []

    # What to say -----------------------------------------------------------------------------------------------------

    def reply(self, *answers: ReplyInput, to: Matcher = None, times: int | None = 1) -> None:
        """Give each of *answers* to one of the next chats, in this order; as `ScriptedServer.reply`.

        An answer is a text, a sequence of pieces (texts, `Gate`, `Reasoning`, `ToolCall`), a `Reply`, a dict for JSON,
        or a function that makes one of these of the `PredictionRequest`.
        """
        if not answers:
            raise LMStudioValueError("reply() needs at least one answer, e.g. reply('Hello!').")
        for answer in answers:
            self._book.plan(answer, to, times)

    def fail(
        self,
        error: LMStudioError | str,
        *,
        on: ContractMethod = "chat_completion",
        times: int | None = 1,
    ) -> None:
        """Raise *error* at the next calls of a method; a text is an LMStudioServerError. None: at all of them.

        `health()` does not raise: it is False then. To fail in the middle of an answer, use
        `reply(Reply(..., error="...", error_after=3))`.
        """
        if on not in _METHODS:
            near = near_matches(str(on), _METHODS)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LMStudioValueError(f"The contract has no method {on!r} that could fail.{hint}")
        failure = error if isinstance(error, LMStudioError) else LMStudioServerError(error)
        self._failures.append(_PlannedFailure(on, failure, times))

    def add_model(self, model: str, *, loaded: bool = True) -> None:
        """Have one more model. One that is not loaded will be when it is used."""
        self._models[check_key(model, "model")] = loaded

    def reset(self) -> None:
        """Forget everything that was scripted and noted. Models stay."""
        for part in (self._log, self._book, self._failures):
            part.clear()

    # What was asked for ----------------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[PredictionRequest]:
        """The chats that were to be completed, in order; `config` has the parameters as they were given."""
        return self._log.all(PredictionRequest)

    @property
    def last_request(self) -> PredictionRequest:
        """The last of them.

        Raises:
            AssertionError: there is none.
        """
        requests = self.requests
        if not requests:
            raise AssertionError("No chat completion was asked for.")
        return requests[-1]

    def assert_called_with(
        self,
        text: str | re.Pattern[str] | None = None,
        *,
        model: str | None = None,
        system: str | None = None,
        messages: Sequence[JsonObject] | None = None,
        tools: Sequence[str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """The last chat was with all that is given here: as `ScriptedServer.assert_called_with`."""
        expected = Expected(text, model, system, messages, tools, None, config)
        require_fitting(self.requests, expected, only_last=True)

    def check(self, *, strict: bool | None = None) -> None:
        """Raise AssertionError for what a test might not have seen; the fixtures do so at the end of each test.

        That is a reply function that raised an exception. With *strict*, by default as the double was made, also chats
        without a reply, and replies and errors that nobody has asked for.
        """
        is_strict = self._book.is_strict if strict is None else strict
        found = [problem for problem in self._book.problems if is_strict or " failed: " in problem]
        if is_strict:
            found += [f"Nobody has asked for the reply {planned}." for planned in self._book.unused()]
            unused = [planned for planned in self._failures if planned.times_left]
            found += [f"Nobody has got the error {planned.error} on {planned.method}." for planned in unused]
        if found:
            raise AssertionError("\n".join(found))

    # For the surfaces ------------------------------------------------------------------------------------------------

    def answer(
        self, messages: ChatInput, model: str | None, params: Mapping[str, Any], timeout: TimeoutInput, pause: Pause
    ) -> FakeAnswer:
        """The answer to a chat, not begun yet."""
        request = ChatRequest(messages, None, params, Settings(), None)
        if model is not None:
            check_key(model, "model")
        noted = PredictionRequest("llm", "predict")
        noted.model = model or ""
        noted.messages = write_openai_messages(request.history.messages)
        noted.config = {name: value for name, value in request.parameters.to_dict().items() if name != "tools"}
        noted.tools = [tool["function"] for tool in request.parameters.tools or ()]
        return FakeAnswer(request, noted, self._begin, self._book.answer, pause, timeout)

    def _begin(self, request: PredictionRequest) -> None:
        self._log.add(request)
        self._raise_planned("chat_completion")
        request.model = self._use_model(request.model)

    def _use_model(self, name: str) -> str:
        if not name:
            name = next((known for known, is_loaded in self._models.items() if is_loaded), "")
            if not name:
                raise LMStudioModelNotFoundError("No LLM is loaded, so there is none to choose. Name the one to load.")
        if name not in self._models and not self._accepts_any:
            near = near_matches(name, self._models)
            hint = f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(self._models)}."
            raise LMStudioModelNotFoundError(f"There is no model {name!r}.{hint}")
        self._models[name] = True
        return name

    async def _listed(
        self,
        wanted: ListModelsFilter | Mapping[str, Any] | None,
        owned_by: str | None,
        status: str | None,
        limit: int | None,
    ) -> ModelsListResponse:
        """The models that are wanted."""
        chosen = read_filter(wanted, owned_by, status, limit)
        self._raise_planned("list_models")
        models = [Model(id=name, object="model", owned_by="organization_owner", created=0) for name in self._models]
        return chosen.select(models, loaded={name for name, is_loaded in self._models.items() if is_loaded})

    async def _is_healthy(self) -> bool:
        """Whether no failure is planned."""
        try:
            self._raise_planned("health")
        except LMStudioError:
            return False
        return True

    def _raise_planned(self, method: ContractMethod) -> None:
        for planned in self._failures:
            if planned.method == method and planned.times_left != 0:
                if planned.times_left is not None:
                    planned.times_left -= 1
                raise fresh_copy(planned.error)
