"""Record a session with a real LM Studio, and have it again without one.

With pytest the fixture `lmstudio_recording` does this, and `pytest --lmstudio-record=URL` records again.
"""

import tempfile
from pathlib import Path

import lmstudio as lms
from lmstudio.testing import Recorder, Replayer


def capital(client: lms.Client) -> str:
    """Code under test."""
    return client.llm.model().respond("What is the capital of Norway?", config={"maxTokens": 20}).content


def main() -> None:
    """Ask the LM Studio of this machine once, and the recording afterwards."""
    api_host = lms.Client.find_default_local_api_host()
    if api_host is None:
        raise SystemExit("There is no LM Studio on this machine: start its server, or python -m lmstudio serve.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "capital.jsonl"
        with Recorder(api_host, file) as recorder, lms.Client(recorder.api_host) as client:
            recorded = capital(client)
        with Replayer(file) as replayer, lms.Client(replayer.api_host) as client:
            replayed = capital(client)
            replayer.check(strict=True)
    print("the same answer without LM Studio:", replayed == recorded)


if __name__ == "__main__":
    main()
