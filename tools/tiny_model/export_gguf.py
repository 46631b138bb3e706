"""Writes the chat model as a GGUF file with its tokenizer and chat template.

RUN is a directory written by tools.tiny_model.train, or the word "random": untrained weights of a very small model for
tests of the plumbing, which need only numpy and gguf.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np

from .architecture import ChatModelConfig, tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

HERE = Path(__file__).parent
CONTEXT_LENGTH = 2048
CONTROL_TOKENS = frozenset({"<|endoftext|>", "<|im_start|>", "<|im_end|>"})
FILE_TYPES = {
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "f32": gguf.LlamaFileType.ALL_F32,
}


def vocabulary_size(tokenizer_file: Path) -> int:
    """Number of tokens of a tokenizer.json, added ones included."""
    tokenizer = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    return len({*tokenizer["model"]["vocab"], *(added["content"] for added in tokenizer["added_tokens"])})


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer_file: Path) -> None:
    """Adds vocabulary, merges and special tokens of a tokenizer.json to a GGUF header."""
    tokenizer = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    ids: dict[str, int] = dict(tokenizer["model"]["vocab"])
    markup = set()
    for added in tokenizer["added_tokens"]:
        ids[added["content"]] = added["id"]
        if not added["special"]:
            markup.add(added["content"])
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise SystemExit(f"The token ids of {tokenizer_file} have gaps. Train the tokenizer again.")

    def kind(token: str) -> gguf.TokenType:
        if token in CONTROL_TOKENS:
            return gguf.TokenType.CONTROL
        return gguf.TokenType.USER_DEFINED if token in markup else gguf.TokenType.NORMAL

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([kind(token) for token in tokens])
    # Older tokenizers files spell a merge as one string, newer ones as a pair.
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([" ".join(merge) if isinstance(merge, list) else merge for merge in merges])
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_eot_token_id(ids["<|im_end|>"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


def add_tensors(
    writer: gguf.GGUFWriter, weights: Mapping[str, np.ndarray], file_type: str, keep_float32: Container[str] = ()
) -> None:
    """Adds float32 tensors by name, in their order; vectors and those of *keep_float32* are never quantised."""
    for name, weight in weights.items():
        tensor = np.ascontiguousarray(weight, np.float32)
        if tensor.ndim == 1 or file_type == "f32" or name in keep_float32:
            writer.add_tensor(name, tensor)
        elif file_type == "f16":
            writer.add_tensor(name, tensor.astype(np.float16))
        else:
            q8_0 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(tensor, q8_0), raw_dtype=q8_0)


def write_file(writer: gguf.GGUFWriter, path: Path) -> None:
    """Writes everything that was added, and says how large the file is."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{path}: {path.stat().st_size} bytes")


def add_shape(writer: gguf.GGUFWriter, config: ChatModelConfig) -> None:
    """Adds the header keys of the llama architecture."""
    writer.add_vocab_size(config.vocabulary_size)
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn_dim)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_rope_dimension_count(config.head_dim)


def export_chat_model(
    path: Path, config: ChatModelConfig, weights: Mapping[str, np.ndarray], tokenizer_file: Path, file_type: str
) -> None:
    """Writes a chat model; *weights* are float32 by GGUF name and must have the shapes of `tensor_shapes`."""
    expected = tensor_shapes(config)
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    if found != expected:
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise SystemExit(f"These tensors are missing, superfluous or of the wrong shape: {', '.join(wrong)}.")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("Pebble")
    writer.add_basename("Pebble")
    writer.add_license("mit")
    writer.add_description("Tiny chat model trained from scratch on synthetic sentences, for tests.")
    writer.add_size_label(f"{sum(weight.size for weight in weights.values()) / 1e6:.1f}M")
    writer.add_languages(["en"])
    add_tokenizer(writer, tokenizer_file)
    add_shape(writer, config)
    writer.add_chat_template((HERE / "chat_template.jinja").read_text(encoding="utf-8"))
    writer.add_file_type(FILE_TYPES[file_type])
    add_tensors(writer, {name: weights[name] for name in expected}, file_type)
    write_file(writer, path)


def random_model(tokens: int, seed: int) -> tuple[ChatModelConfig, dict[str, np.ndarray]]:
    """An untrained model, two layers of width 64, with norms of one."""
    config = ChatModelConfig(tokens, dim=64, layers=2, heads=4, kv_heads=2, ffn_dim=128)
    rng = np.random.default_rng(seed)
    weights = {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else rng.normal(0, shape[1] ** -0.5, shape).astype(np.float32)
        for name, shape in tensor_shapes(config).items()
    }
    return config, weights


def trained_model(run: Path) -> tuple[ChatModelConfig, dict[str, np.ndarray]]:
    """Shape and float32 weights of a finished run."""
    import torch

    checkpoint = torch.load(run / "model.pt", map_location="cpu")
    weights = {name: weight.float().numpy() for name, weight in checkpoint["weights"].items()}
    return ChatModelConfig(**checkpoint["config"]), weights


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_model.export_gguf", description=__doc__)
    parser.add_argument("run", help='directory of a training run, or "random"')
    parser.add_argument("out", type=Path, help="GGUF file to write")
    parser.add_argument("--type", choices=FILE_TYPES, default="q8_0", help="storage of the matrices (default: q8_0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights (default: 0)")
    arguments = parser.parse_args()
    if arguments.run == "random":
        tokenizer_file = HERE / "tokenizer.json"
        config, weights = random_model(vocabulary_size(tokenizer_file), arguments.seed)
    else:
        run = Path(arguments.run)
        tokenizer_file = run / "tokenizer.json"
        config, weights = trained_model(run)
    export_chat_model(arguments.out, config, weights, tokenizer_file, arguments.type)


if __name__ == "__main__":
    main()
