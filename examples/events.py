"""Follow everything that happens in a prediction, in one loop."""

import lmstudio as lms
from lmstudio.events import PromptProgressEvent, ReasoningEvent, ResultEvent, TextEvent, ToolCallEvent


def main() -> None:
    """Show progress, thoughts, answer and statistics."""
    with lms.Client() as client:
        model = client.llm.model()
        with model.respond_stream("What is 4 + 5? /think", config={"temperature": 0.0}) as stream:
            for event in stream.events():
                match event:
                    case PromptProgressEvent(progress=progress, details=details):
                        tokens = "" if details is None else f", {details.total_prompt_token_count} tokens"
                        print(f"[prompt {progress:.0%}{tokens}]")
                    case ReasoningEvent(content=content):
                        print(f"\033[2m{content}\033[0m", end="", flush=True)  # faint
                    case TextEvent(content=content):
                        print(content, end="", flush=True)
                    case ToolCallEvent(tool_call_request=request):
                        print(f"[{request.name}({request.arguments})]")
                    case ResultEvent(result=result):
                        print(f"\n[{result.stop_reason}, {result.usage.predicted_tokens} tokens]")
                    case _:
                        pass  # a tool call that is still being written


if __name__ == "__main__":
    main()
