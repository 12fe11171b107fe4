"""Makes the golden Marian models in tests/data/marian: small random weights and their logits.

Needs torch and transformers, which nothing else in this project does:

    pip install torch transformers safetensors
    python scripts/make_marian_golden.py

Each folder holds `config.json` and `model.safetensors` as `transformers` saves them, and
`reference.npz`: `input_ids`, `decoder_input_ids` and the float32 `logits` of `MarianMTModel`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import MarianConfig, MarianMTModel

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data" / "marian"

COMMON = {
    "vocab_size": 50,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 24,
    "pad_token_id": 49,
    "eos_token_id": 0,
    "decoder_start_token_id": 49,
    "forced_eos_token_id": 0,
    "scale_embedding": True,
    "static_position_embeddings": True,
}

MODELS = {
    "relu": {"activation_function": "relu"},
    "swish_3_layers": {
        "activation_function": "swish",
        "encoder_layers": 3,
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 40,
    },
    "gelu_two_vocabularies": {
        "activation_function": "gelu",
        "decoder_vocab_size": 41,
        "pad_token_id": 40,
        "decoder_start_token_id": 40,
        "share_encoder_decoder_embeddings": False,
        "encoder_attention_heads": 1,
        "scale_embedding": False,
    },
    "untied_output": {"activation_function": "relu", "tie_word_embeddings": False},
    "swish_width_24": {
        "activation_function": "swish",
        "d_model": 24,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 6,
    },
}

# Saved as float16: a case of its own, and smaller files.
HALF = ("swish_3_layers", "untied_output", "swish_width_24")


def randomize(model: MarianMTModel, generator: torch.Generator) -> None:
    """Weights large enough that every part of the model shows in the logits."""
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if "embed_positions" in name:
                continue
            noise = torch.randn(value.shape, generator=generator)
            if "layer_norm" in name and name.endswith("weight"):
                value.copy_(1 + 0.2 * noise)
            elif value.dim() == 1 or name == "final_logits_bias":
                value.copy_(0.2 * noise)
            else:
                value.copy_(noise * value.shape[-1] ** -0.5)


def ids_of(rng: np.random.Generator, config: MarianConfig) -> tuple[np.ndarray, np.ndarray]:
    """Three sources of different lengths, padded, and what the decoder is fed."""
    lengths = [9, 5, 1]
    source = np.full((3, 9), config.pad_token_id)
    for row, length in zip(source, lengths, strict=True):
        row[: length - 1] = rng.integers(1, 40, length - 1)
        row[length - 1] = config.eos_token_id
    target = rng.integers(1, 40, (3, 7))
    target[:, 0] = config.decoder_start_token_id
    target[1, 4:] = config.pad_token_id
    return source.astype(np.int32), target.astype(np.int32)


def make(name: str, options: dict, seed: int) -> None:
    config = MarianConfig(**{**COMMON, **options})
    model = MarianMTModel(config).eval()
    randomize(model, torch.Generator().manual_seed(seed))
    if name in HALF:
        model = model.half()
    model.save_pretrained(FOLDER / name)
    (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
    # The logits come from the model as it was saved, so that what was tied is tied.
    model = MarianMTModel.from_pretrained(FOLDER / name, dtype=torch.float32).eval()
    source, target = ids_of(np.random.default_rng(seed), config)
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor(source, dtype=torch.long),
            attention_mask=torch.tensor(source != config.pad_token_id),
            decoder_input_ids=torch.tensor(target, dtype=torch.long),
        ).logits
    np.savez_compressed(
        FOLDER / name / "reference.npz",
        input_ids=source,
        decoder_input_ids=target,
        logits=logits.numpy().astype(np.float32),
    )
    print(name, tuple(logits.shape), float(logits.abs().max()))


if __name__ == "__main__":
    for number, (model_name, model_options) in enumerate(MODELS.items()):
        make(model_name, model_options, seed=number)
