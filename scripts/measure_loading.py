"""Time and memory of opening and converting a model of the size of OPUS-MT's, for each storage.

    python scripts/measure_loading.py [--storage model.safetensors ...] [--dtype float32]
    python scripts/measure_loading.py --storage model.bin argosmodel --dtype int8

The model has random weights: 6 + 6 layers of 512, 2048 within, and 58,101 pieces in one table. Each
storage is opened, and the model converted (dynamic scales), by a process of its own; memory is what
its resident size rises by at most from where the packages are imported, in MB and in parts of the
float32 weights. `model.bin` is CTranslate2's, `argosmodel` a package with one in a zip archive;
`model.npz` is Marian's own, `opus.zip` an archive with one, both float32.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers import checkpoints, raw_marian  # noqa: E402
from helpers.ct2_files import model_bin  # noqa: E402

SIZES = {"vocab_size": 58101, "d_model": 512, "layers": 6, "ffn": 2048}

CHILD = """
import gc, importlib, json, sys, time
sys.path.insert(0, sys.argv[2])
import keras, tensorflow
from pathlib import Path
from keras_int8nmt import convert
from keras_int8nmt.evaluation.measure import peak_rss_mb, reset_peak_rss
from keras_int8nmt.importers.table import format_of
from keras_int8nmt.models.build import build_transformer

# What the packages take for themselves at their first work.
convert(build_transformer(
    source_vocabulary_size=10, model_dim=8, num_heads=2, ffn_dim=8, num_encoder_layers=1,
    num_decoder_layers=1, max_length=8), activations="dynamic")
gc.collect()
figures = {}

def measure(name, step):
    reset_peak_rss()
    start = time.perf_counter()
    made = step()
    figures[name] = time.perf_counter() - start, peak_rss_mb() - base
    return made

