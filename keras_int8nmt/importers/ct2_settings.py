"""A CTranslate2 folder as the settings of a Transformer and its tensors by our names; no Keras."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_int8nmt._untrusted import inside
from keras_int8nmt.importers.ct2_file import NAME, QUANTIZED, CTranslate2File, Variable
from keras_int8nmt.importers.ct2_vocabularies import Tokens, read_tokens
from keras_int8nmt.importers.errors import CTranslate2FormatError
from keras_int8nmt.importers.tensors import Tensors, check_sizes
from keras_int8nmt.importers.weights_file import short
from keras_int8nmt.models.settings import check_settings
from keras_int8nmt.models.sinusoids import position_table

_HEADS_OF_SPEC = {"": 8, "TransformerBase": 8, "TransformerBig": 16, "TransformerSpec": 8}
_REVISIONS = range(2, 8)
# Since these revisions heads are told by the file, and attributes by stack.
_HEADS_TOLD, _BY_STACK = 3, 5
_STACKS = ("encoder", "decoder")
_ACTIVATIONS = {0: "relu", 2: "swish", 3: "gelu"}
_OTHER_ACTIVATIONS = {1: "GELU with tanh", 4: "GELU with a sigmoid", 5: "tanh", 6: "sigmoid"}
# What a name has in it that stands for a computation that ours has not.
_REFUSED = {
    "alibi": "linear biases of attention (ALiBi)",
    "relative_position_keys": "relative positions",
    "relative_position_values": "relative positions",
    "relative_asymmetric_position_keys": "relative positions",
    "relative_attention_bias": "relative biases of attention (T5)",
    "rotary_dim": "rotary positions",
    "layernorm_embedding": "a norm after the embeddings",
    "linear_0_noact": "gated feed-forward parts",
    "project_in": "projections around the decoder",
    "project_out": "projections around the decoder",
    "multi_query": "one head of keys and values for all",
    "multi_query_attention": "one head of keys and values for all",
    "num_heads_kv": "fewer heads of keys and values",
    "head_dim": "heads of a width of their own",
    "sliding_window": "attention within a window",
    "q_norm": "norms of queries and keys",
    "k_norm": "norms of queries and keys",
    "v_norm": "norms of values",
    "shared_layer_norm": "parallel residuals",
    "input_layer_norm": "parallel residuals",
    "pre_feedforward_layer_norm": "norms before and after",
    "layer_scalar": "scaled layers",
    "scale_outputs": "scaled outputs",
    "final_logit_softcapping": "capped logits",
    "weight_zero": "weights of AWQ",
    "conv1": "convolutions",
    "embeddings_1": "features of words beside the words",
}
# Attributes whose values change no translation: of alignments, and of ALiBi where that is off.
_IGNORED = {
    *("alignment_layer", "alignment_heads", "embeddings_merge"),
    *("alibi_use_positive_positions", "scale_alibi"),
}
_FLAGS = {
    *("with_source_bos", "with_source_eos", "with_target_bos", "user_decoder_start_tokens"),
    *("unk_token", "bos_token", "eos_token"),
}
# Positions are computed there as far as they are asked for.
_MAX_LENGTH = 1024
_POSITIONS = [(name, first) for name in ("half", "interleaved", "marian") for first in (0, 1, 2)]
_MOST_POSITIONS = 1 << 20
# Of a table of sinusoids, by what it is rounded to; ours are computed.
_POSITION_TOLERANCE = {"float32": 1e-3, "float16": 2e-3, "bfloat16": 1e-2}
_LAYER_NORM_EPSILON = 1e-5
_PADDING = ("<blank>", "<pad>")


class CTranslate2Model(NamedTuple):
    """What a folder holds, without its weights.

    Attributes:
        file: Its model.bin.
        tokens: Its tokens.
        settings: Arguments of `build_transformer`.
        tensors: The weights, dequantized when they are taken.
        rows: Of "source" and "target": how many rows their tables have in the file. Those that the
            settings have more are zeros, see `pad_id` there.
    """

    file: CTranslate2File
    tokens: Tokens
    settings: dict[str, Any]
    tensors: Tensors
    rows: dict[str, int]


def open_model(folder: Path) -> CTranslate2Model:
    """Reads what there is to know of a folder, and no weights but tables of positions.

    Raises:
        CTranslate2FormatError: naming the file that is missing or damaged, and what of the model is
            not supported.
    """
    if not folder.is_dir():
        raise CTranslate2FormatError(f"There is no folder {str(folder)!r}.")
    path = inside(folder, NAME, CTranslate2FormatError)
    file = CTranslate2File(path, CTranslate2FormatError)
    _check_spec(path, file)
    attributes = _Attributes(file)
    _check_parts(path, file, attributes)
    tokens = read_tokens(folder, file)
    names = [name for name in _weights(file) if not name.endswith("/position_encodings/encodings")]
    tensors = Tensors(file.entries(names), NAME, CTranslate2FormatError, "the rest of the file")
    settings, rows = _settings(folder, file, attributes, tokens, tensors)
    attributes.check_all_taken()
    return CTranslate2Model(file, tokens, settings, tensors, rows)


def lacking(model: CTranslate2Model) -> list[str]:
    """A line on each vocabulary that has fewer tokens than the model has embeddings."""
    return [
        f"the {side} vocabulary has {len(getattr(model.tokens, side))} tokens, and {NAME} has "
        f"embeddings of {rows}"
        for side, rows in model.rows.items()
        if len(getattr(model.tokens, side)) < rows
    ]


def embedding_names(file: CTranslate2File) -> dict[str, str]:
    """The names of the tables of "source" and "target" and of the output's "projection"."""
    source = "encoder/embeddings/weight"
    return {
        "source": source if source in file.variables else "encoder/embeddings_0/weight",
        "target": "decoder/embeddings/weight",
        "projection": "decoder/projection/weight",
    }


