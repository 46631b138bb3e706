"""The chat model in PyTorch. Submodules carry GGUF tensor names, so that a checkpoint needs no renaming on export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own convention
from torch import nn

if TYPE_CHECKING:
    from .architecture import ChatModelConfig


class RMSNorm(nn.Module):  # type: ignore[misc]  # torch is not type-checked
    """Normalisation by root mean square, with a learned scale."""

    def __init__(self, dim: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.epsilon = epsilon

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Same shape as *hidden*, normalised over its last dimension."""
        return F.rms_norm(hidden, (hidden.shape[-1],), self.weight, self.epsilon)


def rotation_angles(length: int, head_dim: int, base: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of the rotary angles, each of shape (length, head_dim / 2)."""
    frequencies = 1.0 / base ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(torch.arange(length).float(), frequencies)
    return angles.cos(), angles.sin()


def rotate(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotates neighbouring pairs (0, 1), (2, 3), ...: the order of llama.cpp, so export permutes nothing."""
    even, odd = heads[..., 0::2], heads[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2)


class Block(nn.Module):  # type: ignore[misc]  # torch is not type-checked
    """Grouped-query attention and a gated feed-forward layer, both residual and pre-normalised."""

    def __init__(self, config: ChatModelConfig) -> None:
        super().__init__()
        self.config = config
        self.attn_norm = RMSNorm(config.dim, config.norm_epsilon)
        self.ffn_norm = RMSNorm(config.dim, config.norm_epsilon)
        self.attn_q = nn.Linear(config.dim, config.dim, bias=False)
        self.attn_k = nn.Linear(config.dim, config.kv_dim, bias=False)
        self.attn_v = nn.Linear(config.dim, config.kv_dim, bias=False)
        self.attn_output = nn.Linear(config.dim, config.dim, bias=False)
        self.ffn_gate = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.ffn_up = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.ffn_down = nn.Linear(config.ffn_dim, config.dim, bias=False)

    def _split(self, projected: torch.Tensor, heads: int) -> torch.Tensor:
        batch, length, _ = projected.shape
        return projected.view(batch, length, heads, self.config.head_dim).transpose(1, 2)

    def forward(self, hidden: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        """Maps (batch, length, dim) to the same shape; a position sees itself and those before it."""
        config = self.config
        normed = self.attn_norm(hidden)
        query = rotate(self._split(self.attn_q(normed), config.heads), cosine, sine)
        key = rotate(self._split(self.attn_k(normed), config.kv_heads), cosine, sine)
        value = self._split(self.attn_v(normed), config.kv_heads)
        repeats = config.heads // config.kv_heads
        if repeats > 1:
            key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.attn_output(attended.transpose(1, 2).reshape(hidden.shape))
        normed = self.ffn_norm(hidden)
        return hidden + self.ffn_down(F.silu(self.ffn_gate(normed)) * self.ffn_up(normed))


class ChatModel(nn.Module):  # type: ignore[misc]  # torch is not type-checked
    """The decoder; its output head is the embedding table."""

    def __init__(self, config: ChatModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.vocabulary_size, config.dim)
        self.output_norm = RMSNorm(config.dim, config.norm_epsilon)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.layers))
        nn.init.normal_(self.token_embd.weight, std=0.02)
        for name, matrix in self.matrices().items():
            # What writes into the residual stream starts smaller, so that depth does not inflate it.
            scale = 0.3 if name.endswith(("attn_output.weight", "ffn_down.weight")) else 1.0
            nn.init.normal_(matrix, std=scale * matrix.shape[1] ** -0.5)

    def matrices(self) -> dict[str, torch.Tensor]:
        """The weight matrices of the blocks by name: everything but the embedding table and the norms."""
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if parameter.dim() == 2 and name != "token_embd.weight"
        }

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Maps token ids (batch, length) to logits (batch, length, vocabulary)."""
        cosine, sine = rotation_angles(ids.shape[1], self.config.head_dim, self.config.rope_base)
        hidden = self.token_embd(ids)
        for block in self.blk:
            hidden = block(hidden, cosine, sine)
        return self.output_norm(hidden) @ self.token_embd.weight.t()
