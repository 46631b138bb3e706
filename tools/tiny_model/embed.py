"""Trains the embedding model on the CPU for a number of steps and writes it as a GGUF file.

A bert-architecture encoder with mean pooling, trained to put texts of one meaning close together and all others of the
batch apart. It shares the chat model's tokenizer. The same options, library versions and kind of CPU give the same
file.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import gguf
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own convention
from tokenizers import Tokenizer
from torch import nn

from .dialogue import greeting, identity
from .export_gguf import FILE_TYPES, add_tensors, add_tokenizer, write_file
from .facts import arithmetic, fact
from .phrasing import noise, with_article
from .stories import story
from .tool_use import tool_example
from .vocabulary import CHARACTERS

GROUP_DRAWS = 60_000
GROUP_SEED = 1
BATCH_PAIRS = 128
MAXIMUM_TOKENS = 40
PEAK_LEARNING_RATE = 1e-3
WARM_UP_STEPS = 50
SIMILARITY_SCALE = 20.0


def meaning_groups(draws: int, seed: int) -> list[list[str]]:
    """Texts by meaning: variants of a question, its answers, its reasoning; only groups of two and more."""
    rng = Random(seed)
    groups: dict[str, set[str]] = {}
    for _ in range(draws):
        key, texts = _one_meaning(rng)
        groups.setdefault(key, set()).update(texts)
    return [sorted(texts) for texts in groups.values() if len(texts) > 1]


def _one_meaning(rng: Random) -> tuple[str, tuple[str, ...]]:
    roll = rng.random()
    if roll < 0.5:
        made = fact(rng)
        note = made.thought.split(". ", 1)[1]
        return made.thought, (noise(rng, made.question), made.answer, note)
    if roll < 0.6:
        made = arithmetic(rng)
        return made.thought, (made.question, made.answer)
    if roll < 0.7:
        topic = rng.choice(CHARACTERS)
        beginning = story(rng, topic)[: rng.randint(60, 120)]
        return f"story {topic}", (beginning, f"a story about {with_article(topic)}", f"tell me about the {topic}")
    if roll < 0.8:
        made = identity(rng)
        return f"id {made.question}", (made.question, made.answer)
    if roll < 0.85:
        made = greeting(rng)
        return f"greet {made.answer}", (made.question,)
    example = tool_example(rng)
    return f"tool {example.arguments}", (example.question, example.answer)


@dataclass(frozen=True)
class EmbeddingModelConfig:
    """A bert-architecture encoder; the defaults are those of the shipped model (0.79 million parameters)."""

    vocabulary_size: int = 1024
    dim: int = 128
    layers: int = 3
    heads: int = 4
    ffn_dim: int = 512
    context: int = 512
    norm_epsilon: float = 1e-12


class EncoderLayer(nn.Module):  # type: ignore[misc]  # torch is not type-checked
    """Attention in both directions and a feed-forward layer, both residual and normalised afterwards."""

    def __init__(self, config: EmbeddingModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attn_q = nn.Linear(config.dim, config.dim)
        self.attn_k = nn.Linear(config.dim, config.dim)
        self.attn_v = nn.Linear(config.dim, config.dim)
        self.attn_output = nn.Linear(config.dim, config.dim)
        self.ffn_up = nn.Linear(config.dim, config.ffn_dim)
        self.ffn_down = nn.Linear(config.ffn_dim, config.dim)
        self.attn_output_norm = nn.LayerNorm(config.dim, config.norm_epsilon)
        self.layer_output_norm = nn.LayerNorm(config.dim, config.norm_epsilon)

    def _split(self, projected: torch.Tensor) -> torch.Tensor:
        batch, length, dim = projected.shape
        return projected.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)

    def forward(self, hidden: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """Maps (batch, length, dim) to the same shape; *is_token* (batch, length) is false on padding."""
        attended = F.scaled_dot_product_attention(
            self._split(self.attn_q(hidden)),
            self._split(self.attn_k(hidden)),
            self._split(self.attn_v(hidden)),
            attn_mask=is_token[:, None, None, :],
        )
        attended = attended.transpose(1, 2).reshape(hidden.shape)
        hidden = self.attn_output_norm(hidden + self.attn_output(attended))
        return self.layer_output_norm(hidden + self.ffn_down(F.gelu(self.ffn_up(hidden))))


class EmbeddingModel(nn.Module):  # type: ignore[misc]  # torch is not type-checked
    """The encoder. Submodules carry GGUF tensor names, so that export needs no renaming."""

    def __init__(self, config: EmbeddingModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.vocabulary_size, config.dim)
        self.position_embd = nn.Embedding(config.context, config.dim)
        self.token_types = nn.Embedding(2, config.dim)
        self.token_embd_norm = nn.LayerNorm(config.dim, config.norm_epsilon)
        self.blk = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        for table in (self.token_embd, self.position_embd, self.token_types):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """Maps token ids (batch, length) to vectors of length one (batch, dim)."""
        positions = self.position_embd(torch.arange(ids.shape[1]))
        hidden = self.token_embd_norm(self.token_embd(ids) + positions + self.token_types.weight[0])
        for layer in self.blk:
            hidden = layer(hidden, is_token)
        mask = is_token[..., None].float()
        return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def encode(tokenizer: Tokenizer, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of the texts, cut and padded to one length, and a mask that is false on padding."""
    # A text without tokens would divide by zero in the mean.
    encoded = [tokenizer.encode(text).ids[:MAXIMUM_TOKENS] or [0] for text in texts]
    length = max(map(len, encoded))
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    is_token = torch.zeros(len(texts), length, dtype=torch.bool)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        is_token[row, : len(tokens)] = True
    return ids, is_token