class _Attributes:
    """The variables that are single numbers; each is taken once, and none may be left."""

    def __init__(self, file: CTranslate2File) -> None:
        self._file = file
        self._left = {name for name, value in file.variables.items() if value.shape == ()}
        self._left -= {name for name in self._left if name.endswith("weight_scale")}
        self._left -= {name for name in self._left if name.rpartition("/")[2] in _IGNORED | _FLAGS}

    def take(self, name: str) -> int | float | None:
        self._left.discard(name)
        return self._file.number(name)

    def of_stack(self, stack: str, name: str) -> int | float | None:
        """An attribute of a stack: of both at once in earlier revisions."""
        value = self.take(f"{stack}/{name}")
        return self.take(name) if value is None and self._file.revision < _BY_STACK else value

    def check_all_taken(self) -> None:
        for name in sorted(self._left):
            raise CTranslate2FormatError(
                f"{str(self._file.path)!r} sets {short(name)} to {self._file.number(name)}, which "
                "is not supported."
            )


def _check_spec(path: Path, file: CTranslate2File) -> None:
    if file.spec not in _HEADS_OF_SPEC:
        raise CTranslate2FormatError(
            f"{str(path)!r} holds a model of {short(file.spec)}; only TransformerSpec, encoder and "
            "decoder of text, is read."
        )
    if file.revision not in _REVISIONS:
        raise CTranslate2FormatError(
            f"{str(path)!r} has revision {file.revision} of {file.spec or 'its specification'}; "
            f"revisions {_REVISIONS[0]} to {_REVISIONS[-1]} are read."
        )


def _check_parts(path: Path, file: CTranslate2File, attributes: _Attributes) -> None:
    """Raises CTranslate2FormatError naming a part of a model that ours has not."""
    for name, variable in file.variables.items():
        for part in name.split("/"):
            if part in _REFUSED and not _is_off(file, name, variable):
                raise CTranslate2FormatError(
                    f"{str(path)!r} has {short(name)}: {_REFUSED[part]}, which is not supported."
                )
            if part in _REFUSED:
                attributes.take(name)
    for stack in _STACKS:
        if f"{stack}/layer_0/self_attention/linear_0/weight" not in file.variables:
            raise CTranslate2FormatError(
                f"{str(path)!r} has no {stack} of self-attention; only Transformers with encoder "
                "and decoder are read."
            )


def _is_off(file: CTranslate2File, name: str, variable: Variable) -> bool:
    return variable.shape == () and not file.number(name)


def _weights(file: CTranslate2File) -> Iterator[str]:
    """The variables that are neither single numbers nor texts nor scales of others."""
    for name, variable in file.variables.items():
        scaled = file.variables.get(name.removesuffix("_scale"), variable)
        is_scale = scaled is not variable and scaled.dtype in QUANTIZED
        if variable.shape != () and name not in _FLAGS and not is_scale:
            yield name


