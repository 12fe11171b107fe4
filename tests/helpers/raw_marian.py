"""Raw Marian models: what Marian writes, and what it computes, in NumPy and nothing of ours."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_int8nmt.storage.builtin import FOLDER

# What Marian 1.9 writes of a Transformer, in its order and its style.
MODEL_OPTIONS: dict[str, Any] = {
    "bert-train-type-embeddings": "true",
    "bert-type-vocab-size": 2,
    "dec-cell": "gru",
    "dec-cell-base-depth": 2,
    "dec-cell-high-depth": 1,
    "dec-depth": 2,
    "dim-emb": 16,
    "dim-rnn": 1024,
    "dim-vocabs": [0, 0],
    "enc-cell": "gru",
    "enc-cell-depth": 1,
    "enc-depth": 2,
    "enc-type": "bidirectional",
    "factors-combine": "sum",
    "factors-dim-emb": 0,
    "input-types": [],
    "layer-normalization": "false",
    "lemma-dim-emb": 0,
    "output-omit-bias": "false",
    "right-left": "false",
    "skip": "false",
    "special-vocab": [],
    "tied-embeddings": "false",
    "tied-embeddings-all": "true",
    "tied-embeddings-src": "false",
    "transformer-aan-activation": "swish",
    "transformer-aan-depth": 2,
    "transformer-aan-nogate": "false",
    "transformer-decoder-autoreg": "self-attention",
    "transformer-decoder-dim-ffn": 0,
    "transformer-depth-scaling": "false",
    "transformer-dim-aan": 2048,
    "transformer-dim-ffn": 24,
    "transformer-ffn-activation": "swish",
    "transformer-ffn-depth": 2,
    "transformer-guided-alignment-layer": "last",
    "transformer-heads": 4,
    "transformer-no-projection": "false",
    "transformer-pool": "false",
    "transformer-postprocess": "dan",
    "transformer-postprocess-emb": "d",
    "transformer-postprocess-top": '""',
    "transformer-preprocess": '""',
    "transformer-tied-layers": [],
    "transformer-train-position-embeddings": "false",
    "type": "transformer",
    "ulr": "false",
    "ulr-dim-emb": 0,
    "ulr-trainable-transformation": "false",
    "version": "v1.9.0 02f4af4 2020-01-22 15:07:47 +0000",
}
PRE_NORM = {
    "transformer-preprocess": "n",
    "transformer-postprocess": "da",
    "transformer-postprocess-top": "n",
}
TIED_TARGET = {"tied-embeddings-all": "false", "tied-embeddings": "true"}
UNTIED = {"tied-embeddings-all": "false"}


def yml(options: dict[str, Any]) -> bytes:
    lines = []
    for name, value in options.items():
        if isinstance(value, list):
            lines.append(f"{name}:")
            lines += [f"  - {each}" for each in value] or ["  []"]
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines).encode()


def flag(options: dict[str, Any], name: str) -> bool:
    return options.get(name) == "true"


def random_tensors(
    options: dict[str, Any],
    source: int,
    target: int,
    *,
    seed: int = 0,
    untransposed: bool = False,
) -> dict[str, np.ndarray]:
    """The parameters of a model with so many words, by Marian's names."""
    rng = np.random.default_rng(seed)
    d = options["dim-emb"]
    tensors: dict[str, np.ndarray] = {}

    def put(name: str, *shape: int, mean: float = 0.0, deviation: float = 0.2) -> None:
        tensors[name] = (mean + rng.normal(0, deviation, shape)).astype("f4")

    def put_norm(name: str, suffix: str = "") -> None:
        put(f"{name}_ln_scale{suffix}", 1, d, mean=1.0)
        put(f"{name}_ln_bias{suffix}", 1, d)

    every, shared = flag(options, "tied-embeddings-all"), flag(options, "tied-embeddings-src")
    if every or shared:
        put("Wemb", source, d)
    else:
        put("encoder_Wemb", source, d)
        put("decoder_Wemb", target, d)
    pre = "n" in options["transformer-preprocess"]
    suffix = "_pre" if pre else ""
    for stack, depth, attentions in (
        ("encoder", options["enc-depth"], ("self",)),
        ("decoder", options["dec-depth"], ("self", "context")),
    ):
        width = options["transformer-dim-ffn"]
        if stack == "decoder":
            width = options.get("transformer-decoder-dim-ffn") or width
        for i in range(1, depth + 1):
            for attention in attentions:
                place = f"{stack}_l{i}_{attention}"
                for letter in "qkvo":
                    put(f"{place}_W{letter}", d, d)
                    put(f"{place}_b{letter}", 1, d)
                put_norm(f"{place}_Wo", suffix)
            put(f"{stack}_l{i}_ffn_W1", d, width)
            put(f"{stack}_l{i}_ffn_b1", 1, width)
            put(f"{stack}_l{i}_ffn_W2", width, d)
            put(f"{stack}_l{i}_ffn_b2", 1, d)
            put_norm(f"{stack}_l{i}_ffn_ffn", suffix)
        if pre:
            put_norm(f"{stack}_top")
    if not (every or flag(options, "tied-embeddings")):
        if untransposed:
            put("decoder_ff_logit_out_W", d, target)
        else:
            put("decoder_ff_logit_out_Wt", target, d)
    if not flag(options, "output-omit-bias"):
        put("decoder_ff_logit_out_b", 1, target)
    return tensors