reset_peak_rss()
base = peak_rss_mb()
path = Path(sys.argv[1])
module, name = format_of(path).load
load = getattr(importlib.import_module(module), name)
model = measure("load", lambda: load(path))
weights = 4 * model.count_params()
int8 = measure("convert", lambda: convert(model, activations="dynamic"))
print(json.dumps([weights, figures]))
"""


def tensors() -> dict[str, np.ndarray]:
    """Random weights by the names of PyTorch."""
    rng = np.random.default_rng(0)
    dim, ffn = SIZES["d_model"], SIZES["ffn"]

    def matrix(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape, np.float32) * 0.04).astype(np.float32)

    made = {"model.shared.weight": matrix(SIZES["vocab_size"], dim)}
    made["final_logits_bias"] = matrix(1, SIZES["vocab_size"])
    for stack, attentions in (
        ("encoder", ("self_attn",)),
        ("decoder", ("self_attn", "encoder_attn")),
    ):
        for i in range(SIZES["layers"]):
            prefix = f"model.{stack}.layers.{i}."
            for attention in attentions:
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    made[f"{prefix}{attention}.{part}.weight"] = matrix(dim, dim)
                    made[f"{prefix}{attention}.{part}.bias"] = matrix(dim)
            for norm in (*(f"{a}_layer_norm" for a in attentions), "final_layer_norm"):
                made[f"{prefix}{norm}.weight"] = 1 + matrix(dim)
                made[f"{prefix}{norm}.bias"] = matrix(dim)
            for name, shape in (("fc1", (ffn, dim)), ("fc2", (dim, ffn))):
                made[f"{prefix}{name}.weight"] = matrix(*shape)
                made[f"{prefix}{name}.bias"] = matrix(shape[0])
    return made


def config() -> dict[str, object]:
    heads = {f"{stack}_attention_heads": 8 for stack in ("encoder", "decoder")}
    sizes = {f"{stack}_layers": SIZES["layers"] for stack in ("encoder", "decoder")}
    widths = {f"{stack}_ffn_dim": SIZES["ffn"] for stack in ("encoder", "decoder")}
    pad = SIZES["vocab_size"] - 1
    return {
        **{"model_type": "marian", "activation_function": "swish", "scale_embedding": True},
        **{"vocab_size": SIZES["vocab_size"], "d_model": SIZES["d_model"]},
        **heads,
        **sizes,
        **widths,
        **{"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0},
        "max_position_embeddings": 512,
    }


def ctranslate2_variables(dtype: str) -> dict[str, np.ndarray]:
    """The same sizes by the names of CTranslate2."""
    rng = np.random.default_rng(0)
    dim, ffn = SIZES["d_model"], SIZES["ffn"]
    made: dict[str, np.ndarray] = {}

    def linear(place: str, rows: int, columns: int, bias: bool = True) -> None:
        weight = (rng.standard_normal((rows, columns), np.float32) * 0.04).astype(np.float32)
        if dtype == "int8":
            scale = 127 / np.abs(weight).max(axis=1)
            made[f"{place}/weight"] = np.rint(weight * scale[:, None]).astype(np.int8)
            made[f"{place}/weight_scale"] = scale
        else:
            made[f"{place}/weight"] = weight.astype(dtype)
        if bias:
            made[f"{place}/bias"] = np.zeros(rows, np.float32)

    def norm(place: str) -> None:
        made[f"{place}/layer_norm/gamma"] = np.ones(dim, np.float32)
        made[f"{place}/layer_norm/beta"] = np.zeros(dim, np.float32)

    for stack, attentions in (
        ("decoder", {"attention": (1, 2, 1), "self_attention": (3, 1)}),
        ("encoder", {"self_attention": (3, 1)}),
    ):
        made[f"{stack}/pre_norm"], made[f"{stack}/activation"] = np.int8(0), np.int8(2)
        for i in range(SIZES["layers"]):
            for attention, groups in attentions.items():
                norm(f"{stack}/layer_{i}/{attention}")
                for k, count in enumerate(groups):
                    linear(f"{stack}/layer_{i}/{attention}/linear_{k}", count * dim, dim)
            norm(f"{stack}/layer_{i}/ffn")
            linear(f"{stack}/layer_{i}/ffn/linear_0", ffn, dim)
            linear(f"{stack}/layer_{i}/ffn/linear_1", dim, ffn)
    linear("decoder/embeddings", SIZES["vocab_size"], dim, bias=False)
    made["decoder/projection/bias"] = np.zeros(SIZES["vocab_size"], np.float32)
    return made


def write_ctranslate2(folder: Path, dtype: str) -> None:
    table = "decoder/embeddings/weight"
    names = ("encoder/embeddings_0/weight", "decoder/projection/weight")
    content = model_bin(ctranslate2_variables(dtype), aliases=dict.fromkeys(names, table))
    (folder / "model.bin").write_bytes(content)
    (folder / "config.json").write_text("{}")
    tokens = ["<unk>", "<s>", "</s>", *map(str, range(SIZES["vocab_size"] - 3))]
    (folder / "shared_vocabulary.json").write_text(json.dumps(tokens))


def write_argos(path: Path, dtype: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        write_ctranslate2(Path(place), dtype)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("en_de/metadata.json", "{}")
            for each in sorted(Path(place).iterdir()):
                archive.write(each, f"en_de/model/{each.name}")


WRITERS = {**checkpoints.WRITERS, "legacy": checkpoints.write_torch_legacy}
OF_CTRANSLATE2 = ("model.bin", "argosmodel")
OF_MARIAN = ("model.npz", "opus.zip")


def write_raw_marian(folder: Path) -> None:
    """The same sizes as Marian has them, which counts no padding."""
    count = SIZES["vocab_size"] - 1
    options = {
        **raw_marian.MODEL_OPTIONS,
        **{"dim-emb": SIZES["d_model"], "transformer-dim-ffn": SIZES["ffn"]},
        **{"enc-depth": SIZES["layers"], "dec-depth": SIZES["layers"], "transformer-heads": 8},
        "dim-vocabs": [count, count],
    }
    tensors = raw_marian.random_tensors(options, count, count)
    raw_marian.write_npz(folder / "model.npz", tensors, options)
    pieces = ["</s>", "<unk>", *map(str, range(2, count))]
    raw_marian.write_vocabulary(folder / "vocab.yml", pieces)


def write(storage: str, dtype: str, folder: Path) -> Path:
    """Writes a model; returns what is to be opened."""
    if storage == "argosmodel":
        path = folder / "en_de.argosmodel"
        write_argos(path, dtype)
        return path
    if storage in OF_MARIAN:
        write_raw_marian(folder)
        if storage == "opus.zip":
            with tempfile.TemporaryDirectory() as place:
                path = raw_marian.zip_folder(folder, Path(place) / storage)
                return path.rename(folder / storage)
        return folder
    if storage == "model.bin":
        write_ctranslate2(folder, dtype)
    else:
        (folder / "config.json").write_text(json.dumps(config()))
        name = "pytorch_model.bin" if storage == "legacy" else storage
        WRITERS[storage](folder / name, tensors(), dtype)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    storages = (*WRITERS, *OF_CTRANSLATE2, *OF_MARIAN)
    parser.add_argument("--storage", nargs="+", choices=storages, default=tuple(WRITERS))
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "int8"))
    arguments = parser.parse_args()
    if arguments.dtype == "int8" and not set(arguments.storage) <= set(OF_CTRANSLATE2):
        parser.error(f"int8 is stored in {' and '.join(OF_CTRANSLATE2)} alone")
    for storage in arguments.storage:
        with tempfile.TemporaryDirectory() as place:
            path = write(storage, arguments.dtype, Path(place))
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(path), str(ROOT)],
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        weights, figures = json.loads(done.stdout.strip().split("\n")[-1])
        told = [
            f"{step} {seconds:.1f} s, at most {rise:.0f} MB = {rise * 1e6 / weights:.2f}x"
            for step, (seconds, rise) in figures.items()
        ]
        print(f"{storage}, {arguments.dtype}, {weights // 4:,} weights: {'; '.join(told)}")


if __name__ == "__main__":
    main()