def train(model: EmbeddingModel, tokenizer: Tokenizer, groups: list[list[str]], steps: int, seed: int) -> None:
    """Contrastive training in place: each of two texts must find the other among those of the whole batch."""
    rng = Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.01)
    targets = torch.arange(BATCH_PAIRS)
    started = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
            group["lr"] = PEAK_LEARNING_RATE * warm_up * max(0.02, 1.0 - step / steps)
        pairs = [rng.sample(texts, 2) for texts in rng.sample(groups, BATCH_PAIRS)]
        left = model(*encode(tokenizer, [first for first, _ in pairs]))
        right = model(*encode(tokenizer, [second for _, second in pairs]))
        similarity = left @ right.t() * SIMILARITY_SCALE
        loss = (F.cross_entropy(similarity, targets) + F.cross_entropy(similarity.t(), targets)) / 2
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            accuracy = (similarity.argmax(1) == targets).float().mean().item()
            elapsed = time.perf_counter() - started
            print(f"step {step + 1}/{steps}: loss {loss.item():.3f}, in-batch accuracy {accuracy:.3f}, {elapsed:.0f} s")


def export(model: EmbeddingModel, tokenizer_file: Path, path: Path) -> None:
    """Writes the model as GGUF: matrices in q8_0, the small tables and vectors in f32."""
    config = model.config
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_type("model")
    writer.add_name("Pebble Embed")
    writer.add_license("mit")
    add_tokenizer(writer, tokenizer_file)
    writer.add_vocab_size(config.vocabulary_size)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn_dim)
    writer.add_head_count(config.heads)
    writer.add_layer_norm_eps(config.norm_epsilon)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(2)
    writer.add_file_type(FILE_TYPES["q8_0"])
    weights = {name: weight.float().numpy() for name, weight in model.state_dict().items()}
    add_tensors(writer, weights, "q8_0", keep_float32=("position_embd.weight", "token_types.weight"))
    write_file(writer, path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_model.embed", description=__doc__)
    parser.add_argument("tokenizer", type=Path, help="tokenizer.json of the chat model")
    parser.add_argument("out", type=Path, help="GGUF file to write")
    parser.add_argument("--steps", type=int, required=True, help="step budget; the schedule stretches to it")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the order (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="PyTorch threads; results may depend on it (default: 1)")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    groups = meaning_groups(GROUP_DRAWS, GROUP_SEED)
    model = EmbeddingModel(EmbeddingModelConfig(vocabulary_size=tokenizer.get_vocab_size()))
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{parameters:.2f} M parameters, {len(groups)} groups of texts")
    train(model, tokenizer, groups, arguments.steps, arguments.seed)
    export(model, arguments.tokenizer, arguments.out)


if __name__ == "__main__":
    main()