def write_npz(path: Path, tensors: dict[str, np.ndarray], options: dict[str, Any]) -> None:
    description = np.frombuffer(yml(options) + b"\0", np.int8)
    np.savez(path, **tensors, **{"special:model.yml": description})


def write_vocabulary(path: Path, pieces: list[str]) -> None:
    """As yaml-cpp writes it: quoted where a text could be taken for something else."""
    lines = []
    for i, piece in enumerate(pieces):
        plain = piece.isalnum() and piece.isascii() and not piece[0].isdigit()
        lines.append(f"{piece if plain else json.dumps(piece, ensure_ascii=False)}: {i}")
    path.write_text("\n".join(lines), encoding="utf-8", newline="\n")


def write_decoder(folder: Path, **options: Any) -> None:
    npz, vocabulary = (sorted(folder.glob(what)) for what in ("*.npz", "*vocab*.yml"))
    content = {
        "relative-paths": "true",
        "models": [npz[0].name],
        "vocabs": [each.name for each in (vocabulary[0], vocabulary[-1])],
        "beam-size": 6,
        "normalize": 1,
        "word-penalty": 0,
        "mini-batch": 1,
        "maxi-batch": 1,
        "maxi-batch-sort": "src",
    }
    (folder / "decoder.yml").write_bytes(yml({**content, **options}))


def spm_pieces() -> list[str]:
    """The vocabulary of the built-in tokenizer, without its padding, which is its last."""
    ids = json.loads((FOLDER / "vocab.json").read_text(encoding="utf-8"))
    return sorted((piece for piece in ids if piece != "<pad>"), key=ids.get)


