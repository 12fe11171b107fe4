"""The model inside the package as a folder of OPUS-MT, for `tutorial_opus_mt.py` and wherever there
is no network to have a real one from.

    python examples/opus_mt_stand_in.py FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from keras_int8nmt.storage.builtin import FOLDER, WEIGHTS_FILE

ATTENTIONS = {
    "attention": "self_attn",
    "self_attention": "self_attn",
    "cross_attention": "encoder_attn",
}
PROJECTIONS = {
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "attention_output": "out_proj",
}
FEED_FORWARD = {"ffn_in": "fc1", "ffn_out": "fc2"}


def marian_name(path: str) -> str:
    """What `transformers` calls the weight of that path in our file."""
    block, layer, *inner = path.split("/")
    stack, _, number = block.partition("_block_")
    prefix = f"model.{stack}.layers.{number}."
    kind = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}[inner[-1]]
    if layer in FEED_FORWARD:
        return f"{prefix}{FEED_FORWARD[layer]}.{kind}"
    if layer == "ffn_norm":
        return f"{prefix}final_layer_norm.{kind}"
    if layer.endswith("_norm"):
        return f"{prefix}{ATTENTIONS[layer.removesuffix('_norm')]}_layer_norm.{kind}"
    return f"{prefix}{ATTENTIONS[layer]}.{PROJECTIONS[inner[0]]}.{kind}"


def marian_value(path: str, value: np.ndarray, width: int) -> np.ndarray:
    """Keras' kernels are [in, out] with heads apart, PyTorch's [out, in]."""
    if path.endswith("kernel"):
        if value.ndim == 3:
            value = value.reshape(width, width)
        return np.ascontiguousarray(value.T)
    return value.reshape(-1)


def write_opus_mt_folder(folder: str | Path) -> None:
    """Writes `config.json`, `model.safetensors` and the files of the tokenizer.

    Args:
        folder: Is made.

    Raises:
        FileExistsError: There is something of that name.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    ours = json.loads((FOLDER / "config.json").read_text("utf-8"))
    config = {
        "model_type": "marian",
        "activation_function": ours["activation"],
        "d_model": ours["model_dim"],
        "vocab_size": ours["source_vocabulary_size"],
        "encoder_layers": ours["num_encoder_layers"],
        "decoder_layers": ours["num_decoder_layers"],
        "encoder_attention_heads": ours["num_heads"],
        "decoder_attention_heads": ours["num_heads"],
        "encoder_ffn_dim": ours["ffn_dim"],
        "decoder_ffn_dim": ours["ffn_dim"],
        "max_position_embeddings": ours["max_length"],
        "scale_embedding": ours["scale_embedding"],
        "pad_token_id": ours["pad_id"],
        "eos_token_id": ours["eos_id"],
        "decoder_start_token_id": ours["start_id"],
        "num_beams": 4,
        "max_length": ours["max_length"],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    with np.load(FOLDER / WEIGHTS_FILE, allow_pickle=False) as arrays:
        tensors = {
            "model.shared.weight": arrays["embedding/embeddings"],
            "final_logits_bias": arrays["output_bias"].reshape(1, -1),
        }
        for path in arrays.files:
            if "_block_" in path:
                value = marian_value(path, arrays[path], ours["model_dim"])
                tensors[marian_name(path)] = value
    save_file(tensors, folder / "model.safetensors")
    for name in ("source.spm", "target.spm", "vocab.json"):
        shutil.copy(FOLDER / name, folder)


if __name__ == "__main__":
    write_opus_mt_folder(sys.argv[1])
