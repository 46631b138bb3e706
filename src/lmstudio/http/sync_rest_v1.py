# Generated from async_rest_v1.py by tools/make_sync.py. Edit that file instead.
"""LM Studio's own HTTP interface, version 1: models, loading, downloading, and chats that the server remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from lmstudio._http_models.rest_v1 import (
    ChatParams,
    ChatReply,
    ChatRequest,
    DownloadJob,
    DownloadJobList,
    DownloadReply,
    DownloadRequest,
    EmbeddingModel,
    LlmModel,
    LoadReply,
    LoadRequest,
    ModelList,
    UnloadReply,
    UnloadRequest,
)
from lmstudio._timeouts import Timeout, read_timeout
from lmstudio.http._caller import HttpEndpoint
from lmstudio.http._downloads import DOWNLOAD_STATUS, JobProgressCallback, job_id_of, wait_for_download
from lmstudio.http._requests import body_of
from lmstudio.http._streams_rest_v1 import ChatReader, ChatStreamEvent
from lmstudio.http.sync_base import EventStream
from lmstudio.http.sync_namespace import CallbackHome, Namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from lmstudio._timeouts import TimeoutInput

__all__ = ["RestV1"]

MODELS: Final = HttpEndpoint("GET", "api/v1/models", ModelList, "list the models", is_read=True)
LOAD: Final = HttpEndpoint("POST", "api/v1/models/load", LoadReply, "load a model")
UNLOAD: Final = HttpEndpoint("POST", "api/v1/models/unload", UnloadReply, "unload a model")
DOWNLOAD: Final = HttpEndpoint("POST", "api/v1/models/download", DownloadReply, "download a model")
DOWNLOADS: Final = HttpEndpoint(
    "GET", "api/v1/models/download/status", DownloadJobList, "list the downloads", is_read=True
)
CHAT: Final = HttpEndpoint("POST", "api/v1/chat", ChatReply, "chat")

LOADING: Final = Timeout(first_token=600.0)
"""How long a load may take: the server says nothing before it is done."""


class RestV1(Namespace):
    """`client.rest_v1`: what LM Studio has beyond OpenAI's API.

    ::

        loaded = client.rest_v1.load("qwen2.5-7b-instruct", context_length=8192)
        reply = client.rest_v1.chat(model=loaded.instance_id, input="My name is Ada.")
        print(reply.text)
        client.rest_v1.unload(loaded.instance_id)

    Servers refuse members of requests that they do not know. `extra_body` sends what this version does not know.
    """

    # Models ----------------------------------------------------------------------------------------------------------

    def list_models(self, *, timeout: TimeoutInput = None) -> list[LlmModel | EmbeddingModel]:
        """All models, loaded or not. `loaded_instances` says which ones are, and with what."""
        return (self._run(self._caller.call(MODELS, timeout=timeout))).models

    def load(
        self,
        model: str,
        *,
        context_length: int | None = None,
        eval_batch_size: int | None = None,
        flash_attention: bool | None = None,
        num_experts: int | None = None,
        offload_kv_cache_to_gpu: bool | None = None,
        echo_load_config: bool | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> LoadReply:
        """Load a model, once more if it is loaded already, and wait until it is there.

        Args:
            model: Its key.
            context_length: In tokens.
            eval_batch_size: How many tokens of the prompt are read at once.
            flash_attention: Whether to use it.
            num_experts: How many to use of a mixture of experts.
            offload_kv_cache_to_gpu: Whether the cache is in the memory of the graphics card.
            echo_load_config: Whether the reply says what the model was loaded with, as `load_config`.
            timeout: Where it has neither `first_token` nor `idle`, a load may take 600 seconds.
            extra_body: Other members of the request.

        Raises:
            LMStudioModelNotFoundError: the server has no such model.
        """
        members = {
            "model": model,
            "context_length": context_length,
            "eval_batch_size": eval_batch_size,
            "flash_attention": flash_attention,
            "num_experts": num_experts,
            "offload_kv_cache_to_gpu": offload_kv_cache_to_gpu,
            "echo_load_config": echo_load_config,
        }
        body = body_of(LoadRequest, LOAD.attempted, self._settings, keywords=members, extra_body=extra_body)
        limits = read_timeout(timeout)
        patient = limits.over(LOADING) if limits.idle is UNSET else limits
        return self._run(self._caller.call(LOAD, body, timeout=patient))

    def unload(self, instance_id: str, *, timeout: TimeoutInput = None) -> UnloadReply:
        """Unload one instance of a model.

        Raises:
            LMStudioModelNotFoundError: none of that id is loaded.
        """
        body = body_of(UnloadRequest, UNLOAD.attempted, None, keywords={"instance_id": instance_id})
        return self._run(self._caller.call(UNLOAD, body, timeout=timeout))

    # Downloads -------------------------------------------------------------------------------------------------------

    def download(
        self,
        model: str,
        *,
        quantization: str | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> DownloadReply:
        """Begin to download a model; `wait_for_download` waits for the end.

        Args:
            model: Its name in the catalogue, as "publisher/name", or the address of a repository.
            quantization: Of the files, such as "Q4_K_M"; only with an address.
            timeout: For the begin.
            extra_body: Other members of the request.
        """
        members = {"model": model, "quantization": quantization}
        body = body_of(DownloadRequest, DOWNLOAD.attempted, None, keywords=members, extra_body=extra_body)
        return self._run(self._caller.call(DOWNLOAD, body, timeout=timeout))

    def download_status(
        self, download: DownloadReply | DownloadJob | str, *, timeout: TimeoutInput = None
    ) -> DownloadJob:
        """How far a download is. *download* is what `download` has returned, or the id of its job.

        Raises:
            LMStudioServerError: the server has no such job.
        """
        path = {"job_id": job_id_of(download)}
        return self._run(self._caller.call(DOWNLOAD_STATUS, path=path, timeout=timeout))

    def list_downloads(self, *, timeout: TimeoutInput = None) -> list[DownloadJob]:
        """All downloads, the oldest first. LM Studio itself does not have this list; the embedded server does."""
        return (self._run(self._caller.call(DOWNLOADS, timeout=timeout))).jobs

    def wait_for_download(
        self,
        download: DownloadReply | DownloadJob | str,
        on_progress: JobProgressCallback | None = None,
        *,
        interval_seconds: float = 1.0,
        timeout: TimeoutInput = None,
    ) -> DownloadJob | None:
        """Wait until a download is complete.

        ::

            download = client.rest_v1.download("qwen/qwen3-4b")
            client.rest_v1.wait_for_download(download, lambda job: print(job.downloaded_bytes))

        Args:
            download: What `download` has returned, or the id of its job.
            on_progress: Told how far it is, after each look.
            interval_seconds: Between two looks.
            timeout: The total is for the whole wait, the other limits for each look. The download goes on in any case.

        Returns:
            The job; None if there was nothing to download. A download that somebody has paused is waited for.

        Raises:
            LMStudioServerError: it failed, or the server has no such job.
            LMStudioTimeoutError: it was not complete within the total.
        """
        home = CallbackHome(self._caller.logger)
        waiting = wait_for_download(self._caller, home, download, on_progress, interval_seconds, timeout)
        return self._run(waiting)

    # Chats -----------------------------------------------------------------------------------------------------------

    def chat(
        self,
        request: ChatRequest | Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[ChatParams],
    ) -> ChatReply:
        """The answer to a message, in a new chat, or in one that the server has stored.

        A request is a `ChatRequest`, or its members as a dict or as keywords; keywords go before it.

        Raises:
            LMStudioValueError: something is missing, or has a bad value; nothing was sent.
            LMStudioValidationError: the server refused the request.
        """
        body = body_of(ChatRequest, CHAT.attempted, self._settings, request, params, extra_body)
        return self._run(self._caller.call(CHAT, body, timeout=timeout))

    def stream_chat(
        self,
        request: ChatRequest | Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
        **params: Unpack[ChatParams],
    ) -> EventStream[ChatStreamEvent, ChatReply]:
        """The same as events: how the model is loaded, how it reads the prompt, what it thinks, calls and says.

        ::

            with client.rest_v1.stream_chat(model="qwen2.5-7b-instruct", input="Hi!") as stream:
                for event in stream:
                    if event.type == "model_load.progress":
                        print(f"loading: {event.progress:.0%}")
                    elif event.type == "message.delta":
                        print(event.content, end="", flush=True)
                print(stream.result().stats)
        """
        body = body_of(ChatRequest, CHAT.attempted, self._settings, request, params, extra_body, stream=True)
        stream = self._caller.stream(CHAT, body, ChatReader(), timeout=timeout)
        return EventStream(stream)
