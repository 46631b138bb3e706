"""Shape of the chat model, apart from any tensor library: training and export both read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChatModelConfig:
    """A llama-architecture decoder; the defaults are those of the shipped model (2.63 million parameters)."""

    vocabulary_size: int = 1024
    dim: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 3
    ffn_dim: int = 512
    norm_epsilon: float = 1e-5
    rope_base: float = 10000.0

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads

    @property
    def kv_dim(self) -> int:
        """Width of all key heads together, and of all value heads together."""
        return self.head_dim * self.kv_heads


def tensor_shapes(config: ChatModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor by its GGUF name, outputs before inputs, in the order in which files store them.

    There is no `output.weight`: the output head is the embedding table.
    """
    dim, ffn_dim = config.dim, config.ffn_dim
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (config.vocabulary_size, dim),
        "output_norm.weight": (dim,),
    }
    for layer in range(config.layers):
        block = {
            "attn_norm": (dim,),
            "ffn_norm": (dim,),
            "attn_q": (dim, dim),
            "attn_k": (config.kv_dim, dim),
            "attn_v": (config.kv_dim, dim),
            "attn_output": (dim, dim),
            "ffn_gate": (ffn_dim, dim),
            "ffn_up": (ffn_dim, dim),
            "ffn_down": (dim, ffn_dim),
        }
        shapes.update({f"blk.{layer}.{name}.weight": shape for name, shape in block.items()})
    return shapes