def _settings(
    folder: Path,
    file: CTranslate2File,
    attributes: _Attributes,
    tokens: Tokens,
    tensors: Tensors,
) -> tuple[dict[str, Any], dict[str, int]]:
    names = embedding_names(file)
    rows, dim = {}, 0
    for side in ("source", "target"):
        shape = tensors.shape(names[side])
        if len(shape) != 2 or min(shape) < 1:
            raise CTranslate2FormatError(
                f"Tensor {names[side]!r} of {NAME} is no table; its shape is {shape}."
            )
        rows[side], dim = shape
        count = len(getattr(tokens, side))
        if count > rows[side]:
            raise CTranslate2FormatError(
                f"The {side} vocabulary of {str(folder)!r} has {count} tokens, and {NAME} has "
                f"embeddings of {rows[side]}."
            )
    encoder, decoder = (_stack(file, attributes, stack, dim) for stack in _STACKS)
    for name in ("norm", "activation", "scale_embedding", "position_encoding", "first_position"):
        one, other = getattr(encoder, name), getattr(decoder, name)
        if one != other:
            raise CTranslate2FormatError(
                f"The {name} of {str(file.path)!r} is {one} in the encoder and {other} in the "
                "decoder; only one for both is supported."
            )
    epsilon = tokens.layer_norm_epsilon
    settings: dict[str, Any] = {
        "source_vocabulary_size": rows["source"],
        "target_vocabulary_size": rows["target"],
        "num_encoder_layers": encoder.layers,
        "num_decoder_layers": decoder.layers,
        "model_dim": dim,
        "num_heads": encoder.heads,
        "decoder_num_heads": decoder.heads,
        "ffn_dim": encoder.ffn_dim,
        "decoder_ffn_dim": decoder.ffn_dim,
        "activation": encoder.activation,
        "norm": encoder.norm,
        "tie_embeddings": _tying(file),
        "position_encoding": encoder.position_encoding,
        "first_position": encoder.first_position,
        "scale_embedding": encoder.scale_embedding,
        "max_length": min(encoder.max_length, decoder.max_length),
        "pad_id": 0,
        "eos_id": tokens.target.index(tokens.eos),
        "start_id": tokens.target.index(tokens.start),
        "layer_norm_epsilon": _LAYER_NORM_EPSILON if epsilon is None else epsilon,
        "output_bias": "decoder/projection/bias" in tensors,
    }
    _check(file.path, settings)
    check_sizes(settings, tensors)
    settings |= _padding(attributes, tokens, rows, settings["start_id"])
    settings["output_bias"] |= settings["target_vocabulary_size"] > rows["target"]
    _check(file.path, settings)
    return settings | {"name": "ctranslate2"}, rows


def _check(path: Path, settings: dict[str, Any]) -> None:
    try:
        check_settings(settings)
    except ValueError as error:
        raise CTranslate2FormatError(
            f"{str(path)!r} describes no possible model: {error}"
        ) from error


def _padding(
    attributes: _Attributes, tokens: Tokens, rows: dict[str, int], start: int
) -> dict[str, int]:
    """Padding, which CTranslate2 does not have, and the token that the decoder begins with.

    Padding must have one id on both sides and be no end; no translation has it. A token that is
    that will do, and else a row of zeros after the last of both tables. Where the tables are of
    different sizes, that would make one of them much larger: the first token, which no model
    produces either, is taken before. Where the decoder begins with zeros, it begins with that row.
    """
    if not attributes.take("decoder/start_from_zero_embedding"):
        one_size = rows["source"] == rows["target"]
        for token in (*_PADDING, *(() if one_size else (tokens.start,))):
            if token in tokens.source and token in tokens.target and token != tokens.eos:
                found = tokens.target.index(token)
                if tokens.source.index(token) == found:
                    return {"pad_id": found, "start_id": start}
        pad = max(rows.values())
    else:
        pad = start = max(rows.values())
    sizes = dict.fromkeys(("source_vocabulary_size", "target_vocabulary_size"), pad + 1)
    return {**sizes, "pad_id": pad, "start_id": start}


def _tying(file: CTranslate2File) -> str:
    source, target, projection = (file.variables.get(n) for n in embedding_names(file).values())
    inputs, output = source is target, target is projection
    return {(True, True): "all", (True, False): "inputs", (False, True): "output"}.get(
        (inputs, output), "none"
    )


class _Stack(NamedTuple):
    """What a file says of one of the two stacks."""

    layers: int
    heads: int
    ffn_dim: int
    norm: str
    activation: str
    scale_embedding: bool
    position_encoding: str
    first_position: int
    max_length: int


def _stack(file: CTranslate2File, attributes: _Attributes, stack: str, dim: int) -> _Stack:
    weight = stack + "/layer_%d/self_attention/linear_0/weight"
    ffn = file.variables.get(f"{stack}/layer_0/ffn/linear_0/weight")
    heads = _heads(file, attributes, stack)
    layers = next(i for i in range(1 << 16) if weight % i not in file.variables)
    for i in range(layers):
        for attention in ("self_attention", "attention"):
            _check_scale(file, attributes, f"{stack}/layer_{i}/{attention}", dim, heads)
    return _Stack(
        layers,
        heads,
        ffn.shape[0] if ffn is not None and ffn.shape else 0,
        _norm(file, attributes, stack),
        _activation(file, attributes, stack),
        _scales_embeddings(file, attributes, stack, dim),
        *_positions(file, stack, dim),
    )


