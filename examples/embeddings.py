"""Find the sentence that is nearest to a question."""

import math

import lmstudio as lms

SENTENCES = ("The capital of France is Paris.", "A cow says moo.", "Monday comes after Sunday.")
QUESTION = "What is the capital of France?"


def cosine(a: list[float], b: list[float]) -> float:
    """How similar two vectors are, from -1 to 1."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def main() -> None:
    """Embed everything in one round trip and compare."""
    with lms.Client() as client:
        model = client.embedding.model()
        question, *sentences = model.embed([QUESTION, *SENTENCES])
        scores = [cosine(question, sentence) for sentence in sentences]
        for score, sentence in sorted(zip(scores, SENTENCES, strict=True), reverse=True):
            print(f"{score:.3f}  {sentence}")


if __name__ == "__main__":
    main()
