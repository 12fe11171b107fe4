"""`special:model.yml` as the settings of a Transformer, or what of it is not supported."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.option_lines import OptionLines
from keras_int8nmt.importers.tensors import Tensors, check_sizes
from keras_int8nmt.models.settings import check_settings

# Marian's LayerNorm; `transformers` and CTranslate2 compute its models with 1e-5.
_LAYER_NORM_EPSILON = 1e-9
# Positions are computed, so this is what a search may need.
_MAX_LENGTH = 1024
_DROPOUT = 0.1

SHARED_TABLE = "Wemb"
_OUTPUT = "decoder_ff_logit_out"
OUTPUT_BIAS = f"{_OUTPUT}_b"

# Flags and texts that change what is computed, with the value that is computed here, which is
# Marian's own where a file does not say one.
_FLAGS = {
    "transformer-train-position-embeddings": "trained positions",
    "transformer-train-positions": "trained positions",
    "transformer-no-projection": "attention without an output projection",
    "transformer-pool": "pooling in place of cross-attention",
    "transformer-no-bias": "layers without biases",
    "transformer-no-affine": "norms without scales",
    "right-left": "translation from right to left",
    "ulr": "universal language representations",
}
_LISTS = {
    "transformer-tied-layers": "tied layers",
    "input-types": "inputs of other types",
    "special-vocab": "hard attention",
}
_NUMBERS = {
    "factors-dim-emb": "factored vocabularies",
    "lemma-dim-emb": "factored vocabularies",
}
_AUTOREGRESSIVE = {
    "rnn": "a recurrent decoder, such as SSRU",
    "average-attention": "average attention",
}
_LETTERS = {"r": "r (RMSNorm)", "h": "h (highway)"}
_PROCESSES = (
    *("transformer-preprocess", "transformer-postprocess"),
    *("transformer-postprocess-emb", "transformer-postprocess-top"),
)
# Without dropout: before each sub-layer, after it, after the embeddings, and at the end.
_ORDERS = {("", "an", "", ""): "post", ("n", "a", "", "n"): "pre"}
_ACTIVATIONS = ("relu", "swish")

# What says nothing of a Transformer, or nothing of what it computes.
_NOTHING = {
    *("bert-train-type-embeddings", "bert-type-vocab-size", "bert-mask-symbol", "bert-sep-symbol"),
    *("bert-class-symbol", "bert-masking-fraction", "dec-cell", "dec-cell-base-depth"),
    *("dec-cell-high-depth", "dim-rnn", "enc-cell", "enc-cell-depth", "enc-type", "skip"),
    *("layer-normalization", "factors-combine", "lemma-dependency", "transformer-aan-activation"),
    *("transformer-aan-depth", "transformer-aan-nogate", "transformer-dim-aan"),
    *("transformer-guided-alignment-layer", "transformer-depth-scaling", "version"),
    *("transformer-rnn-projection", "ulr-dim-emb", "ulr-trainable-transformation", "best-deep"),
    *("char-stride", "char-highway", "char-conv-filters-num", "char-conv-filters-widths"),
    *("embedding-fix-src", "embedding-fix-trg", "max-length", "vocabs", "input-reorder"),
    *("ulr-dropout", "ulr-keys-vectors", "ulr-query-vectors", "ulr-softmax-temperature"),
}
_READ = {
    *("type", "dim-vocabs", "dim-emb", "enc-depth", "dec-depth", "transformer-heads"),
    *("transformer-dim-ffn", "transformer-decoder-dim-ffn", "transformer-ffn-depth"),
    *("transformer-decoder-ffn-depth", "transformer-ffn-activation", "output-omit-bias"),
    *("transformer-decoder-autoreg", "tied-embeddings", "tied-embeddings-src"),
    *("tied-embeddings-all", *_PROCESSES, *_FLAGS, *_LISTS, *_NUMBERS),
}


class RawModel(NamedTuple):
    """What a model's own description says.

    Attributes:
        settings: Arguments of `build_transformer`, but for the ids of its special tokens.
        rows: Ids of "source" and "target" that the file has.
        tables: The names of the embeddings of "source" and "target".
        output: The name of the output's weights; None where they are the target's table.
        transposed: Whether those lie as Marian once wrote them, `[d, v]`.
        unknown: Options that this release knows nothing of.
    """

    settings: dict[str, Any]
    rows: dict[str, int]
    tables: dict[str, str]
    output: str | None
    transposed: bool
    unknown: tuple[str, ...]


def read_model(options: OptionLines, tensors: Tensors) -> RawModel:
    """A model's description, held against its tensors, of which none is read.

    Raises:
        MarianFormatError: naming the option that is not supported, or what does not fit.
    """
    _check_kind(options)
    all_tied = options.flag("tied-embeddings-all", False)
    one_table = all_tied or options.flag("tied-embeddings-src", False)
    tied_output = all_tied or options.flag("tied-embeddings", False)
    tables = {
        side: SHARED_TABLE if one_table else f"{stack}_Wemb"
        for side, stack in (("source", "encoder"), ("target", "decoder"))
    }
    output = None
    if not tied_output:
        output = f"{_OUTPUT}_W" if f"{_OUTPUT}_W" in tensors else f"{_OUTPUT}_Wt"
    dim = options.whole("dim-emb", least=1)
    rows = {side: _rows(options, tensors, name, dim) for side, name in tables.items()}
    told = options.items("dim-vocabs")
    if told and told not in (
        [str(rows["source"]), str(rows["target"])],
        ["0", "0"],
    ):
        raise options.refused(
            "dim-vocabs", f"is not what its tables have, {rows['source']} and {rows['target']} rows"
        )
    tying = {(True, True): "all", (True, False): "inputs", (False, True): "output"}
    settings = {
        "source_vocabulary_size": rows["source"],
        "target_vocabulary_size": rows["target"],
        "num_encoder_layers": options.whole("enc-depth", least=1),
        "num_decoder_layers": options.whole("dec-depth", least=1),
        "model_dim": dim,
        "num_heads": options.whole("transformer-heads", least=1),
        "ffn_dim": (width := options.whole("transformer-dim-ffn", least=1)),
        "decoder_ffn_dim": options.whole("transformer-decoder-dim-ffn", 0) or width,
        "activation": options.text("transformer-ffn-activation"),
        "norm": _norm(options),
        "tie_embeddings": tying.get((one_table, tied_output), "none"),
        "position_encoding": "marian",
        "scale_embedding": True,
        "dropout": _DROPOUT,
        "max_length": _MAX_LENGTH,
        "layer_norm_epsilon": _LAYER_NORM_EPSILON,
        # Without one in the file it says that padding is never produced, and nothing else.
        "output_bias": True,
    }
    try:
        checked = check_settings(settings)
    except ValueError as error:
        raise MarianFormatError(f"{options.place} describes no possible model: {error}") from error
    check_sizes(checked, tensors)
    known = _READ | _NOTHING
    unknown = tuple(f"{name}: {_value(options, name)}" for name in options if name not in known)
    transposed = output == f"{_OUTPUT}_W"
    return RawModel(settings, rows, tables, output, transposed, unknown)


def has_output_bias(options: OptionLines) -> bool:
    """Whether the file has a bias of the output."""
    return not options.flag("output-omit-bias", False)


def _check_kind(options: OptionLines) -> None:
    """Raises MarianFormatError for another architecture than that of `build_transformer`."""
    if options.text("type") != "transformer":
        raise options.refused("type", "is not supported; only transformer is")
    autoregressive = options.text("transformer-decoder-autoreg", "self-attention")
    if autoregressive != "self-attention":
        what = _AUTOREGRESSIVE.get(autoregressive, "a decoder without self-attention")
        raise options.refused(
            "transformer-decoder-autoreg", f"is not supported: {what}; only self-attention is"
        )
    for name, what in _FLAGS.items():
        if options.flag(name, False):
            raise options.refused(name, f"is not supported: {what}")
    for name, what in _LISTS.items():
        if options.items(name):
            raise options.refused(name, f"is not supported: {what}")
    for name, what in _NUMBERS.items():
        if options.whole(name, 0, -(1 << 31)):
            raise options.refused(name, f"is not supported: {what}")
    if options.whole("transformer-ffn-depth", 2) != 2:
        raise options.refused("transformer-ffn-depth", "is not supported; only 2 is")
    if options.whole("transformer-decoder-ffn-depth", 0) not in (0, 2):
        raise options.refused("transformer-decoder-ffn-depth", "is not supported; only 2 is")
    activation = options.text("transformer-ffn-activation")
    if activation == "gelu":
        raise options.refused(
            "transformer-ffn-activation",
            "is not supported: Marian's is x sigmoid(1.702 x), and ours has erf",
        )
    if activation not in _ACTIVATIONS:
        raise options.refused(
            "transformer-ffn-activation", f"is not supported; only {', '.join(_ACTIVATIONS)} are"
        )


def _norm(options: OptionLines) -> str:
    """Whether norms are "pre" or "post"."""
    defaults = dict(zip(_PROCESSES, ("", "dan", "d", ""), strict=True))
    order = []
    for name in _PROCESSES:
        letters = options.text(name, defaults[name])
        for letter in letters:
            if letter not in "dan":
                what = _LETTERS.get(letter, letter)
                raise options.refused(name, f"is not supported: {what}; only d, a and n are")
        order.append(letters.replace("d", ""))
    # After the embeddings nothing may be, whichever the rest is.
    if order[2]:
        raise options.refused(_PROCESSES[2], "is not supported: a norm after the embeddings")
    norm = _ORDERS.get((order[0], order[1], order[2], order[3]))
    if norm is None:
        told = ", ".join(f"{name}: {options.text(name, defaults[name])!r}" for name in _PROCESSES)
        raise MarianFormatError(
            f"{options.place} has {told}, which is not supported together; '', 'dan', 'd', '' is, "
            "and 'n', 'da', 'd', 'n'."
        )
    return norm


def _rows(options: OptionLines, tensors: Tensors, name: str, dim: int) -> int:
    shape = tensors.shape(name)
    if len(shape) != 2 or shape[1] != dim or not shape[0]:
        raise MarianFormatError(
            f"Tensor {name!r} of {tensors.file} has shape {shape}; {options.place} says that it "
            f"has {dim} columns."
        )
    return shape[0]


def _value(options: OptionLines, name: str) -> str:
    return ", ".join(options.items(name))[:60] or "''"
