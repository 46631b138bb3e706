import math

import lmstudio as lms


def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


def is_prime(n: int) -> bool:
    """Tell whether a number is prime."""
    return n > 1 and all(n % divisor for divisor in range(2, math.isqrt(n) + 1))


model = lms.llm("qwen2.5-7b-instruct")
model.act(
    "Is the sum of 12 and 29 prime?",
    [add, is_prime],
    on_message=print,
)
