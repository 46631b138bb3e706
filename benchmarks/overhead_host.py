"""A server with the shipped chat model loaded, for `overhead.py`: says where it listens and where its engine does.

Both are measured on the same engine process, so that nothing but the server makes the difference.
"""

from __future__ import annotations

import json
import sys

import lmstudio as lms
from lmstudio.server import Server
from lmstudio.server.engine._llama_requests import completion_body
from lmstudio.server.engine.base import GenerationRequest, Sampling

PROMPT = "Tell me a long story about a fox, a river and a stone."
ENDLESS = ((0, float("-inf")), (2, float("-inf")))  # without its end tokens the model goes on until the limit


def main() -> None:
    """Serve until stdin ends."""
    tokens, sessions = int(sys.argv[1]), int(sys.argv[2])
    with Server() as server, lms.Client(server.api_host) as client:
        model = client.llm.load_new_instance(
            "pebble-2.6m", config={"context_length": 2048, "max_parallel_predictions": sessions}
        )
        prompt = model.apply_prompt_template(PROMPT)
        instance = server.core.instances.loaded("llm")[0]  # type: ignore[attr-defined]  # the server's own core
        engine = instance.model._client  # what no user needs: the way past the server
        sampling = Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, repeat_penalty=1.1, logit_bias=ENDLESS)
        body = completion_body(GenerationRequest(prompt=prompt, sampling=sampling, max_tokens=tokens))
        facts = {
            "port": server.port,
            "engine_port": engine._port,
            "engine_key": engine._key,
            "engine_body": json.loads(body),
            "engine_pid": instance.model.process_id,
            "model": model.identifier,
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