def write_opus(folder: Path, options: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """A folder as OPUS-MT publishes them, of the built-in tokenizer's vocabulary."""
    folder.mkdir()
    name = "opus.spm32k-spm32k"
    write_npz(folder / f"{name}.transformer-align.model1.npz.best-perplexity.npz", tensors, options)
    write_vocabulary(folder / f"{name}.vocab.yml", spm_pieces())
    write_decoder(folder)
    for file in ("source.spm", "target.spm"):
        shutil.copy(FOLDER / file, folder)
    for file in ("README.md", "LICENSE", "preprocess.sh", "postprocess.sh"):
        (folder / file).write_text(f"# {file}\n")


def zip_folder(folder: Path, path: Path, below: str = "", method: int = zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        if below:
            archive.writestr(f"{below}/", b"")
        for each in sorted(folder.iterdir()):
            archive.write(each, f"{below}/{each.name}" if below else each.name)
    return path


# ---- what Marian computes, float64 ----


def layer_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-9) * scale[0] + bias[0]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def positions(length: int, d: int) -> np.ndarray:
    table = np.zeros((length, d))
    waves = d // 2
    for p in range(length):
        for k in range(waves):
            angle = p * math.exp(k * -(math.log(10000.0) / (waves - 1.0)))
            table[p, k], table[p, waves + k] = math.sin(angle), math.cos(angle)
    return table


class Reference:
    """Marian's Transformer for one pair of sentences."""

    def __init__(self, options: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        self.o = options
        self.t = {name: value.astype(np.float64) for name, value in tensors.items()}

    def logits(self, source: list[int], target: list[int]) -> np.ndarray:
        """`[t, v]`: after nothing, after the first of `target`, and so on."""
        t, d = self.t, self.o["dim-emb"]
        table = t["Wemb"] if "Wemb" in t else t["encoder_Wemb"]
        x = np.sqrt(d) * table[source] + positions(len(source), d)
        memory = self._stack("encoder", x, None)
        table = t["Wemb"] if "Wemb" in t else t["decoder_Wemb"]
        # The embeddings are moved by one, and zeros come first.
        embedded = np.concatenate([np.zeros((1, d)), table[target]])[: len(target)]
        y = np.sqrt(d) * embedded + positions(len(target), d)
        y = self._stack("decoder", y, memory)
        if "decoder_ff_logit_out_W" in t:
            out = t["decoder_ff_logit_out_W"].T
        else:
            out = t.get("decoder_ff_logit_out_Wt", table)
        return y @ out.T + t.get("decoder_ff_logit_out_b", np.zeros((1, len(out))))

    def _stack(self, stack: str, x: np.ndarray, memory: np.ndarray | None) -> np.ndarray:
        depth = self.o["enc-depth" if memory is None else "dec-depth"]
        for i in range(1, depth + 1):
            place = f"{stack}_l{i}"
            mask = None if memory is None else np.tril(np.ones((len(x), len(x))))
            x = self._around(
                f"{place}_self_Wo",
                x,
                lambda y, p=place, m=mask: self._attention(f"{p}_self", y, y, m),
            )
            if memory is not None:
                x = self._around(
                    f"{place}_context_Wo",
                    x,
                    lambda y, p=place: self._attention(f"{p}_context", y, memory, None),
                )
            x = self._around(f"{place}_ffn_ffn", x, lambda y, p=place: self._ffn(f"{p}_ffn", y))
        if "n" in self.o["transformer-postprocess-top"]:
            x = self._norm(f"{stack}_top", "", x)
        return x

    def _norm(self, place: str, suffix: str, x: np.ndarray) -> np.ndarray:
        return layer_norm(
            x, self.t[f"{place}_ln_scale{suffix}"], self.t[f"{place}_ln_bias{suffix}"]
        )

    def _around(self, place: str, x: np.ndarray, function: Any) -> np.ndarray:
        y = x
        for letter in self.o["transformer-preprocess"].strip('"'):
            if letter == "n":
                y = self._norm(place, "_pre", y)
        y = function(y)
        for letter in self.o["transformer-postprocess"].strip('"'):
            if letter == "a":
                y = y + x
            elif letter == "n":
                y = self._norm(place, "", y)
        return y

    def _attention(
        self, place: str, queries: np.ndarray, keys: np.ndarray, mask: np.ndarray | None
    ) -> np.ndarray:
        def affine(x: np.ndarray, letter: str) -> np.ndarray:
            return x @ self.t[f"{place}_W{letter}"] + self.t[f"{place}_b{letter}"][0]

        q, k, v = affine(queries, "q"), affine(keys, "k"), affine(keys, "v")
        heads = self.o["transformer-heads"]
        width = self.o["dim-emb"] // heads
        found = []
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            scores = q[:, part] @ k[:, part].T / math.sqrt(width)
            if mask is not None:
                scores = scores + (1 - mask) * -99999999.0
            found.append(softmax(scores) @ v[:, part])
        return affine(np.concatenate(found, 1), "o")

    def _ffn(self, place: str, x: np.ndarray) -> np.ndarray:
        hidden = x @ self.t[f"{place}_W1"] + self.t[f"{place}_b1"][0]
        if self.o["transformer-ffn-activation"] == "relu":
            hidden = np.maximum(hidden, 0)
        else:
            hidden = hidden / (1 + np.exp(-hidden))
        return hidden @ self.t[f"{place}_W2"] + self.t[f"{place}_b2"][0]
