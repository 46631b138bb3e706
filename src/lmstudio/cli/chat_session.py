"""A chat with a model, without a terminal: what was said, and how the next answer comes to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lmstudio._local_files import LocalFile, read_local_file
from lmstudio.errors import LMStudioModelNotFoundError, LMStudioOSError, LMStudioValueError
from lmstudio.events import PromptProgressEvent, ReasoningEvent, TextEvent
from lmstudio.history import Chat

from . import choosing
from .state import StateFolder

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio.results import PredictionResult
    from lmstudio.sync_api import LLM, Client

    from .chat_screen import Screen

SYSTEM_PROMPT: Final = (
    "You are a helpful assistant in a terminal. Answer clearly and concisely, in plain text where that will do."
)
REASONING: Final[dict[str, bool | None]] = {"auto": None, "on": True, "off": False}
"""What `--reasoning` may be, and the switch that is sent: none leaves it to the model."""


class Turn(NamedTuple):
    """A question and its answer."""

    question: str
    images: tuple[LocalFile, ...]
    answer: str


class ChatSession:
    """A chat: *model* may change, and what is asked of it."""

    def __init__(
        self,
        client: Client,
        screen: Screen,
        model: LLM,
        *,
        system_prompt: str = SYSTEM_PROMPT,
        reasoning: str = "auto",
        shows_stats: bool = False,
        ttl: float,
    ) -> None:
        self.client: Client = client
        self.screen: Screen = screen
        self.model: LLM = model
        self.system_prompt: str = system_prompt
        self.reasoning: str = reasoning
        self.shows_stats: bool = shows_stats
        self.ttl: float = ttl
        self.turns: list[Turn] = []
        self.images: list[LocalFile] = []
        """They go with the next question."""
        self.is_over: bool = False

    # Questions and answers -------------------------------------------------------------------------------------------

    def ask(
        self, question: str, signal: AbortSignal | None = None, *, is_only: bool = False
    ) -> PredictionResult[Any] | None:
        """Show the answer, and remember both. A model that was unloaded meanwhile is loaded again.

        *signal* stops the model; what it has said until then is the answer. None: that had to be given up, too. What
        was not answered is not remembered, and its images stay for the next question.

        *is_only*: for a program that wants a line in any case.

        Raises:
            LMStudioCancelledError: *signal* was aborted before the model began.
            LMStudioError: there is no answer; says why.
        """
        try:
            return self._ask(question, signal, is_only=is_only)
        except LMStudioModelNotFoundError:
            if self.screen.has_answer:
                raise
        self.screen.info(f"{self.model.identifier} is not loaded any more.")
        self.use(load(self.client, self.screen, self.model.model_key, self.ttl, signal))
        return self._ask(question, signal, is_only=is_only)

    def _ask(self, question: str, signal: AbortSignal | None, *, is_only: bool) -> PredictionResult[Any] | None:
        switch = REASONING[self.reasoning]
        stream = self.model.respond_stream(
            self._chat(question), config={} if switch is None else {"enableThinking": switch}, signal=signal
        )
        said: list[str] = []
        result: PredictionResult[Any] | None = None
        try:
            with self.screen.answering(always_ends_line=is_only), stream:
                for event in stream.events():
                    if isinstance(event, TextEvent):
                        said.append(event.content)
                        self.screen.text(event.content)
                    elif isinstance(event, ReasoningEvent):
                        self.screen.reasoning(event.content)
                    elif isinstance(event, PromptProgressEvent):
                        self.screen.reading(event.progress)
                result = stream.result()
        except KeyboardInterrupt:
            if signal is None or not signal.aborted:
                raise  # the server does not stop, and the user has enough
        # Models do not expect to see what they thought before earlier answers.
        answer = "".join(said) if result is None else result.non_reasoning_content
        if answer.strip():
            self.turns.append(Turn(question, tuple(self.images), answer))
            self.images.clear()
        self._comment(result)
        return result

    def _comment(self, result: PredictionResult[Any] | None) -> None:
        if result is not None and self.shows_stats:
            self.screen.stats(result.stats)
        if result is None or result.stop_reason == "userStopped":
            self.screen.info("[stopped]")
        elif result.stop_reason == "contextLengthReached":
            self.screen.warn("the context is full, so the answer is cut off.")
        elif not result.non_reasoning_content.strip():
            self.screen.info("[no answer]")

    def _chat(self, question: str) -> Chat:
        chat = Chat(self.system_prompt or None)
        for asked, images, answer in (*self.turns, Turn(question, tuple(self.images), "")):
            # Sent once for each connection: after a new one the server does not have them any more.
            handles = [self.client.files.prepare_image(image.content, image.name) for image in images]
            chat.add_user_message(asked, images=handles)
            if answer:
                chat.add_assistant_response(answer)
        return chat

    def transcript(self) -> list[dict[str, str]]:
        """What was said, as messages with a role and a text."""
        messages = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        for question, _images, answer in self.turns:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return messages

    # What it is made of ----------------------------------------------------------------------------------------------

    def attach(self, file: str) -> LocalFile:
        """Send an image with the next question.

        Raises:
            LMStudioValueError: the model does not understand images, or this is none.
            LMStudioOSError: the file cannot be read.
        """
        if not self.model.vision:
            raise LMStudioValueError(
                f"{self.model.identifier} does not understand images, so {file!r} cannot be shown to it. Use a vision "
                "model."
            )
        image = read_local_file(file, None, "image")
        self.images.append(image)
        return image

    def use(self, model: LLM) -> None:
        """Go on with *model*."""
        self.model = model

    def forget(self) -> None:
        """Begin anew, with the same system prompt."""
        self.turns.clear()
        self.images.clear()


def choose_llm(client: Client, screen: Screen, wanted: str | None, *, takes_first: bool, ttl: float) -> LLM:
    """The language model that *wanted* means, loaded if need be; else the default of the settings, else one that is
    loaded, else the only one on the disk, else one that the user chooses.

    Raises:
        LMStudioRuntimeError: there is no such model, or several, and nobody to ask.
    """
    wanted = wanted or client.llm._settings.default_model
    if wanted is None:
        try:
            return client.llm.model()
        except LMStudioModelNotFoundError:
            screen.debug("No language model is loaded.")
        infos = choosing.downloaded(client, "llm")
        if len(infos) == 1:  # there is nothing to choose
            return load(client, screen, infos[0].model_key, ttl)
    elif any(handle.identifier == wanted for handle in client.llm.list_loaded()):
        return client.llm.model(wanted)
    info = choosing.choose_downloaded(client, screen, wanted, takes_first=takes_first, kind="llm")
    return load(client, screen, info.model_key, ttl)


def load(client: Client, screen: Screen, key: str, ttl: float, signal: AbortSignal | None = None) -> LLM:
    """The model of this key, which is loaded if it is not."""
    if any(handle.identifier == key for handle in client.llm.list_loaded()):
        return client.llm.model(key)
    with screen.progress(f"Loading {key}") as report:
        model = client.llm.model(key, ttl=ttl, on_load_progress=report, signal=signal)
    try:
        StateFolder.default().remember_model(key)
    except LMStudioOSError as error:
        screen.debug(str(error))  # it is loaded all the same
    return model