def _heads(file: CTranslate2File, attributes: _Attributes, stack: str) -> int:
    told = attributes.of_stack(stack, "num_heads") if file.revision >= _HEADS_TOLD else None
    heads = _HEADS_OF_SPEC[file.spec] if told is None else told
    if type(heads) is not int or not 1 <= heads < 1 << 16:
        raise CTranslate2FormatError(f"{str(file.path)!r} has {heads} heads in the {stack}.")
    return heads


def _check_scale(
    file: CTranslate2File, attributes: _Attributes, attention: str, dim: int, heads: int
) -> None:
    scale = attributes.take(f"{attention}/queries_scale")
    usual = math.sqrt(heads / dim)
    if scale is not None and not math.isclose(scale, usual, rel_tol=1e-5):
        raise CTranslate2FormatError(
            f"{str(file.path)!r} has queries scaled by {scale} in {attention!r}; only 1 / sqrt of "
            f"a head's width, {usual:.6g}, is supported."
        )


def _norm(file: CTranslate2File, attributes: _Attributes, stack: str) -> str:
    pre = attributes.of_stack(stack, "pre_norm")
    norm = "pre" if pre is None or pre else "post"
    last = f"{stack}/layer_norm/gamma" in file.variables
    if last != (norm == "pre"):
        raise CTranslate2FormatError(
            f"{str(file.path)!r} has {'a' if last else 'no'} norm at the end of the {stack}, whose "
            f"layers are {norm}-norm, which is not supported."
        )
    for name in file.variables:
        scope, _, part = name.rpartition("/")
        if part == "gamma" and name.startswith(stack) and f"{scope}/beta" not in file.variables:
            raise CTranslate2FormatError(
                f"{str(file.path)!r} has {name!r} without a beta: RMS norms, which are not "
                "supported."
            )
    return norm


def _activation(file: CTranslate2File, attributes: _Attributes, stack: str) -> str:
    told = attributes.of_stack(stack, "activation")
    found = _ACTIVATIONS.get(int(told or 0))
    if found is None:
        name = _OTHER_ACTIVATIONS.get(int(told or 0), "of an unknown kind")
        raise CTranslate2FormatError(
            f"{str(file.path)!r} has the activation {told}, {name}, in the {stack}; only "
            f"{', '.join(f'{i} ({each})' for i, each in _ACTIVATIONS.items())} are supported."
        )
    return found


def _scales_embeddings(
    file: CTranslate2File, attributes: _Attributes, stack: str, dim: int
) -> bool:
    """Whether embeddings are multiplied by the root of their width: a flag, or the number."""
    names = [f"{stack}/scale_embeddings", f"{stack}/embeddings/multiply_by_sqrt_depth"]
    told = {name: value for name in names if (value := attributes.take(name)) is not None}
    for name, value in told.items():
        root = math.sqrt(dim)
        if file.variables[name].dtype == "int8":
            return bool(value)
        if math.isclose(value, root, rel_tol=1e-5) or value == 1:
            return value != 1
        raise CTranslate2FormatError(
            f"{str(file.path)!r} multiplies embeddings by {value} in the {stack}; only 1 and "
            f"sqrt({dim}) are supported."
        )
    return True


def _positions(file: CTranslate2File, stack: str, dim: int) -> tuple[str, int, int]:
    """Encoding, first position and how many there are; a stored table must be known sinusoids."""
    name = f"{stack}/position_encodings/encodings"
    if name not in file.variables:
        return "marian", 1, _MAX_LENGTH
    tensors = Tensors(file.entries([name]), NAME, CTranslate2FormatError)
    shape = tensors.shape(name)
    if len(shape) != 2 or shape[1] != dim or not 1 <= shape[0] <= _MOST_POSITIONS:
        raise CTranslate2FormatError(
            f"Tensor {name!r} of {NAME} is no table of positions; its shape is {shape}."
        )
    table = tensors.take(name, shape)
    far = {
        (encoding, first): float(np.abs(table - position_table(*shape, encoding, first)).max())
        for encoding, first in _POSITIONS
        if encoding != "marian" or (dim >= 4 and dim % 2 == 0)
    }
    encoding, first = min(far, key=lambda one: far[one])
    if far[encoding, first] > _POSITION_TOLERANCE.get(file.variables[name].dtype, 0.0):
        raise CTranslate2FormatError(
            f"Tensor {name!r} of {NAME} is not known sinusoids; learned positions are not "
            "supported."
        )
    return encoding, first, shape[0]
